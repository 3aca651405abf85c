"""Rooms in which all send a camera in three layers and a voice and receive all others; beside a floor and janus.

The server has one core; the generator, which is all participants with real ICE and DTLS, another. Each packet carries
a number by which its latency is known (`benchmarks.marks`); one packet in SAMPLE_ONE_IN is decrypted and counted so.

The floor sends each datagram back to its sender and does nothing else. What a server adds is its p95 less the floor's
median in the same run. Everybody asks for one and the same layer of each camera, so that all servers do the same work:

    layer_kbit      what one receiver got of one camera: a server that estimates what the receiver's line carries may
                    forward a lesser layer than was asked for, and does less work then
    loss_percent    what is missing in sequence numbers
    voice_percent   how much of what was said came: it falls when a server stands still, too
    late_p99_ms     how late the generator sent: late, it sends more at once than people would
    others_percent  the share of all cores that other processes had meanwhile
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import struct
import time
from collections.abc import Callable
from typing import Any

from pylibsrtp import Error as SrtpError

from benchmarks.fanout import cpu_seconds
from benchmarks.forward import (
    CORES,
    GENERATOR_CORE,
    READ_EVERY,
    REPORT_EVERY,
    SERVER_CORE,
    Counted,
    key_frames_asked_for,
)
from benchmarks.machine import OtherWork
from benchmarks.marks import Marks, stamp_arrivals, waiting
from benchmarks.media_source import FPS, LAYERS, Offer, Simulcast
from benchmarks.media_source import SECONDS as LOOP_SECONDS
from benchmarks.peers import MeetingPeer, Participant, Received, own_address
from benchmarks.peers.echo import Echo
from benchmarks.peers.janus import Janus
from benchmarks.peers.lectern import Lectern
from benchmarks.table import Benchmark, Table, median, percentile
from benchmarks.webrtc_client import Client
from sfu.core.feedback import MAX_STATUSES
from sfu.core.transport_feedback import REFERENCE_TICKS, TransportFeedback

PEERS: dict[str, Callable[[], MeetingPeer]] = {"echo": Echo, "lectern": Lectern, "janus": Janus}
RIDS = [rid for rid, *_ in LAYERS]
SETTLED = 0.9  # of a layer's rate
SAMPLE_ONE_IN = 17
FEEDBACK_EVERY = 0.1  # seconds between transport-wide feedbacks: browsers send one each 50 to 250 ms
REPORT_BLOCKS = 31  # that one receiver report can hold
HEADER = struct.Struct("!BBHII").unpack_from
FIGURES = [
    "cpu_percent_each", "cpu_percent", "us_per_packet", "p50_ms", "p95_ms", "p99_ms", "layer_kbit", "loss_percent",
    "voice_percent", "packets_out_s", "late_p99_ms", "generator_percent", "others_percent",
]  # fmt: skip


class Bench(Benchmark):
    """Rooms where all send simulcast and voice and receive all others: CPU a participant, latency."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 16], help="participants of a room")
        parser.add_argument("--rooms", type=int, default=1, help="so many rooms of that size at once, for more load")
        parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
        parser.add_argument("--seconds", type=float, default=10.0)
        parser.add_argument("--layer", choices=RIDS, default="h", help="of each camera that everybody asks for")
        parser.add_argument("--settle", type=float, default=40.0, help="seconds to wait for those layers, at most")
        parser.add_argument("--runs", type=int, default=3, help="the median of so many runs is shown")

    def run(self) -> Table:
        options = self.options
        layer = RIDS.index(options.layer)
        rates = ", ".join(f"{rate / 1e6:g}" for *_, rate in LAYERS)
        table = Table(
            f"Meetings: all send VP8 simulcast (layers of {rates} Mbit/s, told by RID) and Opus, and receive all "
            f"others, of each camera the layer of {LAYERS[layer][3] / 1e6:g} Mbit/s; server on one core",
            ["server", "rooms", "people", *FIGURES[:6], "added_p95_ms", *FIGURES[6:]],
        )
        for size in options.sizes:
            floor: float | None = None
            for name in sorted(options.peers, key=[*PEERS].index):  # the floor first
                rows = [
                    measure(PEERS[name], size, options.rooms, layer, options.seconds, options.settle)
                    for _ in range(options.runs)
                ]
                row = median(rows, FIGURES)
                if name == "echo":
                    floor = row["p50_ms"]
                elif floor is not None and row["p95_ms"] is not None:
                    row["added_p95_ms"] = row["p95_ms"] - floor
                table.add(**row)
        return table


class Attendee:
    """One participant: what he sends, and what he counts of what he gets."""

    def __init__(self, up: Client, source: Simulcast, start: float) -> None:
        self.up = self.down = up
        self.source = source
        self.received: Received | None = None  # nothing yet
        self.streams: dict[int, Counted] = {}
        self.video_octets = self.voices = 0
        self.until_sample = SAMPLE_ONE_IN
        self.next_frame = self.next_voice = self.next_report = self.next_feedback = start
        self.arrivals: dict[int, int] = {}  # transport-wide number, unwrapped, to nanoseconds
        self.newest = 0
        self.feedbacks = 0

    def receive(self, client: Client, received: Received) -> None:
        self.down, self.received = client, received
        stamp_arrivals(client)

    # --- what comes back to the sender ---

    def take_other(self, client: Client, data: bytes) -> None:
        """What is no media: connectivity checks, and requests for key frames."""
        if data and data[0] <= 3:
            client.answer_stun(data)
        elif len(data) > 12 and data[0] & 0xC0 == 0x80 and 192 <= data[1] <= 223 and client.inbound is not None:
            with contextlib.suppress(SrtpError):
                for ssrc in key_frames_asked_for(client.inbound.unprotect_rtcp(data)):
                    self.source.ask_for_key_frame(ssrc)

    # --- what he tells ---

    def report(self, now: float) -> None:
        """Sender and receiver reports, transport-wide feedback and consent, each when it is time."""
        self.up.keep_consent(now)
        if self.down is not self.up:
            self.down.keep_consent(now)
        if now >= self.next_feedback:
            self.next_feedback = now + FEEDBACK_EVERY
            self._send_feedback()
        if now >= self.next_report:
            self.next_report = now + REPORT_EVERY
            for report in self.source.reports():
                self.up.send_rtcp(report)
            blocks = [
                struct.pack("!IIIIII", ssrc, 0, counted.last & 0xFFFFFFFF, 0, 0, 0)
                for ssrc, counted in self.streams.items()
            ]
            for first in range(0, len(blocks), REPORT_BLOCKS):
                some = blocks[first : first + REPORT_BLOCKS]
                head = struct.pack("!BBHI", 0x80 | len(some), 201, 1 + 6 * len(some), 1)
                self.down.send_rtcp(head + b"".join(some))

    def note_arrival(self, number: int, nanoseconds: int) -> None:
        self.newest += (number - self.newest + 0x8000 & 0xFFFF) - 0x8000
        self.arrivals[self.newest] = nanoseconds

    def _send_feedback(self) -> None:
        if not self.arrivals:
            return
        arrived = sorted(self.arrivals.items())
        arrivals, self.arrivals = arrived[:MAX_STATUSES], dict(arrived[MAX_STATUSES:])
        ticks = [nanoseconds // 250_000 for _, nanoseconds in arrivals]
        reference = ticks[0] // REFERENCE_TICKS
        before = [reference * REFERENCE_TICKS, *ticks]
        first, last = arrivals[0][0], arrivals[-1][0]
        received = [(number, ticks[i] - before[i]) for i, (number, _) in enumerate(arrivals)]
        self.feedbacks += 1
        ssrc = next(iter(self.streams), 1)
        feedback = TransportFeedback(1, ssrc, first, last - first + 1, reference, self.feedbacks, received)
        self.down.send_rtcp(feedback.serialize())


class Meeting:
    """All participants in one thread: sends at the media's pace, reads what arrives."""

    def __init__(self) -> None:
        self.attendees: list[Attendee] = []
        self.by_fd: dict[int, tuple[Attendee, Client]] = {}
        self.epoll = select.epoll()
        self.marks = Marks()
        self.buffer = bytearray(4096)
        self.turn = 0
        self.start_counting()

    def start_counting(self) -> None:
        self.marks.start_counting()
        self.late: list[float] = []  # seconds that a frame or a voice was sent after its time
        self.voices_sent = 0
        for attendee in self.attendees:
            attendee.streams, attendee.video_octets, attendee.voices = {}, 0, 0

    def add(self, attendee: Attendee) -> None:
        self.attendees.append(attendee)
        self.watch(attendee, attendee.up)

    def watch(self, attendee: Attendee, client: Client) -> None:
        if client.socket.fileno() not in self.by_fd:
            self.by_fd[client.socket.fileno()] = attendee, client
            self.epoll.register(client.socket.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> None:
        now = time.monotonic()
        end, next_read = now + seconds, now
        while True:
            due = min(self._send_what_is_due(), end)
            if self.attendees:  # one at a time: nobody's packets wait for all reports
                self.turn = (self.turn + 1) % len(self.attendees)
                self.attendees[self.turn].report(time.monotonic())
            now = time.monotonic()
            if now >= next_read:
                next_read = now + READ_EVERY
                for fd, _ in self.epoll.poll(0):
                    self._read(*self.by_fd[fd])
                    if time.monotonic() >= due:
                        next_read = due  # the rest after what is to be sent
                        break
            if time.monotonic() >= end:
                return
            # Not in `poll`: that has the server pay for waking us with each packet, which is loopback's price alone.
            time.sleep(max(0.0, min(due, next_read) - time.monotonic()))

    def _send_what_is_due(self) -> float:
        """The moment at which something is to be sent again."""
        due = float("inf")
        for attendee in self.attendees:
            now = time.monotonic()
            if now >= attendee.next_frame:
                self.late.append(now - attendee.next_frame)
                attendee.next_frame = max(attendee.next_frame + 1 / FPS, now - 0.1)
                self.marks.send(attendee.up, attendee.source.next_frame())
            if now >= attendee.next_voice:
                self.late.append(now - attendee.next_voice)
                attendee.next_voice = max(attendee.next_voice + 0.02, now - 0.1)
                self.marks.send(attendee.up, attendee.source.next_voice())
                self.voices_sent += 1
            due = min(due, attendee.next_frame, attendee.next_voice)
        return due

    def _read(self, attendee: Attendee, client: Client) -> None:
        """Everything that waits in the socket."""
        received = attendee.received if client is attendee.down else None
        buffer = self.buffer
        for size, at in waiting(client, buffer):
            if size < 12 or buffer[0] & 0xC0 != 0x80 or 192 <= buffer[1] <= 223:
                attendee.take_other(client, bytes(buffer[:size]))
                continue
            if received is None or not at:
                continue  # it came before this socket was told to stamp what comes
            _, kind, number, _, ssrc = HEADER(buffer)
            kind &= 0x7F
            if received.transport_cc_id and kind != received.audio_type:
                place = find_extension(buffer, received.transport_cc_id)
                if place:
                    attendee.note_arrival(buffer[place] << 8 | buffer[place + 1], at)
            if kind != received.video_type and kind != received.audio_type:
                continue  # a repair, or padding that measures the way: it is reported on, and no more
            counts = attendee.streams.get(ssrc)
            if counts is None:
                counts = attendee.streams[ssrc] = Counted()
            counts.add(number)
            if kind == received.video_type:
                attendee.video_octets += size
            else:
                attendee.voices += 1
            attendee.until_sample -= 1
            if not attendee.until_sample:
                attendee.until_sample = SAMPLE_ONE_IN
                self.marks.receive(client, bytes(buffer[:size]), at)


def find_extension(packet: bytearray, identifier: int) -> int:
    """Where the value of a one-byte extension begins (RFC 8285 section 4.2); 0 if it is not there."""
    if not packet[0] & 0x10 or packet[12] != 0xBE or packet[13] != 0xDE:
        return 0
    position, end = 16, 16 + 4 * (packet[14] << 8 | packet[15])
    while position < end:
        head = packet[position]
        if head >> 4 == identifier:
            return position + 1
        position += 1 if head == 0 else 2 + (head & 15)
    return 0


def measure(
    make: Callable[[], MeetingPeer], size: int, rooms: int, layer: int, seconds: float, at_most: float
) -> dict[str, Any]:
    os.sched_setaffinity(0, {GENERATOR_CORE})
    peer = make()
    peer.start(SERVER_CORE)
    clients: list[Client] = []
    meeting = Meeting()
    try:
        host, people = own_address(), size * rooms
        whos = [Participant(n // size, n % size, Offer(first_ssrc=0x10000000 + 16 * n)) for n in range(people)]
        for room in range(rooms):
            peer.open_room(room)
        for number, who in enumerate(whos):
            source = Simulcast(who.offer)
            clients.append(client := Client(host))
            peer.send_all(who, client)
            # Cameras do not take their pictures in step.
            meeting.add(Attendee(client, source, time.monotonic() + number / people / FPS))
            meeting.run(0.0)
        meeting.run(0.5)  # a peer may offer nothing before media arrive
        for who, attendee in zip(whos, meeting.attendees, strict=True):
            if isinstance(peer, Echo):
                client = attendee.up
            else:
                clients.append(client := Client(host))
            attendee.receive(client, peer.receive_all(who, client, layer))
            meeting.watch(attendee, client)
            meeting.run(0.0)
        settle(meeting, LAYERS[layer][3], at_most)
        meeting.start_counting()
        others = OtherWork()
        cpu, own, start = cpu_seconds(peer.pid), time.process_time(), time.monotonic()
        meeting.run(seconds)
        cpu, own, took = cpu_seconds(peer.pid) - cpu, time.process_time() - own, time.monotonic() - start
        row = {"server": peer.name, "rooms": rooms, "people": size} | figures(meeting, cpu, own, took)
        row["others_percent"] = others.percent(cpu + own)
        return row | {"layer_kbit": None} if isinstance(peer, Echo) else row  # all layers came back
    finally:
        meeting.epoll.close()
        for client in clients:
            client.close()
        peer.stop()
        os.sched_setaffinity(0, CORES)


def settle(meeting: Meeting, rate: float, at_most: float) -> None:
    """Until everybody gets the layer that he asked for: a server that estimates what a line carries tries slowly."""
    end = time.monotonic() + at_most
    cameras = sum(attendee.received.cameras for attendee in meeting.attendees if attendee.received)
    while time.monotonic() < end:
        meeting.start_counting()
        start = time.monotonic()
        meeting.run(LOOP_SECONDS)
        octets = sum(attendee.video_octets for attendee in meeting.attendees)
        if 8 * octets / (time.monotonic() - start) >= SETTLED * rate * cameras:
            return


def figures(meeting: Meeting, cpu: float, own: float, took: float) -> dict[str, Any]:
    people = len(meeting.attendees)
    received = [attendee.received for attendee in meeting.attendees if attendee.received]
    cameras, voices = sum(one.cameras for one in received), sum(one.voices for one in received)
    streams = [counts for attendee in meeting.attendees for counts in attendee.streams.values()]
    got = sum(counts.packets for counts in streams)
    span = sum(counts.last - counts.first + 1 for counts in streams)
    # Of a stream that did not come at all, everything counts as lost.
    lost = 1 - got / max(span, 1) * min(1.0, len(streams) / max(cameras + voices, 1))
    latencies = [nanoseconds / 1e6 for nanoseconds in sorted(meeting.marks.latencies)]
    heard = sum(attendee.voices for attendee in meeting.attendees)
    octets = sum(attendee.video_octets for attendee in meeting.attendees)
    return {
        "cpu_percent_each": 100 * cpu / took / people,
        "cpu_percent": 100 * cpu / took,
        "us_per_packet": 1e6 * cpu / max(got, 1),
        "p50_ms": percentile(latencies, 50),
        "p95_ms": percentile(latencies, 95),
        "p99_ms": percentile(latencies, 99),
        "layer_kbit": 8 * octets / took / 1000 / max(cameras, 1),
        "loss_percent": 100 * lost,
        "voice_percent": 100 * heard / max(voices * meeting.voices_sent / people, 1),
        "packets_out_s": got / took,
        "late_p99_ms": percentile([1000 * seconds for seconds in sorted(meeting.late)], 99),
        "generator_percent": 100 * own / took,
    }
