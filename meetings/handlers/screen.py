"""Who says that they share their screen; its stream is a producer of the media part."""

from __future__ import annotations

from meetings.messages import Empty
from meetings.registry import on
from meetings.session import RoomSession


@on("screen:start", Empty, needs="share")
async def start(session: RoomSession, message: Empty) -> None:
    await session.hub.live.update_person(session.participant_id, screen=True)
    await session.hub.publish("screen:started", {"participant_id": session.participant_id})


@on("screen:stop", Empty)
async def stop(session: RoomSession, message: Empty) -> None:
    await session.hub.live.update_person(session.participant_id, screen=False)
    await session.hub.publish("screen:stopped", {"participant_id": session.participant_id})
