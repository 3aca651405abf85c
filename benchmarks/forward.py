"""One camera and one voice to N receivers: CPU a forwarded packet, loss, memory; beside a floor, janus and aiortc.

The server has one core, the generator (sender and all receivers, with real ICE and DTLS) another. CPU is the server's
user and system time over the packets that its receivers got; loss is what is missing in their sequence numbers. Each
receiver decrypts one packet in a hundred, so that a forgery would show. One receiver in PROBE_ONE_IN is a probe and
decrypts all: how long packets were under way, for a receiver somewhere in the order in which they are served.

Memory is what each receiver takes who comes after the first. With him a server begins to keep the lecture, such as
packets that may be asked for again: that is nobody's in particular, and no more for a thousand than for one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylibsrtp import Error as SrtpError

from benchmarks.fanout import cpu_seconds
from benchmarks.marks import Marks, stamp_arrivals, waiting
from benchmarks.media_source import FPS, Source
from benchmarks.peers import Peer, own_address
from benchmarks.peers.aiortc_relay import AiortcRelay
from benchmarks.peers.floor import Floor
from benchmarks.peers.janus import Janus
from benchmarks.peers.lectern import Lectern
from benchmarks.table import Benchmark, Table, median, percentile
from benchmarks.webrtc_client import Client

PEERS: dict[str, Callable[[], Peer]] = {"lectern": Lectern, "floor": Floor, "janus": Janus, "aiortc": AiortcRelay}
AIORTC_MOST = 8  # receivers: more than it can serve on one core
DECRYPT_ONE_IN = 100
PROBE_ONE_IN = 20
WARM_UP = 2.0  # seconds before measuring
READ_EVERY = 0.002  # seconds: 94 packets to a socket at most, far less than it holds
REPORT_EVERY = 1.0  # seconds between receiver reports, as a browser sends them (RFC 3550 section 6.2)
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]  # one and the same where there is one alone


class Bench(Benchmark):
    """One camera and one voice to N receivers: CPU a forwarded packet, loss, memory."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--receivers", type=int, nargs="+", default=[10, 200, 600, 1300])
        parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
        parser.add_argument("--seconds", type=float, default=10.0)
        parser.add_argument("--runs", type=int, default=3, help="the median of so many runs is shown")

    def run(self) -> Table:
        table = Table(
            "Forwarding one camera (VP8, 1.5 Mbit/s) and one voice (Opus), server on one core",
            ["server", "receivers", *FIGURES, "srtp"],
        )
        for receivers in self.options.receivers:
            for name in self.options.peers:
                if name == "aiortc" and receivers > AIORTC_MOST and receivers != min(self.options.receivers):
                    continue
                count = min(receivers, AIORTC_MOST) if name == "aiortc" else receivers
                rows = [measure(PEERS[name], count, self.options.seconds) for _ in range(self.options.runs)]
                table.add(**median(rows, FIGURES))
        return table


FIGURES = [
    "us_per_packet", "cpu_percent", "loss_percent", "p50_ms", "p95_ms", "kb_per_receiver", "packets_in_s",
    "generator_percent",
]  # fmt: skip


@dataclass
class Counted:
    """What arrived of one stream: packets, and the span of their sequence numbers."""

    packets: int = 0
    first: int = -1
    last: int = 0  # unwrapped

    def add(self, sequence: int) -> None:
        if self.first < 0:
            self.first = self.last = sequence
        else:
            ahead = (sequence - self.last) & 0xFFFF
            if ahead < 0x8000:
                self.last += ahead
        self.packets += 1


@dataclass
class Receiver:
    client: Client
    streams: dict[int, Counted] = field(default_factory=dict)
    until_decrypt: int = DECRYPT_ONE_IN
    next_report: float = 0.0

    def read(self, buffer: bytearray) -> None:
        """Everything that waits in the socket."""
        receive, take = self.client.socket.recv_into, self.take
        while True:
            try:
                size = receive(buffer)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if take(buffer, size):
                self.until_decrypt -= 1
                if not self.until_decrypt:
                    self.until_decrypt = DECRYPT_ONE_IN
                    assert self.client.inbound is not None
                    self.client.inbound.unprotect(bytes(buffer[:size]))

    def take(self, buffer: bytearray, size: int) -> bool:
        """Count a datagram. Whether it is RTP."""
        if size < 12 or buffer[0] & 0xC0 != 0x80:
            self.client.answer_stun(bytes(buffer[:size]))
            return False
        if 192 <= buffer[1] <= 223:
            return False
        sequence, ssrc = SEQUENCE_AND_SSRC(buffer)
        counted = self.streams.get(ssrc)
        if counted is None:
            counted = self.streams[ssrc] = Counted()
        counted.add(sequence)
        return True

    def start_counting(self) -> None:
        self.streams = {}

    def report(self, now: float) -> None:
        self.client.keep_consent(now)
        if now < self.next_report:
            return
        self.next_report = now + REPORT_EVERY
        blocks = b"".join(
            struct.pack("!IIIIII", ssrc, 0, counted.last & 0xFFFFFFFF, 0, 0, 0)
            for ssrc, counted in list(self.streams.items())[:4]
        )
        if blocks and self.client.outbound is not None:
            count = len(blocks) // 24
            self.client.send_rtcp(struct.pack("!BBHI", 0x80 | count, 201, 1 + 6 * count, 1) + blocks)


class Probe(Receiver):
    """One who notes how long each packet was under way."""

    def __init__(self, client: Client, marks: Marks) -> None:
        super().__init__(client)
        self.marks = marks
        stamp_arrivals(client)

    def read(self, buffer: bytearray) -> None:
        for size, at in waiting(self.client, buffer):
            if self.take(buffer, size) and at:
                with contextlib.suppress(SrtpError):  # sent again
                    self.marks.receive(self.client, bytes(buffer[:size]), at)


SEQUENCE_AND_SSRC = struct.Struct("!2xH4xI").unpack_from


def measure(make: Callable[[], Peer], receivers: int, seconds: float) -> dict[str, Any]:
    os.sched_setaffinity(0, {GENERATOR_CORE})
    peer = make()
    peer.start(SERVER_CORE)
    clients: list[Client] = []
    try:
        host = own_address()
        clients.append(sender := Client(host))
        source = peer.publish(sender)
        generator = Generator(sender, source)
        generator.run(0.5)  # a peer may offer nothing before media arrive
        baseline = 0.0
        for number in range(receivers):
            clients.append(client := Client(host))
            peer.subscribe(client)
            probes = number % PROBE_ONE_IN == min(receivers, PROBE_ONE_IN) // 2
            generator.add(Probe(client, generator.marks) if probes else Receiver(client))
            if number == 0:
                generator.run(WARM_UP)
                baseline = resident(peer.pid)
            elif number % 4 == 0:
                generator.run(0.0)
        generator.run(WARM_UP)
        generator.start_counting()
        cpu, own, start = cpu_seconds(peer.pid), time.process_time(), time.monotonic()
        generator.run(seconds)
        cpu, own, took = cpu_seconds(peer.pid) - cpu, time.process_time() - own, time.monotonic() - start
        kilobytes = (resident(peer.pid) - baseline) / max(1, receivers - 1)
        got = sum(counted.packets for r in generator.receivers for counted in r.streams.values())
        span = sum(c.last - c.first + 1 for r in generator.receivers for c in r.streams.values())
        latencies = [nanoseconds / 1e6 for nanoseconds in sorted(generator.marks.latencies)]
        silent = sum(1 for r in generator.receivers if len(r.streams) < 2)
        return {
            "server": peer.name,
            "receivers": receivers,
            "us_per_packet": 1e6 * cpu / max(got, 1),
            "cpu_percent": 100 * cpu / took,
            # Repairs and reordering can only lessen it; a receiver that got nothing at all counts as wholly lost.
            "loss_percent": 100 * (1 - got / max(span, 1)) if not silent else 100.0 * silent / receivers,
            "p50_ms": percentile(latencies, 50),
            "p95_ms": percentile(latencies, 95),
            "kb_per_receiver": kilobytes,
            "packets_in_s": generator.sent / took,
            "generator_percent": 100 * own / took,
            "srtp": clients[-1].profile.decode(),
        }
    finally:
        for client in clients:
            client.close()
        peer.stop()
        os.sched_setaffinity(0, CORES)


class Generator:
    """Sends at the media's pace, reads what arrives, in one thread."""

    def __init__(self, sender: Client, source: Source) -> None:
        self.sender, self.source = sender, source
        self.receivers: list[Receiver] = []
        self.by_fd: dict[int, Receiver] = {}
        self.epoll = select.epoll()
        self.epoll.register(sender.socket.fileno(), select.EPOLLIN)
        self.buffer = bytearray(4096)
        self.next_frame = self.next_voice = self.next_report = time.monotonic()
        self.marks = Marks()
        self.sent = 0

    def add(self, receiver: Receiver) -> None:
        self.receivers.append(receiver)
        self.by_fd[receiver.client.socket.fileno()] = receiver
        self.epoll.register(receiver.client.socket.fileno(), select.EPOLLIN)

    def start_counting(self) -> None:
        self.sent = 0
        self.marks.start_counting()
        for receiver in self.receivers:
            receiver.start_counting()

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if now >= self.next_frame:
                self.next_frame = max(self.next_frame + 1 / FPS, now - 0.1)
                self._send(self.source.next_frame())
            if now >= self.next_voice:
                self.next_voice = max(self.next_voice + 0.02, now - 0.1)
                self._send(self.source.next_voice())
            if now >= self.next_report:
                self.next_report = now + 0.1
                self._send_reports(now)
            if now >= end:
                return
            wait = min(self.next_frame, self.next_voice, end, now + READ_EVERY) - time.monotonic()
            # Not in `poll`: that has the server pay for waking us with each packet, which is loopback's price alone.
            time.sleep(max(0.0, wait))
            for fd, _ in self.epoll.poll(0):
                receiver = self.by_fd.get(fd)
                if receiver is not None:
                    receiver.read(self.buffer)
                else:
                    self._read_feedback()

    def _send(self, packets: list[bytes]) -> None:
        self.sent += len(packets)
        self.marks.send(self.sender, packets)

    def _send_reports(self, now: float) -> None:
        """Sender reports once a second; consent and receiver reports of a tenth of the receivers at a time."""
        self.sender.keep_consent(now)
        for receiver in self.receivers:
            receiver.report(now)
        if int(now * 10) % 10 == 0:
            for report in self.source.reports():
                self.sender.send_rtcp(report)

    def _read_feedback(self) -> None:
        while True:
            try:
                data = self.sender.socket.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if data and data[0] <= 3:
                self.sender.answer_stun(data)
            elif len(data) > 12 and data[0] & 0xC0 == 0x80 and 192 <= data[1] <= 223:
                assert self.sender.inbound is not None
                try:
                    plain = self.sender.inbound.unprotect_rtcp(data)
                except SrtpError:
                    continue
                if key_frames_asked_for(plain):
                    self.source.ask_for_key_frame()


def key_frames_asked_for(compound: bytes) -> list[int]:
    """The SSRCs of its PLIs and FIRs (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1)."""
    position, found = 0, []
    while position + 4 <= len(compound):
        kind, form = compound[position + 1], compound[position] & 31
        if kind == 206 and form in (1, 4):
            # A FIR names the SSRC in its one entry.
            found.append(struct.unpack_from("!I", compound, position + (8 if form == 1 else 12))[0])
        position += 4 * (1 + struct.unpack_from("!H", compound, position + 2)[0])
    return found


def resident(pid: int) -> float:
    """Resident memory of a process in KB (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    return 0.0
