"""Whoever gets a producer's packets: in one quality at a time, and over every change of it as one stream.

A listener waits at the feed that is wanted for him, and gets what he got before until one may begin there: at its next
key frame, or sooner if he has had all that it refers to. There he takes a seat, which says what must be added to the
feed's packets for him.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sfu.core.burst import NO_SHIFT, Outgoing, Shift
from sfu.core.feed import Feed, Position, go_on
from sfu.core.layers import BEST, TOP, Rung
from sfu.core.packet_cache import Packet
from sfu.core.rtp import seq_diff

if TYPE_CHECKING:
    from sfu.core.numbering import Segment
    from sfu.core.producer import Producer
    from sfu.core.transport import Transport

# A first packet shortly before the wrap of numbers, if lost, spoils SRTP for good (mediasoup#1437).
FIRST_BELOW = 60_000
MAX_SEATS = 16  # that are remembered: more changes than fit into the seconds that a receiver asks back for


class Seat:
    """One listener's in one feed, for as long as he stays. What it adds never changes: packets may be on their way."""

    __slots__ = (
        "differs",
        "feed",
        "first_number",
        "first_out",
        "lane",
        "last_out",
        "mid",
        "octets_before",
        "packets_before",
        "shift",
        "transport",
    )

    def __init__(
        self, feed: Feed, first_number: int, shift: Shift, transport: Transport | None = None, mid: bytes | None = None
    ) -> None:
        self.feed = feed
        self.first_number = first_number  # of the feed's: what came before it is not for us
        self.first_out = first_number + shift.number
        self.last_out: int | None = None  # when it is given up
        self.shift = None if shift == NO_SHIFT else shift
        self.transport = transport  # None for recorders
        self.lane = None if transport is None else transport.lane
        self.mid = mid  # None: the producer's
        self.differs = self.shift is not None or mid is not None  # from what the feed says
        self.packets_before = feed.packets
        self.octets_before = feed.octets

    @property
    def position(self) -> Position | None:
        return self.feed.position(self.shift or NO_SHIFT)

    @property
    def newest(self) -> Outgoing | None:
        """The newest packet that was sent from here; None: none was."""
        newest = self.feed.newest
        return newest if newest is not None and newest[1] >= self.first_number else None


class Listener:
    __slots__ = ("_past", "_seats", "limit", "producer", "seat", "target")

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.seat: Seat | None = None  # None: gets nothing
        self.target: Feed | None = None  # where he sits or waits; None: nowhere
        self.limit: Rung | None = BEST  # the best that is of use to him and fits; None: nothing fits
        self._past: Position | None = None  # where he stopped, while he has no seat
        self._seats: deque[Seat] = deque(maxlen=MAX_SEATS)

    # --- coming and going ---

    def aim_at(self, feed: Feed, now: float) -> None:
        if self.target is feed:
            return
        self._wait_no_more()
        self.target = feed
        if self.seat is None or self.seat.feed is not feed:
            if self.seat is None and self._catches_up(feed, now):
                return
            feed.waiting.append(self)
            if self.producer.is_video and not feed.can_be_joined_by(self):
                feed.stream.want_key_frame(now)

    def want_key_frame(self, now: float) -> None:
        if self.target is not None and self.producer.is_video:
            self.target.stream.want_key_frame(now)

    def take_seat(self, feed: Feed, packet: Packet, segment: Segment | None = None) -> Seat:
        """From `packet` on, which `segment` numbers (the newest). The feed has ended its burst and keeps the seat."""
        past, before = self._past, self.seat
        if before is not None:
            past = self._give_up(before)
        segment = segment or feed.numbering.current
        assert segment is not None
        first = packet.sequence + segment.shift
        shift = NO_SHIFT
        if before is not None and not packet.key_frame:  # the same pictures go on: he sees them as he would have
            there, added = before.feed.numbering.current, before.shift or NO_SHIFT
            assert there is not None
            shift = Shift(
                there.shift + added.number - segment.shift,
                there.timestamp_shift + added.timestamp - segment.timestamp_shift & 0xFFFFFFFF,
                there.picture_shift + added.picture - segment.picture_shift & 0x7FFF,
                there.tl0_shift + added.tl0 - segment.tl0_shift & 0xFF,
            )
        elif past is not None:
            producer = self.producer
            went_on = go_on(past, packet, producer.timestamp_shift(feed.stream), producer.clock_rate)
            # One number left out after an unfinished frame, or the receiver joins both to one (mediasoup#408).
            gap = 1 if producer.is_video and not past.marker else 0
            shift = Shift(
                past.number + 1 + gap - first,
                went_on.timestamp - segment.timestamp_shift & 0xFFFFFFFF,
                went_on.picture - segment.picture_shift & 0x7FFF,
                went_on.tl0 - segment.tl0_shift & 0xFF,
            )
        elif first & 0xFFFF >= FIRST_BELOW:
            shift = Shift(number=self.producer.first_number() - first)
        self.seat = self.make_seat(feed, first, shift)
        self._seats.append(self.seat)
        return self.seat

    def stop(self) -> None:
        self._wait_no_more()
        self.target = None
        if self.seat is not None:
            self._past = self._give_up(self.seat)
            self.seat = None

    def _give_up(self, seat: Seat) -> Position | None:
        seat.feed.leave(seat)
        seat.last_out = seat.feed.numbering.last_out + (seat.shift or NO_SHIFT).number
        self.left(seat)
        return seat.position

    # --- for those who are more than recorders ---

    @property
    def smoothest(self) -> int:
        """The highest temporal layer that is of use to him."""
        return TOP

    def _catches_up(self, feed: Feed, now: float) -> bool:
        """Whether he could begin with a key frame that came before him. A recording begins when it is begun."""
        return False

    def make_seat(self, feed: Feed, first_number: int, shift: Shift) -> Seat:
        return Seat(feed, first_number, shift)

    def left(self, seat: Seat) -> None:
        """To count what one got in it."""

    def _wait_no_more(self) -> None:
        if self.target is not None and self in self.target.waiting:
            self.target.waiting.remove(self)

    # --- looking back ---

    def origin(self, sequence_number: int) -> tuple[Seat, int, int] | None:
        """Of a 16-bit number that a receiver speaks of: the seat, the feed's unwrapped number, and the receiver's."""
        if not self._seats:
            return None
        latest = self._seats[-1]
        last = latest.feed.numbering.last_out + (latest.shift or NO_SHIFT).number
        out = last + seq_diff(sequence_number, last & 0xFFFF)
        for seat in reversed(self._seats):
            if seat.last_out is not None and out > seat.last_out:
                return None  # left out at a change of layer
            if out >= seat.first_out:
                return seat, out - (seat.shift or NO_SHIFT).number, out
        return None
