"""One control connection to each media worker that this process has rooms on, and the news when one breaks.

A connection that broke is not made anew here: the rooms hear of it and ask for the worker again. One that still runs
under the same epoch has kept everything; one that refuses, does not answer, or answers with another epoch is counted as
gone for some seconds, long before its heartbeat expires.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from meetings.media.placement import Placed, Placement
from sfu.client import WorkerClient
from sfu.protocol import EVENTS, HEARTBEAT_EXPIRES, InvalidRequest

log = logging.getLogger(__name__)

# Seconds. A killed worker refuses at once; only one on a vanished machine takes this long, or one that is busy, and a
# room must not be moved off a worker because it was busy for a moment.
CONNECT_TIMEOUT = 3.0
# Seconds. By then a dead worker's heartbeat is gone, and one that has it still is worth another try.
UNREACHABLE_FOR = HEARTBEAT_EXPIRES + 1.0


class WorkerPool:
    """`on_event`: what a worker tells unasked. `on_broken`: the connection to that worker (id and epoch) is lost."""

    def __init__(
        self,
        *,
        secret: str,
        name: str,
        on_event: Callable[[EVENTS], None],
        on_broken: Callable[[Placement], None],
    ) -> None:
        self._secret = secret
        self._name = name
        self._on_event = on_event
        self._on_broken = on_broken
        self._clients: dict[Placement, WorkerClient] = {}
        self._connecting: dict[Placement, asyncio.Lock] = {}
        self._unreachable: dict[Placement, float] = {}

    @property
    def unreachable(self) -> set[Placement]:
        """Workers that were found gone a moment ago, although their heartbeats may still be there."""
        now = time.monotonic()
        self._unreachable = {worker: until for worker, until in self._unreachable.items() if until > now}
        return set(self._unreachable)

    async def client(self, placed: Placed) -> WorkerClient:
        """The connection to that worker, made when there is none. Raises InvalidRequest("media_unavailable")."""
        worker = placed.placement
        async with self._connecting.setdefault(worker, asyncio.Lock()):
            client = self._clients.get(worker)
            if client is None or client.closed:
                client = self._clients[worker] = await self._connect(placed)
            return client

    async def drop(self, worker: Placement) -> None:
        """The worker is gone by another sign than its connection: its heartbeat stopped."""
        self._give_up(worker)
        if client := self._clients.pop(worker, None):
            await client.close()

    async def close(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _give_up(self, worker: Placement) -> None:
        self._unreachable[worker] = time.monotonic() + UNREACHABLE_FOR
        self._connecting = {other: lock for other, lock in self._connecting.items() if lock.locked()}

    async def _connect(self, placed: Placed) -> WorkerClient:
        worker = placed.placement
        host, _, port = placed.heartbeat.control.rpartition(":")
        try:
            client = await WorkerClient.connect(
                host.strip("[]"), int(port), secret=self._secret, client=self._name, timeout=CONNECT_TIMEOUT,
                on_event=self._on_event, on_closed=lambda: self._broken(worker),
            )  # fmt: skip
            if client.welcome.epoch != worker.epoch:
                await client.close()
                raise InvalidRequest("media_unavailable", "It has started anew.")
        except (InvalidRequest, ValueError) as error:
            log.warning("Media worker %s cannot be reached: %s", worker.worker_id, error)
            self._give_up(worker)
            raise InvalidRequest("media_unavailable", "The media worker cannot be reached.") from error
        return client

    def _broken(self, worker: Placement) -> None:
        self._clients.pop(worker, None)
        self._on_broken(worker)
