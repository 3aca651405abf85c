"""A stream that a peer receives: one producer, sent under a MID of the peer's transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.core.burst import NO_SHIFT, Shift, rewrite
from sfu.core.feed import Feed
from sfu.core.layers import TOP, Preference, Rung, useful_layer
from sfu.core.layout import (
    MID_AT,
    NUMBER_AT,
    abs_send_time,
    padding_packet,
    patch_mid,
    patch_number,
    retransmission,
    write_send_time,
)
from sfu.core.listener import Listener, Seat
from sfu.core.packet_cache import Packet
from sfu.core.rtcp import Nack
from sfu.protocol import ConsumerLayers, Json

if TYPE_CHECKING:
    from sfu.core.numbering import Segment
    from sfu.core.producer import Producer
    from sfu.core.transport import Transport

DEFAULT_RTT = 0.1  # seconds, until a report tells
REPAIR_OVERHEAD = 18  # bytes: the original number and the SRTP tag
REPEATED_FOR = 30.0  # seconds after a report that tells of losses
MAX_REPEATED = 5  # packets at one look, which are 100 ms of a voice: more would come too late
MIN_RTT = 0.02  # seconds: a report can be wrong, a repeat at once is never useful


class Consumer(Listener):
    __slots__ = (
        "_octets_before",
        "_repeated",
        "_repeated_until",
        "_resent",
        "cannot_ask",
        "fraction_lost",
        "id",
        "is_reported_on",
        "jitter",
        "lost",
        "mid",
        "octets",
        "packets",
        "paused",
        "preference",
        "rate",
        "repair_number",
        "repair_payload_type",
        "resend_plain",
        "rtt",
        "transport",
    )

    def __init__(
        self, *, id: str, producer: Producer, transport: Transport, rtp_parameters: Json, repair_number: int
    ) -> None:
        super().__init__(producer)
        self.id = id
        self.transport = transport
        self.mid: bytes = rtp_parameters["mid"].encode()
        codecs = rtp_parameters["codecs"]
        feedback = codecs[0]["rtcpFeedback"]
        # Whether the receiver has said that he reports on packets by their transport-wide numbers.
        self.is_reported_on = {"type": "transport-cc", "parameter": ""} in feedback
        self.repair_payload_type: int | None = next(
            (c["payloadType"] for c in codecs if c["parameters"].get("apt") == producer.payload_type), None
        )
        # Sent again as it was, a packet must be the same bit for bit: with AES-GCM anything else gives the key away.
        # Video carries a new transport-wide number each time, so it is repaired by RTX or not at all.
        self.resend_plain = not producer.is_video
        # Firefox knows no NACK for voices: of what it loses we hear by its reports alone.
        self.cannot_ask = self.resend_plain and {"type": "nack", "parameter": ""} not in feedback
        self.repair_number = repair_number
        self.paused = True
        self.rtt: float | None = None
        self.fraction_lost = 0
        self.lost = 0
        self.jitter = 0
        self.packets = 0  # sent before the present seat
        self.octets = 0
        self.rate = 0.0  # bit/s of payload over the last second, repairs left out
        self._octets_before = 0  # sent until that second began
        self.preference: Preference | None = None  # None: the page has not said how it shows this
        self._resent: dict[int, float] = {}
        self._repeated: int | None = None  # the number up to which packets were sent twice
        self._repeated_until = 0.0
        # SRTP must never see a number twice: whoever comes back on this SSRC goes on from where it stopped.
        self._past = transport.positions.get(producer.ssrc)

    # --- starting and stopping ---

    def resume(self, now: float) -> None:
        """Begin with a key frame; those who watch already notice nothing of it, but for the key frame."""
        if self.paused:
            self.paused = False
            self.limit = self.useful
            self.transport.budget.allocate(now)
            self.start(now)

    def start(self, now: float) -> None:
        """Join those who watch; while there are no keys yet, when there are: nothing could be sent, nor sent again."""
        if self.paused or self.limit is None or self.target is not None:
            return
        if not self.transport.can_send:
            self.transport.agenda.starting.add(self.transport)
            return
        self.producer.aim(self, now)
        if self.seat is None:
            self.want_key_frame(now)

    def pause(self) -> None:
        self.paused = True
        self.stop()
        if self._past is not None:
            self.transport.positions[self.producer.ssrc] = self._past
        self._resent.clear()

    def want_key_frame(self, now: float) -> None:
        if self.target is not None:
            super().want_key_frame(now)
        elif not self.paused and self.limit is not None:
            self.producer.want_key_frame(now)

    # --- layers ---

    def prefer(self, preference: Preference, now: float) -> None:
        """The page shows it in another size: go over to the layer that fits it, and that the line carries."""
        self.preference = preference
        self.transport.budget.allocate(now)

    @property
    def useful(self) -> Rung:
        """The best that is of use to the page."""
        layers = self.producer.layers
        layer = len(layers) - 1 if self.preference is None else useful_layer(layers, self.preference)
        return Rung(layer, self.smoothest)

    @property
    def smoothest(self) -> int:
        wanted = None if self.preference is None else self.preference.temporal
        return TOP if wanted is None else wanted

    def limit_to(self, rung: Rung | None, now: float) -> None:
        """Nothing better than that; None: nothing of it fits."""
        if rung == self.limit:
            return
        starved, self.limit = self.limit is None, rung
        if rung is None:
            self.stop()
            self._tell_layers(None, None)
        elif starved:
            self.start(now)
        elif self.target is not None:
            self.producer.aim(self, now)

    def _tell_layers(self, spatial: int | None, temporal: int | None) -> None:
        peer = self.transport.peer
        self.transport.agenda.event(
            ConsumerLayers(room=peer.room, peer=peer.id, consumer_id=self.id, spatial=spatial, temporal=temporal)
        )

    def make_seat(self, feed: Feed, first_number: int, shift: Shift) -> Seat:
        if self.producer.is_video:
            self._tell_layers(feed.layer.index, feed.top_temporal)
        mid = None if self.mid == self.producer.consumer_mid else self.mid
        return Seat(feed, first_number, shift, self.transport, mid)

    def _catches_up(self, feed: Feed, now: float) -> bool:
        return feed.catch_up(self, -1e9 if self._past is None else self._past.at, now)

    def left(self, seat: Seat) -> None:
        self.packets += seat.feed.packets - seat.packets_before
        self.octets += seat.feed.octets - seat.octets_before

    @property
    def sent(self) -> tuple[int, int]:
        """(packets, octets of payload) so far, repairs left out."""
        seat = self.seat
        if seat is None:
            return self.packets, self.octets
        return (
            self.packets + seat.feed.packets - seat.packets_before,
            self.octets + seat.feed.octets - seat.octets_before,
        )

    # --- what the receiver says ---

    def receive_nack(self, nack: Nack, now: float) -> None:
        """Send again what was asked for, if it was sent, is not too old, and was not sent again within one RTT."""
        if self.paused or self.producer.paused or (self.repair_payload_type is None and not self.resend_plain):
            return
        rtt = max(MIN_RTT, self.rtt or DEFAULT_RTT)
        transport = self.transport
        dropped = transport.agenda.dropped
        for number in nack.lost:
            place = self._place(number)
            if place is None:
                continue
            seat, fed, out, segment, sequence = place
            cache = segment.stream.cache
            packet = cache.get(sequence)
            if packet is None or now - packet.arrived > cache.max_age:
                dropped["nack_too_old"] += 1
                continue
            if self.resend_plain and not packet.stamped:
                continue  # it is about to leave, and is not yet what it will be
            if now - self._resent.get(out, -1e9) < rtt:
                dropped["nack_repeated"] += 1
                continue
            if not transport.may_resend(len(packet.data) + REPAIR_OVERHEAD):
                dropped["nack_limit"] += 1
                continue
            if len(self._resent) > 3000:
                self._resent.clear()
            self._resent[out] = now
            self._send_again(packet, fed, segment, seat, now)

    def lose(self, now: float) -> None:
        """The line to who cannot ask for it loses packets: for a while each is sent twice."""
        self._repeated_until = now + REPEATED_FOR
        self.transport.agenda.repeating.add(self)

    def repeat(self, now: float) -> None:
        """Send again, as it was, what left since the last look: all but the newest, which a burst of losses may
        have taken along. Whoever got both drops the second, as SRTP does with what is repeated."""
        newest = None if self.seat is None or self.producer.paused else self.seat.newest
        if newest is None or now > self._repeated_until:
            self.transport.agenda.repeating.discard(self)
            self._repeated = None
            return
        assert self.seat is not None
        end = newest[1] + (self.seat.shift or NO_SHIFT).number
        begin = end if self._repeated is None else max(self._repeated, end - MAX_REPEATED)
        self._repeated = end
        for number in range(begin, end):
            place = self._place(number & 0xFFFF)
            if place is None:
                continue
            seat, fed, _, segment, sequence = place
            packet = segment.stream.cache.get(sequence)
            if packet is not None and packet.stamped and self.transport.has_room(len(packet.data)):
                self._send_again(packet, fed, segment, seat, now)

    def _place(self, number: int) -> tuple[Seat, int, int, Segment, int] | None:
        """Of a 16-bit number that we sent: the seat, the feed's number and the receiver's, and the sender's stream and
        number in it."""
        place = self.origin(number)
        if place is None:
            return None
        seat, fed, out = place
        origin = seat.feed.numbering.origin(fed & 0xFFFF)
        if origin is None or origin[2] != fed:
            return None
        segment, sequence, _ = origin
        return seat, fed, out, segment, sequence

    def _send_again(self, packet: Packet, fed: int, segment: Segment, seat: Seat, now: float) -> None:
        agenda = self.transport.agenda
        agenda.counters.retransmissions += 1
        packet = seat.feed.as_sent(packet)
        agenda.packet(self.transport, self._again(packet, fed, segment, seat.shift or NO_SHIFT, now))

    def _again(self, packet: Packet, number: int, segment: Segment, shift: Shift, now: float) -> bytearray:
        copy = bytearray(packet.data)
        rewrite(copy, 0, packet, number, segment, shift)
        if self.repair_payload_type is None:
            patch_mid(copy, MID_AT, self.mid)
            return copy
        repair = retransmission(
            copy,
            payload_type=self.repair_payload_type,
            ssrc=self.producer.ssrc + 1,
            sequence_number=self._next_repair_number(),
            original=number + shift.number & 0xFFFF,
            timestamp=packet.timestamp + segment.timestamp_shift + shift.timestamp & 0xFFFFFFFF,
        )
        self._stamp(repair, now)
        return repair

    @property
    def can_pad(self) -> bool:
        return not self.paused and self.repair_payload_type is not None

    def send_padding(self, size: int, now: float) -> int:
        """A packet of nothing but padding, beside the repairs, where decoders do not see it. Its bytes."""
        assert self.repair_payload_type is not None
        packet = padding_packet(
            payload_type=self.repair_payload_type,
            ssrc=self.producer.ssrc + 1,
            sequence_number=self._next_repair_number(),
            mid=self.mid,
            padding=size,
        )
        self._stamp(packet, now)
        self.transport.agenda.packet(self.transport, packet)
        return len(packet)

    def send_newest_again(self, now: float) -> int:
        """The newest packet as a repair that nobody asked for: it probes the way with one packet instead of four.

        Its bytes; 0 where nothing was sent.
        """
        newest = None if self.seat is None or self.producer.paused else self.seat.newest
        if newest is None or self.repair_payload_type is None:
            return 0
        packet, number, segment = newest
        assert self.seat is not None
        repair = self._again(packet, number, segment, self.seat.shift or NO_SHIFT, now)
        self.transport.agenda.packet(self.transport, repair)
        return len(repair)

    def _next_repair_number(self) -> int:
        self.repair_number = self.repair_number + 1 & 0xFFFF
        self.transport.repair_numbers[self.producer.ssrc] = self.repair_number
        return self.repair_number

    def _stamp(self, packet: bytearray, now: float) -> None:
        """What stands at fixed offsets, in a packet of the repair stream."""
        write_send_time(packet, abs_send_time(now + self.producer.agenda.clock_offset))
        number = self.transport.next_transport_sequence()
        patch_mid(packet, MID_AT, self.mid)
        patch_number(packet, NUMBER_AT, number)
        self.transport.sent_one(number, len(packet), now)

    def each_second(self, now: float, elapsed: float) -> None:
        """Measure, and forget what was sent again long ago. `elapsed`: seconds since the last call."""
        octets = self.sent[1]
        self.rate, self._octets_before = 8 * (octets - self._octets_before) / elapsed, octets
        if self._resent:
            self._resent = {out: at for out, at in self._resent.items() if now - at < 2.0}

    def stats(self) -> Json:
        packets, octets = self.sent
        return {
            "consumer_id": self.id,
            "producer_id": self.producer.id,
            "peer": self.transport.peer.id,
            "kind": self.producer.kind,
            "source": self.producer.source,
            "mime_type": self.producer.mime_type,
            "paused": self.paused,
            "packets": packets,
            "bytes": octets,
            "bitrate": round(self.rate),
            "spatial_layer": self.seat.feed.layer.index if self.seat is not None else None,
            "temporal_layer": self.seat.feed.top_temporal if self.seat is not None else None,
            "useful_layer": self.useful.layer,
            "lost": self.lost,
            "fraction_lost": self.fraction_lost / 256,
            "jitter": self.jitter / self.producer.clock_rate,
            "rtt": self.rtt,
        }
