"""Show every time in the visitor's own time zone, which static/js/site/time-zone.js puts into a cookie."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "time_zone"


@cache
def _known_zones() -> frozenset[str]:
    # Reads a hundred files, so once a process.
    return frozenset(available_timezones())


def zone_named(name: str) -> ZoneInfo | None:
    """The zone, or None for a name that is none: cookies come from outside."""
    return ZoneInfo(name) if name in _known_zones() else None


class TimeZoneMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(zone_named(unquote(request.COOKIES.get(COOKIE, "")))):
            return self.get_response(request)
