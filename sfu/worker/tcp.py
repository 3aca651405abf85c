"""ICE over TCP for those whose network lets no UDP through: passive, packets led by two bytes of length (RFC 4571)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfu.worker.endpoint import Endpoint

MAX_FRAME = 2000  # bytes: media and STUN stay below 1500
MAX_BUFFER = 256 * 1024  # bytes waiting to be written; beyond it media is dropped, as a full queue on the way would
HURRY = 10.0  # seconds in which a new connection must prove who it is
MAX_STRANGERS = 256  # connections that have not proved it yet


class TcpConnection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._hurry: asyncio.TimerHandle | None = None
        self._since = 0.0
        self.address: tuple[Any, ...] = ("", 0, "tcp", id(self))
        self.known = False  # a valid check came in: the endpoint sets it

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        ip, port, *_ = transport.get_extra_info("peername") or ("0.0.0.0", 0)  # noqa: S104  # nobody's address
        self.address = (ip, port, "tcp", id(self))
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        strangers = self._endpoint.strangers
        if len(strangers) >= MAX_STRANGERS:
            # The oldest gives way: a browser proves itself at once, and silent ones must not keep it out.
            oldest = min(strangers, key=lambda stranger: stranger._since)
            strangers.discard(oldest)
            oldest.close()
        strangers.add(self)
        self._hurry = loop.call_later(HURRY, self._give_up)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= 2:
            length = buffer[position] << 8 | buffer[position + 1]
            if length > MAX_FRAME:
                self.close()  # nobody who speaks our protocol sends that, and there is no way back into step
                return
            end = position + 2 + length
            if len(buffer) < end:
                break
            if length:
                self._endpoint.receive_framed(self, bytes(buffer[position + 2 : end]))
            position = end
        del buffer[:position]
        self._endpoint.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._hurry is not None:
            self._hurry.cancel()
        self._endpoint.forget_connection(self)

    # --- for the endpoint ---

    def trust(self) -> None:
        self.known = True
        self._endpoint.strangers.discard(self)
        if self._hurry is not None:
            self._hurry.cancel()

    def send(self, packet: bytes | memoryview) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_BUFFER:
            self._endpoint.dropped["tcp_backlog"] += 1
            return
        self._transport.write(len(packet).to_bytes(2, "big") + bytes(packet))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self) -> None:
        if not self.known:
            self.close()
