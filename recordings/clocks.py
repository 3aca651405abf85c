"""When was a packet's sound or picture made? Line up the tracks of a class on the worker's clock.

A packet bears the time of its making in its track's own clock. Sender reports say what that is on the sender's clock,
the same for all tracks of one person: that keeps lips and voice together. The sender's clock against the worker's is
found from arrivals: the least delay within each WINDOW is the network at its best. Without sender reports, a track's
own clock is laid against the arrivals in the same way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from recordings.packets import RtpPacket, SenderReport, Unwrapper

WINDOW = 30.0  # seconds: long enough to meet a packet without delay, short enough to follow a clock that drifts
DRIFT = 0.001  # two quartzes differ by less; an offset that rises faster is a network that stalled for a while
MAX_DRIFT = 0.01  # a clock that is further off than 1 % is no clock: the report is wrong or the clock was set
MAX_EARLY = 15.0  # seconds that a packet may have been on its way (TCP that stalled)
MAX_LATE = 1.0  # seconds that a packet may seem to come from the future


@dataclass
class TrackClock:
    """What one log tells about its clock. Fed with every packet in the order of arrival, then asked."""

    rate: int
    first: float | None = None  # arrivals
    last: float = 0.0
    packets: int = 0
    reports: list[tuple[int, float]] = field(default_factory=list)  # (timestamp without wrap, sender's seconds)
    best: dict[int, tuple[float, int, float]] = field(default_factory=dict)  # window: delay, timestamp, arrival

    def __post_init__(self) -> None:
        self._unwrap = Unwrapper(32)

    def feed(self, items: Iterable[RtpPacket | SenderReport]) -> TrackClock:
        for item in items:
            if isinstance(item, SenderReport):
                if self.first is not None:  # before the first packet there is nothing to unwrap it by
                    self._report(self._unwrap(item.timestamp), item.ntp)
                continue
            if self.first is None:
                self.first = item.arrival
            self.packets += 1
            self.last = max(self.last, item.arrival)
            timestamp = self._unwrap(item.timestamp)
            delay = item.arrival - timestamp / self.rate
            window = int(item.arrival // WINDOW)
            if window not in self.best or delay < self.best[window][0]:
                self.best[window] = (delay, timestamp, item.arrival)
        return self

    def _report(self, timestamp: int, ntp: float) -> None:
        if self.reports:
            before, seconds = self.reports[-1]
            if timestamp <= before:
                return
            expected = (timestamp - before) / self.rate
            if abs(ntp - seconds - expected) > 0.02 + MAX_DRIFT * expected:
                self.reports.clear()  # the sender's clock was set: what counts is how it goes on
        self.reports.append((timestamp, ntp))

    def sender_time(self, timestamp: int) -> float:
        """Seconds on the sender's clock; between two reports straight on, outside at the clock's own rate."""
        if not self.reports:
            return timestamp / self.rate
        index = bisect_right(self.reports, timestamp, key=lambda report: report[0])
        if 0 < index < len(self.reports):
            (t0, s0), (t1, s1) = self.reports[index - 1], self.reports[index]
            return s0 + (s1 - s0) * (timestamp - t0) / (t1 - t0)
        near, seconds = self.reports[max(0, index - 1)]
        return seconds + (timestamp - near) / self.rate


Clock = Callable[[int, float], float]  # (timestamp without wrap, arrival) -> seconds since the Unix epoch


def _offset(points: list[tuple[float, float]]) -> Callable[[float], float]:
    """The least (worker's minus sender's time) of each window, straight between windows."""
    windows: dict[int, tuple[float, float]] = {}
    for seconds, offset in points:
        window = int(seconds // WINDOW)
        if window not in windows or offset < windows[window][1]:
            windows[window] = (seconds, offset)
    nodes = [windows[window] for window in sorted(windows)]
    for order in (range(1, len(nodes)), range(len(nodes) - 2, -1, -1)):
        for index in order:
            seconds, offset = nodes[index]
            near, least = nodes[index - 1 if order.step > 0 else index + 1]
            nodes[index] = (seconds, min(offset, least + DRIFT * abs(seconds - near)))

    def at(seconds: float) -> float:
        index = bisect_right(nodes, seconds, key=lambda node: node[0])
        if index == 0:
            return nodes[0][1]
        if index == len(nodes):
            return nodes[-1][1]
        (s0, o0), (s1, o1) = nodes[index - 1], nodes[index]
        return o0 + (o1 - o0) * (seconds - s0) / (s1 - s0)

    return at


def align(tracks: dict[str, TrackClock]) -> dict[str, Clock]:
    """Clocks for one sender's tracks of one epoch, by producer id. Tracks with reports share the sender's clock."""
    clocks: dict[str, Clock] = {}
    reported = {key: track for key, track in tracks.items() if track.reports and track.packets}
    groups = [reported, *({key: track} for key, track in tracks.items() if track.packets and key not in reported)]
    for group in groups:
        points = [
            (sender, arrival - sender)
            for track in group.values()
            for _, timestamp, arrival in track.best.values()
            for sender in [track.sender_time(timestamp)]
        ]
        if not points:
            continue
        offset = _offset(points)
        for key, track in group.items():
            clocks[key] = _guarded(track, offset)
    return clocks


def _guarded(track: TrackClock, offset: Callable[[float], float]) -> Clock:
    """A sender whose clock tells nonsense spoils its own track and nothing else."""

    def clock(timestamp: int, arrival: float) -> float:
        sender = track.sender_time(timestamp)
        made = sender + offset(sender)
        return made if arrival - MAX_EARLY <= made <= arrival + MAX_LATE else arrival

    return clock
