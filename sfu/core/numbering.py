"""Which incoming packet went out under which sequence number, across drops, pauses and changes of layer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sfu.core.rtp import seq_diff

if TYPE_CHECKING:
    from sfu.core.stream import Stream

# More than fit in the seconds that a receiver asks back for: where every other picture is left out, each is a change.
MAX_SEGMENTS = 256


class Segment(NamedTuple):
    """From `first_in` of `stream` on, these are added to what the sender wrote; both numbers are unwrapped."""

    stream: Stream
    first_in: int
    first_out: int
    shift: int
    timestamp_shift: int = 0
    picture_shift: int = 0
    tl0_shift: int = 0


class Numbering:
    """What receivers see: one run of numbers without a break that they could mistake for loss."""

    __slots__ = ("_older", "current", "last_out")

    def __init__(self, first_out: int) -> None:
        self.last_out = first_out - 1
        self.current: Segment | None = None
        self._older: deque[Segment] = deque(maxlen=MAX_SEGMENTS)

    def begin(
        self,
        stream: Stream,
        first_in: int,
        *,
        gap: int = 0,
        timestamp_shift: int = 0,
        picture_shift: int = 0,
        tl0_shift: int = 0,
    ) -> Segment:
        """The next number belongs to packet `first_in` of `stream`; `gap` numbers before it are never sent."""
        if self.current is not None:
            self._older.append(self.current)
        first_out = self.last_out + 1 + gap
        self.current = Segment(
            stream, first_in, first_out, first_out - first_in, timestamp_shift, picture_shift, tl0_shift
        )
        return self.current

    def forget(self) -> None:
        """The sender's numbers begin anew, and may be the same again: ours from before belong to none of them."""
        self.current = None
        self._older.clear()

    def number(self, sequence: int) -> int | None:
        """The number of a packet of the current stream; None if it has none: it came before the stream was begun."""
        segment = self.current
        if segment is None:
            return None
        out = sequence + segment.shift if sequence >= segment.first_in else self._late(segment, sequence)
        if out is not None and out > self.last_out:
            self.last_out = out
        return out

    def _late(self, following: Segment, sequence: int) -> int | None:
        """The number that a packet from before a drop would have had, if it is still free."""
        stream = following.stream
        for segment in reversed(self._older):
            if segment.stream is not stream:
                return None
            if sequence >= segment.first_in:
                out = sequence + segment.shift
                return out if out < following.first_out else None
            following = segment
        return None

    def is_newest(self, sequence: int) -> bool:
        """Whether no later packet has a number yet."""
        segment = self.current
        return segment is not None and sequence >= segment.first_in and sequence + segment.shift > self.last_out

    def drop(self, sequence: int, *, pictures: int = 0) -> bool:
        """Close the gap that leaving out the newest packet makes, in the picture ids too if a picture goes with it.

        False if later ones went already: send it then, or something in its place.
        """
        if not self.is_newest(sequence):
            return False
        segment = self.current
        assert segment is not None
        if sequence > segment.first_in:  # else none of its numbers was given out: nobody will ask for one
            self._older.append(segment)
        following = sequence + 1
        self.current = segment._replace(
            first_in=following,
            first_out=following + segment.shift - 1,
            shift=segment.shift - 1,
            picture_shift=segment.picture_shift - pictures,
        )
        return True

    def segment_of(self, number: int) -> Segment | None:
        """Of one of our own numbers, if it was given out."""
        for segment in (self.current, *reversed(self._older)):
            if segment is not None and number >= segment.first_out:
                return segment
        return None

    def origin(self, sequence_number: int) -> tuple[Segment, int, int] | None:
        """Of a 16-bit number that a receiver speaks of: the segment, the sender's number in its stream, and ours."""
        segment = self.current
        if segment is None:
            return None
        out = self.last_out + seq_diff(sequence_number, self.last_out & 0xFFFF)
        if out > self.last_out:
            return None
        if out >= segment.first_out:
            return segment, out - segment.shift, out
        for older in reversed(self._older):
            if out >= older.first_out:
                return older, out - older.shift, out
        return None
