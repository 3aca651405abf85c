"""Two people who are alone in a class are connected directly: who they are, and their signals to each other.

The media worker keeps all of theirs meanwhile, so that the way back takes no negotiation (docs/decisions/0015). Redis
decides at one moment whether there is a pair, and numbers the news of it: however many processes ask, it is told once.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
from redis.exceptions import RedisError

from meetings.errors import Refused
from meetings.hub import Hub
from meetings.limits import SIGNALS
from meetings.media.messages import P2pFailed, P2pSignal
from meetings.registry import on, on_event, on_join
from meetings.session import RoomSession

AGAIN_AFTER = 1.0  # seconds


async def review(hub: Hub, *, failed: str = "") -> None:
    """Decide anew whether two are connected directly, and tell the room when that has changed."""
    session = next(iter(hub.sessions.values()), None)
    if session is None:
        return  # who is in the room is at another process, which does it
    allowed = session.room.media_mode != "sfu"
    if changed := await hub.live.pair(allowed=allowed, fresh=secrets.token_urlsafe(9), failed=failed):
        await hub.spread(*changed)


def review_soon(hub: Hub, data: dict[str, Any]) -> None:
    if hub.paired or len(hub.sessions) <= 2:
        hub.hubs.spawn(_review_until_done(hub), f"pairing in {hub.code}")


async def _review_until_done(hub: Hub) -> None:
    """A pair that should have ended may not outlive a moment in which Redis was away."""
    while True:
        try:
            return await review(hub)
        except (RedisError, OSError):
            await asyncio.sleep(AGAIN_AFTER)


@on_event("p2p:changed")
def remember(hub: Hub, data: dict[str, Any]) -> None:
    hub.paired = data["pair"] is not None


for event in ("participant:left", "recording:stopped", "stream:stopped", "room:updated"):
    on_event(event)(review_soon)


@on_join
async def joined(session: RoomSession, answer: dict[str, Any]) -> None:
    """When the answer is out: the first signal may come at once, and must find this socket in its place."""
    hub = session.hub
    session.after_answer(lambda: review_soon(hub, {}))


async def _other(session: RoomSession, pair: str | None) -> tuple[str, str]:
    """-> the one whom this person is connected with, and the pair's id."""
    current = await session.hub.live.current_pair()
    if current is None or session.participant_id not in current["participants"]:
        raise Refused("forbidden", "You are not connected with anybody directly.")
    if pair is not None and pair != current["pair"]:
        raise Refused("wrong_state", "That connection has ended.")
    (other,) = (pid for pid in current["participants"] if pid != session.participant_id)
    return other, current["pair"]


@on("p2p:signal", P2pSignal, lane="p2p", limit=SIGNALS)
async def signal(session: RoomSession, message: P2pSignal) -> None:
    """Passed on and forgotten: it tells people's network addresses."""
    if message.description is None and message.candidate is None:
        raise Refused("bad_request", "A signal has a description or a candidate.")
    other, pair = await _other(session, message.pair)
    if message.participant_id != other:
        raise Refused("forbidden", "You are not connected with this participant directly.")
    passed = {
        name: msgspec.to_builtins(value)
        for name in ("description", "candidate")
        if (value := getattr(message, name)) is not None
    }
    await session.hub.send_to(other, "p2p:signal", {"participant_id": session.participant_id, "pair": pair, **passed})


@on("p2p:failed", P2pFailed, lane="p2p", limit=SIGNALS)
async def failed(session: RoomSession, message: P2pFailed) -> None:
    """No way was found, or it broke: the worker carries them until one of them comes anew. Both may say so."""
    try:
        await _other(session, message.pair)
    except Refused:
        return  # known already
    await review(session.hub, failed=message.pair)
