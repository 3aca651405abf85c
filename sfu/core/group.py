"""Consumers of one producer who get the same packets, equally numbered: written once, sent to all of them.

Everyone who starts is put into the producer's first group. Who pauses and comes back has a group of his own, since his
numbers must go on where they stopped. The same is the place for those who get another layer than the rest.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sfu.core.layout import abs_send_time, patch_sequence_and_timestamp, payload_offset, write_send_time
from sfu.core.numbering import Numbering, Segment
from sfu.core.packet_cache import Packet

if TYPE_CHECKING:
    from sfu.core.consumer import Consumer
    from sfu.core.producer import Producer
    from sfu.core.stream import Stream

# A first packet shortly before the wrap of numbers, if lost, spoils SRTP for good (mediasoup#1437).
JOINABLE_BELOW = 60_000
MAX_BURST = 40  # packets that leave together: fits a 64 KiB send

MAX_EVENING = 4  # bytes of padding that are cheaper than another system call
PADDING_BIT = 0x20

_picture_id = Struct("!H").pack_into

Outgoing = tuple[Packet, int, Segment]  # the packet, its number (16 bits), and what else is added


class Burst:
    """Packets that arrived together, and who gets them."""

    __slots__ = ("group", "members", "packets")

    def __init__(self, group: ConsumerGroup, members: tuple[Consumer, ...], packets: list[Outgoing]) -> None:
        self.group = group
        self.members = members
        self.packets = packets

    def render(self, buffer: bytearray, gap: int, now: float, *, even: bool = False) -> list[tuple[int, int]]:
        """Write the packets one behind the other, `gap` bytes after each; (offset, length) of each.

        `even`: packets of nearly one size get padding to be of one size, so that they can leave as one segmented send;
        browsers cut a frame into packets that differ by a byte. What is left to the sender: MID and transport-wide
        number (`sfu.core.layout`).
        """
        producer = self.group.producer
        send_time = abs_send_time(now + producer.agenda.clock_offset)
        places = []
        position = 0
        # A voice may be sent again as it was, and must not depend on what left beside it.
        longest = max([len(packet.data) for packet, _, _ in self.packets]) if even and producer.is_video else 0
        for packet, number, segment in self.packets:
            data = packet.data
            write_send_time(data, send_time)  # in the cached packet: audio is sent again exactly as it was
            size = len(data)
            buffer[position : position + size] = data
            rewrite(buffer, position, packet, number, segment)
            padding = longest - size
            if 0 < padding <= MAX_EVENING:
                buffer[position + size : position + longest] = bytes((*bytes(padding - 1), padding))
                buffer[position] |= PADDING_BIT
                size = longest
            places.append((position, size))
            position += size + gap
        return places


def rewrite(buffer: bytearray, position: int, packet: Packet, number: int, segment: Segment) -> None:
    """Give a copy of a cached packet the number, timestamp and picture that this group's receivers expect."""
    timestamp = packet.timestamp + segment.timestamp_shift & 0xFFFFFFFF
    patch_sequence_and_timestamp(buffer, position + 2, number, timestamp)
    vp8 = packet.vp8
    if vp8 is not None and (segment.picture_shift or segment.tl0_shift):
        payload = position + payload_offset(packet.data)
        if vp8.picture_id is not None:
            picture = vp8.picture_id + segment.picture_shift & 0x7FFF
            _picture_id(buffer, payload + vp8.picture_id_at, 0x8000 | picture)
        if vp8.tl0_picture_index is not None:
            buffer[payload + vp8.tl0_picture_index_at] = vp8.tl0_picture_index + segment.tl0_shift & 0xFF


class ConsumerGroup:
    def __init__(self, producer: Producer, first_number: int, *, shared: bool) -> None:
        self.producer = producer
        self.shared = shared  # whether newcomers may be put in
        self.numbering = Numbering(first_number)
        self.target: Stream | None = None  # the layer wanted
        self.current: Stream | None = None  # the layer sent; None: to begin (again) with the target's next key frame
        self.members: tuple[Consumer, ...] = ()
        self.waiting: list[Consumer] = []  # for a key frame
        self.tapped = False
        self.packets = 0
        self.octets = 0  # of payload
        self._burst: list[Outgoing] = []
        self._last: Packet | None = None  # the newest one sent, with its segment
        self._last_segment: Segment | None = None
        self._last_at = 0.0

    @property
    def joinable(self) -> bool:
        """Whether somebody may begin in the midst of these numbers."""
        return self.shared and (not self.has_audience or self.numbering.last_out & 0xFFFF < JOINABLE_BELOW)

    @property
    def has_audience(self) -> bool:
        return bool(self.members or self.waiting or self.tapped)

    @property
    def started(self) -> bool:
        return self._last is not None

    def forward(self, stream: Stream, packet: Packet) -> None:
        begins = packet.key_frame or not self.producer.is_video
        beginning = stream is not self.current
        if beginning:
            if stream is not self.target or not begins or not self.has_audience:
                return
            self._begin(stream, packet)
        if begins and self.waiting:
            self.close_burst()  # what came before the key frame goes to the old members alone
            first = min(self.numbering.last_out + 1, packet.sequence + self._shift)
            for consumer in self.waiting:
                consumer.started(first)
            self.members = (*self.members, *self.waiting)
            self.waiting = []
        self._send(packet)
        if beginning:
            self._send_followers(stream, packet)

    @property
    def _shift(self) -> int:
        return self.numbering.current.shift if self.numbering.current else 0

    def _send(self, packet: Packet) -> None:
        numbering = self.numbering
        before = numbering.last_out
        number = numbering.number(packet.sequence)
        if number is None or not (self.members or self.tapped):
            return
        segment = numbering.current
        assert segment is not None
        if not self._burst:
            self.producer.agenda.open_groups.append(self)
        elif len(self._burst) >= MAX_BURST:
            self.close_burst()
        self._burst.append((packet, number & 0xFFFF, segment))
        if number > before:
            self._last = packet
            self._last_segment = segment
            self._last_at = packet.arrived
        self.packets += 1
        self.octets += len(packet.data) - payload_offset(packet.data)

    def _send_followers(self, stream: Stream, first: Packet) -> None:
        """Packets of the key frame that overtook its first one on their way here."""
        sequence = first.sequence + 1
        while (follower := stream.cache.get(sequence)) is not None:
            self._send(follower)
            sequence += 1

    def skip(self, stream: Stream, sequence: int) -> bool:
        """Leave out an empty packet. False if it must be sent to keep the numbers whole."""
        return stream is not self.current or self.numbering.drop(sequence)

    def stop(self) -> None:
        """Go on with a key frame, later."""
        self.current = None

    def close_burst(self) -> None:
        if self._burst:
            self.producer.agenda.burst(Burst(self, self.members, self._burst))
            self._burst = []

    def _begin(self, stream: Stream, packet: Packet) -> None:
        """Go over to `stream`, of which `packet` begins a key frame, so that receivers see one stream go on."""
        last, before = self._last, self._last_segment
        producer = self.producer
        if producer.reference is None:
            producer.reference = stream
        timestamp_shift = producer.timestamp_shift(stream)
        if last is None or before is None:
            self.numbering.begin(stream, packet.sequence, timestamp_shift=timestamp_shift or 0)
            self.current = stream
            return
        last_timestamp = last.timestamp + before.timestamp_shift
        clock_rate = producer.clock_rate
        if timestamp_shift is None:  # no sender report to go by: as much later as it came later
            elapsed = max(1, int((packet.arrived - self._last_at) * clock_rate))
            timestamp_shift = last_timestamp + elapsed - packet.timestamp
        ahead = (packet.timestamp + timestamp_shift - last_timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if ahead <= 0:  # time must not stand still, still less go back
            timestamp_shift += 1 - ahead + clock_rate // 100
        picture_shift = tl0_shift = 0
        vp8, last_vp8 = packet.vp8, last.vp8
        if vp8 is not None and last_vp8 is not None:
            if vp8.picture_id is not None and last_vp8.picture_id is not None:
                picture_shift = last_vp8.picture_id + before.picture_shift + 1 - vp8.picture_id
            if vp8.tl0_picture_index is not None and last_vp8.tl0_picture_index is not None:
                tl0_shift = last_vp8.tl0_picture_index + before.tl0_shift + 1 - vp8.tl0_picture_index
        # One number left out after an unfinished frame, or the receiver joins both to one (mediasoup#408).
        unfinished = producer.is_video and not last.marker and stream is not before.stream
        self.numbering.begin(
            stream,
            packet.sequence,
            gap=1 if unfinished else 0,
            timestamp_shift=timestamp_shift & 0xFFFFFFFF,
            picture_shift=picture_shift & 0x7FFF,
            tl0_shift=tl0_shift & 0xFF,
        )
        self.current = stream

    def report_times(self, now: float) -> tuple[int, int] | None:
        """(NTP, RTP timestamp) of this moment by the sender's clock, in this group's timeline; None: not known yet.

        The sender's own time is kept: it ties a peer's voice to his picture better than our arrival times could.
        """
        segment = self._last_segment
        if segment is None:
            return None
        reception = segment.stream.reception
        if not reception.report_ntp:
            return None
        elapsed = now - reception.report_at
        ntp = reception.report_ntp + int(elapsed * 4294967296) & 0xFFFFFFFFFFFFFFFF
        timestamp = reception.report_timestamp + int(elapsed * self.producer.clock_rate) + segment.timestamp_shift
        return ntp, timestamp & 0xFFFFFFFF
