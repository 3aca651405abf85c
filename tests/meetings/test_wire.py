"""The way out on a server whose `send` waits for the client."""

from __future__ import annotations

import asyncio
from typing import Any

from meetings.wire import MAX_UNREAD, Frame, PlainWire
from tests.waiting import until


class Server:
    """An ASGI server's `send`, whose client reads only when told to."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)


async def test_frames_arrive_in_order_and_the_close_last():
    server = Server()
    wire = PlainWire(server.send)
    for n in range(5):
        wire.write(Frame(str(n)))
    wire.close(4004)
    wire.close(4003)
    wire.write(Frame("too late"))
    server.reads.set()
    await until(lambda: len(server.sent) == 6)
    assert [message.get("text") for message in server.sent] == ["0", "1", "2", "3", "4", None]
    assert server.sent[-1] == {"type": "websocket.close", "code": 4004}


async def test_who_never_reads_is_closed_and_what_waited_is_forgotten():
    server = Server()
    wire = PlainWire(server.send)
    frame = Frame("x" * 100_000)
    for _ in range(MAX_UNREAD // 100_000 + 50):
        wire.write(frame)
    assert len(wire._queue) <= 1, "only the close waits"
    server.reads.set()
    await until(lambda: server.sent and server.sent[-1]["type"] == "websocket.close")
    assert len(server.sent) <= 2


async def test_a_client_that_reads_on_is_never_behind():
    server = Server()
    server.reads.set()
    wire = PlainWire(server.send)
    for n in range(200):
        wire.write(Frame("x" * 50_000))
        await until(lambda n=n: len(server.sent) == n + 1)
    assert all(message["type"] == "websocket.send" for message in server.sent)


def test_a_frame_is_framed_once_for_all():
    frame = Frame("é" * 200)
    assert frame.wire_bytes is frame.wire_bytes
    assert frame.wire_bytes[:4] == b"\x81\x7e\x01\x90", "text, final, 400 bytes, no mask"
    assert frame.wire_bytes[4:].decode() == "é" * 200
