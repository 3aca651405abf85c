"""A whole room on the fake network, led by bytes: six to a step, of which the first says what happens.

Whatever happens in whatever order: nothing is raised but a caller's fault, no receiver gets two packets under one
SSRC and number (with AES-GCM that gives the key away), and when everybody has left nothing is kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sfu.core.agenda import Agenda
from sfu.core.layers import Preference
from sfu.core.rtcp import (
    Bye,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
)
from sfu.core.rtp import build_rtp, parse_rtp, seq_diff
from sfu.core.transport_feedback import TransportFeedback
from sfu.protocol import InvalidRequest
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import (
    H264,
    VP8_RTX,
    OpusSender,
    Vp8Sender,
    h264_parameters,
    opus_parameters,
    simulcast_parameters,
    vp8_parameters,
)

STEP = 6  # bytes
PEERS = ("tina", "sam", "olga", "theo")
MAX_PRODUCERS = 24  # at a time: more would only be slower
CONFUSED_BY = 1 << 14  # numbers: SRTP's receiver takes a greater leap for a wrap


class StrictAgenda(Agenda):
    """In the worker one peer's bug must not stop the others' timers; here it must not be overlooked."""

    def _do(self, action: Callable[[float], None], transport: Any, now: float) -> None:
        action(now)


class Tap:
    """A recorder that only listens."""

    def wants(self, peer: str) -> bool:
        return True

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class Room(FakeNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.agenda = self.router.agenda = StrictAgenda(random_bits=random.Random(1).getrandbits, clock_offset=1e9)
        self.ends: dict[tuple[str, str], FakePeer] = {}  # by name and direction
        self.senders: dict[str, list[Any]] = {}  # by producer id, one a layer
        self.gone: set[int] = set()  # SSRCs of producers that are closed
        self.sent: dict[FakePeer, dict[tuple[int, int], bytes]] = {}
        self.highest: dict[tuple[FakePeer, int], int] = {}
        self.ssrc = 1000

    def run(self, data: bytes) -> None:
        for at in range(0, len(data) - STEP + 1, STEP):
            what, who, which, a, b, c = data[at : at + STEP]
            try:
                STEPS[what % len(STEPS)](self, PEERS[who % len(PEERS)], which, a, b, c)
            except InvalidRequest:
                continue  # answered; the room goes on
            self.deliver()
            self.check()

    # --- steps: who, which of his, three more bytes ---

    def join_to_send(self, who: str, which: int, a: int, b: int, c: int) -> None:
        self._join(who, "send", connected=a < 200)

    def join_to_receive(self, who: str, which: int, a: int, b: int, c: int) -> None:
        self._join(who, "recv", connected=a < 200)

    def _join(self, who: str, direction: Any, *, connected: bool) -> None:
        self.ends[who, direction] = peer = self.join(who, direction)
        peer.transport.connected = connected
        self.sent[peer] = {}

    def get_keys(self, who: str, which: int, a: int, b: int, c: int) -> None:
        if (peer := self._of(who, "recv")) is not None:
            peer.transport.connected = True

    def make_producer(self, who: str, which: int, a: int, b: int, c: int) -> None:
        peer = self._of(who, "send")
        if peer is None or len(self.router.producers) >= MAX_PRODUCERS:
            return
        self.ssrc += 10
        mid = str(b % 8)
        kind: Any = "audio" if which % 4 == 0 else "video"
        parameters = (
            opus_parameters(self.ssrc, mid=mid),
            vp8_parameters(self.ssrc, mid=mid),
            simulcast_parameters(mid=mid),
            h264_parameters(self.ssrc, mid=mid),
        )[which % 4]
        producer = self.produce(peer, kind, parameters, paused=a > 200)
        if which % 4 == 0:
            self.senders[producer.id] = [OpusSender(self.ssrc, mid=mid, level=c & 127 if c > 40 else None)]
        else:
            first = 65_000 + 2 * c
            rids = ("q", "h", "f") if which % 4 == 2 else ("",)
            self.senders[producer.id] = [
                Vp8Sender(self.ssrc + n, mid=mid, rid=rid, size=30, first_number=first) for n, rid in enumerate(rids)
            ]

    def make_consumer(self, who: str, which: int, a: int, b: int, c: int) -> None:
        peer, producer = self._of(who, "recv"), self._producer(which)
        if peer is not None and producer is not None:
            self.consume(peer, producer, resume=a < 200)

    def change_consumer(self, who: str, which: int, a: int, b: int, c: int) -> None:
        consumer = self._consumer(who, which)
        if consumer is None:
            return
        if a % 4 == 0:
            consumer.pause()
        elif a % 4 == 1:
            consumer.resume(self.now)
        elif a % 4 == 2:
            self.router.close_consumer(consumer, "closed")
        else:
            consumer.prefer(Preference(8 * b, 8 * c, 1 + a // 4, b % 9 if c & 1 else None, None), self.now)

    def change_producer(self, who: str, which: int, a: int, b: int, c: int) -> None:
        producer = self._producer(which)
        if producer is None:
            return
        if a % 3 == 0:
            self.router.pause_producer(producer)
        elif a % 3 == 1:
            self.router.resume_producer(producer, self.now)
        else:
            self.router.close_producer(producer, "closed")
            self.gone |= {producer.ssrc, producer.ssrc + 1}

    def leave(self, who: str, which: int, a: int, b: int, c: int) -> None:
        peer = self.router.peer(who)
        gone = {p.ssrc + n for p in peer.producers for n in (0, 1)}
        if a < 128:
            self.router.close_peer(who, "left")
        else:
            for transport in list(peer.transports.values()):
                if (transport.direction == "send") == bool(a & 1):
                    self.router.close_transport(transport, "closed")
                    break
            gone &= {p + n for p in gone for n in (0, 1)} - {p.ssrc + n for p in peer.producers for n in (0, 1)}
        self.gone |= gone

    def send(self, who: str, which: int, a: int, b: int, c: int) -> None:
        """Packets as an encoder makes them; some are lost, as the bits of `c` tell."""
        producer, sender = self._sender(which, b)
        if producer is None:
            return
        if isinstance(sender, OpusSender):
            packets = [sender.packet() for _ in range(1 + a % 8)]
        else:
            packets = sender.frame(1 + a % 8, key=a >= 128)
            if producer.mime_type == "video/H264":
                packets = [_as_h264(packet, key=a >= 128) for packet in packets]
        if c & 0x80:
            packets.reverse()
        self._give(producer, *[p for n, p in enumerate(packets) if not c >> n & 1])

    def send_damaged(self, who: str, which: int, a: int, b: int, c: int) -> None:
        producer, sender = self._sender(which, b)
        if producer is None:
            return
        packet = bytearray(sender.packet() if isinstance(sender, OpusSender) else sender.frame(1, key=a > 128)[0])
        packet[a % min(len(packet), 60)] ^= c or 1
        self._give(producer, bytes(packet[: len(packet) - (b & 7)]))

    def leap(self, who: str, which: int, a: int, b: int, c: int) -> None:
        """The encoder begins anew: other numbers, another time, perhaps another SSRC."""
        producer, sender = self._sender(which, b)
        if producer is None:
            return
        sender.number = sender.number + (a - 128) * 257 & 0xFFFF
        sender.timestamp = sender.timestamp + (c - 128) * 0x1010101 & 0xFFFFFFFF
        if b & 0x80:
            self.ssrc += 10
            sender.ssrc = self.ssrc

    def send_repair(self, who: str, which: int, a: int, b: int, c: int) -> None:
        """RTX with an original number that may be anything."""
        producer, sender = self._sender(which, b)
        if producer is None or isinstance(sender, OpusSender):
            return
        original = sender.number - a + (b & 0xF0) * 100 & 0xFFFF
        extensions = sender.extensions()
        if sender.rid:
            extensions[11] = extensions.pop(10)
        self._give(
            producer,
            build_rtp(
                payload_type=VP8_RTX if c & 1 else c & 127, sequence_number=a << 8 | c, timestamp=sender.timestamp,
                ssrc=sender.ssrc + (500 if sender.rid else 1), extensions=extensions,
                payload=original.to_bytes(2, "big") + bytes((0x90, 0xC0, 0x80, a, 1, c)) if c > 8 else bytes(c % 3),
            ),
        )  # fmt: skip

    def report(self, who: str, which: int, a: int, b: int, c: int) -> None:
        """What a receiver says, truly or not."""
        peer, consumer = self._of(who, "recv"), self._consumer(who, which)
        if peer is None:
            return
        ssrc = consumer.producer.ssrc if consumer is not None else a
        seen = self.highest.get((peer, ssrc), 0)
        sequence = peer.transport.lane.sequence
        said: Any = (
            Nack(1, ssrc, [seen - n for n in range(1 + a % 40)]),
            Nack(1, ssrc, [seen + (a - 128) * 256 + n for n in range(1 + b)]),
            PictureLossIndication(1, ssrc),
            FullIntraRequest(1, [(ssrc, n) for n in range(c % 8)]),
            ReceiverReport(1, [ReportBlock(ssrc, a, (b - 128) << 12, seen + c, a << 20, a << 24 | b, c << 16)]),
            Remb(1, a << (b & 63), [ssrc] * (c % 8)),
            Bye([ssrc]),
            _feedback(sequence - 1 - a, a if b < 128 else 2, c),
            _feedback(sequence + a * 256, b, c),
        )[c % 9]
        peer.send_rtcp(said)

    def report_as_sender(self, who: str, which: int, a: int, b: int, c: int) -> None:
        producer, sender = self._sender(which, b)
        if producer is not None:
            ntp = int((self.now + (a - 128) * (c & 1)) * 2**32) & 0xFFFFFFFFFFFFFFFF
            self._end(producer).send_rtcp(SenderReport(sender.ssrc, ntp, sender.timestamp, 5, 500))

    def wait(self, who: str, which: int, a: int, b: int, c: int) -> None:
        self.advance(0.02 * (1 + a % 30))

    def wait_long(self, who: str, which: int, a: int, b: int, c: int) -> None:
        self.now += a  # the process slept
        self.advance(0.04)

    def record(self, who: str, which: int, a: int, b: int, c: int) -> None:
        if self.router.taps and a & 1:
            self.router.remove_tap(self.router.taps[0])
        elif len(self.router.taps) < 2:
            tap: Any = Tap()
            self.router.add_tap(tap, self.now)

    def fill(self, who: str, which: int, a: int, b: int, c: int) -> None:
        """As in a large room: few voices are forwarded."""
        self.router.speakers.limit = a % 3 if a < 128 else None

    # --- who and which ---

    def _of(self, who: str, direction: str) -> FakePeer | None:
        peer = self.ends.get((who, direction))
        return peer if peer is not None and _is_open(peer) else None

    def _producer(self, which: int) -> Any:
        producers = list(self.router.producers.values())
        return producers[which % len(producers)] if producers else None

    def _sender(self, which: int, layer: int) -> tuple[Any, Any]:
        producer = self._producer(which)
        if producer is None:
            return None, None
        senders = self.senders[producer.id]
        return producer, senders[layer % len(senders)]

    def _consumer(self, who: str, which: int) -> Any:
        peer = self._of(who, "recv")
        consumers = list(peer.transport.consumers.values()) if peer is not None else []
        return consumers[which % len(consumers)] if consumers else None

    def _end(self, producer: Any) -> FakePeer:
        return self.peers[producer.transport]

    def _give(self, producer: Any, *packets: bytes) -> None:
        self._end(producer).send_rtp(*packets)

    # --- what must be true ---

    def check(self) -> None:
        for peer in self.sent:
            for packet in peer.rtp:
                self._check_packet(peer, packet)
            peer.rtp.clear()
            peer.rtp_times.clear()
            peer.rtcp.clear()
        self.events.clear()

    def _check_packet(self, peer: FakePeer, packet: bytes) -> None:
        if not _is_open(peer):
            return  # the shell has no keys of it any more
        header = parse_rtp(packet)
        key = (header.ssrc, header.sequence_number)
        assert header.ssrc not in self.gone, "a producer's SSRC is forgotten by libsrtp when it closes"
        assert self.sent[peer].setdefault(key, packet) == packet, "one number, two packets"
        highest = self.highest.get((peer, header.ssrc))
        if highest is None:
            self.highest[peer, header.ssrc] = header.sequence_number
            return
        ahead = seq_diff(header.sequence_number, highest)
        assert abs(ahead) < CONFUSED_BY, "the receiver takes this leap for a wrap of numbers"
        self.highest[peer, header.ssrc] = max(highest, highest + ahead) & 0xFFFF

    def end(self) -> None:
        """Everybody leaves, and nothing is kept."""
        transports = [peer.transport for peer in self.sent]
        self.router.close("room_closed")
        self.agenda.take_bursts(), self.agenda.take_packets(), self.agenda.take_reports(), self.agenda.take_events()
        agenda = self.agenda
        kept = {
            name: value
            for name in ("open_feeds", "nacking", "wanting", "arrivals", "starting", "probing", "talking")
            if (value := getattr(agenda, name))
        }
        assert not kept
        assert not any(agenda._slots)
        assert not self.router.peers
        assert not self.router.producers
        assert not self.router.speakers._voices
        assert not self.router.speakers._forwarded
        for transport in transports:
            assert not transport.producers
            assert not transport.consumers
            assert not transport.by_ssrc
            assert not transport.streams
            assert not transport.repairs
        self.advance(2.0)


def _is_open(peer: FakePeer) -> bool:
    return peer.transport.id in peer.transport.peer.transports


def _as_h264(packet: bytes, *, key: bool) -> bytes:
    header = parse_rtp(packet)
    start = header.payload_offset
    kind = b"\x67" if key else b"\x41"
    return packet[:1] + bytes((packet[1] & 0x80 | H264,)) + packet[2:start] + kind + packet[start + 1 :]


def _feedback(base: int, count: int, how: int) -> TransportFeedback:
    base &= 0xFFFF
    received = [(base + n, (how - 100) * (n & 7)) for n in range(count) if not how & 1 or n % 3]
    return TransportFeedback(1, 1, base, count, how, how, received)


STEPS: tuple[Callable[[Room, str, int, int, int, int], None], ...] = (
    Room.join_to_send, Room.join_to_receive, Room.get_keys, Room.make_producer, Room.make_consumer,
    Room.change_consumer, Room.change_producer, Room.leave, Room.send, Room.send_damaged, Room.leap, Room.send_repair,
    Room.report, Room.report_as_sender, Room.wait, Room.wait_long, Room.record, Room.fill,
)  # fmt: skip


def code(step: Callable[..., None], who: int = 0, which: int = 0, a: int = 0, b: int = 0, c: int = 0) -> bytes:
    return bytes((STEPS.index(step), who, which, a, b, c))


def _class(kind: int) -> bytes:
    """Tina sends one thing in all its layers, Sam gets it, something is lost, and both go on."""
    sends = b"".join(
        code(Room.send, 0, 0, 130 if n % 4 == 0 else 3, layer, 4 if n == 2 else 0)
        for n in range(6)
        for layer in range(3)
    )
    reports = b"".join(code(Room.report_as_sender, 0, 0, 0, layer) for layer in range(3))
    heard = b"".join(code(Room.report, 1, 0, 3, 0, c) for c in range(9))
    return b"".join((
        code(Room.join_to_send), code(Room.join_to_receive, 1), code(Room.make_producer, 0, kind),
        code(Room.make_consumer, 1), sends, reports, code(Room.wait, 0, 0, 29), sends, heard, code(Room.wait, 0, 0, 29),
        code(Room.change_consumer, 1, 0, 3, 20, 20), sends, code(Room.leap, 0, 0, 200, 128, 3), sends,
        code(Room.change_consumer, 1, 0, 0), sends, code(Room.change_consumer, 1, 0, 1), sends, heard,
    ))  # fmt: skip


SEEDS = [_class(kind) for kind in range(4)]


def room(data: bytes) -> None:
    made = Room()
    made.run(data)
    made.end()
