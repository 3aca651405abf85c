"""Which media worker holds a room: written once in Redis, so that all web processes agree.

`lectern:room:<code>:worker` holds the placement. Who finds none chooses a worker by the ring and writes it with
`SET NX`; who loses that race takes what the winner wrote. When a placed worker is gone, `give_up` takes exactly that
placement away and, in the same step, leaves the order `lectern:room:<code>:restart`: the room's clients must be told
that their media is void. Every process that has the room open on its next worker tries to fulfil the order, so it does
not matter which of them dies; the event log lets only the first through (`once`).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis

from meetings.media.ring import Candidate, choose_worker
from sfu.protocol import HEARTBEAT_KEY, LEASE, Heartbeat

PLACEMENT_KEY = "lectern:room:{room}:worker"
RESTART_KEY = "lectern:room:{room}:restart"
KEPT = int(LEASE) * 5  # seconds that a placement nobody refreshes is kept: longer than any peer's lease on the worker

GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
    return 1
end
return 0
"""
ORDER_IF_UNPLACED = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2], 'NX')
    return 1
end
return 0
"""
FULFIL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Placement(msgspec.Struct, frozen=True):
    """A room's worker. The epoch names the worker's start: after a restart it is another worker."""

    worker_id: str
    epoch: str


class Order(msgspec.Struct, frozen=True):
    """Tell the room's clients, for this reason. The token tells one order from the next."""

    reason: str
    token: str


@dataclass(frozen=True, slots=True)
class Placed:
    placement: Placement
    heartbeat: Heartbeat


class Placements:
    """The registry of workers and the placements of rooms. `region` is this web process's own."""

    def __init__(self, redis: Redis, region: str = "") -> None:
        self.redis = redis
        self.region = region
        self._give_up = redis.register_script(GIVE_UP)
        self._order_if_unplaced = redis.register_script(ORDER_IF_UNPLACED)
        self._fulfil = redis.register_script(FULFIL)

    async def workers(self) -> dict[str, Heartbeat]:
        """Every worker whose heartbeat is fresh (a heartbeat expires by itself), by worker id."""
        keys = [key async for key in self.redis.scan_iter(HEARTBEAT_KEY.format(worker_id="*"), count=1000)]
        found: dict[str, Heartbeat] = {}
        for value in await self.redis.mget(keys) if keys else []:
            try:
                heartbeat = msgspec.json.decode(value or b"", type=Heartbeat)
            except msgspec.DecodeError:
                continue  # expired in between, or written by a program that is not ours
            found[heartbeat.worker_id] = heartbeat
        return found

    async def current(self, room: str) -> Placement | None:
        return decode(await self.redis.get(PLACEMENT_KEY.format(room=room)))

    async def current_of(self, rooms: list[str]) -> dict[str, Placement | None]:
        """The placements of many rooms by one question."""
        if not rooms:
            return {}
        values = await self.redis.mget([PLACEMENT_KEY.format(room=room) for room in rooms])
        return {room: decode(value) for room, value in zip(rooms, values, strict=True)}

    async def find(self, room: str) -> Placed | None:
        """Where the room is now, if its worker's heartbeat is fresh; nothing is placed for this."""
        current = await self.current(room)
        heartbeat = (await self.workers()).get(current.worker_id) if current else None
        if current is None or heartbeat is None or heartbeat.epoch != current.epoch:
            return None
        return Placed(current, heartbeat)

    async def place(self, room: str, unreachable: Collection[Placement] = ()) -> Placed | None:
        """Where the room is, placing it when it has no place or its worker is gone. None: no worker takes it.

        `unreachable` are workers that this process found gone before their heartbeats expired.
        """
        workers = await self.reachable(unreachable)
        asked_again = False
        while True:
            current = await self.current(room)
            if current is None:
                worker_id = choose_worker(
                    room, [Candidate.of(heartbeat) for heartbeat in workers.values()], self.region
                )
                if worker_id is None:
                    return None
                placement = Placement(worker_id, workers[worker_id].epoch)
                if await self._write(room, placement):
                    return Placed(placement, workers[worker_id])
                continue  # another process was first: take what it wrote
            heartbeat = workers.get(current.worker_id)
            if heartbeat is not None and heartbeat.epoch == current.epoch:
                return Placed(current, heartbeat)
            if asked_again:
                await self.give_up(room, current, "worker_lost")
            else:  # the worker may have started, and been chosen by another process, since we looked
                workers = await self.reachable(unreachable)
                asked_again = True

    async def reachable(self, unreachable: Collection[Placement]) -> dict[str, Heartbeat]:
        """The workers whose heartbeat is fresh, but for those."""
        workers = await self.workers()
        return {
            worker_id: heartbeat
            for worker_id, heartbeat in workers.items()
            if Placement(worker_id, heartbeat.epoch) not in unreachable
        }

    async def keep(self, room: str, placement: Placement) -> None:
        """Put a working placement back that Redis has lost, and keep it from expiring."""
        if not await self._write(room, placement):
            await self.redis.expire(PLACEMENT_KEY.format(room=room), KEPT)

    async def give_up(self, room: str, placement: Placement, reason: str) -> bool:
        """Take this very placement away. False: another process did so before."""
        order = msgspec.json.encode(Order(reason, placement.epoch))
        return bool(await self._give_up(keys=self._keys(room), args=[encode(placement), order, KEPT]))

    async def order_restart(self, room: str, reason: str) -> bool:
        """Somebody joined a room that has no worker: when it gets one, its clients must hear. False: it has one."""
        order = msgspec.json.encode(Order(reason, secrets.token_hex(8)))
        return bool(await self._order_if_unplaced(keys=self._keys(room), args=[order, KEPT]))

    async def order(self, room: str) -> Order | None:
        value = await self.redis.get(RESTART_KEY.format(room=room))
        return msgspec.json.decode(value, type=Order) if value else None

    async def fulfilled(self, room: str, order: Order) -> None:
        """The clients were told. A newer order stays."""
        await self._fulfil(keys=[RESTART_KEY.format(room=room)], args=[msgspec.json.encode(order)])

    async def forget(self, room: str) -> None:
        """The room has ended."""
        await self.redis.delete(*self._keys(room))

    def _keys(self, room: str) -> list[str]:
        return [PLACEMENT_KEY.format(room=room), RESTART_KEY.format(room=room)]

    async def _write(self, room: str, placement: Placement) -> bool:
        key = PLACEMENT_KEY.format(room=room)
        return bool(await self.redis.set(key, encode(placement), nx=True, ex=KEPT))


def encode(placement: Placement) -> bytes:
    return msgspec.json.encode(placement)


def decode(value: bytes | str | None) -> Placement | None:
    return msgspec.json.decode(value, type=Placement) if value else None
