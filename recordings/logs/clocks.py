"""When was a packet's sound or picture made? Line up the tracks of a class on the worker's clock.

A packet bears the time of its making in its track's own clock. Sender reports say what that is on the sender's clock,
the same for all tracks of one person: that keeps lips and voice together. The sender's clock against the worker's is
found from arrivals: the least delay of a segment is the network at its best. Without sender reports, a track's own
clock is laid against the arrivals in the same way.

A class is gone through once, segment by segment. At each segment's end an offset is fixed and never touched again;
between two of them time goes straight. So neighbours agree on every moment, whenever each of them was planned.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from msgspec import Struct, field

from recordings.logs.packets import RtpPacket, SenderReport, unwrapped

DRIFT = 0.001  # two quartzes differ by less; an offset that rises faster is a network that stalled for a while
MAX_DRIFT = 0.01  # a clock that is further off than 1 % is no clock: the report is wrong or the clock was set
MAX_EARLY = 15.0  # seconds that a packet may have been on its way (TCP that stalled)
MAX_LATE = 1.0  # seconds that a packet may seem to come from the future

Reports = list[tuple[int, float]]  # (timestamp without wrap, sender's seconds)


def sender_time(reports: Reports, rate: int, timestamp: int) -> float:
    """Seconds on the sender's clock; between two reports straight on, outside at the clock's own rate."""
    if not reports:
        return timestamp / rate
    index = bisect_right(reports, timestamp, key=lambda report: report[0])
    if 0 < index < len(reports):
        (t0, s0), (t1, s1) = reports[index - 1], reports[index]
        return s0 + (s1 - s0) * (timestamp - t0) / (t1 - t0)
    near, seconds = reports[max(0, index - 1)]
    return seconds + (timestamp - near) / rate


class Clock(Struct, frozen=True):
    """One track's clock as one segment needs it: (timestamp without wrap, arrival) -> seconds since the Unix epoch."""

    rate: int
    reports: Reports
    begin: float  # seconds since the Unix epoch
    end: float
    first: float  # worker's minus sender's time at `begin`
    last: float  # and at `end`

    def __call__(self, timestamp: int, arrival: float) -> float:
        sender = sender_time(self.reports, self.rate, timestamp)
        share = min(1.0, max(0.0, (sender + self.first - self.begin) / (self.end - self.begin)))
        made = sender + self.first + (self.last - self.first) * share
        # A sender whose clock tells nonsense spoils its own track and nothing else.
        return made if arrival - MAX_EARLY <= made <= arrival + MAX_LATE else arrival


class TrackClock(Struct):
    """What one log tells about its clock. Fed with every packet in the order of arrival."""

    rate: int
    timestamp: int | None = None  # the last one, without wrap
    reports: Reports = field(default_factory=list)
    best: tuple[float, int, float] | None = None  # of this segment: delay, timestamp, arrival
    was_set: bool = False  # the sender's clock, since this segment began

    def packet(self, packet: RtpPacket) -> int:
        """Gives its timestamp without wrap."""
        timestamp = self._unwrapped(packet.timestamp)
        delay = packet.arrival - timestamp / self.rate
        if self.best is None or delay < self.best[0]:
            self.best = (delay, timestamp, packet.arrival)
        return timestamp

    def _unwrapped(self, timestamp: int) -> int:
        self.timestamp = unwrapped(timestamp, self.timestamp, 32)
        return self.timestamp

    def report(self, report: SenderReport) -> None:
        if self.timestamp is None:  # before the first packet there is nothing to unwrap it by
            return
        timestamp, ntp = self._unwrapped(report.timestamp), report.ntp
        if self.reports:
            before, seconds = self.reports[-1]
            if timestamp <= before:
                return
            expected = (timestamp - before) / self.rate
            if abs(ntp - seconds - expected) > 0.02 + MAX_DRIFT * expected:
                self.reports.clear()  # the sender's clock was set: what counts is how it goes on
                self.was_set = True
        self.reports.append((timestamp, ntp))

    def least(self) -> float | None:
        """The least (worker's minus sender's time) of this segment; None: nothing came."""
        return None if self.best is None else self.best[2] - sender_time(self.reports, self.rate, self.best[1])

    def next_segment(self, begin: float) -> None:
        """`begin`: on the sender's clock. Of the reports before it only the last is still of use."""
        self.best, self.was_set = None, False
        del self.reports[: max(0, bisect_right(self.reports, begin, key=lambda report: report[1]) - 1)]


class SenderClock(Struct):
    """One sender's clock against the worker's, at the end of the segment that was planned last."""

    offset: float | None = None  # worker's minus sender's time
    at: float = 0.0  # seconds since the Unix epoch

    def advance(self, tracks: Iterable[TrackClock], begin: float, end: float) -> list[Clock]:
        """Clocks for this sender's tracks in the segment from `begin` to `end`; none before the first packet."""
        tracks = list(tracks)
        heard = [least for track in tracks if (least := track.least()) is not None]
        if any(track.was_set for track in tracks):
            self.offset = None
        first = self.offset
        last = min(heard, default=first)
        if last is None:
            return []
        if first is None:
            first = last
        else:
            last = min(last, first + DRIFT * max(0.0, end - self.at))
        self.offset, self.at = last, end
        return [Clock(track.rate, list(track.reports), begin, end, first, last) for track in tracks]
