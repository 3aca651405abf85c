"""A room's events, numbered and kept in Redis by one atomic step: what the channel layer loses is read from here.

Kept are the last 1,000 events or those of the last 5 minutes, whichever is more. An event is stored as its body, the
ready-made text behind the number: `"event":"chat:message","data":{...}}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis

from meetings import scripts
from meetings.redis_client import plain, room_key

ONCE_SECONDS = 3600  # how long the same message sent again is recognised
LIMIT = 2000  # events in one reading


def body_of(event: str, data: Any) -> str:
    return f'"event":{msgspec.json.encode(event).decode()},"data":{msgspec.json.encode(data).decode()}}}'


def numbered(seq: int, body: str) -> str:
    """The frame as clients get it."""
    return f'{{"seq":{seq},{body}'


def fleeting(body: str) -> str:
    return "{" + body


def event_name(body: str) -> str:
    """`"event":"chat:message",...` -> chat:message"""
    return body[9 : body.index('"', 9)]


def event_data(body: str) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(fleeting(body))["data"]
    return data


@dataclass(frozen=True, slots=True)
class Missed:
    """Events after a number, in order. Not complete: some are gone for good, only a snapshot helps."""

    complete: bool
    events: list[tuple[int, str]]


class EventLog:
    def __init__(self, redis: Redis, code: str) -> None:
        self.code = code
        self.redis = redis
        self._seq, self._log = room_key(code, "seq"), room_key(code, "log")
        self._publish = redis.register_script(scripts.PUBLISH)
        self._ensure = redis.register_script(scripts.ENSURE)
        self._since = redis.register_script(scripts.SINCE)

    async def append(self, body: str, once: str = "") -> tuple[int, bool]:
        """Number and keep an event -> (seq, whether it is new). The same `once` is numbered one time only."""
        key = room_key(self.code, f"once:{once}") if once else ""
        seq, fresh = await self._publish(keys=[self._seq, self._log, key], args=[body, ONCE_SECONDS])
        return int(seq), bool(fresh)

    async def current(self) -> int | None:
        """The last number, or None when Redis has lost the log."""
        value = await self.redis.get(self._seq)
        return None if value is None else int(value)

    async def ensure(self) -> int:
        return int(await self._ensure(keys=[self._seq]))

    async def since(self, after: int, limit: int = LIMIT) -> Missed:
        reply = await self._since(keys=[self._seq, self._log], args=[after, limit])
        pairs = zip(reply[1::2], reply[2::2], strict=True)
        return Missed(bool(reply[0]), [(int(seq), body.decode()) for seq, body in pairs])


def tell_from_a_page(code: str, event: str, data: dict[str, Any]) -> None:
    """An event for all in a room, from where there is no hub: numbered and kept, and found by the hubs within 2 s.

    Raises RedisError. Call it after the database has committed.
    """
    keys = [room_key(code, "seq"), room_key(code, "log"), ""]
    plain().register_script(scripts.PUBLISH)(keys=keys, args=[body_of(event, data), ONCE_SECONDS])
