"""When a moment of the class comes in its recording: what lies between a pause and its end is cut out. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from sfu.manifest import ENTRIES, Paused, Resumed, Started


@dataclass(frozen=True)
class RecordedTime:
    """Moments are seconds since the Unix epoch, on the worker's clock."""

    started_at: float
    pauses: tuple[tuple[float, float], ...] = ()  # (from, until), in order and apart; the last may have no end yet

    @classmethod
    def of(cls, entries: Iterable[ENTRIES]) -> RecordedTime:
        """By a timeline, or by as much of one as is written.

        A worker that begins to write records, unless it says in the same breath that the recording is paused. So a
        pause goes on over the death of a worker.
        """
        started_at: float | None = None
        pauses: list[tuple[float, float]] = []
        since: float | None = None
        for entry in entries:
            if started_at is None:
                started_at = entry.at
            at = max(entry.at, pauses[-1][1] if pauses else started_at)  # another machine's clock may be behind
            if isinstance(entry, Paused) and since is None:
                since = pauses.pop()[0] if pauses and pauses[-1][1] == at else at
            elif isinstance(entry, Resumed | Started) and since is not None:
                pauses.append((since, max(since, at)))
                since = None
        if since is not None:
            pauses.append((since, math.inf))
        return cls(started_at or 0.0, tuple(pauses))

    def at(self, moment: float) -> float:
        """Seconds after the recording's start, negative before it; during a pause those at which it began."""
        cut = 0.0
        for since, until in self.pauses:
            if moment < since:
                break
            cut += min(moment, until) - since
        return moment - self.started_at - cut

    def is_paused(self, moment: float) -> bool:
        """Whether it is cut out: what was made then may have arrived when the recording went on."""
        index = bisect_right(self.pauses, moment, key=lambda pause: pause[0])
        return index > 0 and moment < self.pauses[index - 1][1]
