"""Packets that leave together: written once, copied for each receiver, patched where one sees something else."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from sfu.core.layout import (
    MID_AT,
    PADDING_BIT,
    abs_send_time,
    patch_mid,
    patch_sequence_and_timestamp,
    payload_offset,
    write_send_time,
)
from sfu.core.numbering import Segment
from sfu.core.packet_cache import Packet

if TYPE_CHECKING:
    from sfu.core.feed import Feed
    from sfu.core.listener import Seat

MAX_BURST = 40  # packets that leave together: fits a 64 KiB send
MAX_EVENING = 4  # bytes of padding that are cheaper than another system call

_picture_id = Struct("!H").pack_into

Outgoing = tuple[Packet, int, Segment]  # the packet, its number (unwrapped), and what else is added


class Shift(NamedTuple):
    """What one receiver's packets have added to what the feed says."""

    number: int = 0
    timestamp: int = 0
    picture: int = 0
    tl0: int = 0


NO_SHIFT = Shift()


class Burst:
    """Packets that arrived together, and who gets them."""

    __slots__ = ("_places", "feed", "packets", "seats", "tap")

    def __init__(self, feed: Feed, seats: tuple[Seat, ...], tap: Seat | None, packets: list[Outgoing]) -> None:
        self.feed = feed
        self.seats = seats
        self.tap = tap  # the recorders'
        self.packets = packets
        self._places: list[tuple[int, int]] = []

    def render(self, buffer: bytearray, gap: int, now: float, *, even: bool = False) -> list[tuple[int, int]]:
        """Write the packets one behind the other, `gap` bytes after each; (offset, length) of each.

        `even`: packets of nearly one size get padding to be of one size, so that they can leave as one segmented send;
        browsers cut a frame into packets that differ by a byte. What is left to the sender: the transport-wide number
        (`sfu.core.layout`), and `differ` for those who need it.
        """
        producer = self.feed.producer
        send_time = abs_send_time(now + producer.agenda.clock_offset)
        places = []
        position = 0
        # A voice may be sent again as it was, and must not depend on what left beside it.
        longest = max([len(packet.data) for packet, _, _ in self.packets]) if even and producer.is_video else 0
        for packet, number, segment in self.packets:
            data = packet.data
            # In the cached packet, and a voice's only once: it is sent again exactly as it was, or AES-GCM is broken.
            if not packet.stamped or producer.is_video:
                write_send_time(data, send_time)
                packet.stamped = True
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
        self._places = places
        return places

    def differ(self, buffer: bytearray, start: int, seat: Seat) -> None:
        """Write into a copy of what `render` wrote, at `start`, what one receiver sees differently."""
        for (packet, number, segment), (at, _) in zip(self.packets, self._places, strict=True):
            if seat.shift is not None:
                rewrite(buffer, start + at, packet, number, segment, seat.shift)
            if seat.mid is not None:
                patch_mid(buffer, start + at + MID_AT, seat.mid)


def rewrite(
    buffer: bytearray, position: int, packet: Packet, number: int, segment: Segment, shift: Shift = NO_SHIFT
) -> None:
    """Give a copy of a cached packet the number, timestamp and picture that its receivers expect."""
    timestamp = packet.timestamp + segment.timestamp_shift + shift.timestamp & 0xFFFFFFFF
    patch_sequence_and_timestamp(buffer, position + 2, number + shift.number & 0xFFFF, timestamp)
    descriptor = packet.descriptor
    if descriptor is None:
        return
    picture_shift, tl0_shift = segment.picture_shift + shift.picture, segment.tl0_shift + shift.tl0
    if picture_shift or tl0_shift:
        payload = position + payload_offset(packet.data)
        picture, tl0 = descriptor.picture_id, descriptor.tl0_picture_index
        if picture is not None:
            _picture_id(buffer, payload + descriptor.picture_id_at, 0x8000 | (picture + picture_shift & 0x7FFF))
        if tl0 is not None:
            buffer[payload + descriptor.tl0_picture_index_at] = tl0 + tl0_shift & 0xFF
