"""A room's streams between two workers: each layer crosses once, whoever watches it on the other side.

What crosses is what the sender sent, under its own timestamps and picture ids, in the shape of `sfu.core.layout`: the
other worker sees a sender's streams, mends and renumbers them for its own receivers, and forwards them as any other.
So a pipe looks like a peer to it: `PipeProducer` is a producer of the other side, `PipeConsumer` one of ours that the
other side has asked for. Only layers that somebody there watches cross.

The way is a LAN's: what is lost is asked for again by NACK and sent again as it was; there is no estimate of the
bandwidth and nothing is paced. Key frames are asked for by PLI, as often as the other side likes: it is the sender's
worker that spares the sender.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct as Packing
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sfu.core.layout import (
    ABS_SEND_TIME_AT,
    ABS_SEND_TIME_ID,
    DEPENDENCY_DESCRIPTOR_ID,
    FIXED_HEADER,
    MID_ID,
    SEQUENCE_AT,
    TRANSPORT_CC_ID,
)
from sfu.core.numbering import Numbering
from sfu.core.packet_cache import Packet
from sfu.core.peer import Peer
from sfu.core.producer import Producer
from sfu.core.rtcp import Nack, SenderReport
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.core.stream import MAX_LEAP
from sfu.core.transport import Transport
from sfu.protocol import Json, Kind, Source

if TYPE_CHECKING:
    from sfu.core.agenda import Agenda
    from sfu.core.layers import Layer
    from sfu.core.stream import Stream

MAX_CROSSINGS = 1 << 16  # of one pipe in its life: the lower half of an SSRC
AHEAD = 0.6  # seconds: told once a second, a layer that is there must not count as silent (0.5 s) or gone (1 s)
RATE_STEP = 1.25  # times that a layer's rate changes before the other side is told

_sequence_at = Packing("!H").pack_into
_ssrc_at = Packing("!I").pack_into
SSRC_AT = FIXED_HEADER - 4
_OURS = frozenset({MID_ID, TRANSPORT_CC_ID, ABS_SEND_TIME_ID})  # extensions that are written for receivers


class LayerState(Struct):
    """What the other side knows of a layer that does not cross: enough to choose it."""

    sent_for: float | None  # seconds; None: it is not sent at the moment
    rate: float = 0.0  # bit/s
    size: tuple[int, int] | None = None
    report: tuple[int, int, float] | None = None  # the newest sender report: NTP, RTP timestamp, seconds ago


class Piped(Struct):
    """A producer as the other side is told of it."""

    producer_id: str
    peer: str  # whose it is
    cname: str
    kind: Kind
    source: Source
    consumable: Json  # what it is to the router (mediasoup JSON)
    ssrcs: list[int]  # of its layers on the pipe
    rids: list[str]
    described: bool  # whether its packets cross with the dependency descriptor
    paused: bool
    layers: list[LayerState]


class Wish(Struct, frozen=True):
    """What a worker wants of a producer of the other one."""

    layers: tuple[int, ...]
    unheard: bool  # of a voice: also what the room does not hear, for it is recorded
    asked: int = 0  # how often a key frame was asked for by then: a request may overtake this, and opens its layer


class Crossing:
    """One layer on its way out, under an SSRC of its own. Its numbers have gaps only where packets were lost."""

    __slots__ = ("_resent", "numbering", "pipe", "running", "ssrc", "stream", "unheard")

    paused = False

    def __init__(self, pipe: Pipe, stream: Stream) -> None:
        self.pipe = pipe
        self.stream = stream
        self.ssrc = pipe.new_ssrc()
        self.unheard = False
        self.running = False
        self.numbering = Numbering(stream.producer.first_number())
        pipe.by_ssrc[self.ssrc] = self  # type: ignore[assignment]  # who answers to reports of the other side

    @property
    def producer(self) -> Producer:
        return self.stream.producer

    def open(self) -> None:
        if self not in self.stream.crossings:
            self.stream.crossings = (*self.stream.crossings, self)

    def shut(self) -> None:
        self.stop()
        self.stream.crossings = tuple(crossing for crossing in self.stream.crossings if crossing is not self)

    def close(self) -> None:
        self.shut()
        self.pipe.by_ssrc.pop(self.ssrc, None)
        if self.pipe.link is not None:
            self.pipe.link.forget_outbound(self.ssrc)

    # --- packets ---

    def offer(self, packet: Packet, *, heard: bool) -> None:
        """`heard`: whether the room gets this packet of a voice."""
        if not (heard or self.unheard):
            self.running = False
            return
        if not self.running:
            self.running = True
            self.numbering.begin(self.stream, packet.sequence)
        number = self.numbering.number(packet.sequence)
        if number is not None:
            self._send(packet, number)

    def skip(self, sequence: int) -> bool:
        """Leave out an empty packet. False if it must be sent to keep the numbers whole."""
        return not self.running or self.numbering.drop(sequence)

    def stop(self) -> None:
        """Nothing crosses for a while; what comes then goes on without a gap."""
        self.running = False

    def begin_anew(self) -> None:
        """The sender's numbers began anew: a leap tells the other side, and nothing from before is sent again."""
        self.running = False
        self.numbering = Numbering(self.numbering.last_out + MAX_LEAP + 2)

    def _send(self, packet: Packet, number: int) -> None:
        """The same bytes whenever it is sent: under one number, AES-GCM must not see two packets."""
        if packet.dependencies:
            copy = _with_dependencies(packet)
        else:
            copy = packet.data.copy()
            copy[ABS_SEND_TIME_AT : ABS_SEND_TIME_AT + 3] = b"\0\0\0"  # written anew at each departure
        _sequence_at(copy, SEQUENCE_AT, number & 0xFFFF)
        _ssrc_at(copy, SSRC_AT, self.ssrc)
        self.pipe.agenda.pipe(self.pipe, copy)

    def send_report(self, ntp: int, timestamp: int) -> None:
        report = SenderReport(ssrc=self.ssrc, ntp_timestamp=ntp, rtp_timestamp=timestamp, packet_count=0, octet_count=0)
        self.pipe.agenda.report(self.pipe, report.serialize())

    # --- what the other side says ---

    def receive_nack(self, nack: Nack, now: float) -> None:
        for asked in nack.lost:
            place = self.numbering.origin(asked)
            packet = self.stream.cache.get(place[1]) if place is not None else None
            if place is None or packet is None or self.producer.paused:
                self.pipe.agenda.dropped["nack_too_old"] += 1
            else:
                self.pipe.agenda.counters.retransmissions += 1
                self._send(packet, place[2])

    def want_key_frame(self, now: float) -> None:
        """Who wants a key frame of a layer wants the layer."""
        self.producer.pipe_consumers[self.pipe].asked += 1
        self.open()
        self.stream.want_key_frame(now)


def _with_dependencies(packet: Packet) -> bytearray:
    """With the dependency descriptor, which may be too long for the one-byte form of our layout (RFC 8285)."""
    data = packet.data
    header = parse_rtp(data)
    extensions = {id: bytes(data[at : at + size]) for id, (at, size) in header.extensions.items() if id not in _OURS}
    extensions[DEPENDENCY_DESCRIPTOR_ID] = packet.dependencies
    return bytearray(
        build_rtp(
            payload_type=header.payload_type,
            sequence_number=0,
            timestamp=header.timestamp,
            ssrc=0,
            payload=bytes(data[header.payload_offset : header.payload_end]),
            marker=header.marker,
            extensions=extensions,
            two_byte=True,
        )
    )


class PipeConsumer:
    """One of our producers, as it goes out over a pipe."""

    def __init__(self, producer: Producer, pipe: Pipe) -> None:
        self.producer = producer
        self.pipe = pipe
        self.crossings = [Crossing(pipe, stream) for stream in producer.streams]
        self.told: list[LayerState] = []
        self.asked = 0  # how often the other side asked for a key frame
        producer.pipe_consumers[pipe] = pipe.outgoing[producer.id] = self
        if not producer.is_video:
            self.crossings[0].open()

    def wish(self, wish: Wish) -> None:
        """Send these layers, and no others."""
        for index, crossing in enumerate(self.crossings):
            crossing.unheard = wish.unheard
            if index in wish.layers:
                crossing.open()
            elif wish.asked >= self.asked:
                crossing.shut()

    def about(self, now: float) -> Piped:
        producer = self.producer
        self.told = self.layers(now)
        return Piped(
            producer_id=producer.id,
            peer=producer.owner.id,
            cname=producer.owner.cname,
            kind=producer.kind,
            source=producer.source,
            consumable=producer.consumable,
            ssrcs=[crossing.ssrc for crossing in self.crossings],
            rids=[stream.rid for stream in producer.streams],
            described=producer.dependencies_id is not None,
            paused=producer.paused,
            layers=self.told,
        )

    def close(self) -> None:
        for crossing in self.crossings:
            crossing.close()
        self.producer.pipe_consumers.pop(self.pipe, None)
        self.pipe.outgoing.pop(self.producer.id, None)

    def news(self, now: float) -> list[LayerState] | None:
        """What changed of the layers since the other side was told; None: nothing that it must know."""
        if len(self.producer.layers) < 2:
            return None
        layers = self.layers(now)
        if len(layers) == len(self.told) and all(map(_alike, layers, self.told)):
            return None
        self.told = layers
        return layers

    def layers(self, now: float) -> list[LayerState]:
        return [_state(layer, now) for layer in self.producer.layers]


def _state(layer: Layer, now: float) -> LayerState:
    since = layer.active_since
    reception = layer.stream.reception
    return LayerState(
        sent_for=now - since if since is not None and layer.is_active(now) else None,
        rate=layer.own_rate,
        size=layer.size,
        report=(reception.report_ntp, reception.report_timestamp, now - reception.report_at)
        if reception.report_ntp
        else None,
    )


def _alike(one: LayerState, other: LayerState) -> bool:
    rates = sorted((one.rate, other.rate))
    return (
        (one.sent_for is None) == (other.sent_for is None)
        and one.size == other.size
        and rates[1] <= RATE_STEP * rates[0]
    )


class PipeProducer(Producer):
    """A producer of the other side. It has the id and the owner that it has there."""

    pipe: Pipe

    def __init__(self, *, layers: Iterable[LayerState], now: float, **about: Any) -> None:
        super().__init__(**about)
        self.wanted_at = now  # when somebody here had it last
        self.wish_told: Wish | None = None
        self._told: list[LayerState] = []
        self._told_at = now
        self.tell(list(layers), now)
        for layer, told in zip(self.layers, self._told, strict=False):
            if told.report is not None:
                ntp, timestamp, ago = told.report
                layer.stream.reception.sender_report(ntp, timestamp, now - ago)

    def may_ask(self, now: float) -> bool:
        """The other side spares the sender."""
        return True

    def tell(self, layers: list[LayerState], now: float) -> None:
        """What the other side says of the layers."""
        self._told, self._told_at = layers, now
        self._believe(now)

    def each_second(self, now: float) -> None:
        self._believe(now)
        super().each_second(now)

    def _believe(self, now: float) -> None:
        """Layers that do not cross are there all the same: who is to get one can be given it."""
        crossing = self.wish().layers
        for layer, told in zip(self.layers, self._told, strict=False):
            if told.size is not None:
                layer.size = told.size
            if layer.stream.index in crossing and layer.stream.reception.highest is not None:
                continue  # its packets tell
            layer.own_rate = told.rate
            if told.sent_for is None:
                continue
            layer.last_packet_at = now + AHEAD
            if layer.active_since is None:
                layer.active_since = self._told_at - told.sent_for

    @property
    def is_used(self) -> bool:
        """Whether somebody here has it, even paused."""
        return bool(self.consumers or self.taps or self.pipe_consumers or self.speakers is not None)

    def wish(self) -> Wish:
        unheard = bool(self.taps) or any(crossing.unheard for stream in self.streams for crossing in stream.crossings)
        if not self.is_video:
            return Wish((0,), unheard, self.key_frames_requested)
        wanted = [
            stream.index
            for stream in self.streams
            if stream.crossings or any(feed.has_audience for feed in self.feeds_of(stream))
        ]
        return Wish(tuple(wanted), unheard, self.key_frames_requested)


class Pipe(Transport):
    """Both directions of one room between two workers."""

    def __init__(self, *, id: str, room: str, agenda: Agenda, prefix: int) -> None:
        """`prefix`: what the other side finds the pipe by, the upper half of each SSRC that we send."""
        super().__init__(id=id, peer=Peer("", "", room=room, cname=""), direction="send", agenda=agenda)
        self.prefix = prefix
        self.outgoing: dict[str, PipeConsumer] = {}
        self.connected = True
        self._crossings = 0

    def new_ssrc(self) -> int:
        """None is ever given out twice. Raises OverflowError: the pipe is used up."""
        self._crossings += 1
        if self._crossings >= MAX_CROSSINGS:
            raise OverflowError("no SSRC is left on this pipe")
        return self.prefix << 16 | self._crossings

    def admits(self, ssrc: int, *, is_rtcp: bool = False) -> bool:
        return is_rtcp or ssrc in self.streams

    @property
    def watched(self) -> int:
        return len(self.by_ssrc)

    def look(self, now: float) -> None:
        """Each tick: where one layer falls silent no packets of the others may come that would tell."""
        for producer in self.producers.values():
            if len(producer.streams) > 1 and not producer.paused:
                producer.look(now)

    def each_second(self, now: float) -> None:
        self._key_frame_requests = self._nacked = 0
        self._forget_silent(now)
        for stream in self.streams.values():
            stream.each_second(now)
        for producer in self.producers.values():
            producer.each_second(now)
        self.reporter.send_receiver_report(now)
