"""Content delivery networks in front of the storage: which one a viewer gets, and links that it can check.

CDN_BASE_URLS="eu=https://eu.example.net, us=https://us.example.net": each gives the storage's objects by their keys. A
viewer gets their region's (CDN_REGION_HEADER, which the proxy before Lectern sets; else SFU_REGION), or, when it is not
healthy, any that is; with none, files come from the storage itself. Celery asks each every half minute.

A link ends with `?verify=<issued>-<mac>`: issued in seconds since the epoch, mac = base64 of HMAC-SHA256 by CDN_SECRET
over the path and `issued`. It is what Cloudflare's `is_timed_hmac_valid_v0(CDN_SECRET, http.request.uri, 300, ...)`
checks, and a few lines of an edge function anywhere else (docs/recordings.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

from celery import shared_task
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

ASK_EVERY = 30.0  # seconds
REMEMBERED = 100  # seconds: three questions; with nobody asking, files come from the storage
ANSWERS_WITHIN = 3.0  # seconds
HEALTHY = "recordings:cdn:healthy"


def base_url_for(request: HttpRequest) -> str | None:
    """Where this viewer gets files, without a slash at its end. None: from the storage itself."""
    known: dict[str, str] = settings.CDN_BASE_URLS
    if not known:
        return None
    try:
        healthy = cache.get(HEALTHY) or []
    except (RedisError, OSError):
        return None
    named = request.headers.get(settings.CDN_REGION_HEADER, "") if settings.CDN_REGION_HEADER else ""
    wanted = [named.strip().lower(), settings.SFU_REGION, *known]
    return next((known[region] for region in wanted if region in known and region in healthy), None)


def link(base_url: str, key: str, now: float) -> str:
    address = f"{base_url}/{quote(key)}"
    return f"{address}?verify={quote(proof(urlsplit(address).path, int(now)), safe='')}"


def proof(path: str, issued: int) -> str:
    mac = hmac.new(settings.CDN_SECRET.encode(), f"{path}{issued}".encode(), hashlib.sha256).digest()
    return f"{issued}-{base64.b64encode(mac).decode()}"


def answers(base_url: str) -> bool:
    """Whatever it says of its front page: it speaks, and has no trouble of its own."""
    asked = urllib.request.Request(f"{base_url}/", method="HEAD")  # noqa: S310  settings allow http(s) alone
    try:
        with urllib.request.urlopen(asked, timeout=ANSWERS_WITHIN):  # noqa: S310
            return True
    except urllib.error.HTTPError as answer:
        return answer.code < 500
    except (OSError, http.client.HTTPException):
        return False


@shared_task
def ask_networks() -> list[str]:
    """-> the regions whose network is healthy. What is remembered fades by itself, should nobody ask any more."""
    known: dict[str, str] = settings.CDN_BASE_URLS
    if not known:
        return []
    healthy = [region for region, base_url in known.items() if answers(base_url)]
    if missing := sorted(set(known) - set(healthy)):
        log.warning("no answer from the networks of %s", ", ".join(missing))
    cache.set(HEALTHY, healthy, REMEMBERED)
    return healthy
