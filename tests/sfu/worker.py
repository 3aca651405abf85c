"""Workers for tests: one in the test's own loop, or a real process, both reached by their control connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import redis.asyncio

from sfu.client import WorkerClient
from sfu.core.rtp import parse_rtp
from sfu.manifest import ENTRIES, read_timeline
from sfu.protocol import (
    EVENTS,
    HEARTBEAT_KEY,
    MAX_LINE,
    ConnectTransport,
    CreateProducer,
    CreateTransport,
    Heartbeat,
    OpenPeer,
)
from sfu.worker.process import Worker
from sfu.worker.settings import Settings
from tests.redis_server import free_port
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import opus_parameters, vp8_parameters
from tests.waiting import until

SECRET = "a-secret-of-the-house"


class RawClient:
    """Writes whatever it likes and reads lines: for what a well-behaved client would never say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, *, secret: str | None = SECRET) -> RawClient:
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2 * MAX_LINE))
        if secret is not None:
            await client.say({"id": 1, "request": {"method": "hello", "secret": secret, "client": "raw"}})
            assert "result" in await client.hear()
        return client

    async def say(self, message: Any) -> None:
        await self.write(msgspec.json.encode(message) + b"\n")

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return msgspec.json.decode(await self.reader.readuntil(b"\n"), type=dict[str, Any])

    async def is_closed(self) -> bool:
        """True when the other side ends the connection, within 8 s."""
        async with asyncio.timeout(8):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
            return True

    def close(self) -> None:
        self.writer.transport.abort()


class LoopWorker:
    """A worker in this loop: all of it but the process. Its Redis is not there, which it has to live with anyway."""

    def __init__(self, data: Path, *, lease: float = 60.0, worker_id: str = "sfu-test") -> None:
        environ = {
            "SFU_CONTROL_SECRET": SECRET, "SFU_PORT": "0", "SFU_LISTEN_IP": "127.0.0.1", "LECTERN_DATA": str(data),
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "SFU_WORKER_ID": worker_id,
        }  # fmt: skip
        self.worker = Worker(Settings.from_env(environ), lease=lease)
        self.recordings = data / "recordings"
        self._clients: list[WorkerClient | RawClient] = []

    async def client(self, name: str = "web-1", **options: Any) -> WorkerClient:
        client = await WorkerClient.connect(
            "127.0.0.1", self.worker.control_port, secret=SECRET, client=name, **options
        )
        self._clients.append(client)
        return client

    async def raw(self, *, secret: str | None = SECRET) -> RawClient:
        client = await RawClient.connect(self.worker.control_port, secret=secret)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            if isinstance(client, WorkerClient):
                await client.close()
            else:
                client.close()
        await self.worker.stop()


@contextlib.asynccontextmanager
async def loop_worker(data: Path, **options: Any) -> AsyncIterator[LoopWorker]:
    worker = LoopWorker(data, **options)
    await worker.worker.start()
    try:
        yield worker
    finally:
        await worker.close()


class WorkerProcess:
    """`python -m sfu`, started, watched and ended by a test."""

    def __init__(self, data: Path, redis_url: str, worker_id: str, **environ: str) -> None:
        self.data = data
        self.redis_url = redis_url
        self.worker_id = worker_id
        self.environ = environ
        self.log = data / f"{worker_id}.log"
        self.process: asyncio.subprocess.Process | None = None
        self.log_from = 0  # where this start's lines begin
        self.prefix: list[str] = []  # a command that starts the worker, for one in a namespace of its own
        self.clients: list[WorkerClient] = []

    async def start(self) -> Heartbeat:
        """Its first heartbeat."""
        environ = {
            **os.environ, "SFU_CONTROL_SECRET": SECRET, "SFU_WORKER_ID": self.worker_id, "SFU_PORT": "0",
            "SFU_LISTEN_IP": "127.0.0.1", "REDIS_URL": self.redis_url, "LECTERN_DATA": str(self.data),
            "LOG_FORMAT": "json", **self.environ,
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.log_from = log.tell()
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix, sys.executable, "-m", "sfu", env=environ, stdout=log, stderr=log
            )
        return await self.heartbeat()

    async def heartbeat(self, *, within: float = 30.0) -> Heartbeat:
        """The heartbeat of this start, once there is one."""
        key = HEARTBEAT_KEY.format(worker_id=self.worker_id)
        deadline = time.monotonic() + within
        async with redis.asyncio.Redis.from_url(self.redis_url) as client:
            while True:
                if (value := await client.get(key)) is not None:
                    heartbeat = msgspec.json.decode(value, type=Heartbeat)
                    if heartbeat.epoch in self.log.read_text()[self.log_from :]:  # else it is the former start's
                        return heartbeat
                assert self.process is not None
                if time.monotonic() > deadline or self.process.returncode is not None:
                    raise AssertionError(f"no heartbeat from the worker: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)

    async def client(self, name: str = "web-1", **options: Any) -> WorkerClient:
        host, _, port = (await self.heartbeat()).control.rpartition(":")
        client = await WorkerClient.connect(host, int(port), secret=SECRET, client=name, **options)
        self.clients.append(client)
        return client

    async def end(self, number: signal.Signals = signal.SIGTERM, *, within: float = 5.0) -> int:
        """Its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Speaker:
    """Someone who sends a camera and a voice to a worker that is reached by its control connection alone."""

    def __init__(self, client: WorkerClient, room: str, name: str) -> None:
        self.client = client
        self.room = room
        self.name = name
        self.producers: dict[str, str] = {}

    async def connect(self) -> PeerTransport:
        await self.client.request(OpenPeer(room=self.room, peer=self.name, name=self.name.title()))
        made = await self.client.request(CreateTransport(room=self.room, peer=self.name, direction="send"))
        self.transport_id = made.transport_id
        self.up = PeerTransport(made)
        await self.client.request(
            ConnectTransport(
                room=self.room,
                peer=self.name,
                transport_id=made.transport_id,
                dtls_parameters=self.up.dtls_parameters,
            )
        )
        await self.up.connect()
        return self.up

    async def produce(self, *, camera: int | None = None, voice: int | None = None) -> None:
        """SSRCs of what is sent."""
        if camera is not None:
            self.producers["camera"] = await self._produce("video", "camera", vp8_parameters(camera))
        if voice is not None:
            self.producers["voice"] = await self._produce("audio", "microphone", opus_parameters(voice))

    async def _produce(self, kind: Any, source: Any, parameters: dict[str, Any]) -> str:
        made = await self.client.request(
            CreateProducer(
                room=self.room,
                peer=self.name,
                transport_id=self.transport_id,
                kind=kind,
                source=source,
                rtp_parameters=parameters,
            )
        )
        return made.producer_id


def entries(folder: Path, kind: type[Any]) -> list[Any]:
    """The timeline's entries of one kind; none as long as there is no timeline."""
    try:
        found: list[ENTRIES] = read_timeline(folder)
    except FileNotFoundError:
        return []
    return [entry for entry in found if isinstance(entry, kind)]


async def event(events: list[EVENTS], kind: type[Any], **wanted: Any) -> Any:
    """The first event of that kind with those values, once it is there."""

    def found() -> Any:
        return next(
            (e for e in events if isinstance(e, kind) and all(getattr(e, k) == v for k, v in wanted.items())), None
        )

    return await until(found)


class LoggedPacket(NamedTuple):
    at: float  # seconds since the Unix epoch
    is_rtcp: bool
    data: bytes


def read_log(path: Path) -> list[LoggedPacket]:
    """An rtpdump file, read by the format's own description and trusting it: a test's log has no excuse."""
    data = path.read_bytes()
    magic, _, rest = data.partition(b"\n")
    assert magic == b"#!rtpplay1.0 0.0.0.0/0"
    seconds, microseconds, _source, _port, _padding = struct.unpack_from(">IIIHH", rest)
    start = seconds + microseconds / 1e6
    position = 16
    packets = []
    while position < len(rest):
        length, rtp_length, milliseconds = struct.unpack_from(">HHI", rest, position)
        packet = rest[position + 8 : position + length]
        assert len(packet) == length - 8
        assert rtp_length in (0, len(packet))
        packets.append(LoggedPacket(start + milliseconds / 1000, rtp_length == 0, packet))
        position += length
    return packets


def payloads(packets: Iterable[bytes]) -> list[bytes]:
    found = []
    for packet in packets:
        header = parse_rtp(packet)
        found.append(bytes(packet[header.payload_offset : header.payload_end]))
    return found
