"""Ask for lost packets again, soon but not too soon, and give up in time.

A gap may be mere reordering, so the first request waits a little; a repair needs a round trip, so each repetition
waits longer; after the last one only a key frame can help. Sequence numbers are unwrapped ones.
"""

from __future__ import annotations

DELAY = 0.010  # seconds that a missing packet has to turn up by itself
RETRY = 0.040  # seconds between requests, or a round trip if that is longer
MAX_TRIES = 10
GIVE_UP_AFTER = 2.0  # seconds: no browser keeps packets longer, and no receiver of ours waits longer for one
MAX_MISSING = 1000  # packets: beyond it the gap is an outage, which no repair fills
MAX_NOTED = 2000  # packets in a second: no stream has as many, and each that is noted costs a look in every tick
MAX_PER_REQUEST = 300  # packets: even with one pair for each, the report fits into a datagram


class NackGenerator:
    """One incoming stream's losses. Feed `receive`, drain `due` at `next_at`, and look at `key_frame_needed` then."""

    __slots__ = ("_highest", "_missing", "_noted", "_noted_until", "key_frame_needed")

    def __init__(self) -> None:
        self._highest: int | None = None
        self._missing: dict[int, list[float]] = {}  # sequence -> [due at, tries, end], in order of sequence
        self._noted = 0  # as missing, in this second
        self._noted_until = 0.0
        self.key_frame_needed = False  # set when packets are given up for lost; the caller resets it when it asked

    def receive(self, sequence: int, now: float) -> bool:
        """Note a packet that came, by whatever way. Whether it was one that was missed."""
        highest = self._highest
        if highest is None or sequence == highest + 1:
            self._highest = sequence
            return False
        if sequence <= highest:
            return self._missing.pop(sequence, None) is not None
        self._highest = sequence
        gap = sequence - highest - 1
        if now >= self._noted_until:
            self._noted, self._noted_until = 0, now + 1.0
        self._noted += gap
        if gap + len(self._missing) > MAX_MISSING or self._noted > MAX_NOTED:
            self.give_up()
        else:
            due, end = now + DELAY, now + GIVE_UP_AFTER
            for missing in range(highest + 1, sequence):
                self._missing[missing] = [due, 0, end]
        return False

    def due(self, now: float, round_trip: float = 0.0) -> list[int]:
        """The packets to ask for now, in order. Those asked for often enough are dropped: `key_frame_needed`."""
        if not self._missing:
            return []
        lost: list[int] = []
        wait = max(RETRY, round_trip)
        for sequence, entry in list(self._missing.items()):
            if entry[0] > now:
                continue
            if entry[1] >= MAX_TRIES or now > entry[2]:
                del self._missing[sequence]
                self.key_frame_needed = True
            elif len(lost) < MAX_PER_REQUEST:
                entry[0] = now + wait
                entry[1] += 1
                lost.append(sequence)
        return lost

    def next_at(self) -> float | None:
        """When `due` has something to do; None while nothing is missing."""
        return min(entry[0] for entry in self._missing.values()) if self._missing else None

    def give_up(self) -> None:
        self._missing.clear()
        self.key_frame_needed = True

    def forget(self) -> None:
        """Nobody needs what is missing."""
        self._missing.clear()
        self.key_frame_needed = False

    @property
    def missing(self) -> int:
        return len(self._missing)
