"""One quality of a producer as it is given out: numbered once, written once, sent to everyone who watches it so.

A feed's packets are numbered without a break, whatever the sender does, and whatever it leaves out: layers above its
own. Who has watched it from his beginning gets them as they are; who came from another one, or back from a pause, gets
them with constants added to number, timestamp and picture (`Shift`), so that he sees one stream go on. Either way a
burst is rendered once and copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sfu.core.burst import MAX_BURST, NO_SHIFT, Burst, Outgoing, Shift
from sfu.core.keyframes import NOT_BEFORE
from sfu.core.layers import TOP, Layer
from sfu.core.layout import payload_offset
from sfu.core.numbering import Numbering, Segment
from sfu.core.packet_cache import Packet

if TYPE_CHECKING:
    from sfu.core.listener import Listener, Seat
    from sfu.core.producer import Producer
    from sfu.core.stream import Stream

MAX_MISSED = 200  # packets sent at once to who comes after a key frame: about what a large one has by itself


class Position(NamedTuple):
    """The newest packet that a receiver was sent, as he saw it."""

    number: int  # unwrapped
    timestamp: int
    picture: int | None  # VP8's and VP9's picture id
    tl0: int | None
    marker: bool
    at: float  # when it came from the sender


class Feed:
    def __init__(self, producer: Producer, layer: Layer, temporal: int, first_number: int) -> None:
        self.producer = producer
        self.layer = layer
        self.temporal = temporal  # the highest temporal layer in it; TOP: all
        self.stream: Stream = layer.stream
        self._thins = temporal < TOP or not layer.is_top  # whether it leaves anything out
        self.numbering = Numbering(first_number)
        self.running = False  # whether packets are given out; else the next key frame begins
        self.seats: tuple[Seat, ...] = ()  # of those who get the packets
        self.tap: Seat | None = None  # the recorders'
        self.waiting: list[Listener] = []  # for a key frame, or a point where they can come over
        self.packets = 0
        self.octets = 0  # of payload
        self._burst: list[Outgoing] = []
        self._last: Packet | None = None  # the newest one sent, with its segment
        self._last_segment: Segment | None = None
        self._first: Packet | None = None  # what was begun with, until it is sent
        self._key_frame: Packet | None = None  # the first packet of the newest one
        self._left_out: int | None = None  # timestamp of the newest picture that is not given out

    @property
    def top_temporal(self) -> int:
        """The highest temporal layer that it gives out, of those that were seen so far."""
        return min(self.temporal, self.layer.temporal_layers - 1)

    @property
    def has_audience(self) -> bool:
        return bool(self.seats or self.waiting or self.tap)

    @property
    def wants_key_frame(self) -> bool:
        stands_still = not self.running and bool(self.seats or self.tap)
        return stands_still or any(not self.can_be_joined_by(listener) for listener in self.waiting)

    # --- packets ---

    def forward(self, packet: Packet) -> None:
        if packet.key_frame and (self._key_frame is None or packet.sequence > self._key_frame.sequence):
            self._key_frame = packet
        if self.waiting:
            self.admit(packet)
        if not self.running:
            if not self._begins(packet) or not self.has_audience:
                return
            self._begin(packet)
        self._give(packet)
        if self._first is packet:
            self._first = None
            self._give_followers(packet)

    def _begins(self, packet: Packet) -> bool:
        return packet.key_frame or not self.producer.is_video

    def _give(self, packet: Packet) -> None:
        if self._thins:
            if not self._has(packet):
                self._leave_out(packet)
                return
            packet = self.as_sent(packet)
        self._send(packet)

    def _has(self, packet: Packet) -> bool:
        descriptor = packet.descriptor
        return (
            descriptor is not None
            and descriptor.temporal_id <= self.temporal
            and descriptor.spatial_id <= self.layer.spatial
        )

    def as_sent(self, packet: Packet) -> Packet:
        """A packet of the stream, as this feed gives it out."""
        if not self._thins:
            return packet
        if not self._has(packet):
            return packet.blank()
        descriptor = packet.descriptor
        assert descriptor is not None
        if not packet.marker and descriptor.ends_layer and descriptor.spatial_id == self.layer.spatial:
            return packet.marked()  # what comes after it in this picture is left out
        return packet

    def _leave_out(self, packet: Packet) -> None:
        numbering = self.numbering
        # Receivers of VP8 wait for a picture whose id is missing. VP9 names those it needs by how far back they are.
        is_new = self.producer.is_vp8 and packet.timestamp != self._left_out
        if numbering.drop(packet.sequence, pictures=1 if is_new else 0):
            self._left_out = packet.timestamp
        else:
            self._send(packet.blank())  # its number is missed, if it is still free

    # --- coming in ---

    def admit(self, packet: Packet) -> None:
        """Let those in who can begin with this packet.

        To be done for all feeds of a stream before it is forwarded in any: else who comes over gets it twice.
        """
        if self._begins(packet):
            if not self.running:
                self._begin(packet)
            segment = self.numbering.current
            if segment is not None and packet.sequence >= segment.first_in:  # not too late to be sent
                self._let_in(self.waiting, packet)
            return
        descriptor = packet.descriptor
        if descriptor is None or not descriptor.begins_picture or not self._has(packet):
            return
        # Nothing before it is missing, where he comes from, and of this picture he has nothing yet.
        if packet.sequence - 1 not in self.stream.cache:
            return
        ready = {listener: seat for listener in self.waiting if (seat := self._comes_over(listener, packet))}
        if not ready:
            return
        if not self.running:
            if self.seats or self.tap:
                return  # they wait for a key frame
            there = next(iter(ready.values())).feed.numbering.current
            assert there is not None
            self.running = True
            self.numbering.begin(
                self.stream,
                packet.sequence,
                timestamp_shift=there.timestamp_shift,
                picture_shift=there.picture_shift,
                tl0_shift=there.tl0_shift,
            )
        if self.numbering.is_newest(packet.sequence):
            self._let_in(list(ready), packet)

    def can_be_joined_by(self, listener: Listener) -> bool:
        """Whether he can come over without a key frame: he gets all of this already, or does but for its frame rate."""
        seat = listener.seat
        return (
            seat is not None
            and seat.feed is not self
            and seat.feed.stream is self.stream
            and seat.feed.running
            and seat.feed.layer.spatial >= self.layer.spatial
        )

    def _comes_over(self, listener: Listener, packet: Packet) -> Seat | None:
        """The seat that he gives up for one here, if he can do so with this packet, which begins a picture."""
        seat, descriptor = listener.seat, packet.descriptor
        if seat is None or descriptor is None or not self.can_be_joined_by(listener):
            return None
        there = seat.feed
        position = there.position()
        if position is None or not position.marker or not there.numbering.is_newest(packet.sequence):
            return None
        if self.temporal > there.temporal and not descriptor.lets_up(self.layer.spatial, there.temporal, self.temporal):
            return None
        return seat

    def _let_in(self, listeners: list[Listener], packet: Packet) -> None:
        self.close_burst()  # what came before goes to the old ones alone
        self.waiting = [listener for listener in self.waiting if listener not in listeners]
        seats = [listener.take_seat(self, packet) for listener in listeners]
        self.seats = (*self.seats, *[seat for seat in seats if seat.transport is not None])
        self.tap = next((seat for seat in seats if seat.transport is None), self.tap)

    def catch_up(self, listener: Listener, seen: float, now: float) -> bool:
        """Let in who comes a moment after a key frame, and send him what the others got since.

        A class that comes in together needs one key frame, and the sender would not be asked for another one yet.
        False if the last one is too old for that, came before what he has `seen`, or is not all there.
        """
        first = self._key_frame
        if first is None or now - first.arrived > NOT_BEFORE or first.arrived <= seen:
            return False
        if not self.running or not (self.seats or self.tap):
            return False  # then nothing is kept of what came after it
        self.close_burst()
        missed = self._given_since(first)
        if not missed:
            return False
        seat = listener.take_seat(self, first, missed[0][2])
        seat.packets_before -= len(missed)
        seat.octets_before -= sum(len(packet.data) - payload_offset(packet.data) for packet, _, _ in missed)
        self.seats = (*self.seats, seat)
        for start in range(0, len(missed), MAX_BURST):
            self.producer.agenda.burst(Burst(self, (seat,), None, missed[start : start + MAX_BURST]))
        return True

    def _given_since(self, first: Packet) -> list[Outgoing]:
        """`first` and all that was given out after it; nothing if a packet is missing, or if there are too many."""
        numbering, cache = self.numbering, self.stream.cache
        given: list[Outgoing] = []
        for number in range(numbering.last_out, numbering.last_out - MAX_MISSED, -1):
            segment = numbering.segment_of(number)
            packet = None if segment is None else cache.get(number - segment.shift)
            if packet is None or segment is None:
                return []
            given.append((self.as_sent(packet), number, segment))
            if packet is first:
                return given[::-1]
        return []

    def leave(self, seat: Seat) -> None:
        """From now on; what was to be sent already is."""
        self.close_burst()
        if self.tap is seat:
            self.tap = None
        else:
            self.seats = tuple(other for other in self.seats if other is not seat)
        if self._thins and not self.has_audience:
            self.stop()

    # --- out ---

    def _send(self, packet: Packet) -> None:
        numbering = self.numbering
        before = numbering.last_out
        number = numbering.number(packet.sequence)
        if number is None or not (self.seats or self.tap):
            return
        segment = numbering.current
        assert segment is not None
        octets = len(packet.data) - payload_offset(packet.data)
        self.packets += 1
        self.octets += octets
        if number <= before:
            self._send_late((packet, number, numbering.segment_of(number) or segment))
            return
        if not self._burst:
            self.producer.agenda.open_feeds.append(self)
        elif len(self._burst) >= MAX_BURST:
            self.close_burst()
        self._burst.append((packet, number, segment))
        if octets:
            self._last = packet
            self._last_segment = segment

    def _send_late(self, outgoing: Outgoing) -> None:
        """Only to those who were here before it: to others it would come under a number that they had already."""
        self.close_burst()
        number = outgoing[1]
        seats = tuple(seat for seat in self.seats if seat.first_number <= number)
        tap = self.tap if self.tap is not None and self.tap.first_number <= number else None
        self.producer.agenda.burst(Burst(self, seats, tap, [outgoing]))

    def _give_followers(self, first: Packet) -> None:
        """Packets of the key frame that overtook its first one on their way here."""
        sequence = first.sequence + 1
        while (follower := self.stream.cache.get(sequence)) is not None:
            self._give(follower)
            sequence += 1

    def skip(self, sequence: int) -> bool:
        """Leave out an empty packet. False if it must be sent to keep the numbers whole."""
        return not self.running or self.numbering.drop(sequence)

    def close_burst(self) -> None:
        if self._burst:
            self.producer.agenda.burst(Burst(self, self.seats, self.tap, self._burst))
            self._burst = []

    # --- beginning and going on ---

    def stop(self) -> None:
        """Go on with a key frame, later."""
        self.running = False
        self._key_frame = None

    def begin_anew(self) -> None:
        """The sender's numbers have nothing to do with the ones before: none of those is sent again, or still late."""
        self.stop()
        self.numbering.forget()

    def _begin(self, packet: Packet) -> None:
        """`packet` begins a key frame: the first of all, or after the sender paused or began anew."""
        self.running = True
        self._first = packet
        producer, stream = self.producer, self.stream
        if producer.reference is None:
            producer.reference = stream
        known = producer.timestamp_shift(stream)
        position = self.position()
        if position is None:
            self.numbering.begin(stream, packet.sequence, timestamp_shift=known or 0)
            return
        shift = go_on(position, packet, known, producer.clock_rate)
        # No number is left out: what was unfinished belonged to this stream, and is asked for again or given up.
        self.numbering.begin(
            stream,
            packet.sequence,
            timestamp_shift=shift.timestamp,
            picture_shift=shift.picture,
            tl0_shift=shift.tl0,
        )

    @property
    def newest(self) -> Outgoing | None:
        """The newest packet that was given out."""
        last, segment = self._last, self._last_segment
        number = None if segment is None or last is None else last.sequence + segment.shift
        return None if last is None or segment is None or number is None else (last, number, segment)

    def position(self, shift: Shift = NO_SHIFT) -> Position | None:
        """The newest packet, as one sees it whose packets are shifted so."""
        last, segment = self._last, self._last_segment
        if last is None or segment is None:
            return None
        descriptor = last.descriptor
        picture = tl0 = None
        if descriptor is not None:
            if descriptor.picture_id is not None:
                picture = descriptor.picture_id + segment.picture_shift + shift.picture & 0x7FFF
            if descriptor.tl0_picture_index is not None:
                tl0 = descriptor.tl0_picture_index + segment.tl0_shift + shift.tl0 & 0xFF
        return Position(
            self.numbering.last_out + shift.number,
            last.timestamp + segment.timestamp_shift + shift.timestamp & 0xFFFFFFFF,
            picture,
            tl0,
            last.marker,
            last.arrived,
        )

    def report_times(self, now: float, shift: Shift = NO_SHIFT) -> tuple[int, int] | None:
        """(NTP, RTP timestamp) of this moment by the sender's clock, as a receiver sees it; None: not known yet.

        The sender's own time is kept: it ties a peer's voice to his picture better than our arrival times could.
        """
        segment = self._last_segment
        reception = self.stream.reception
        if segment is None or not reception.report_ntp:
            return None
        elapsed = now - reception.report_at
        ntp = reception.report_ntp + int(elapsed * 4294967296) & 0xFFFFFFFFFFFFFFFF
        timestamp = reception.report_timestamp + int(elapsed * self.producer.clock_rate)
        return ntp, timestamp + segment.timestamp_shift + shift.timestamp & 0xFFFFFFFF


def go_on(last: Position, packet: Packet, timestamp_shift: int | None, clock_rate: int) -> Shift:
    """What to add to what the sender wrote, from `packet` on, so that `last` is followed by it without a seam.

    `timestamp_shift`: what puts the sender's time on the producer's timeline; None if no sender report tells. The
    number is not among it: that depends on what was left unfinished.
    """
    if timestamp_shift is None:  # as much later as it came later
        elapsed = max(1, int((packet.arrived - last.at) * clock_rate))
        timestamp_shift = last.timestamp + elapsed - packet.timestamp
    ahead = (packet.timestamp + timestamp_shift - last.timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
    if ahead <= 0:  # time must not stand still, still less go back
        timestamp_shift += 1 - ahead + clock_rate // 100
    picture = tl0 = 0
    descriptor = packet.descriptor
    if descriptor is not None:
        if descriptor.picture_id is not None and last.picture is not None:
            picture = last.picture + 1 - descriptor.picture_id & 0x7FFF
        if descriptor.tl0_picture_index is not None and last.tl0 is not None:
            tl0 = last.tl0 + 1 - descriptor.tl0_picture_index & 0xFF
    return Shift(0, timestamp_shift & 0xFFFFFFFF, picture, tl0)
