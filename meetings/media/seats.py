"""Which of a large room's workers each person is on: written once in Redis, so that all web processes agree.

`lectern:room:<code>:seats` holds a placement for each participant. A room's first people are on its home; how many of
them each worker takes, and which comes next, says the ring (`shares`). Who has a seat keeps it as long as its worker
lives, also over a reload: his transports are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from redis.asyncio import Redis

from meetings.media.placement import KEPT, Placed, Placement, Placements, decode, encode
from meetings.media.ring import ALONE, Candidate, shares

SEATS_KEY = "lectern:room:{room}:seats"

# The seat that the participant has at one of the workers that are offered, else the first free one. Each is offered
# with how many of the room's people it may have. None is free: the emptiest, if `or_else`, else no seat.
TAKE = """
local who, kept, or_else = ARGV[1], ARGV[2], ARGV[3]
local had, taken = redis.call('HGET', KEYS[1], who), {}
for _, seat in ipairs(redis.call('HVALS', KEYS[1])) do taken[seat] = (taken[seat] or 0) + 1 end
local chosen, emptiest
for i = 4, #ARGV, 2 do
    local worker, most = ARGV[i], tonumber(ARGV[i + 1])
    local n = taken[worker] or 0
    if worker == had then return had end
    if not chosen and n < most then chosen = worker end
    if most > 0 and (not emptiest or n < (taken[emptiest] or 0)) then emptiest = worker end
end
if or_else == '0' and had then return '' end
if not chosen and or_else == '1' then chosen = emptiest or ARGV[4] end
if not chosen then return '' end
redis.call('HSET', KEYS[1], who, chosen)
redis.call('EXPIRE', KEYS[1], kept)
return chosen
"""


class Seats:
    """`most`: how many of one room's people one worker takes."""

    def __init__(self, placements: Placements, most: int) -> None:
        self.redis: Redis = placements.redis
        self._placements = placements
        self._most = most
        self._take = self.redis.register_script(TAKE)

    async def take(
        self, room: str, participant_id: str, home: Placement, unreachable: Collection[Placement] = ()
    ) -> Placement:
        """The worker that this person is on, found for him when he has none; at home, when nothing better is there."""
        seat = await self._ask(room, participant_id, [(home, min(ALONE, self._most))], or_else=False)
        if seat is not None:
            return seat
        alive = await self._placements.reachable(unreachable)
        present = {seat.worker_id for seat in await self.counts(room)}
        candidates = [Candidate.of(heartbeat) for heartbeat in alive.values()]
        offered = shares(room, home.worker_id, candidates, present=present, most=self._most)
        seats = [(Placement(worker_id, alive[worker_id].epoch), most) for worker_id, most in offered]
        if home not in [worker for worker, _ in seats]:  # its heartbeat is late; who is at home stays there
            seats.insert(0, (home, 0))
        return await self._ask(room, participant_id, seats, or_else=True) or home

    async def _ask(
        self, room: str, participant_id: str, seats: list[tuple[Placement, int]], *, or_else: bool
    ) -> Placement | None:
        offered = [part for seat, most in seats for part in (encode(seat), most)]
        chosen = await self._take(
            keys=[SEATS_KEY.format(room=room)], args=[participant_id, KEPT, int(or_else), *offered]
        )
        return decode(chosen)

    async def counts(self, room: str) -> Counter[Placement]:
        """How many of the room's people each worker has."""
        values = await self.redis.hvals(SEATS_KEY.format(room=room))
        return Counter(seat for value in values if (seat := decode(value)) is not None)

    async def leave(self, room: str, participant_id: str) -> None:
        await self.redis.hdel(SEATS_KEY.format(room=room), participant_id)

    async def keep(self, room: str, seats: Mapping[str, Placement]) -> None:
        """Put back those that Redis has lost, and keep all from expiring."""
        key = SEATS_KEY.format(room=room)
        async with self.redis.pipeline(transaction=False) as pipeline:
            for participant_id, seat in seats.items():
                pipeline.hsetnx(key, participant_id, encode(seat))
            pipeline.expire(key, KEPT)
            await pipeline.execute()

    async def forget(self, room: str) -> None:
        """The room has ended."""
        await self.redis.delete(SEATS_KEY.format(room=room))

    async def find(self, worker: Placement) -> Placed | None:
        """Where that worker is reached, while its heartbeat is fresh."""
        heartbeat = (await self._placements.workers()).get(worker.worker_id)
        if heartbeat is None or heartbeat.epoch != worker.epoch:
            return None
        return Placed(worker, heartbeat)
