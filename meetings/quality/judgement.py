"""A word for a connection by limits, and the calm not to change it at every report. As static/js/room/quality.js."""

from __future__ import annotations

from typing import Literal

from meetings.messages import StatsReport

Quality = Literal["good", "warning", "danger", "critical"]
QUALITIES: tuple[Quality, ...] = ("good", "warning", "danger", "critical")  # the better the earlier

# From these on: round trip in ms, loss in percent, jitter in ms.
LIMITS: tuple[tuple[Quality, float, float, float], ...] = (
    ("critical", 2000, 20, 200),
    ("danger", 1000, 10, 100),
    ("warning", 500, 5, 50),
)
WORSE_AFTER = 1  # reports in a row: each tells of five seconds, where the page looks every two
BETTER_AFTER = 2


def quality_of(report: StatsReport) -> Quality:
    rtt, loss, jitter = report.rtt or 0.0, report.packet_loss or 0.0, report.jitter or 0.0
    for quality, most_rtt, most_loss, most_jitter in LIMITS:
        if rtt >= most_rtt or loss >= most_loss or jitter >= most_jitter:
            return quality
    return "good"


def severity(quality: Quality) -> int:
    return QUALITIES.index(quality)


def is_poor(quality: Quality) -> bool:
    """So poor that sound should come before pictures."""
    return quality in ("danger", "critical")


class Steady:
    """A word that stays until reports in a row agree on another: bars must not flicker around a limit."""

    __slots__ = ("_others", "now")

    def __init__(self) -> None:
        self.now: Quality = "good"
        self._others: list[int] = []  # severities of reports in a row, all on the same side of it

    def update(self, found: Quality) -> Quality:
        here, there = severity(self.now), severity(found)
        if self._others and (self._others[0] > here) != (there > here):
            self._others.clear()
        if there == here:
            self._others.clear()
            return self.now
        self._others.append(there)
        if len(self._others) >= (WORSE_AFTER if there > here else BETTER_AFTER):
            # No further than all of them went.
            self.now = QUALITIES[min(self._others) if there > here else max(self._others)]
            self._others.clear()
        return self.now
