"""Real media workers, as processes that a test may kill, and people who send and receive by the classroom's socket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from django.conf import settings

from meetings.hub import Hubs
from meetings.media.controller import MediaController, media_beside
from meetings.session import RoomSession
from sfu.protocol import HEARTBEAT_EXPIRES, HEARTBEAT_KEY, Heartbeat
from tests.lectern import wait_until
from tests.meetings.world import Client, World

STARTED_WITHIN = 20.0  # seconds: two busy cores may take that long to import a worker

SOURCES = {"microphone": "audio", "camera": "video", "screen": "video", "screen_audio": "audio"}
MID = {"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4, "encrypt": False, "parameters": {}}
DTLS = {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": ":".join(["AB"] * 32)}]}


def rtp_parameters(kind: str, number: int = 0) -> dict[str, Any]:
    """As Chrome gives them for its `number`th track."""
    if kind == "audio":
        codecs = [
            {
                "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2,
                "parameters": {"minptime": 10, "useinbandfec": 1}, "rtcpFeedback": [],
            }
        ]  # fmt: skip
        encodings: list[dict[str, Any]] = [{"ssrc": 1000 + number}]
    else:
        codecs = [
            {
                "mimeType": "video/VP8", "payloadType": 96, "clockRate": 90000, "parameters": {},
                "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}],
            },
            {
                "mimeType": "video/rtx", "payloadType": 97, "clockRate": 90000, "parameters": {"apt": 96},
                "rtcpFeedback": [],
            },
        ]  # fmt: skip
        encodings = [{"ssrc": 2000 + number, "rtx": {"ssrc": 3000 + number}}]
    return {
        "mid": str(number), "codecs": codecs, "headerExtensions": [MID], "encodings": encodings,
        "rtcp": {"cname": "someone", "reducedSize": True},
    }  # fmt: skip


class WorkerProcess:
    def __init__(self, worker_id: str, redis_url: str, secret: str, data: Path) -> None:
        self.worker_id = worker_id
        self.redis = redis.Redis.from_url(redis_url)
        self.data = data
        self.log = data / f"worker-{worker_id}.log"
        self.env = {
            **os.environ, "SFU_WORKER_ID": worker_id, "SFU_PORT": "0", "SFU_CONTROL_SECRET": secret,
            "SFU_LISTEN_IP": "127.0.0.1", "REDIS_URL": redis_url, "LECTERN_DATA": str(data),
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> WorkerProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "sfu"], env=self.env, stdout=log, stderr=log)
        return self

    def heartbeat(self) -> Heartbeat | None:
        value: Any = self.redis.get(HEARTBEAT_KEY.format(worker_id=self.worker_id))
        return msgspec.json.decode(value, type=Heartbeat) if value else None

    async def up(self, *, not_epoch: str = "") -> Heartbeat:
        """Wait for the heartbeat of this start."""
        async with asyncio.timeout(STARTED_WITHIN):
            while (beat := self.heartbeat()) is None or beat.epoch == not_epoch:
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                await asyncio.sleep(0.05)
        return beat

    def kill(self) -> None:
        """kill -9"""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """SIGTERM"""
        assert self.process is not None
        self.process.terminate()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)


StartWorker = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
def make_worker(redis_settings: str, settings: Any, tmp_path: Path) -> Iterator[Callable[[str], WorkerProcess]]:
    made: list[WorkerProcess] = []

    def make(worker_id: str = "w0") -> WorkerProcess:
        made.append(WorkerProcess(worker_id, redis_settings, settings.SFU_CONTROL_SECRET, tmp_path))
        return made[-1]

    yield make
    for worker in made:
        worker.kill()
        worker.redis.close()


@pytest.fixture
async def start_worker(make_worker: Callable[[str], WorkerProcess]) -> StartWorker:
    async def start(worker_id: str = "w0") -> WorkerProcess:
        worker = make_worker(worker_id).start()
        await worker.up()
        return worker

    return start


@pytest.fixture
async def worker(start_worker: StartWorker) -> WorkerProcess:
    return await start_worker()


@dataclass
class SteadyWorker:
    process: WorkerProcess
    beat: bytes

    def tell(self) -> None:
        """As it does itself each second."""
        key = HEARTBEAT_KEY.format(worker_id=self.process.worker_id)
        self.process.redis.set(key, self.beat, ex=HEARTBEAT_EXPIRES)


@pytest.fixture(scope="module")
def steady(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteadyWorker]:
    process = WorkerProcess("steady", redis_url, settings.SFU_CONTROL_SECRET, tmp_path_factory.mktemp("worker"))
    process.redis.flushall()  # of those before it that had the name
    process.start()
    beat = wait_until(process.heartbeat, within=STARTED_WITHIN, what="the worker's heartbeat")
    yield SteadyWorker(process, msgspec.json.encode(beat))
    process.kill()
    process.redis.close()


@pytest.fixture
def steady_worker(steady: SteadyWorker, redis_settings: str) -> WorkerProcess:
    """One for all tests of a file, which leave it alive. Redis was emptied just now, of its heartbeat too."""
    steady.tell()
    return steady.process


@pytest.fixture
def media(hubs: Hubs) -> MediaController:
    """The media part of the web process that `join` joins by."""
    return media_beside(hubs)


class Person:
    """Somebody in the class, with media."""

    def __init__(self, client: Client, hubs: Hubs, code: str) -> None:
        self.client = client
        self.hubs, self.code = hubs, code
        self.answer: dict[str, Any] = client.answer
        self.id: str = self.answer["you"]["participant_id"]
        self.capabilities = self.answer["rtp_capabilities"]
        self.transports: dict[str, str] = {}
        self.tracks = 0

    async def transport(self, direction: str) -> str:
        if direction not in self.transports:
            made = await self.client.do("transport:create", {"direction": direction})
            self.transports[direction] = made["transport_id"]
        return self.transports[direction]

    async def produce_request(self, source: str, **changes: Any) -> dict[str, Any]:
        self.tracks += 1
        kind = SOURCES[source]
        return {
            "transport_id": await self.transport("send"), "kind": kind, "source": source,
            "rtp_parameters": rtp_parameters(kind, self.tracks), **changes,
        }  # fmt: skip

    async def produce(self, source: str = "microphone", **changes: Any) -> str:
        made = await self.client.do("produce", await self.produce_request(source, **changes))
        return str(made["producer_id"])

    async def consume_request(self, producer_id: str) -> dict[str, Any]:
        transport = await self.transport("recv")
        return {"transport_id": transport, "producer_id": producer_id, "rtp_capabilities": self.capabilities}

    async def consume(self, producer_id: str) -> dict[str, Any]:
        return await self.client.do("consume", await self.consume_request(producer_id))

    async def ask(self, event: str, **data: Any) -> str:
        """ "ok" or the error's code"""
        ack = await self.client.ask(event, data)
        return "ok" if ack["ok"] else str(ack["error"]["code"])

    def client_session(self) -> RoomSession:
        """The server's end of the socket."""
        return self.hubs.hubs[self.code].sessions[self.id]


NAMES = {"host": "tina", "co-host": "asa", "presenter": "pia", "attendee": "sam", "guest": "guest"}


@pytest.fixture
async def come(join: Callable[..., Awaitable[Client]], hubs: Hubs, world: World) -> Callable[..., Awaitable[Person]]:
    async def come_in(name: str, **options: Any) -> Person:
        client = await join(name, **options)
        return Person(client, options.get("by") or hubs, options.get("code") or world.room.code)

    return come_in


@pytest.fixture
async def come_as(come: Callable[..., Awaitable[Person]]) -> Callable[[str], Awaitable[Person]]:
    """Somebody of that role. A presenter is a student whom the teacher made one."""

    async def come_with(role: str) -> Person:
        person = await come(NAMES[role])
        if role == "presenter":
            tina = await come("tina")
            await tina.client.do("participant:role:update", {"participant_id": person.id, "role": "presenter"})
            await person.client.event("participant:role:changed")
            await tina.client.close()
        return person

    return come_with


@pytest.fixture
async def another_web(make_hubs: Callable[[], Hubs]) -> AsyncIterator[Hubs]:
    """A second web process."""
    hubs = make_hubs()
    yield hubs
    await media_beside(hubs).stop()
