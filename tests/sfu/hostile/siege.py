"""A real worker, two who hold their class in it, and whoever attacks.

async with siege.attack():      # while this lasts
    ...send what nobody should
                                # here: no gap over 200 ms, no memory, no log, and the worker lives
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from sfu import protocol as p
from sfu.client import WorkerClient
from tests.sfu.hostile.bystanders import ROOM
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import receiver_capabilities
from tests.sfu.worker import RawClient, Speaker, WorkerProcess

MAX_GAP = 0.200  # seconds that others may miss
LEAST = 0.95  # of the voice packets, which nobody repairs
MAX_GROWTH = 20_000_000  # bytes
MAX_AMPLIFICATION = 10  # bytes out for one in
LINE = 12_500_000  # bytes a second
MOST = 20_000  # datagrams a second
SETTLED = 0.3  # seconds in which what an attack left on its way arrives

Attack = Callable[[], Awaitable[Any]]


class Siege:
    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.number = 0
        self._dropped: Counter[str] = Counter()

    async def begin(self) -> None:
        heartbeat = await self.worker.start()
        self.control = heartbeat.control
        self.control_address = ("127.0.0.1", int(self.control.rpartition(":")[2]))
        self.media = ("127.0.0.1", int(heartbeat.announced[0].rpartition(":")[2]))
        self.bystanders = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sfu.hostile.bystanders", self.control,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert await self._hear() == {"ready": True}
        self.client: WorkerClient = await self.worker.client("siege")
        await self.client.request(p.OpenRoom(room=ROOM))
        await asyncio.sleep(0.5)  # until the worker has all that it needs for a class, or it counts as growth
        await self.report()

    async def end(self) -> None:
        assert self.bystanders.stdin is not None
        self.bystanders.stdin.close()
        await self.bystanders.wait()
        await self.worker.close()

    # --- what is looked at ---

    async def report(self) -> dict[str, Any]:
        """What the bystanders got since the last report."""
        assert self.bystanders.stdin is not None
        self.bystanders.stdin.write(b"\n")
        return await self._hear()

    async def _hear(self) -> dict[str, Any]:
        assert self.bystanders.stdout is not None
        async with asyncio.timeout(20):
            line = await self.bystanders.stdout.readline()
        assert line, "the bystanders' process is gone"
        heard: dict[str, Any] = json.loads(line)
        return heard

    @property
    def memory(self) -> int:
        """Resident, in bytes."""
        assert self.worker.process is not None
        pages = int(Path(f"/proc/{self.worker.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def dropped(self) -> Counter[str]:
        """Why packets were dropped since the last call, or the worker's start: the next heartbeat tells."""
        before = (await self.worker.heartbeat()).counters
        async with asyncio.timeout(5):
            while (counters := (await self.worker.heartbeat()).counters) == before:
                await asyncio.sleep(0.1)
        now = Counter(counters["packets_dropped"])
        fresh, self._dropped = now - self._dropped, now
        return fresh

    async def withstands(self, attack: Attack, *, lines: int = 0) -> None:
        """While `attack` lasts, and after it, others miss nothing; no memory is kept; the log keeps calm.

        `lines`: that the log may have besides one a second, for what was asked of the worker properly. A machine that
        has other things to do delays packets, too: what is weak is weak three times.
        """
        for again in (True, True, False):
            await self.report()
            memory, log_at, begun = self.memory, self.worker.log.stat().st_size, time.monotonic()
            await attack()
            await asyncio.sleep(SETTLED)
            seconds = time.monotonic() - begun
            report = await self.report()
            assert self.worker.process is not None
            assert self.worker.process.returncode is None, "the worker is gone"
            assert self.memory - memory < MAX_GROWTH
            with self.worker.log.open("rb") as log:
                log.seek(log_at)
                written = log.read().splitlines()
            assert len(written) <= seconds + 1 + lines, written
            assert not [line for line in written if b'"error"' in line or b"Traceback" in line], written
            if report["longest_gap"] <= MAX_GAP and report["came"] >= LEAST * report["sent"]:
                return
            assert again, report

    # --- who attacks ---

    async def mallory(self, *, sends: bool = False, receives: bool = False) -> Mallory:
        """Someone of the class, with a name of his own each time."""
        self.number += 1
        mallory = Mallory(self, f"mallory-{self.number}")
        await mallory.join(sends=sends, receives=receives)
        return mallory

    @contextlib.contextmanager
    def strangers(self, count: int = 1) -> Any:
        """UDP sockets that nobody knows."""
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for sock in sockets:
                sock.setblocking(False)
                sock.connect(self.media)
            yield sockets
        finally:
            for sock in sockets:
                sock.close()

    async def raw_control(self, *, secret: str | None = None) -> RawClient:
        return await RawClient.connect(self.control_address[1], secret=secret)


class Mallory:
    """A peer whose SRTP is right and whose intentions are not."""

    def __init__(self, siege: Siege, name: str) -> None:
        self.siege = siege
        self.name = name
        self.consumers: dict[str, p.ConsumerMade] = {}  # by kind

    async def join(self, *, sends: bool, receives: bool) -> None:
        request = self.siege.client.request
        await request(p.OpenPeer(room=ROOM, peer=self.name, name=self.name))
        if sends:
            self.speaker = Speaker(self.siege.client, ROOM, self.name)
            self.up: PeerTransport = await self.speaker.connect()
        if receives:
            self.down = await self.receiver()
            for producer in (await request(p.OpenRoom(room=ROOM))).producers:
                if producer.peer == "tina":
                    self.consumers[producer.kind] = await self.consume(producer.producer_id)

    async def receiver(self, protocol: str = "udp") -> PeerTransport:
        request = self.siege.client.request
        made = await request(p.CreateTransport(room=ROOM, peer=self.name, direction="recv"))
        down = PeerTransport(made, protocol=protocol)
        self.receiving = made.transport_id
        await request(
            p.ConnectTransport(
                room=ROOM, peer=self.name, transport_id=made.transport_id, dtls_parameters=down.dtls_parameters
            )
        )
        await down.connect()
        return down

    async def consume(self, producer_id: str) -> p.ConsumerMade:
        request = self.siege.client.request
        made: p.ConsumerMade = await request(
            p.CreateConsumer(
                room=ROOM, peer=self.name, transport_id=self.receiving, producer_id=producer_id,
                rtp_capabilities=receiver_capabilities(),
            )
        )  # fmt: skip
        await request(p.ResumeConsumer(room=ROOM, peer=self.name, consumer_id=made.consumer_id))
        return made

    async def leave(self) -> None:
        for transport in (getattr(self, "up", None), getattr(self, "down", None)):
            if transport is not None:
                await transport.close()
        await self.siege.client.request(p.ClosePeer(room=ROOM, peer=self.name))


async def flood(packets: Iterable[Any], send: Any, *, seconds: float = 0.7, at_once: int = 20) -> int:
    """Send them, some at a time; how many. Endless ones until the time is over.

    As many as a line of 100 Mbit/s carries, and no more than `MOST`: beyond what the worker reads on a machine that
    other tests keep busy, the kernel drops what comes, whoever sent it.
    """
    count = octets = 0
    begun = time.monotonic()
    for packet in packets:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            send(packet)
        count += 1
        if isinstance(packet, bytes | bytearray | memoryview):  # reports are yet to be written
            octets += len(packet)
        if count % at_once == 0:
            passed = time.monotonic() - begun
            if passed > seconds:
                break
            await asyncio.sleep(max(0.0, octets / LINE - passed, count / MOST - passed))
    return count
