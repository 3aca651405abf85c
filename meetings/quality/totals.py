"""What one person's reports add up to while they are in a class. Pure; kept in Redis as JSON, joined at the end."""

from __future__ import annotations

from msgspec import Struct, field

from meetings.messages import StatsReport
from meetings.quality.judgement import Quality, is_poor

MAX_DELAY = 60_000.0  # ms: who says more errs or lies


class Mean(Struct, array_like=True):
    """Of values that each held for some seconds. `worst` is the largest, unless less is worse."""

    sum: float = 0.0
    seconds: float = 0.0
    worst: float | None = None

    def add(self, value: float | None, seconds: float, *, less_is_worse: bool = False) -> None:
        if value is not None:
            self._take(value * seconds, seconds, value, less_is_worse)

    def join(self, other: Mean, *, less_is_worse: bool = False) -> None:
        if other.worst is not None:
            self._take(other.sum, other.seconds, other.worst, less_is_worse)

    def _take(self, total: float, seconds: float, worst: float, less_is_worse: bool) -> None:
        self.sum += total
        self.seconds += seconds
        if self.worst is None or (worst < self.worst if less_is_worse else worst > self.worst):
            self.worst = worst

    @property
    def mean(self) -> float | None:
        return self.sum / self.seconds if self.seconds else None


class Totals(Struct):
    """Milliseconds, percent, bytes; `warning` and `danger`: seconds with that word or, for danger, a worse one."""

    seconds: float = 0.0
    rtt: Mean = field(default_factory=Mean)
    jitter: Mean = field(default_factory=Mean)
    loss: Mean = field(default_factory=Mean)
    score: Mean = field(default_factory=Mean)
    warning: float = 0.0
    danger: float = 0.0
    received: int = 0
    sent: int = 0
    freezes: int = 0
    tcp: bool = False
    relay: bool = False

    def add(self, report: StatsReport, quality: Quality, score: float | None, seconds: float) -> None:
        """A report that tells of the last `seconds`."""
        self.seconds += seconds
        self.rtt.add(None if report.rtt is None else min(report.rtt, MAX_DELAY), seconds)
        self.jitter.add(None if report.jitter is None else min(report.jitter, MAX_DELAY), seconds)
        self.loss.add(report.packet_loss, seconds)
        self.score.add(score, seconds, less_is_worse=True)
        if is_poor(quality):
            self.danger += seconds
        elif quality == "warning":
            self.warning += seconds
        self.received += report.bytes_received or 0
        self.sent += report.bytes_sent or 0
        self.freezes += round(min(report.freeze_count or 0, 1000))
        self.tcp |= report.path == "tcp"
        self.relay |= report.path == "relay"

    def join(self, other: Totals) -> None:
        """What the same person reported by another socket."""
        for name in ("rtt", "jitter", "loss"):
            getattr(self, name).join(getattr(other, name))
        self.score.join(other.score, less_is_worse=True)
        for name in ("seconds", "warning", "danger", "received", "sent", "freezes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tcp |= other.tcp
        self.relay |= other.relay
