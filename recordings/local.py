"""`recording:local`: a host records on his own device. Nothing of it comes here but the word, which everybody sees."""

from __future__ import annotations

from typing import Any

from meetings.limits import TOLD_TO_ALL
from meetings.messages import Message
from meetings.registry import on, on_join
from meetings.session import RoomSession


class RecordingLocal(Message, frozen=True):
    active: bool


@on("recording:local", RecordingLocal, limit=TOLD_TO_ALL)
async def tell(session: RoomSession, message: RecordingLocal) -> None:
    if message.active:  # that it is over may be said by anybody: also by who has lost the right meanwhile
        session.demand("record_here")
    await _note(session, message.active)


@on_join
async def forget(session: RoomSession, answer: dict[str, Any]) -> None:
    """A page that was loaded anew records no more."""
    if session.replaces:
        await _note(session, False)


async def _note(session: RoomSession, active: bool) -> None:
    hub, pid = session.hub, session.participant_id
    await hub.live.update_person(pid, records_here=active)
    await hub.note(("updated", pid, {"records_here": active}))
