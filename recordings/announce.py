"""Tell a room how its recording is doing. Nobody waits for it: with Redis away, pages still read the database."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.utils import timezone
from redis.exceptions import RedisError

from meetings.eventlog import EventLog, body_of, fleeting
from meetings.hub import Hubs
from meetings.live import LiveRoom
from meetings.redis_client import connect, people_in
from recordings import mails
from recordings.models import Recording

log = logging.getLogger(__name__)


def state(pk: int) -> None:
    """`recording:status` to everybody who is still in the room; a mail when it is ready, or has failed."""
    recording = Recording.objects.select_related("room").filter(pk=pk).first()
    if recording is None:
        return
    if people_in(recording.room.code):
        _tell_status(recording)
    if recording.state in mails.KIND_OF_STATE:
        mails.tell_of_recording.delay(pk)


def _tell_status(recording: Recording) -> None:
    data = {
        "recording_id": recording.public_id,
        "status": recording.state,
        "progress": recording.progress,
        "segments_done": recording.segments_done,
        "segments_total": recording.segments_total,
        "seconds_left": recording.seconds_left,
    }
    try:
        async_to_sync(_tell)(recording.room.code, data)
    except (RedisError, OSError) as error:
        log.warning("The room was not told of its recording: %s", error)


def shown(recording: Recording, now: datetime) -> dict[str, Any]:
    """What latecomers see of a recording that runs (`meetings.live.shown_recording`)."""
    return {
        "recording_id": recording.public_id,
        "started_at": recording.started_at.isoformat(),
        "status": "paused" if recording.paused_at else "recording",
        "elapsed": round(recording.elapsed(now), 3),
        "as_of": now.timestamp(),
        "layout": recording.layout,
        "who": recording.who,
    }


def about_end(recording: Recording, stopped_at: datetime) -> dict[str, Any]:
    return {"recording_id": recording.public_id, "duration": round(recording.elapsed(stopped_at), 3)}


def end(recording: Recording) -> None:
    """From a task: it ended without anybody's asking."""
    try:
        async_to_sync(tell_end)(recording.room.code, about_end(recording, timezone.now()))
    except (RedisError, OSError) as error:
        log.warning("The room was not told that its recording has ended: %s", error)


async def tell_end(code: str, about: dict[str, Any]) -> None:
    """`recording:stopped` to the room, numbered, once whoever else tells it; latecomers see no recording any more."""
    redis = connect()
    try:
        live = LiveRoom(redis, code)
        running = await live.recording()
        if running is not None and running["recording_id"] == about["recording_id"]:
            await live.set_recording(None)
        body = body_of("recording:stopped", about)
        seq, fresh = await EventLog(redis, code).append(body, about["recording_id"])
        if fresh:
            await Hubs(redis=redis).tell(code, kind="event", seq=seq, body=body)
    finally:
        await redis.aclose()


async def _tell(code: str, data: dict[str, object]) -> None:
    redis = connect()
    try:
        # No hub is opened here: the web processes' hubs write it to their sockets.
        await Hubs(redis=redis).tell(code, kind="fleeting", frame=fleeting(body_of("recording:status", data)))
    finally:
        await redis.aclose()
