"""A whole class joins one lecture at once: how long until each sees the first picture, and what a join costs.

Everybody asks in the same instant. The time runs from a joiner's first question to the server's signaling (for Lectern
the worker's control connection, where the web process asks for browsers; for janus its WebSocket) over ICE and DTLS to
the last packet of the first whole key frame, decrypted: what a decoder needs. Who has it stops reading, while the
server goes on sending to him. The sender makes key frames when asked, but not more often than a browser's encoder.

Joiners are in processes of their own, on all cores but the server's. `limit` says whose core was busy until the last
handshake was over: where it is the generator's, the figures are the generator's and not the server's; where it is no
core, what is left is waiting for answers and key frames. CPU a join is all that the server used until the last picture,
what it forwarded meanwhile included. `others_percent` is the share of all cores that other processes had meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing as mp
import os
import sys
import time
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from OpenSSL import SSL
from pylibsrtp import Error as SrtpError

from benchmarks.fanout import cpu_seconds
from benchmarks.forward import CORES, SERVER_CORE, Generator
from benchmarks.machine import OtherWork
from benchmarks.peers import Peer, own_address
from benchmarks.peers.doors import Door
from benchmarks.peers.janus import Janus
from benchmarks.peers.lectern import Lectern
from benchmarks.table import Benchmark, Table, median, percentile
from benchmarks.webrtc_client import Client, Remote, context
from sfu.core.rtp import parse_rtp
from sfu.core.vp8 import parse_vp8


class PeerWithDoor(Peer, Protocol):
    def door(self) -> Door: ...


PEERS: dict[str, Callable[[], PeerWithDoor]] = {"lectern": Lectern, "janus": lambda: Janus(websocket=True)}
WITHIN = 30.0  # seconds after which a joiner counts as failed
KEY_FRAMES_APART = 0.3  # seconds: libwebrtc's encoders make none sooner, however often they are asked
FIRST_REPEAT = (
    0.05  # seconds until a check or a flight of the handshake is sent again, then twice that (as Chrome does)
)
BUSY = 85.0  # per cent of a core at which it is the bottleneck: the rest is the first and the last joiner's waiting
DISTURBED = 20.0  # per cent of all cores that went to others: more than a machine that is left alone does by itself
FIGURES = [
    "ready_p50_ms", "ready_p99_ms", "p50_ms", "p99_ms", "cpu_ms_per_join", "server_percent", "generator_percent",
    "others_percent", "key_frames", "failed",
]  # fmt: skip


class Bench(Benchmark):
    """200 receivers join at once: time to the first decodable frame, CPU a join."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--joiners", type=int, nargs="+", default=[200])
        parser.add_argument("--processes", type=int, default=1, help="that the joiners are spread over")
        parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
        parser.add_argument("--runs", type=int, default=3, help="the median of so many runs is shown")

    def run(self) -> Table:
        table = Table(
            "Joining one camera (VP8, 1.5 Mbit/s) and one voice (Opus) at once, server on one core; "
            "ready: connected; p50, p99: the first whole key frame",
            ["server", "joiners", *FIGURES, "limit"],
        )
        for joiners in self.options.joiners:
            for name in self.options.peers:
                rows = [measure(PEERS[name], joiners, self.options.processes) for _ in range(self.options.runs)]
                row = median(rows, FIGURES)
                table.add(**row, limit=limit(row))
        return table


def limit(row: dict[str, Any]) -> str:
    server, generator = row["server_percent"], row["generator_percent"]
    if max(server, generator) < BUSY:
        return "other processes" if row["others_percent"] >= DISTURBED else "no core"
    return "server's core" if server >= generator else "generator's core"


# --- one joiner ------------------------------------------------------------------------------------------------------


class Joiner(Client):
    """A client that connects without blocking, and reads until it has a whole key frame."""

    def __init__(self, host: str, on_ready: Callable[[], None]) -> None:
        super().__init__(host)
        self.socket.setblocking(False)
        self.on_ready = on_ready
        self.loop = asyncio.get_running_loop()
        self.video_type = 0
        self.asked = self.ready = self.seen = 0.0  # moments, 0 while they are to come
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.picture = KeyFrame()
        self._repeated: list[bytes] = []
        self._repeat_after = FIRST_REPEAT
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, remote: Remote, video_type: int) -> None:
        self.remote, self.video_type = remote, video_type
        self.socket.connect(remote.address)
        self.loop.add_reader(self.socket.fileno(), self._on_readable)
        request = self.binding_request()
        self.socket.send(request)
        self._repeat([request])

    def finish(self) -> None:
        """Stop reading; what still comes, the kernel throws away."""
        self._repeat([])
        self.loop.remove_reader(self.socket.fileno())
        if not self.done.done():
            self.done.set_result(None)

    def _repeat(self, datagrams: list[bytes], after: float = FIRST_REPEAT) -> None:
        """Send them again until something else is to be repeated."""
        self._repeated, self._repeat_after = datagrams, after
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(after, self._send_again) if datagrams else None

    def _send_again(self) -> None:
        for datagram in self._repeated:
            self.socket.send(datagram)
        self._repeat(self._repeated, 2 * self._repeat_after)

    def _on_readable(self) -> None:
        while not self.done.done():
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if not data:
                continue
            if data[0] == 1:  # the answer to a connectivity check; reading it whole would cost what a server pays
                if self.dtls is None:
                    self.dtls = SSL.Connection(context())
                    self.dtls.set_connect_state()
                    self._advance()
            elif data[0] == 0:
                self.answer_stun(data)
            elif 20 <= data[0] <= 63:
                if self.dtls is not None and not self.ready:
                    self.dtls.bio_write(data)
                    self._advance()
            elif data[0] & 0xC0 == 0x80 and not 192 <= data[1] <= 223 and self.ready:
                self._take_media(data)

    def _advance(self) -> None:
        assert self.dtls is not None
        try:
            self.dtls.do_handshake()
        except SSL.WantReadError:
            flight = self._flush_dtls()
            if flight:
                self._repeat(flight)
            return
        self._flush_dtls()
        self._repeat([])
        self._make_sessions()
        self.ready = time.monotonic()
        self.on_ready()

    def _take_media(self, data: bytes) -> None:
        assert self.inbound is not None
        try:
            plain = self.inbound.unprotect(data)
        except SrtpError:
            return
        if plain[1] & 0x7F == self.video_type and self.picture.is_whole_with(plain):
            self.seen = time.monotonic()
            self.finish()


class KeyFrame:
    """Whether all packets of a VP8 key frame were there, in order, from its first to its marker."""

    def __init__(self) -> None:
        self.next_number = -1  # no key frame has begun

    def is_whole_with(self, packet: bytes) -> bool:
        header = parse_rtp(packet)
        descriptor = parse_vp8(packet, header.payload_offset, header.payload_end)
        if descriptor is not None and descriptor.key_frame:
            self.next_number = header.sequence_number
        if header.sequence_number != self.next_number:
            self.next_number = -1
            return False
        self.next_number = (self.next_number + 1) & 0xFFFF
        return header.marker


# --- a process of joiners --------------------------------------------------------------------------------------------


@dataclass
class Joined:
    """What one process tells when all its joiners are done."""

    times: list[tuple[float, float]]  # seconds from asking to connected, and to the first picture; of those who got it
    errors: list[str]
    at: float = 0.0  # the moment of the last handshake
    server_cpu: float = 0.0  # seconds that the server had used by then
    own_cpu: float = 0.0  # and this process, since the start


def joiners(door: Door, names: list[str], server: int, pipe: Connection) -> None:
    """Prepare, tell, wait for the word, join, tell; close when told to."""
    context()  # makes the certificate

    async def run() -> None:
        await door.open()
        joined = Joined([], [])
        connecting = len(names)

        def note_handshake() -> None:
            nonlocal connecting
            connecting -= 1
            if connecting == 0:
                joined.at, joined.server_cpu = time.monotonic(), cpu_seconds(server)
                joined.own_cpu = time.process_time() - own

        async def join(name: str, client: Joiner) -> None:
            client.asked = time.monotonic()
            try:
                async with asyncio.timeout(WITHIN):
                    await door.join(name, client, client.begin)
                    await client.done
                joined.times.append((client.ready - client.asked, client.seen - client.asked))
            except Exception as error:
                joined.errors.append(f"{type(error).__name__}: {error}")
                if not client.ready:
                    note_handshake()  # it was his last chance

        clients = [Joiner(own_address(), note_handshake) for _ in names]
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        own = time.process_time()
        await asyncio.gather(*(join(name, client) for name, client in zip(names, clients, strict=True)))
        pipe.send(joined)
        await asyncio.to_thread(pipe.recv)
        for client in clients:
            client.close()
        await door.close()

    asyncio.run(run())


def generator_cores() -> set[int]:
    return set(CORES) - {SERVER_CORE} or {SERVER_CORE}


# --- all of them -----------------------------------------------------------------------------------------------------


def measure(make: Callable[[], PeerWithDoor], count: int, processes: int) -> dict[str, Any]:
    os.sched_setaffinity(0, generator_cores())
    peer = make()
    peer.start(SERVER_CORE)
    workers: list[tuple[Any, Connection]] = []
    sender = Client(own_address())
    try:
        source = peer.publish(sender)
        source.key_frames_apart = KEY_FRAMES_APART
        generator = Generator(sender, source)
        generator.run(0.5)
        spawn = mp.get_context("spawn")
        for number in range(processes):
            ours, theirs = spawn.Pipe()
            names = [f"joiner-{i}" for i in range(number, count, processes)]
            process = spawn.Process(target=joiners, args=(peer.door(), names, peer.pid, theirs), daemon=True)
            process.start()
            workers.append((process, ours))
        hear(generator, [pipe for _, pipe in workers])
        others = OtherWork()
        cpu, start, key_frames = cpu_seconds(peer.pid), time.monotonic(), source.key_frames
        own = [(start, time.process_time())]
        for _, pipe in workers:
            pipe.send("go")
        told: list[Joined] = hear(generator, [pipe for _, pipe in workers], own)
        cpu_all, key_frames = cpu_seconds(peer.pid) - cpu, source.key_frames - key_frames
        used = cpu_all + own[-1][1] - own[0][1] + sum(joined.own_cpu for joined in told)
        for _, pipe in workers:
            pipe.send("close")
        row = {"server": peer.name, "joiners": count, "key_frames": key_frames, "others_percent": others.percent(used)}
        return row | figures(told, start, cpu, cpu_all, own)
    finally:
        for process, _ in workers:
            process.join(5)
            process.terminate()
        sender.close()
        peer.stop()
        os.sched_setaffinity(0, set(CORES))


def hear(generator: Generator, pipes: list[Connection], own: list[tuple[float, float]] | None = None) -> list[Any]:
    """What each process says next; meanwhile the sender sends. `own` gets (moment, CPU seconds) of this process."""
    said: dict[Connection, Any] = {}
    while len(said) < len(pipes):
        generator.run(0.05)
        if own is not None:
            own.append((time.monotonic(), time.process_time()))
        for pipe in wait([pipe for pipe in pipes if pipe not in said], 0):
            assert isinstance(pipe, Connection)
            said[pipe] = pipe.recv()
    return [said[pipe] for pipe in pipes]


def figures(
    told: list[Joined], start: float, cpu: float, cpu_all: float, own: list[tuple[float, float]]
) -> dict[str, Any]:
    for error in {error for joined in told for error in joined.errors}:
        print(f"a joiner failed: {error}", file=sys.stderr)
    times = [pair for joined in told for pair in joined.times]
    ready, seen = (
        (sorted(1000 * value for value in values) for values in zip(*times, strict=True)) if times else ([], [])
    )
    last = max(told, key=lambda joined: joined.at)
    span = max(last.at - start, 1e-3)
    sender_cpu = own[min(bisect(own, (last.at, 0.0)), len(own) - 1)][1] - own[0][1]
    generator_cpu = sum(joined.own_cpu for joined in told) + sender_cpu
    return {
        "ready_p50_ms": percentile(ready, 50),
        "ready_p99_ms": percentile(ready, 99),
        "p50_ms": percentile(seen, 50),
        "p99_ms": percentile(seen, 99),
        "cpu_ms_per_join": 1000 * cpu_all / max(len(times), 1),
        "server_percent": 100 * max(last.server_cpu - cpu, 0.0) / span,
        "generator_percent": 100 * generator_cpu / span / len(generator_cores()),
        "failed": sum(len(joined.errors) for joined in told),
    }
