"""What left under which transport-wide number, when and how large: to be compared with what the receiver reports.

Recording sits in the forwarding loop. A burst that goes to many receivers is described once (`departures`), and each
receiver's history takes the whole burst by one slice assignment; nothing is counted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from sfu.core.transport_feedback import REFERENCE_TICKS, TICK, TransportFeedback

SIZE = 2048  # numbers kept: 2 s of 10 Mbit/s in packets of 1,200 bytes, 16 KB a receiver
MASK = SIZE - 1

Departure = tuple[float, int]  # (sent at, in seconds; bytes)
Arrival = tuple[float, float, int]  # (sent at by our clock, arrived at by the receiver's clock, bytes)


def departures(sizes: Sequence[int], now: float) -> tuple[Departure, ...]:
    """A burst as `SentHistory.sent` takes it, one for all its receivers: bytes of each packet, at most SIZE of them."""
    return tuple([(now, size) for size in sizes])


def _as_queued(received: list[Arrival]) -> list[Arrival]:
    """Arrivals by number, each no later than those after it.

    Nobody overtakes in a queue: who was overtaken waited there no longer than those who overtook him, and the rest of
    his delay is jitter, which tells nothing of the path's rate.
    """
    earliest = inf
    queued = []
    for sent, arrived, size in reversed(received):
        earliest = min(earliest, arrived)
        queued.append((sent, earliest, size))
    return queued[::-1]


class Matched(NamedTuple):
    """What one report tells. `lost` may be negative: packets told lost before have come after all.

    `complete` is False where the reports before this one did not reach up to it, so that packets between are unknown.
    """

    received: list[Arrival]  # in order of arrival, as if none had overtaken another
    size: int  # bytes of them
    lost: int
    complete: bool


class SentHistory:
    """One transport's packets under way. Feed `sent`, ask `match`."""

    __slots__ = ("_reference", "_reported", "_ring", "next")

    def __init__(self, first_number: int = 0) -> None:
        self._ring: list[Departure | None] = [None] * SIZE
        self._reference: int | None = None  # the last report's, unwrapped, in units of 64 ms
        self.next = first_number + 0x10000  # the next packet's number, unwrapped; above 0 whatever is subtracted
        self._reported = self.next  # up to here we were told of arrival or loss

    def sent(self, first_number: int, burst: tuple[Departure, ...]) -> None:
        """Packets left under the numbers from `first_number` (16 bits) on; `burst` comes from `departures`."""
        following = self.next
        if (following ^ first_number) & 0xFFFF:
            following = self._skip(first_number)
        start = first_number & MASK
        end = start + len(burst)
        if end <= SIZE:
            self._ring[start:end] = burst
        else:
            split = SIZE - start
            self._ring[start:] = burst[:split]
            self._ring[: end - SIZE] = burst[split:]
        self.next = following + len(burst)

    def _skip(self, first_number: int) -> int:
        """Numbers were given out that nobody recorded, or given out again: nothing is known of those between."""
        ahead = (first_number - self.next + 0x8000 & 0xFFFF) - 0x8000
        self.next += ahead
        self._reported = min(self._reported, self.next)
        for number in range(self.next - min(ahead, SIZE), self.next):
            self._ring[number & MASK] = None
        return self.next

    def sent_since(self, number: int) -> int:
        """Bytes under way of the packets from this unwrapped number on; those already acknowledged are not counted."""
        ring = self._ring
        entries = [ring[n & MASK] for n in range(max(number, self.next - SIZE), self.next)]
        return sum([entry[1] for entry in entries if entry is not None])

    def match(self, feedback: TransportFeedback) -> Matched:
        """Compare a report with what was sent. Each packet is returned once, however often it is reported.

        Costs no more than the arrivals in it, whatever number of losses it claims.
        """
        following = self.next
        base = following - (following - feedback.base_sequence & 0xFFFF)
        shift = base - feedback.base_sequence
        oldest = following - SIZE
        reported = self._reported
        begin = max(base, reported, oldest)
        end = min(base + feedback.count, following)

        reference = feedback.reference_time
        if self._reference is not None:  # 24 bits wrap in twelve days
            reference = self._reference + (reference - self._reference + 0x800000 & 0xFFFFFF) - 0x800000
        self._reference = reference
        ticks = reference * REFERENCE_TICKS

        told = feedback.received
        received: list[Arrival] = []
        lost = max(0, end - begin)
        size = 0
        in_order = True
        for departure, (_, delta) in zip(self._departures(told, shift, oldest), told, strict=True):
            ticks += delta
            if delta < 0:
                in_order = False
            if departure is not None:
                sent_at, length = departure
                size += length
                received.append((sent_at, ticks * TICK, length))
        # Beyond `begin` they were counted just now, before it by the report that called them lost.
        lost -= len(received)
        if not in_order:
            received = _as_queued(received)
        complete = base <= reported
        if end > reported:
            self._reported = end
        return Matched(received, size, lost, complete)

    def _departures(self, told: list[tuple[int, int]], shift: int, oldest: int) -> list[Departure | None]:
        """Of each packet that a report tells of, and forget them; None where it is not ours or was told before."""
        if not told:
            return []
        ring = self._ring
        first, last = told[0][0] + shift, told[-1][0] + shift
        slot = first & MASK
        after = slot + len(told)
        if last - first == len(told) - 1 and first >= oldest and last < self.next and after <= SIZE:
            found = ring[slot:after]  # nearly always: all of them, one after the other
            ring[slot:after] = [None] * len(told)
            return found
        found = []
        for sequence, _ in told:
            number = sequence + shift
            if oldest <= number < self.next:
                slot = number & MASK
                found.append(ring[slot])
                ring[slot] = None
            else:
                found.append(None)
        return found
