"""The page of those who only watch, and what they write in the chat.

A stream that is not yours to see is 404; who is not signed in may sign in first.
"""

from __future__ import annotations

from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from redis.exceptions import RedisError

from accounts.models import User
from meetings import chat, permissions
from meetings import services as meetings
from meetings.eventlog import EventLog, body_of
from meetings.hub import Hubs
from meetings.messages import Key, Text
from meetings.models import Participant
from meetings.redis_client import connect, plain
from recordings.live.models import Stream
from recordings.live.serve import PASS, PASS_LIVES, give_pass
from recordings.models import Recording

SAY_RATE = (20, 60)  # messages, seconds: of one person on this page
LONGEST = 20_000  # bytes of a message's request


class Said(msgspec.Struct, forbid_unknown_fields=True):
    message: Text
    client_id: Key  # the same one is the same message, however often it is sent


def visible(request: HttpRequest, public_id: str) -> Stream:
    stream = (
        Stream.objects.visible_to(request.user)
        .filter(public_id=public_id)
        .select_related("room__lesson__course", "room__created_by")
        .first()
    )
    if stream is None:
        raise Http404("There is no such stream, or it is not for you.")
    return stream


def passed(stream: Stream, response: HttpResponse) -> HttpResponse:
    """With what opens the stream's files for a while (recordings.live.serve)."""
    path = reverse("live:page", args=[stream.public_id])
    response.set_cookie(
        PASS,
        give_pass(stream.public_id),
        max_age=PASS_LIVES,
        path=path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@never_cache
@require_safe
def page(request: HttpRequest, public_id: str) -> HttpResponse:
    try:
        stream = visible(request, public_id)
    except Http404:
        if request.user.is_authenticated:
            raise
        return redirect_to_login(request.get_full_path())
    recording = None
    if not stream.is_running:
        recording = Recording.objects.visible_to(request.user).filter(room=stream.room).first()
    context = {
        "stream": stream,
        "room": stream.room,
        "lesson": stream.room.lesson,
        "course": stream.room.lesson.course if stream.room.lesson else None,
        "may_say": _speaker(request, stream) is not None,
        "recording": recording,
    }
    response = render(request, "recordings/live.html", context)
    return passed(stream, response) if stream.is_running else response


@never_cache
@require_safe
def renew(request: HttpRequest, public_id: str) -> HttpResponse:
    """Asked again each two minutes: who left the course does not look on."""
    return passed(visible(request, public_id), HttpResponse(status=204))


@require_POST
def say(request: HttpRequest, public_id: str) -> HttpResponse:
    """A message into the class's chat, of somebody who could come in and write it there."""
    stream = visible(request, public_id)
    if not stream.is_running:
        return _refused(409, "The stream is over.")
    participant = _speaker(request, stream)
    if participant is None:
        return _refused(403, permissions.refusal("chat"))
    if len(request.body) > LONGEST:
        return _refused(413, "The message is too long.")
    try:
        said = msgspec.json.decode(request.body, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refused(400, "This is not a message.")
    if not said.message.strip():
        return _refused(400, "An empty message.")
    if _too_many(stream, participant):
        return _refused(429, "Too many messages. Wait a little.")
    stored = chat.store(
        participant, message=said.message, type="text", reply_to=None, metadata={}, client_id=said.client_id
    )
    try:
        async_to_sync(_tell)(stream.room.code, chat.on_the_wire(stored, participant), stored.public_id)
    except (RedisError, OSError):
        return _refused(503, "The class cannot be reached at this moment. Try again.")
    return JsonResponse({"message_id": stored.public_id})


def _speaker(request: HttpRequest, stream: Stream) -> Participant | None:
    """The person as the class knows him, where he may write."""
    if not isinstance(request.user, User):
        return None
    try:
        entry = meetings.get_room_for(request.user, stream.room.code)
    except meetings.NotAllowed:
        return None
    locks = entry.known.locks if entry.known is not None else {}
    if not permissions.may(entry.role, "chat", meetings.settings_of(entry.room).allowed(), locks):
        return None
    return meetings.participant_for(entry) if request.method == "POST" else (entry.known or Participant())


def _too_many(stream: Stream, participant: Participant) -> bool:
    most, seconds = SAY_RATE
    key = f"lectern:stream:{stream.public_id}:said:{participant.public_id}"
    try:
        redis: Any = plain()
        count = int(redis.incr(key))
        if count == 1:
            redis.expire(key, seconds)
        return count > most
    except RedisError:
        return False


async def _tell(code: str, message: dict[str, Any], once: str) -> None:
    redis = connect()
    try:
        body = body_of("chat:message", message)
        seq, fresh = await EventLog(redis, code).append(body, once)
        if fresh:
            await Hubs(redis=redis).tell(code, kind="event", seq=seq, body=body)
    finally:
        await redis.aclose()


def _refused(status: int, words: str) -> HttpResponse:
    return JsonResponse({"error": words}, status=status)
