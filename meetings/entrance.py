"""Who stands at the socket's door: by the session cookie or by a meeting token, in one visit to the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from accounts.models import User
from meetings import services
from meetings.limits import too_many_wrong_codes
from meetings.models import Participant, Room


@dataclass(frozen=True)
class Visitor:
    room: Room
    participant: Participant
    role: str


def identify(scope: Mapping[str, Any], code: str, token: str) -> Visitor:
    """Raises `services.NotAllowed`. A token says who it is, whatever cookie comes along."""
    user = AnonymousUser() if token else user_of_cookies(scope)
    try:
        entry = services.get_room_for(user, code, token)
    except services.NotAllowed as refused:
        if refused.reason == "unknown":
            too_many_wrong_codes((scope.get("client") or ("",))[0])
        raise
    participant = services.participant_for(entry)
    # Loaded already: handlers ask for `participant.room` without another query.
    participant.room = entry.room
    return Visitor(entry.room, participant, entry.role)


def user_of_cookies(scope: Mapping[str, Any]) -> User | AnonymousUser:
    session_key = ""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                cookies = SimpleCookie(value.decode("latin1"))
            except CookieError:
                continue
            if settings.SESSION_COOKIE_NAME in cookies:
                session_key = cookies[settings.SESSION_COOKIE_NAME].value
    if not session_key:
        return AnonymousUser()
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else AnonymousUser()
