"""Recording a room's media: the worker does it, this tells it to, and the room's live state remembers it.

The order matters when a worker or a web process dies in between. The live state is set before the worker starts and
cleared before it stops: so a process that opens the room on another worker meanwhile goes on with a recording that was
begun, and never with one that is being completed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from meetings.live import LiveRoom
from meetings.media import p2p
from meetings.media.controller import MediaController, media_holding
from meetings.media.room_media import PATIENCE, refused
from sfu.client import TIMEOUT
from sfu.protocol import (
    InvalidRequest,
    MarkRecording,
    PauseRecording,
    RecordPeer,
    Request,
    ResumeRecording,
    StartRecording,
    StopRecording,
)

NOT_RUNNING = frozenset({"not_found", "wrong_state", "media_unavailable"})


async def start_recording(
    code: str, recording_id: str, *, peers: Iterable[str] | None = None, shown: dict[str, Any] | None = None
) -> None:
    """Begin the recording of that id in the room. `peers`: of whom; None: of everybody.

    Raises Refused: media_unavailable without a worker, wrong_state when another recording runs.
    """
    media = media_holding(code)
    live = _live(media, code)
    before = await live.recording()
    await live.set_recording(shown or _begun_now(recording_id))
    if room := media.rooms.get(code):
        await p2p.review(room.hub)  # what two people send each other directly no worker could record
    try:
        await _ask(media, code, _start(code, recording_id, peers))
    except InvalidRequest as error:
        await live.set_recording(before)
        if error.code == "media_unavailable":  # perhaps it only answers late, and would record what nobody knows of
            with contextlib.suppress(InvalidRequest):
                await _ask(media, code, StopRecording(room=code, recording=recording_id), timeout=PATIENCE)
        raise refused(error) from error


async def go_on_recording(code: str, recording_id: str, *, paused: bool, peers: Iterable[str] | None) -> None:
    """At a worker that may know of it already, and of how it is meant. Raises Refused."""
    media = media_holding(code)
    try:
        await _ask(media, code, _start(code, recording_id, peers, paused=paused))
    except InvalidRequest as error:
        room = media.rooms.get(code)
        if room is not None and room.client is not None and room.client.closed:
            return  # this one is gone, too: the next one will be asked
        raise refused(error) from error


async def pause_recording(code: str, recording_id: str) -> bool:
    """True: the worker hears nothing more. False: none has it at the moment; one that goes on with it will be told."""
    return await _tell(code, PauseRecording(room=code, recording=recording_id))


async def resume_recording(code: str, recording_id: str) -> bool:
    return await _tell(code, ResumeRecording(room=code, recording=recording_id))


async def record_peer(code: str, recording_id: str, peer: str, recorded: bool) -> bool:
    """That person's media are recorded from now on, or no more."""
    return await _tell(code, RecordPeer(room=code, recording=recording_id, peer=peer, recorded=recorded))


async def stop_recording(code: str, recording_id: str) -> bool:
    """True: the manifest is on disk. False: no worker has it, and a sweeper finishes it from what is there."""
    await hide_recording(code, recording_id)
    return await _tell(code, StopRecording(room=code, recording=recording_id))


async def show_recording(code: str, shown: dict[str, Any]) -> None:
    """To latecomers, and to a worker that goes on with the room: this is being recorded."""
    await _live(media_holding(code), code).set_recording(shown)


async def hide_recording(code: str, recording_id: str) -> None:
    """It is no more, if it was this one. Twice does no harm."""
    live = _live(media_holding(code), code)
    running = await live.recording()
    if running is not None and running.get("recording_id") == recording_id:
        await live.set_recording(None)


async def mark_recording(code: str, recording_id: str, mark: dict[str, Any]) -> None:
    """A line for the timeline. Raises Refused."""
    try:
        await _ask(media_holding(code), code, MarkRecording(room=code, recording=recording_id, mark=mark))
    except InvalidRequest as error:
        raise refused(error) from error


def _start(code: str, recording_id: str, peers: Iterable[str] | None, *, paused: bool = False) -> StartRecording:
    named = None if peers is None else sorted(peers)
    return StartRecording(room=code, recording=recording_id, paused=paused, peers=named)


def _begun_now(recording_id: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    about = {"recording_id": recording_id, "started_at": now, "status": "recording"}
    return {**about, "elapsed": 0.0, "as_of": time.time()}


def _live(media: MediaController, code: str) -> LiveRoom:
    return LiveRoom(media.placements.redis, code)


async def _tell(code: str, request: Request) -> bool:
    """False: no worker has that recording. Raises Refused."""
    try:
        await _ask(media_holding(code), code, request)
    except InvalidRequest as error:
        if error.code not in NOT_RUNNING:
            raise refused(error) from error
        return False
    return True


async def _ask(media: MediaController, code: str, request: Request, timeout: float = TIMEOUT) -> None:
    """By the connection that the room has here, else by asking where the room is."""
    room = media.rooms.get(code)
    if room is not None and room.client is not None and not room.client.closed:
        await room.client.request(request, timeout=timeout)
    else:
        await media.ask(code, request)
