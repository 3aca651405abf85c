"""The verbs of a stream's life, each from the state it saw, and what a room is told of it."""

from __future__ import annotations

import logging
import secrets
import shutil
from typing import Any

from asgiref.sync import async_to_sync
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.models import User
from meetings.database import in_database
from meetings.eventlog import EventLog, body_of, fleeting
from meetings.hub import Hubs
from meetings.live import LiveRoom
from meetings.models import Room
from meetings.redis_client import connect
from recordings.live.models import RUNNING, Stream

log = logging.getLogger(__name__)

State = Stream.State


class AlreadyStreaming(Exception):
    """One stream a room at a time."""


def begin(room: Room, by: User | None, *, target: str, access: str, qualities: list[str], push_url: str = "") -> Stream:
    """Raises AlreadyStreaming."""
    try:
        with transaction.atomic():
            return Stream.objects.create(
                room=room,
                started_by=by,
                public_id=secrets.token_hex(12),
                target=target,
                access=access,
                qualities=qualities,
                push_url=push_url,
            )
    except IntegrityError:
        raise AlreadyStreaming from None


def discard(pk: int) -> None:
    """It never began."""
    Stream.objects.filter(pk=pk, state=State.STARTING).delete()


def live(pk: int) -> bool:
    """Viewers have something to see."""
    return Stream.objects.filter(pk=pk, state=State.STARTING).update(state=State.LIVE) == 1


def end(pk: int, reason: str = "") -> bool:
    """With a reason it has failed. The stream key is forgotten."""
    state = State.FAILED if reason else State.ENDED
    changes: dict[str, Any] = {"state": state, "reason": reason[:300], "ended_at": timezone.now(), "push_url": ""}
    return Stream.objects.filter(pk=pk, state__in=RUNNING).update(**changes) == 1


def next_start(stream: Stream) -> Stream:
    """The process is started once more: it reads logs of its own."""
    Stream.objects.filter(pk=stream.pk, starts=stream.starts).update(starts=stream.starts + 1)
    shutil.rmtree(stream.logs, ignore_errors=True)
    stream.starts += 1
    return stream


def running_in(room_pk: int) -> Stream | None:
    return Stream.objects.running().filter(room_id=room_pk).first()


def about(stream: Stream) -> dict[str, Any]:
    """For everybody in the room: they must know who can see them. No address that it is pushed to."""
    return {
        "stream_id": stream.public_id,
        "url": stream.get_absolute_url(),
        "target": stream.target,
        "access": stream.access,
        "started_at": stream.started_at.isoformat(),
        "status": stream.state,
    }


def about_end(stream: Stream) -> dict[str, Any]:
    duration = max(0.0, (timezone.now() - stream.started_at).total_seconds())
    return {"stream_id": stream.public_id, "duration": round(duration, 3), "reason": stream.reason}


def tell_status(stream: Stream, status: str) -> None:
    """`stream:status` to everybody in the room, and to latecomers. For the keeper; nobody waits for it."""
    try:
        async_to_sync(_tell_status)(stream.room.code, {**about(stream), "status": status})
    except (RedisError, OSError) as error:
        log.warning("the room was not told of its stream: %s", error)


async def _tell_status(code: str, data: dict[str, Any]) -> None:
    redis = connect()
    try:
        if await show(LiveRoom(redis, code), data):
            await Hubs(redis=redis).tell(code, kind="fleeting", frame=fleeting(body_of("stream:status", data)))
    finally:
        await redis.aclose()


async def show(live: LiveRoom, data: dict[str, Any]) -> bool:
    """To latecomers. False: it was ended meanwhile, and is not shown.

    Whoever ends it says so in the database before he hides it: of two at the same moment, one hides it.
    """
    await live.set_info("stream", data)
    if await in_database(runs)(data["stream_id"]):
        return True
    await hide(live, data["stream_id"])
    return False


async def hide(live: LiveRoom, stream_id: str) -> None:
    """It is no more, if it was this one."""
    shown = await live.info("stream")
    if shown is not None and shown["stream_id"] == stream_id:
        await live.set_info("stream", None)


def runs(public_id: str) -> bool:
    return Stream.objects.running().filter(public_id=public_id).exists()


def tell_end(stream: Stream) -> None:
    """Nobody asked for it: the keeper gave up."""
    try:
        async_to_sync(_tell_end)(stream.room.code, about_end(stream))
    except (RedisError, OSError) as error:
        log.warning("the room was not told that its stream has ended: %s", error)


async def _tell_end(code: str, data: dict[str, Any]) -> None:
    """Numbered, and once, whoever else tells it."""
    redis = connect()
    try:
        await hide(LiveRoom(redis, code), data["stream_id"])
        body = body_of("stream:stopped", data)
        seq, fresh = await EventLog(redis, code).append(body, data["stream_id"])
        if fresh:
            await Hubs(redis=redis).tell(code, kind="event", seq=seq, body=body)
    finally:
        await redis.aclose()
