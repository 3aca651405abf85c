"""The further workers of one large room, as one web process uses them (`docs/decisions/0017-*`).

Opened when somebody of this process sits there, told where the room's home is, and asked about those people alone. What
the workers do among themselves is theirs.
"""

from __future__ import annotations

import asyncio
import logging

from redis.exceptions import RedisError

from meetings.media.placement import Placed, Placement
from meetings.media.pool import WorkerPool
from meetings.media.seats import Seats
from meetings.media.session_media import SessionMedia
from sfu.client import WorkerClient
from sfu.protocol import Home, InvalidRequest, OpenRoom, ReleaseRoom

log = logging.getLogger(__name__)

EDGES_TRIED = 3  # for one person; then he is at home, however full that is
OPEN_WITHIN = 1.5  # seconds: one that hangs must leave time to join on another
PATIENCE = 1.0  # seconds for an answer that nothing depends on


class Edges:
    def __init__(self, code: str, seats: Seats, pool: WorkerPool) -> None:
        self.code = code
        self.clients: dict[Placement, WorkerClient] = {}
        self.lost: set[Placement] = set()  # to be opened again, or given up
        self._home: Home | None = None
        self._seats = seats
        self._pool = pool
        self._opening = asyncio.Lock()

    def home_is(self, home: Placed, *, same: bool) -> None:
        """Where the room is at home from now on. Another home: its edges know nothing of it yet."""
        self._home = Home(control=home.heartbeat.control, epoch=home.placement.epoch)
        if not same:
            self.clients.clear()
            self.lost.clear()

    async def sit(self, media: SessionMedia, home: Placement) -> None:
        """Find out which worker this person is on, and have the room open there."""
        avoid: set[Placement] = set()
        for _ in range(EDGES_TRIED):
            try:
                seat = await self._seats.take(self.code, media.peer, home, self._pool.unreachable | avoid)
            except (RedisError, OSError):
                return  # as it was: the media go on without Redis
            media.at = None if seat == home else seat
            if media.at is None:
                return
            try:
                await self.client(media.at)
                return
            except InvalidRequest as error:
                log.warning("Room %s cannot be opened on %s besides: %s", self.code, seat.worker_id, error)
                avoid.add(seat)
        media.at = None

    async def client(self, at: Placement) -> WorkerClient:
        """The connection to that worker, with the room open there. Raises InvalidRequest."""
        async with self._opening:
            client = self.clients.get(at)
            if client is not None and not client.closed:
                return client
            assert self._home is not None
            placed = await self._seats.find(at)
            if placed is None:
                raise InvalidRequest("media_unavailable", "The worker is gone.")
            client = await self._pool.client(placed)
            await client.request(OpenRoom(room=self.code, home=self._home), timeout=OPEN_WITHIN)
            self.clients[at] = client
            return client

    async def keep(self, seats: dict[str, Placement]) -> None:
        await self._seats.keep(self.code, seats)

    async def leave(self, participant_id: str) -> None:
        try:
            await self._seats.leave(self.code, participant_id)
        except (RedisError, OSError) as error:
            log.debug("A seat in %s is not given up: %s", self.code, error)  # it goes with the room's

    async def release(self) -> None:
        """This process has nobody in the room any more."""
        for client in self.clients.values():
            if not client.closed:
                try:
                    await client.request(ReleaseRoom(room=self.code), timeout=PATIENCE)
                except InvalidRequest as error:
                    log.debug("ReleaseRoom: %s", error)

    def reset(self) -> None:
        self.clients.clear()
        self.lost.clear()
