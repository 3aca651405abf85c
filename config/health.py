"""What is seen from outside: is the process alive, can it serve, and how is it doing."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sfu.protocol import HEARTBEAT_KEY

DISK_NEEDED = 100 * 1024 * 1024  # bytes free where recordings are written
REDIS_TIMEOUT = 2.0  # seconds


@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Nothing else is asked: a restart would not mend a database."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when a class could be held now, else 503; a line for each part tells which is missing."""
    parts = {name: _tried(check) for name, check in CHECKS.items()}
    ready = all(word == "ok" for word in parts.values())
    return JsonResponse({"ready": ready, **parts}, status=200 if ready else 503)


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _tried(check: Callable[[], bool]) -> str:
    try:
        return "ok" if check() else "missing"
    except Exception as error:
        # The class alone: a message may hold an address or a password, and this page is open to all.
        return f"failed: {type(error).__name__}"


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT)


def _redis_answers() -> bool:
    with _redis() as client:
        return bool(client.ping())


def _media_worker() -> bool:
    """A heartbeat expires by itself (sfu.protocol.HEARTBEAT_EXPIRES), so one that is there is fresh."""
    with _redis() as client:
        return next(client.scan_iter(HEARTBEAT_KEY.format(worker_id="*"), count=1000), None) is not None


def _disk() -> bool:
    return shutil.disk_usage(settings.DATA_DIR).free >= DISK_NEEDED


CHECKS: dict[str, Callable[[], bool]] = {
    "database": _database,
    "redis": _redis_answers,
    "media_worker": _media_worker,
    "disk": _disk,
}
