"""How a host shows the class to everybody. One's own layout the page changes by itself."""

from __future__ import annotations

from meetings import registry
from meetings.limits import TOLD_TO_ALL
from meetings.messages import LayoutChange
from meetings.registry import on
from meetings.session import RoomSession


@on("layout:change", LayoutChange, limit=TOLD_TO_ALL)
async def change(session: RoomSession, message: LayoutChange) -> None:
    if not message.for_all:
        return
    session.demand("spotlight")
    await session.hub.publish("layout:changed", {"layout": message.layout, "by": session.participant_id})
    await registry.on_layout_changed.run(session, message.layout)
