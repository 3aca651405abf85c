"""Recording a room's media: the worker does it, this tells it to, and the room's live state remembers it.

The order matters when a worker or a web process dies in between. The live state is set before the worker starts and
cleared before it stops: so a process that opens the room on another worker meanwhile goes on with a recording that was
begun, and never with one that is being completed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meetings.live import LiveRoom
from meetings.media.controller import MediaController, media_holding
from meetings.media.room_media import refused
from sfu.protocol import InvalidRequest, MarkRecording, Request, StartRecording, StopRecording

NOT_RUNNING = frozenset({"not_found", "wrong_state", "media_unavailable"})


async def start_recording(code: str, recording_id: str, **about: Any) -> None:
    """Begin, or go on with, the recording of that id in the room. `about` is shown to latecomers as well (JSON).

    Raises Refused: media_unavailable without a worker, wrong_state when another recording runs.
    """
    media = media_holding(code)
    live = _live(media, code)
    before = await live.recording()
    started_at = datetime.now(UTC).isoformat()
    await live.set_recording({"recording_id": recording_id, "started_at": started_at, "status": "recording", **about})
    try:
        await _ask(media, code, StartRecording(room=code, recording=recording_id))
    except InvalidRequest as error:
        await live.set_recording(before)
        raise refused(error) from error


async def stop_recording(code: str, recording_id: str) -> bool:
    """True: the manifest is on disk. False: no worker has it, and a sweeper finishes it from what is there."""
    media = media_holding(code)
    live = _live(media, code)
    running = await live.recording()
    if running is not None and running.get("recording_id") == recording_id:
        await live.set_recording(None)
    try:
        await _ask(media, code, StopRecording(room=code, recording=recording_id))
    except InvalidRequest as error:
        if error.code not in NOT_RUNNING:
            raise refused(error) from error
        return False
    return True


async def mark_recording(code: str, recording_id: str, mark: dict[str, Any]) -> None:
    """A line for the timeline. Raises Refused."""
    try:
        await _ask(media_holding(code), code, MarkRecording(room=code, recording=recording_id, mark=mark))
    except InvalidRequest as error:
        raise refused(error) from error


def _live(media: MediaController, code: str) -> LiveRoom:
    return LiveRoom(media.placements.redis, code)


async def _ask(media: MediaController, code: str, request: Request) -> None:
    """By the connection that the room has here, else by asking where the room is."""
    room = media.rooms.get(code)
    if room is not None and room.client is not None and not room.client.closed:
        await room.client.request(request)
    else:
        await media.ask(code, request)
