"""Meeting tokens: who may come into one room, without a sign-in of the site. JWT (RFC 7519), HS256 and nothing else.

Claims: `aud` lectern:meeting, `room` its code, `jti`, `role`, `name`, `exp`, and `sub` when the token is an account's
own. The role in a token counts for guests' links alone; an account's role is looked up when it comes in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from django.conf import settings
from django.utils import timezone

from meetings.models import Room

ALGORITHM = "HS256"
AUDIENCE = "lectern:meeting"
AFTER_PLANNED = timedelta(hours=1)
UNPLANNED = timedelta(hours=12)
GUEST_ROLES = ("guest", "attendee")
MAX_LENGTH = 2048  # characters


class InvalidToken(Exception):
    """Not ours, changed, for another room, or expired."""


@dataclass(frozen=True)
class Claims:
    token_id: str
    role: str
    name: str
    user_id: int | None
    expires_at: datetime


def _key() -> bytes:
    """A key of its own: neither a session nor an API token signed with SECRET_KEY is a meeting token."""
    return hmac.new(settings.SECRET_KEY.encode(), b"lectern meeting tokens", hashlib.sha256).digest()


def expiry(room: Room, now: datetime | None = None) -> datetime:
    """The class's planned end plus 1 h, and at least that long from now; 12 h where no time is planned."""
    now = now or timezone.now()
    lesson = room.lesson
    if lesson is None or lesson.starts_at is None:
        return now + UNPLANNED
    return max(now, lesson.starts_at) + lesson.planned_duration + AFTER_PLANNED


def make(
    room: Room, *, role: str, name: str, user_id: int | None = None, expires_at: datetime | None = None
) -> tuple[str, datetime]:
    """-> (token, when it expires)"""
    expires_at = (expires_at or expiry(room)).replace(microsecond=0)
    claims: dict[str, object] = {
        "aud": AUDIENCE,
        "room": room.code,
        "jti": secrets.token_urlsafe(16),
        "role": role,
        "name": name,
        "iat": int(timezone.now().timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if user_id is not None:
        claims["sub"] = str(user_id)
    return jwt.encode(claims, _key(), algorithm=ALGORITHM), expires_at


def read(token: str, code: str) -> Claims:
    """Raises InvalidToken for everything but an unexpired token of ours for this very room."""
    if len(token) > MAX_LENGTH:
        raise InvalidToken("too long")
    try:
        claims = jwt.decode(
            token,
            _key(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["exp", "aud", "jti", "room", "role"]},
        )
        if not hmac.compare_digest(str(claims["room"]).encode(), code.encode()):
            raise InvalidToken("for another room")
        return Claims(
            token_id=str(claims["jti"])[:64],
            role=str(claims["role"]),
            name=str(claims.get("name", ""))[:100],
            user_id=int(claims["sub"]) if "sub" in claims else None,
            expires_at=datetime.fromtimestamp(claims["exp"], tz=UTC),
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
        raise InvalidToken(str(error)) from error
