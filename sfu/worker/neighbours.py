"""Connections of one worker to others, made when a room of theirs or ours is on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sfu.client import WorkerClient
from sfu.protocol import InvalidRequest

CONNECT_WITHIN = 2.0  # seconds: both are in one network


class Neighbours:
    """`on_lost`: the connection to the worker of that epoch broke."""

    def __init__(self, *, secret: str, name: str, on_lost: Callable[[str], None]) -> None:
        self._secret = secret
        self._name = name
        self._on_lost = on_lost
        self._clients: dict[str, WorkerClient] = {}
        self._connecting: dict[str, asyncio.Lock] = {}

    async def client(self, control: str, epoch: str) -> WorkerClient:
        """The connection to the worker at that "host:port". Raises InvalidRequest: it is not there, or is another."""
        async with self._connecting.setdefault(epoch, asyncio.Lock()):
            client = self._clients.get(epoch)
            if client is None or client.closed:
                client = self._clients[epoch] = await self._connect(control, epoch)
            return client

    async def _connect(self, control: str, epoch: str) -> WorkerClient:
        host, _, port = control.rpartition(":")
        if not host or not port.isdecimal():
            raise InvalidRequest("bad_request", "the other worker's address is not host:port")
        client = await WorkerClient.connect(
            host.strip("[]"), int(port), secret=self._secret, client=self._name, timeout=CONNECT_WITHIN,
            on_closed=lambda: self._lost(epoch),
        )  # fmt: skip
        if client.welcome.epoch != epoch:
            await client.close()
            raise InvalidRequest("media_unavailable", "the other worker has started anew")
        return client

    def _lost(self, epoch: str) -> None:
        self.forget(epoch)
        self._on_lost(epoch)

    def forget(self, epoch: str) -> WorkerClient | None:
        """No room is on both any more; who asks for this closes the connection."""
        lock = self._connecting.get(epoch)
        if lock is not None and not lock.locked():
            del self._connecting[epoch]
        return self._clients.pop(epoch, None)

    async def close(self) -> None:
        for epoch in list(self._clients):
            if client := self.forget(epoch):
                await client.close()
