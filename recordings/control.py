"""A recording while its class runs: begun, paused, resumed, ended, and what the media worker is told of it.

The database says what is so, and the worker is told until it has heard the latest: a worker that goes on after
another's death is told all of it, and what was decided while it was being told is told once more.
"""

from __future__ import annotations

import logging
from typing import Any

from django.utils import timezone

from meetings.database import in_database
from meetings.errors import Refused
from meetings.media import recording as media
from meetings.models import Participant, Room
from recordings import announce, consents, states
from recordings.models import Recording

DISK_FULL = "The server's disk is nearly full: nothing can be recorded until somebody has made room."

log = logging.getLogger(__name__)


def running(room_pk: int) -> Recording | None:
    return Recording.objects.filter(room_id=room_pk, state=Recording.State.RECORDING).first()


def was_recorded(room_pk: int) -> bool:
    """It is, or it was: also a recording that somebody stopped is not begun again by itself."""
    return Recording.objects.filter(room_id=room_pk).exists()


def running_by_id(code: str, recording_id: str) -> Recording | None:
    return Recording.objects.filter(room__code=code, public_id=recording_id, state=Recording.State.RECORDING).first()


async def begin(room: Room, by: Participant | None, options: dict[str, Any]) -> Recording:
    """`by`: who asked for it, and so has agreed. Raises Refused; nothing is left behind then."""
    try:
        recording = await in_database(_begin)(room, by, options)
    except states.AlreadyRecording:
        raise Refused("wrong_state", "This class is being recorded already.") from None
    try:
        peers = await in_database(consents.who_is_recorded)(recording)
        shown = announce.shown(recording, timezone.now())
        await media.start_recording(room.code, recording.public_id, peers=peers, shown=shown)
        await _settle(recording, room.code, paused=False, peers=peers)
    except BaseException as error:
        await in_database(states.discard)(recording.pk)
        if isinstance(error, Refused) and error.message.startswith("disk_full"):
            raise Refused("media_unavailable", DISK_FULL) from error
        raise
    return recording


def _begin(room: Room, by: Participant | None, options: dict[str, Any]) -> Recording:
    recording = states.begin(room, by.user if by else None, **options)
    if by is not None:
        consents.answer(recording, by, accepted=True)
    return recording


async def pause(recording: Recording, code: str) -> dict[str, Any]:
    """Done when nothing more is recorded. Raises Refused."""
    if not await in_database(states.pause)(recording.pk, timezone.now()):
        raise Refused("wrong_state", "The recording is paused already.")
    return await _tell_of_pause(recording, code, asked=True)


async def resume(recording: Recording, code: str) -> dict[str, Any]:
    if not await in_database(states.resume)(recording.pk, timezone.now()):
        raise Refused("wrong_state", "The recording is not paused.")
    return await _tell_of_pause(recording, code, asked=False)


async def _tell_of_pause(recording: Recording, code: str, *, asked: bool) -> dict[str, Any]:
    """Two hosts may decide at once: the worker hears last what holds. Raises Refused where that is not what was asked,
    so that nobody reads "paused" while he is recorded."""
    told: bool | None = None
    while (meant := (await in_database(_again)(recording.pk)).paused_at is not None) != told:
        told = meant
        tell = media.pause_recording if meant else media.resume_recording
        await tell(code, recording.public_id)
    if told != asked:
        raise Refused("wrong_state", "Somebody else has decided otherwise at the same moment.")
    return await _show(recording.pk, code)


async def _show(pk: int, code: str) -> dict[str, Any]:
    recording = await in_database(_again)(pk)
    shown = announce.shown(recording, timezone.now())
    if recording.state == Recording.State.RECORDING:  # else it was stopped at the same moment
        await media.show_recording(code, shown)
    return {"recording_id": recording.public_id, "elapsed": shown["elapsed"]}


def _again(pk: int) -> Recording:
    return Recording.objects.get(pk=pk)


async def finish(recording: Recording, code: str) -> dict[str, Any]:
    """Stop it at the worker and queue it. Twice does no harm."""
    stopped_at = timezone.now()
    if not await media.stop_recording(code, recording.public_id):
        log.warning("recording %s: no media worker had it; what is on the disk is composed", recording.public_id)
    await in_database(states.recorded)(recording.pk, stopped_at)
    await media.hide_recording(code, recording.public_id)  # `found` may have seen it before the database knew
    return announce.about_end(recording, stopped_at)


async def go_on(recording: Recording, code: str) -> None:
    """The room was opened on a worker: it records what is to be recorded. Raises Refused."""
    paused, peers = await in_database(_meant)(recording.pk)
    await media.go_on_recording(code, recording.public_id, paused=paused, peers=peers)
    await _settle(recording, code, paused=paused, peers=peers)


async def _settle(recording: Recording, code: str, *, paused: bool, peers: set[str]) -> None:
    """The worker was told this: tell it, too, what was decided meanwhile."""
    while (meant := await in_database(_meant)(recording.pk)) != (paused, peers):
        if meant[0] != paused:
            tell = media.pause_recording if meant[0] else media.resume_recording
            await tell(code, recording.public_id)
        for peer in meant[1] ^ peers:
            await media.record_peer(code, recording.public_id, peer, peer in meant[1])
        paused, peers = meant


async def tell_of_person(code: str, recording: Recording, participant_id: str) -> None:
    """Whether that person is recorded may have changed."""
    told: bool | None = None
    while (meant := await in_database(consents.is_recorded)(recording, participant_id)) != told:
        told = meant
        await media.record_peer(code, recording.public_id, participant_id, meant)


def _meant(pk: int) -> tuple[bool, set[str]]:
    recording = _again(pk)
    return recording.paused_at is not None, consents.who_is_recorded(recording)
