"""Chat to N sockets of one room: how long until everyone has it.

Raw sinks read and count; 20 probes, in a process of their own, note when each message arrives. Five messages a
second for a minute. Beside it, in the same run, a floor: a bare asyncio server that writes one ready-made frame to the
same sockets. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import multiprocessing as mp
import statistics
import struct
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.table import Benchmark, Table
from benchmarks.websocket import WebSocket, connect
from tests.lectern import Lectern, running_lectern

PROBES = 20
RATE = 5.0  # messages a second
CODE = "demo-class"
FIGURES = ["p50_ms", "p99_ms", "max_ms", "delivered_percent", "join_p99_ms", "cpu_us_per_delivery"]
AT_ONCE = 20  # sockets that join at the same time


class Bench(Benchmark):
    """Chat to 100, 500, 1,000 sockets of one room: p50 and p99 of the delivery."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--sockets", type=int, nargs="+", default=[100, 500, 1000])
        parser.add_argument("--seconds", type=float, default=60.0)

    def run(self) -> Table:
        table = Table(
            f"Chat delivery, {RATE:.0f} messages a second for {self.options.seconds:.0f} s, {PROBES} probes",
            [
                "server",
                "sockets",
                "p50_ms",
                "p99_ms",
                "max_ms",
                "delivered_percent",
                "join_p99_ms",
                "cpu_us_per_delivery",
            ],
        )
        for sockets in self.options.sockets:
            table.add(**asyncio.run(floor(sockets, self.options.seconds)))
            with tempfile.TemporaryDirectory() as data, running_lectern(Path(data)) as lectern:
                tokens = guest_tokens(lectern, sockets + PROBES)
                paths = [f"/ws/meetings/{CODE}/?token={token}" for token in tokens]
                pid = lectern.pid_of("daphne")
                row = asyncio.run(measure("Lectern", lectern.port, paths, sockets, self.options.seconds, pid))
                table.add(**row)
        return table


async def measure(server: str, port: int, paths: list[str], sockets: int, seconds: float, pid: int) -> dict[str, Any]:
    """One row: `sockets` sinks and the probes join, then the probes' process sends and listens."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    sink_process = context.Process(target=sinks, args=(port, paths[PROBES:], theirs), daemon=True)
    sink_process.start()
    joins = await asyncio.to_thread(ours.recv)
    arrivals: list[float] = []

    def on_text(data: bytes) -> None:
        if data.startswith(b'{"event":"chat:message"') or b'"chat:message"' in data[:64]:
            arrivals.append(time.monotonic() - float(json.loads(data)["data"]["message"]))

    probes = [await join(port, path, on_text) for path in paths[:PROBES]]
    await asyncio.sleep(1.0)  # the last joins' own events pass
    cpu = cpu_seconds(pid)
    count = int(seconds * RATE)
    start = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / RATE - time.monotonic()))
        # Several senders, as in a class: one alone would meet the limit for one person.
        probes[number % PROBES].send(
            {"id": 100 + number, "event": "chat:send", "data": {"message": repr(time.monotonic()), "type": "text"}}
        )
    deadline = time.monotonic() + 10
    while len(arrivals) < count * PROBES and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    cpu = cpu_seconds(pid) - cpu
    for probe in probes:
        probe.transport.abort()
    ours.send("end")
    sink_process.join(10)
    arrivals.sort()
    return {
        "server": server,
        "sockets": sockets,
        "p50_ms": 1000 * statistics.median(arrivals) if arrivals else None,
        "p99_ms": 1000 * arrivals[int(len(arrivals) * 0.99)] if arrivals else None,
        "max_ms": 1000 * arrivals[-1] if arrivals else None,
        "delivered_percent": 100.0 * len(arrivals) / (count * PROBES),
        "join_p99_ms": 1000 * sorted(joins)[int(len(joins) * 0.99)] if joins else None,
        "cpu_us_per_delivery": 1e6 * cpu / (count * (sockets + PROBES)),
    }


async def join(port: int, path: str, on_text: Any = None) -> WebSocket:
    """Open a socket and wait for the acknowledgement of `room:join`."""
    joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    socket: WebSocket

    def first(data: bytes) -> None:
        if b'"ack"' in data[:16] and not joined.done():
            if b'"ok":true' in data[:40].replace(b" ", b""):
                socket.on_text = on_text
                joined.set_result(None)
            else:
                joined.set_exception(ConnectionError(data[:300].decode()))

    socket = await connect("127.0.0.1", port, path, first)
    socket.send({"id": 1, "event": "room:join", "data": {}})
    await asyncio.wait_for(joined, 60)
    return socket


def sinks(port: int, paths: list[str], pipe: Connection) -> None:
    """In a process of their own: join all, tell how long each took, read until told to end."""

    async def run() -> None:
        limit, took, held = asyncio.Semaphore(AT_ONCE), [], []

        async def one(path: str) -> None:
            async with limit:
                start = time.monotonic()
                held.append(await join(port, path))
                took.append(time.monotonic() - start)

        await asyncio.gather(*(one(path) for path in paths))
        pipe.send(took)
        await asyncio.to_thread(pipe.recv)
        for socket in held:
            socket.transport.abort()

    asyncio.run(run())


# --- the floor -------------------------------------------------------------------------------------------------------


async def floor(sockets: int, seconds: float) -> dict[str, Any]:
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=bare_server, args=(theirs,), daemon=True)
    server.start()
    port = await asyncio.to_thread(ours.recv)
    assert server.pid is not None
    try:
        return await measure("floor", port, ["/"] * (sockets + PROBES), sockets, seconds, server.pid)
    finally:
        server.terminate()
        server.join(5)


def bare_server(pipe: Connection) -> None:
    """Acknowledges a join; writes each chat message to all its sockets. No permission, no database, no order."""
    writers: set[asyncio.StreamWriter] = set()

    def text(message: dict[str, Any]) -> bytes:
        payload = json.dumps(message, separators=(",", ":")).encode()
        return struct.pack("!BB", 0x81, len(payload)) + payload

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        digest = hashlib.sha1(key.split(b":", 1)[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        writers.add(writer)
        try:
            while True:
                _, length = await reader.readexactly(2)
                await reader.readexactly(4)
                message = json.loads(await reader.readexactly(length & 127))
                writer.write(text({"ack": message["id"], "ok": True}))
                if message["event"] == "chat:send":
                    ready_made = text({"event": "chat:message", "data": {"message": message["data"]["message"]}})
                    for one in writers:
                        one.write(ready_made)
        except (asyncio.IncompleteReadError, ConnectionError):
            writers.discard(writer)

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


# --- helpers ---------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5); a tick is 10 ms on Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def guest_tokens(lectern: Lectern, count: int) -> list[str]:
    access = lectern.api("auth/token/", {"username": "teacher", "password": "lectern-demo"})["access"]
    return [
        lectern.api(f"meetings/{CODE}/token/", {"role": "attendee", "display_name": f"Guest {number}"}, token=access)[
            "token"
        ]
        for number in range(count)
    ]
