"""Tell a room how its recording is doing. Nobody waits for it: with Redis away, pages still read the database."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from redis.exceptions import RedisError

from meetings.eventlog import body_of, fleeting
from meetings.hub import Hubs
from meetings.redis_client import connect, people_in
from recordings.models import Recording

log = logging.getLogger(__name__)


def state(pk: int) -> None:
    """`recording:status` to everybody who is still in the room."""
    recording = Recording.objects.select_related("room").filter(pk=pk).first()
    if recording is None or not people_in(recording.room.code):
        return
    data = {"recording_id": recording.public_id, "status": recording.state, "progress": recording.progress}
    try:
        async_to_sync(_tell)(recording.room.code, data)
    except (RedisError, OSError) as error:
        log.warning("The room was not told of its recording: %s", error)


async def _tell(code: str, data: dict[str, object]) -> None:
    redis = connect()
    try:
        # No hub is opened here: the web processes' hubs write it to their sockets.
        await Hubs(redis=redis).tell(code, kind="fleeting", frame=fleeting(body_of("recording:status", data)))
    finally:
        await redis.aclose()
