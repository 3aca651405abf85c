"""A room as it is now, shared by all web processes in Redis: who is in, hands, producers, what is being recorded.

It may be lost (Redis holds nothing that matters for good): then clients come back with a whole snapshot and fill it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from redis import RedisError
from redis.asyncio import Redis

from meetings import scripts
from meetings.redis_client import plain, room_key

LEASE = 60  # seconds a person whose connection was lost counts as in the class
SHORT_LEASE = 10  # seconds for one whose browser said goodbye (a closed tab): a reload is back within them

Json = dict[str, Any]
News = tuple[Literal["joined", "updated", "left"], str, Json]  # what happened, to which participant_id, the fields


@dataclass(frozen=True, slots=True)
class Entered:
    outcome: Literal["joined", "returned", "replaced", "full", "stale"]
    session: str
    old_socket: str  # of this person, open until now; or ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody whose lease has run out."""

    participant_id: str
    session: str
    ago: float  # seconds since this person was last seen


@dataclass(frozen=True, slots=True)
class Gathered:
    """Frames that are now numbered and kept; when there are none, how long (ms) to wait before asking again."""

    wait: int
    events: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    seq: int
    people: list[Json]  # as on the wire, in the order of joining
    info: Json

    def find(self, participant_id: str) -> Json | None:
        return next((person for person in self.people if person["participant_id"] == participant_id), None)


class LiveRoom:
    def __init__(self, redis: Redis, code: str) -> None:
        self.redis = redis
        self.code = code
        script = redis.register_script
        self._enter, self._disconnect = script(scripts.ENTER), script(scripts.DISCONNECT)
        self._leave, self._reap, self._renew = script(scripts.LEAVE), script(scripts.REAP), script(scripts.RENEW)
        self._gather, self._patch = script(scripts.GATHER), script(scripts.PATCH)
        self._snapshot, self._raise = script(scripts.SNAPSHOT), script(scripts.RAISE_HAND)
        self._pair = script(scripts.PAIR)

    def key(self, name: str) -> str:
        return room_key(self.code, name)

    def keys(self, *names: str) -> list[str]:
        return [self.key(name) for name in names]

    # --- presence ----------------------------------------------------------------------------------------------------

    async def enter(
        self, person: Json, *, wanted_session: str, new_session: str, socket: str, capacity: int
    ) -> Entered:
        """Atomically: is there room (`capacity` 0: always), does the same session return, does it replace another?"""
        outcome, session, old_socket = await self._enter(
            keys=self.keys("people", "sessions", "sockets", "leases"),
            args=[
                person["participant_id"], wanted_session, new_session, socket, msgspec.json.encode(person), capacity,
                LEASE,
            ],
        )  # fmt: skip
        return Entered(outcome.decode(), session.decode(), old_socket.decode())

    async def disconnect(self, participant_id: str, socket: str, lease: int = LEASE) -> bool:
        """The socket closed: away, for `lease` seconds. False when another socket has taken over."""
        return bool(
            await self._disconnect(
                keys=self.keys("people", "sockets", "leases", "pending"), args=[participant_id, socket, lease]
            )
        )

    async def leave(self, participant_id: str, reason: str, session: str = "") -> bool:
        """Out, with all that is theirs. `session`: only if it is still that one. Without a reason nobody is told."""
        return bool(await self._leave(keys=presence_keys(self.code), args=[participant_id, session, reason]))

    async def reap(self) -> list[Lost]:
        """Those whose lease has run out; every one is told to one process alone."""
        return _lost(await self._reap(keys=presence_keys(self.code), args=[LEASE, 0]))

    async def renew(self, participant_ids: Iterable[str]) -> list[str]:
        """-> those of them who are in no more: a renewal brings nobody back."""
        ids = list(participant_ids)
        if not ids:
            return []
        keys = self.keys("leases", "people", "sessions", "sockets", "hands", "producers", "info")
        return [pid.decode() for pid in await self._renew(keys=keys, args=[LEASE, *ids])]

    async def gather(self, *news: News) -> Gathered:
        """Take in news of participants, and number what may be told by now (at most 4 frames a second a room)."""
        args: list[Any] = []
        for kind, participant_id, data in news:
            args += [kind, participant_id, msgspec.json.encode({"participant_id": participant_id, **data})]
        reply = await self._gather(keys=self.keys("pending", "gate", "seq", "log"), args=args)
        pairs = zip(reply[1::2], reply[2::2], strict=True)
        return Gathered(int(reply[0]), [(int(seq), body.decode()) for seq, body in pairs])

    # --- people ------------------------------------------------------------------------------------------------------

    async def update_person(self, participant_id: str, **changes: Any) -> Json | None:
        """Merge fields (JSON without lists) into a person's; None when nobody of that id is in."""
        merged = await self._patch(keys=self.keys("people"), args=[participant_id, msgspec.json.encode(changes)])
        return None if merged is None else msgspec.json.decode(merged)

    async def person(self, participant_id: str) -> Json | None:
        stored = await self.redis.hget(self.key("people"), participant_id)
        return None if stored is None else msgspec.json.decode(stored)

    async def people(self) -> list[Json]:
        return [msgspec.json.decode(value) for value in await self.redis.hvals(self.key("people"))]

    async def is_empty(self) -> bool:
        return not await self.redis.exists(self.key("people"))

    async def snapshot(self) -> Snapshot:
        """All of the room at one moment; events numbered above its `seq` come after it."""
        seq, people_json, hands_json, producers_json, info_json = await self._snapshot(
            keys=self.keys("seq", "people", "hands", "producers", "info")
        )
        hands = {pid: place for place, pid in enumerate(msgspec.json.decode(hands_json), start=1)}
        producers: dict[str, list[Json]] = {}
        for producer in msgspec.json.decode(producers_json):
            producers.setdefault(producer.pop("participant_id"), []).append(producer)
        people = sorted(msgspec.json.decode(people_json), key=lambda person: person.get("joined_at", 0))
        for person in people:
            pid = person["participant_id"]
            person["hand"] = hands.get(pid)
            person["producers"] = producers.get(pid, [])
        return Snapshot(int(seq or 0), people, msgspec.json.decode(info_json))

    # --- hands -------------------------------------------------------------------------------------------------------

    async def raise_hand(self, participant_id: str) -> tuple[int, int, bool]:
        """(position, raised at in ms, whether it was not up before); position 0: that person is not in."""
        position, at, newly = await self._raise(keys=self.keys("people", "hands"), args=[participant_id])
        return int(position), int(at), bool(newly)

    async def hand_of(self, participant_id: str) -> int | None:
        """The hand's place in the order, 1 for the first; None when it is down."""
        place = await self.redis.zrank(self.key("hands"), participant_id)
        return int(place) + 1 if isinstance(place, int) else None

    async def lower_hand(self, participant_id: str) -> bool:
        return bool(await self.redis.zrem(self.key("hands"), participant_id))

    async def lower_all_hands(self) -> bool:
        return bool(await self.redis.delete(self.key("hands")))

    # --- producers (the media part tells) ----------------------------------------------------------------------------

    async def set_producer(self, participant_id: str, producer: Json) -> None:
        """`producer`: {producer_id, kind, source, paused}; the same id again replaces it."""
        stored = msgspec.json.encode({**producer, "participant_id": participant_id})
        await self.redis.hset(self.key("producers"), producer["producer_id"], stored)

    async def update_producer(self, producer_id: str, **changes: Any) -> Json | None:
        """With its participant_id; None when there is none of that id."""
        merged = await self._patch(keys=self.keys("producers"), args=[producer_id, msgspec.json.encode(changes)])
        return None if merged is None else msgspec.json.decode(merged)

    async def remove_producer(self, producer_id: str) -> bool:
        """Whether it was there: of two who remove it, one is told True."""
        return bool(await self.redis.hdel(self.key("producers"), producer_id))

    async def producer(self, producer_id: str) -> Json | None:
        """With its participant_id."""
        stored = await self.redis.hget(self.key("producers"), producer_id)
        return None if stored is None else msgspec.json.decode(stored)

    async def producers(self) -> dict[str, list[Json]]:
        """By participant_id."""
        found: dict[str, list[Json]] = {}
        for value in await self.redis.hvals(self.key("producers")):
            producer = msgspec.json.decode(value)
            found.setdefault(producer.pop("participant_id"), []).append(producer)
        return found

    async def clear_producers(self) -> None:
        """The media worker went: all of its ids are void."""
        await self.redis.delete(self.key("producers"))

    # --- what else is going on ---------------------------------------------------------------------------------------

    async def set_info(self, name: str, value: Any) -> None:
        """A fact about the room for snapshots, as JSON; None takes it away. `name` is one of ours, never a user's."""
        if value is None:
            await self.redis.hdel(self.key("info"), name)
        else:
            await self.redis.hset(self.key("info"), name, msgspec.json.encode(value))

    async def info(self, name: str) -> Any:
        stored = await self.redis.hget(self.key("info"), name)
        return None if stored is None else msgspec.json.decode(stored)

    async def set_recording(self, recording: Json | None) -> None:
        """What the answer of room:join has as `recording` (`shown_recording`)."""
        await self.set_info("recording", recording)

    async def recording(self) -> Json | None:
        recording: Json | None = await self.info("recording")
        return recording

    # --- who is connected directly, without the media worker ---------------------------------------------------------

    async def pair(self, *, allowed: bool, fresh: str, failed: str = "") -> tuple[int, str] | None:
        """Decide anew, at one moment, whether two people are alone here and are connected directly.

        -> the numbered event when that has changed. `fresh`: the id of a new pair; `failed`: that of one whose path
        broke: these visits are not connected again.
        """
        keys = self.keys("people", "sessions", "info", "seq", "log")
        reply = await self._pair(keys=keys, args=[int(allowed), fresh, failed])
        return (int(reply[0]), reply[1].decode()) if reply else None

    async def current_pair(self) -> Json | None:
        """`{pair, participants}`, or None while all media go through the worker."""
        stored = await self.info("p2p")
        return None if stored is None else shown_pair(stored)

    async def clear(self) -> None:
        """The class has ended. The numbers go on: those who come back late are told so by the log."""
        names = ("people", "sessions", "sockets", "leases", "hands", "producers", "info", "pending")
        await self.redis.delete(*self.keys(*names))


def shown_pair(stored: Json) -> Json:
    """Without the sessions, which are secrets."""
    return {"pair": stored["pair"], "participants": stored["participants"]}


def shown_recording(stored: Json, now: float) -> Json:
    """With the seconds recorded by now: a browser's clock may be wrong, so it is told how many and not since when."""
    shown = {name: value for name, value in stored.items() if name != "as_of"}
    if stored["status"] == "recording":
        shown["elapsed"] = round(stored["elapsed"] + max(0.0, now - stored["as_of"]), 3)
    return shown


def presence_keys(code: str) -> list[str]:
    names = ("people", "sessions", "sockets", "leases", "hands", "producers", "pending")
    return [room_key(code, name) for name in names]


def reap_abandoned(code: str) -> list[Lost] | None:
    """For tasks: as `LiveRoom.reap`, but a lease longer, since a room's hubs come first. None: Redis is away."""
    keys = presence_keys(code)
    try:
        return _lost(plain().eval(scripts.REAP, len(keys), *keys, LEASE, LEASE))
    except RedisError:
        return None


def _lost(reply: Any) -> list[Lost]:
    parts = [part.decode() for part in reply]
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return [Lost(participant_id, session, float(ago)) for participant_id, session, ago in triples]
