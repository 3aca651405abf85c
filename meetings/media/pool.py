"""One control connection to each media worker that this process has rooms on, and the news when one is gone.

A connection that breaks is tried again at once: a worker that still runs under the same epoch has kept everything, and
its rooms are only opened again. One that refuses, does not answer, or answers with another epoch is gone, and its rooms
hear so within a second, long before its heartbeat expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from meetings.media.placement import Placed, Placement
from sfu.client import WorkerClient
from sfu.protocol import EVENTS, HEARTBEAT_EXPIRES, InvalidRequest

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 0.8  # seconds: with it a lost worker is noticed within the second that is promised
UNREACHABLE_FOR = HEARTBEAT_EXPIRES + 1.0  # seconds: by then a dead worker's heartbeat is gone, and one that lives is
# worth another try

OnEvent = Callable[[EVENTS], None]
OnWorker = Callable[[Placement], Awaitable[None]]


class WorkerPool:
    """`on_lost` and `on_reconnected` are told the worker as a placement: its id and epoch."""

    def __init__(self, secret: str, name: str, on_event: OnEvent, on_lost: OnWorker, on_reconnected: OnWorker) -> None:
        self._secret = secret
        self._name = name
        self._on_event = on_event
        self._on_lost = on_lost
        self._on_reconnected = on_reconnected
        self._clients: dict[Placement, WorkerClient] = {}
        self._connecting: dict[Placement, asyncio.Lock] = {}
        self._unreachable: dict[Placement, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def unreachable(self) -> set[Placement]:
        """Workers that were found gone a moment ago, although their heartbeats may still be there."""
        now = time.monotonic()
        self._unreachable = {worker: until for worker, until in self._unreachable.items() if until > now}
        return set(self._unreachable)

    @property
    def connected(self) -> set[Placement]:
        return set(self._clients)

    async def client(self, placed: Placed) -> WorkerClient:
        """The connection to that worker, made when there is none. Raises InvalidRequest("media_unavailable")."""
        worker = placed.placement
        async with self._connecting.setdefault(worker, asyncio.Lock()):
            if worker in self._clients:
                return self._clients[worker]
            try:
                return await self._connect(placed)
            except (OSError, TimeoutError, InvalidRequest) as error:
                logger.warning("Media worker %s cannot be reached: %s", worker.worker_id, error)
                self._unreachable[worker] = time.monotonic() + UNREACHABLE_FOR
                raise InvalidRequest("media_unavailable", "The media worker cannot be reached.") from error

    async def drop(self, worker: Placement) -> None:
        """The worker is counted as gone for another reason than its connection: its heartbeat stopped."""
        self._unreachable[worker] = time.monotonic() + UNREACHABLE_FOR
        if client := self._clients.pop(worker, None):
            await client.close()

    async def close(self) -> None:
        self._closed = True
        clients, self._clients = list(self._clients.values()), {}
        for task in list(self._tasks):
            task.cancel()
        for client in clients:
            with contextlib.suppress(OSError):
                await client.close()

    async def _connect(self, placed: Placed) -> WorkerClient:
        worker = placed.placement
        host, _, port = placed.heartbeat.control.rpartition(":")

        def closed(*_: object) -> None:
            # Only the connection in use counts: not one that failed to open, nor one that we closed ourselves.
            if not self._closed and self._clients.get(worker) is client:
                del self._clients[worker]
                self._start(self._try_again(placed))

        async with asyncio.timeout(CONNECT_TIMEOUT):
            client = await WorkerClient.connect(
                host.strip("[]"), int(port), secret=self._secret, client=self._name,
                on_event=self._on_event, on_closed=closed,
            )  # fmt: skip
        if client.welcome.epoch != worker.epoch:
            await client.close()
            raise InvalidRequest("media_unavailable", "The media worker has started anew.")
        self._clients[worker] = client
        return client

    async def _try_again(self, placed: Placed) -> None:
        try:
            await self.client(placed)
        except InvalidRequest:
            await self._on_lost(placed.placement)
        else:
            await self._on_reconnected(placed.placement)

    def _start(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
