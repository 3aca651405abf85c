"""Hands: the server's time decides their order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meetings.errors import Refused
from meetings.limits import TOLD_TO_ALL
from meetings.messages import Empty, HandLower
from meetings.registry import on
from meetings.session import RoomSession


@on("hand:raise", Empty, needs="raise_hand", limit=TOLD_TO_ALL)
async def raise_hand(session: RoomSession, message: Empty) -> dict[str, Any]:
    position, at, newly = await session.hub.live.raise_hand(session.participant_id)
    if not position:
        raise Refused("wrong_state", "Join the class first.")
    raised_at = datetime.fromtimestamp(at / 1000, UTC).isoformat()
    if newly:
        await session.hub.publish(
            "hand:raised",
            {"participant_id": session.participant_id, "position": position, "raised_at": raised_at},
        )
    return {"position": position, "raised_at": raised_at}


@on("hand:lower", HandLower, limit=TOLD_TO_ALL)
async def lower_hand(session: RoomSession, message: HandLower) -> None:
    pid = message.participant_id or session.participant_id
    if pid != session.participant_id:
        session.demand("lower_hands")
    live = session.hub.live
    if await (live.lower_all_hands() if pid == "all" else live.lower_hand(pid)):
        await session.hub.publish("hand:lowered", {"participant_id": pid})
