"""`recording:start` and `recording:stop` on the classroom's socket, and what ends a recording without being asked."""

from __future__ import annotations

import logging
from typing import Any, Literal

from django.utils import timezone
from msgspec import Struct

from meetings.database import in_database
from meetings.errors import Refused
from meetings.media import recording as media
from meetings.media.hooks import on_recording_failed, on_recording_found
from meetings.messages import Empty, Message
from meetings.models import Room
from meetings.registry import on, on_room_end
from meetings.session import RoomSession
from recordings import announce, states
from recordings.models import Recording

log = logging.getLogger(__name__)


class RecordingOptions(Struct, forbid_unknown_fields=True, frozen=True):
    """What there is to choose from today: one layout, one quality, everybody."""

    layout: Literal["grid"] = "grid"
    qualities: tuple[Literal["720p"]] = ("720p",)
    who: Literal["all"] = "all"


class RecordingStart(Message, frozen=True):
    options: RecordingOptions = RecordingOptions()


@on("recording:start", RecordingStart, needs="record", lane="recording")
async def start(session: RoomSession, message: RecordingStart) -> dict[str, Any]:
    try:
        recording = await in_database(states.begin)(session.room, session.participant.user)
    except states.AlreadyRecording:
        raise Refused("wrong_state", "This class is being recorded already.") from None
    try:
        await media.start_recording(session.room.code, recording.public_id)
    except BaseException:
        await in_database(states.discard)(recording.pk)
        raise
    about = {"recording_id": recording.public_id, "started_at": recording.started_at.isoformat()}
    await session.hub.publish("recording:started", {**about, "by": session.participant_id})
    return about


@on("recording:stop", Empty, needs="record", lane="recording")
async def stop(session: RoomSession, message: Empty) -> dict[str, Any]:
    recording = await in_database(running)(session.room.pk)
    if recording is None:
        raise Refused("wrong_state", "This class is not being recorded.")
    about = await finish(recording, session.room.code)
    await session.hub.publish("recording:stopped", {**about, "by": session.participant_id}, once=recording.public_id)
    return about


async def finish(recording: Recording, code: str) -> dict[str, Any]:
    """Stop it at the worker and queue it. Twice does no harm."""
    stopped_at = timezone.now()
    if not await media.stop_recording(code, recording.public_id):
        log.warning("recording %s: no media worker had it; what is on the disk is composed", recording.public_id)
    await in_database(states.recorded)(recording.pk, stopped_at)
    await media.hide_recording(code, recording.public_id)  # `found` may have seen it before the database knew
    return announce.about_end(recording, stopped_at)


def running(room_pk: int) -> Recording | None:
    return Recording.objects.filter(room_id=room_pk, state=Recording.State.RECORDING).first()


def running_by_id(code: str, recording_id: str) -> Recording | None:
    return Recording.objects.filter(room__code=code, public_id=recording_id, state=Recording.State.RECORDING).first()


@on_room_end
async def class_ended(room: Room) -> None:
    """A class that ends stops its recording. The media part has closed the room by then, and the worker its files."""
    recording = await in_database(running)(room.pk)
    if recording is not None:
        await finish(recording, room.code)


@on_recording_failed
async def worker_gave_up(code: str, recording_id: str, reason: str) -> None:
    """The disk is full, or the folder cannot be written. What is there is composed; several processes may say so."""
    recording = await in_database(running_by_id)(code, recording_id)
    if recording is not None:
        log.error("recording %s ends before its class: %s", recording_id, reason)
        await announce.tell_end(code, await finish(recording, code))


@on_recording_found
async def found(code: str, recording_id: str) -> None:
    """Either it runs, and everybody must see that they are recorded; or it should not."""
    recording = await in_database(running_by_id)(code, recording_id)
    if recording is not None:
        await media.show_recording(code, recording_id, recording.started_at)
    else:
        log.warning("recording %s: nobody knows of it, it is stopped", recording_id)
        await media.stop_recording(code, recording_id)
