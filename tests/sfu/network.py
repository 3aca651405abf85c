"""A room on a fake network, in fake time: the core alone, without sockets, DTLS or SRTP.

What peers send goes straight into their transports; what the core wants to send is rendered as the shell would, and
put into the receivers' hands. `network.advance(1.0)` costs nothing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

from sfu.core.agenda import TICK, Agenda
from sfu.core.burst import Burst
from sfu.core.consumer import Consumer
from sfu.core.layout import NUMBER_AT, patch_number
from sfu.core.listener import Seat
from sfu.core.producer import Producer
from sfu.core.router import Router
from sfu.core.rtcp import RtcpPacket, parse_compound
from sfu.core.rtp import RtpHeader, parse_rtp
from sfu.core.transport import Transport
from sfu.protocol import Direction, Kind
from tests.sfu.senders import receiver_capabilities


class FakePeer:
    """One transport's other end."""

    def __init__(self, network: FakeNetwork, transport: Transport) -> None:
        self.network = network
        self.transport = transport
        self.rtp: list[bytes] = []
        self.rtp_times: list[float] = []  # when each of them left
        self.rtcp: list[RtcpPacket] = []

    def send_rtp(self, *packets: bytes) -> None:
        for packet in packets:
            self.transport.receive_rtp(packet, len(packet), self.network.now)
        self.network.deliver()

    def send_rtcp(self, *packets: Any) -> None:
        self.transport.receive_rtcp(b"".join(packet.serialize() for packet in packets), self.network.now)
        self.network.deliver()

    def take(self, packet: bytes) -> None:
        self.rtp.append(packet)
        self.rtp_times.append(self.network.now)

    def headers(self) -> list[RtpHeader]:
        return [parse_rtp(packet) for packet in self.rtp]

    def payloads(self) -> list[bytes]:
        return [p[h.payload_offset : h.payload_end] for p, h in zip(self.rtp, self.headers(), strict=True)]

    def heard(self, kind: type) -> list[Any]:
        return [packet for packet in self.rtcp if isinstance(packet, kind)]


class FakeNetwork:
    def __init__(self) -> None:
        self.now = 1000.0
        ids = (f"id{number}" for number in itertools.count())
        self.agenda = Agenda(random_bits=random.Random(1).getrandbits, clock_offset=1e9)
        self.router = Router("room", self.agenda, new_id=lambda: next(ids))
        self.peers: dict[Transport, FakePeer] = {}
        self.events: list[Any] = []
        self.each_tick: list[Callable[[], None]] = []
        self.pipes: dict[Transport, Callable[[bytes], None]] = {}  # to other workers: what takes their datagrams
        self.on_tapped: Callable[[str, memoryview, float], None] | None = None  # what recorders get

    def join(self, name: str, direction: Direction) -> FakePeer:
        transport = self.router.create_transport(self.router.open_peer(name, name), direction)
        transport.connected = True
        peer = self.peers[transport] = FakePeer(self, transport)
        return peer

    def produce(self, peer: FakePeer, kind: Kind, parameters: dict[str, Any], *, paused: bool = False) -> Producer:
        made = self.router.create_producer(
            peer.transport,
            kind=kind,
            source="camera" if kind == "video" else "microphone",
            rtp_parameters=parameters,
            paused=paused,
            now=self.now,
        )
        return self.router.producers[made.producer_id]

    def consume(
        self, peer: FakePeer, producer: Producer, *, resume: bool = True, reports: bool = False, asks: bool = True
    ) -> Consumer:
        """`reports`: whether he says that he will report on packets by their transport-wide numbers.
        `asks`: whether he says that he will ask for what he lacks."""
        capabilities = receiver_capabilities()
        without = {*([] if reports else ["transport-cc"]), *([] if asks else ["nack"])}
        for codec in capabilities["codecs"]:
            codec["rtcpFeedback"] = [f for f in codec["rtcpFeedback"] if f["type"] not in without]
        made = self.router.create_consumer(peer.transport, producer_id=producer.id, rtp_capabilities=capabilities)
        consumer = peer.transport.consumers[made.consumer_id]
        if resume:
            consumer.resume(self.now)
        self.deliver()
        return consumer

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for action in self.each_tick:
                action()
            self.agenda.tick(self.now)
            self.deliver()

    def _send(self, burst: Burst, seat: Seat, buffer: bytearray) -> None:
        transport = seat.transport
        assert transport is not None
        places = burst.render(buffer, 16, self.now)
        if seat.differs:
            burst.differ(buffer, 0, seat)
        for at, size in places:
            packet = buffer[at : at + size]
            if burst.feed.producer.is_video:
                number = transport.next_transport_sequence()
                transport.sent_one(number, size, self.now)
                patch_number(packet, NUMBER_AT, number)
            self.peers[transport].take(bytes(packet))

    def deliver(self) -> None:
        buffer = bytearray(65536)
        for pipe, piped in self.agenda.take_piped():
            self.pipes[pipe](bytes(piped))
        for burst in self.agenda.take_bursts():
            if burst.tap is not None and self.on_tapped is not None:
                places = burst.render(buffer, 16, self.now)
                if burst.tap.differs:
                    burst.differ(buffer, 0, burst.tap)
                for at, size in places:
                    self.on_tapped(burst.feed.producer.id, memoryview(buffer)[at : at + size], self.now)
            for seat in burst.seats:
                pacer = seat.transport.lane.pacer if seat.transport is not None else None
                if pacer is not None and burst.feed.producer.is_video:
                    pacer.take(burst, seat)
                else:
                    self._send(burst, seat, buffer)
        for burst in self.agenda.take_paced(self.now):
            self._send(burst, burst.seats[0], buffer)
        for transport, packet in self.agenda.take_packets():
            self.peers[transport].take(bytes(packet))
        for transport, report in self.agenda.take_reports():
            if transport in self.pipes:
                self.pipes[transport](report)
            else:
                self.peers[transport].rtcp.extend(parse_compound(report))
        self.events += self.agenda.take_events()
