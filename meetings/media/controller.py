"""All media of one web process: its connections to workers, its rooms, and one look a second at who is still there.

A worker is seen gone at once by its connection; one that hangs, or whose machine vanished, by its heartbeat. While
Redis is away nobody is declared gone: heartbeats cannot be read, and the media flow without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from meetings.hub import Hub, Hubs, process_hubs
from meetings.media.placement import Placement, Placements
from meetings.media.pool import WorkerPool
from meetings.media.room_media import RoomMedia
from meetings.media.seats import Seats
from sfu.protocol import EVENTS, HEARTBEAT_EVERY, HEARTBEAT_EXPIRES, Heartbeat, InvalidRequest, Request

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
KEEP_EVERY = 60.0  # seconds between two refreshes of a placement's expiry
BUSY = 0.95  # of its core: a worker that uses so much sends late
BUSY_FOR = 5  # looks in a row until the class is told
TELL_AGAIN_AFTER = 60.0  # seconds
# Seconds that Redis must have answered before a missing heartbeat means anything: it may have come back empty.
TRUST_AFTER = HEARTBEAT_EXPIRES + HEARTBEAT_EVERY


class MediaController:
    """`name` tells this process in the workers' logs."""

    def __init__(self, redis: Redis, name: str = "") -> None:
        self.placements = Placements(redis, settings.SFU_REGION)
        self.seats = Seats(self.placements, settings.SFU_ROOM_PEERS)
        self.pool = WorkerPool(
            secret=settings.SFU_CONTROL_SECRET,
            name=name or f"web-{socket.gethostname()}-{os.getpid()}",
            on_event=self._event,
            on_broken=self._broken,
        )
        self.rooms: dict[str, RoomMedia] = {}
        self._looking: asyncio.Task[None] | None = None
        self._trusted_from = 0.0
        self._kept = 0.0
        self._busy: dict[str, int] = {}  # looks in a row, by worker id
        self._told_busy: dict[str, float] = {}  # when, by room

    def open(self, hub: Hub) -> RoomMedia:
        """The media of the hub's room; made when there is none."""
        room = self.rooms.get(hub.code)
        if room is None:
            room = self.rooms[hub.code] = RoomMedia(hub, self.placements, self.seats, self.pool)
        if self._looking is None:
            self._trusted_from = time.monotonic() + TRUST_AFTER
            self._looking = asyncio.create_task(self._look(), name="media workers")
        return room

    async def close(self, code: str) -> None:
        """This process has no socket in the room any more. The media go on: others may be in it elsewhere."""
        if room := self.rooms.pop(code, None):
            await room.close()
        if not self.rooms:
            if self._looking is not None:
                self._looking.cancel()
                self._looking = None
            await self.pool.close()

    async def stop(self) -> None:
        """As if the process ended: nobody is told, the workers see the connections close."""
        for code in list(self.rooms):
            await self.close(code)

    async def ask(self, code: str, request: Request) -> Any:
        """Ask the worker that a room is on, even when this process has nobody in that room.

        Raises InvalidRequest("media_unavailable") when the room is nowhere; it is not placed for this.
        """
        placed = await self.placements.find(code)
        if placed is None:
            raise InvalidRequest("media_unavailable", "This class has no media worker.")
        return await (await self.pool.client(placed)).request(request)

    # --- news --------------------------------------------------------------------------------------------------------

    def _event(self, event: EVENTS) -> None:
        if room := self.rooms.get(event.room):
            room.heard(event)

    def _broken(self, worker: Placement) -> None:
        for room in self.rooms.values():
            if room.placement == worker:
                room.recover()
            elif worker in room.edges.clients:
                room.lose_edge(worker)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            try:
                await self.look(now)
            except (RedisError, OSError) as error:
                if self._trusted_from <= now:  # once a time that Redis is away
                    log.warning("Media workers' heartbeats cannot be read: %s", error)
                self._trusted_from = now + TRUST_AFTER
            except Exception:
                log.exception("Looking after the media workers failed")

    async def look(self, now: float) -> None:
        workers = await self.placements.workers()
        current = await self.placements.current_of(list(self.rooms))
        keep_all = now - self._kept >= KEEP_EVERY
        self._kept = now if keep_all else self._kept
        gone: set[Placement] = set()
        for code, room in list(self.rooms.items()):
            mine, stored = room.placement, current.get(code)
            gone |= {edge for edge in room.edges.clients if self._is_gone(edge, workers, now)}
            if mine is None:
                continue  # nobody needs media yet, or it is being looked for
            if stored is not None and stored != mine:
                room.recover()  # another process moved it
            elif self._is_gone(mine, workers, now):
                gone.add(mine)
            elif stored is None or keep_all:
                await room.keep(mine)
        await self._tell_busy(workers, now)
        for worker in gone:
            log.warning("Media worker %s has no heartbeat any more", worker.worker_id)
            await self.pool.drop(worker)
            self._broken(worker)

    async def _tell_busy(self, workers: dict[str, Heartbeat], now: float) -> None:
        """To the people of this process whose worker is short of CPU."""
        busy = {worker_id for worker_id, heartbeat in workers.items() if heartbeat.load >= BUSY}
        self._busy = {worker_id: self._busy.get(worker_id, 0) + 1 for worker_id in busy}
        self._told_busy = {code: at for code, at in self._told_busy.items() if now - at < TELL_AGAIN_AFTER}
        for code, room in self.rooms.items():
            if code in self._told_busy:
                continue
            for media in list(room.peers.values()):
                at = media.at or room.placement
                if at is not None and self._busy.get(at.worker_id, 0) >= BUSY_FOR:
                    self._told_busy[code] = now
                    await media.session.send("quality:warning", {"issue": "cpu"})

    def _is_gone(self, worker: Placement, workers: dict[str, Heartbeat], now: float) -> bool:
        heartbeat = workers.get(worker.worker_id)
        if heartbeat is not None:
            return heartbeat.epoch != worker.epoch
        return now >= self._trusted_from


_controllers: WeakKeyDictionary[Hubs, MediaController] = WeakKeyDictionary()


def media_beside(hubs: Hubs) -> MediaController:
    """The media of the process whose hubs these are."""
    if hubs not in _controllers:
        _controllers[hubs] = MediaController(hubs.redis)
    return _controllers[hubs]


def media_holding(code: str) -> MediaController:
    """For those who know a room and no hub: this process's media."""
    return next((media for media in _controllers.values() if code in media.rooms), None) or media_beside(process_hubs())
