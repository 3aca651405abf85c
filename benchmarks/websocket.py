"""A WebSocket client that costs almost nothing (RFC 6455), so that a thousand of them do not measure themselves."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from collections.abc import Callable
from typing import Any

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def frame(opcode: int, payload: bytes) -> bytes:
    """One masked client frame. A mask of zeros is allowed, and saves the work."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


class WebSocket(asyncio.Protocol):
    """Answers pings, counts frames, hands text to `on_text` if there is one; decodes nothing that nobody asked for."""

    def __init__(
        self, host: str, path: str, on_text: Callable[[bytes], None] | None = None, *, protocol: str = ""
    ) -> None:
        self.host, self.path, self.on_text, self.protocol = host, path, on_text, protocol
        self.buffer = bytearray()
        self.frames = 0
        self.close_code: int | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = f"Sec-WebSocket-Protocol: {self.protocol}\r\n" if self.protocol else ""
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self._shaken:
            head, separator, rest = bytes(self.buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.opened.set_exception(ConnectionError(head.split(b"\r\n", 1)[0].decode()))
                self.transport.close()
                return
            self._shaken = True
            self.buffer = bytearray(rest)
            self.opened.set_result(None)
        self._read_frames()

    def _read_frames(self) -> None:
        buffer, position = self.buffer, 0
        while len(buffer) - position >= 2:
            opcode, length, start = buffer[position] & 15, buffer[position + 1] & 127, position + 2
            if length == 126:
                if len(buffer) < start + 2:
                    break
                (length,), start = struct.unpack_from("!H", buffer, start), start + 2
            elif length == 127:
                if len(buffer) < start + 8:
                    break
                (length,), start = struct.unpack_from("!Q", buffer, start), start + 8
            if len(buffer) < start + length:
                break
            position = start + length
            if opcode == TEXT:
                self.frames += 1
                if self.on_text:
                    self.on_text(bytes(buffer[start:position]))
            elif opcode == PING:
                self.transport.write(frame(PONG, bytes(buffer[start:position])))
            elif opcode == CLOSE and length >= 2:
                (self.close_code,) = struct.unpack_from("!H", buffer, start)
        del buffer[:position]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("closed before it opened"))
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, message: dict[str, Any]) -> None:
        self.transport.write(frame(TEXT, json.dumps(message).encode()))


async def connect(
    host: str, port: int, path: str, on_text: Callable[[bytes], None] | None = None, *, protocol: str = ""
) -> WebSocket:
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(
        lambda: WebSocket(f"{host}:{port}", path, on_text, protocol=protocol), host, port
    )
    await socket.opened
    return socket
