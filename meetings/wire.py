"""The way out to one browser: frames written without waiting, and a client that never reads dropped without growth.

ASGI's `send` on Daphne neither waits nor refuses: what a client does not read piles up in the server. So on Daphne we
write to the transport ourselves: a frame is encoded once for all sockets, and the transport tells us (Twisted's push
producer interface) when a client has stopped reading. Any other ASGI server gets the same through a bounded queue.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from autobahn.websocket.protocol import PreparedMessage
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.tcp import Server as TcpConnection

from meetings.messages import MAX_FRAME

MAX_UNREAD = 2 * 1024 * 1024  # bytes a client may be behind: a page of the longest messages fits

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Frame:
    """A text to send, framed for the wire (RFC 6455) once, however many sockets get it."""

    __slots__ = ("_wire_bytes", "seq", "text")

    def __init__(self, text: str, seq: int = 0) -> None:
        self.text = text
        self.seq = seq
        self._wire_bytes = b""

    @property
    def wire_bytes(self) -> bytes:
        if not self._wire_bytes:
            self._wire_bytes = PreparedMessage(self.text.encode(), False, False, True).payloadHybi
        return self._wire_bytes


class Wire:
    """What a session needs of a socket."""

    def write(self, frame: Frame) -> None:
        raise NotImplementedError

    def close(self, code: int) -> None:
        """Twice does no harm; nothing is written afterwards."""
        raise NotImplementedError


class DaphneWire(Wire):
    """Also the transport's producer: it is paused while the client does not read."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.paused = False
        self.unread = 0  # bytes written since the client stopped reading
        self.closed = False
        # A larger frame is refused by its header, before its payload fills our memory; with a close code, not a drop.
        protocol.maxFramePayloadSize = MAX_FRAME
        protocol.failByDrop = False
        transport = protocol.transport
        self._sends_at_once = transport.writeSomeData if type(transport) is TcpConnection else None
        # Until now the HTTP request that became this socket is registered there.
        protocol.transport.unregisterProducer()
        protocol.transport.registerProducer(self, True)

    def write(self, frame: Frame) -> None:
        if self.closed or self.protocol.state != WebSocketProtocol.STATE_OPEN:
            return
        data = frame.wire_bytes
        if self.paused:
            self.unread += len(data)
            if self.unread > MAX_UNREAD:
                self.closed = True
                self.protocol.transport.abortConnection()
                return
        elif self._sends_at_once is not None and not self._is_sending():
            # Straight to the kernel. The transport's own way (a buffer, a visit of the event loop when the socket is
            # writable) costs three times as much, and delays the first receivers until the last one's is prepared.
            sent = self._sends_at_once(data)
            if not isinstance(sent, int):  # the connection is lost: the transport finds out by itself
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self.protocol.transport.write(data)

    def _is_sending(self) -> bool:
        """Whether earlier bytes still wait in the transport: ours must not overtake them."""
        transport = self.protocol.transport
        return bool(transport._tempDataBuffer or len(transport.dataBuffer) > transport.offset)

    def close(self, code: int) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.serverClose(code=code)

    def pauseProducing(self) -> None:
        self.paused = True
        self.protocol.transport.pauseProducing()  # who does not read our answers need not ask

    def resumeProducing(self) -> None:
        self.paused = False
        self.unread = 0
        self.protocol.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.closed = True


class PlainWire(Wire):
    """For every other ASGI server: its `send` waits while the client does not read, so a queue stands before it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[dict[str, Any]] = deque()
        self._unread = 0
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, frame: Frame) -> None:
        if self._closed:
            return
        self._unread += len(frame.text)
        if self._unread > MAX_UNREAD:
            self._queue.clear()
            self.close(1008)
            return
        self._put({"type": "websocket.send", "text": frame.text})

    def close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            self._put({"type": "websocket.close", "code": code})

    def _put(self, message: dict[str, Any]) -> None:
        self._queue.append(message)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        while self._queue:
            message = self._queue.popleft()
            await self._send(message)
            self._unread -= len(message.get("text", ""))


def wire_for(send: Send) -> Wire:
    """Daphne hands its applications `partial(server.handle_reply, protocol)`, and Channels' routing passes it on."""
    if isinstance(send, functools.partial) and send.args and isinstance(send.args[0], WebSocketProtocol):
        return DaphneWire(send.args[0])
    return PlainWire(send)
