"""The STUN and TURN servers that a browser is told of, with credentials that run out.

coturn's `use-auth-secret`: the username is `<Unix time of expiry>:<user>`, the password the base64 of its HMAC-SHA1
under the shared secret. So the TURN server checks a credential without asking anybody, and a leaked one dies by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

LIFETIME = 12 * 3600  # seconds: a class without planned time; a relay also checks them when an allocation is refreshed


def turn_credentials(user: str, secret: str, *, now: float) -> tuple[str, str]:
    username = f"{int(now) + LIFETIME}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def ice_servers(user: str, urls: Sequence[str], secret: str, *, now: float) -> list[dict[str, Any]]:
    """RTCIceServer dictionaries. `stun:` URLs need no credentials; without a secret `turn:` URLs are left out."""
    stun = [url for url in urls if url.startswith(("stun:", "stuns:"))]
    turn = [url for url in urls if url.startswith(("turn:", "turns:"))]
    servers: list[dict[str, Any]] = [{"urls": stun}] if stun else []
    if turn and secret:
        username, credential = turn_credentials(user, secret, now=now)
        servers.append({"urls": turn, "username": username, "credential": credential})
    return servers
