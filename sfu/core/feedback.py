"""Tell a browser when its packets arrived, so that it finds out how much the way up can carry.

Every packet of a transport, whatever its stream, carries one running number. Each 100 ms the sender hears of all the
numbers since the last time: this one then, that one not at all. How fast it sends is its own conclusion.
"""

from __future__ import annotations

from sfu.core.rtp import SequenceUnwrapper
from sfu.core.transport_feedback import REFERENCE_TICKS, TICK, TransportFeedback

INTERVAL = 0.100  # seconds between reports
BACK_WINDOW = 0.500  # seconds that an arrival is remembered, for a late one before it to be reported among the rest
MAX_LEAP = 1000  # numbers missing in a row: beyond it the sender began anew, or lies
MAX_STATUSES = 450  # numbers in one report: at two bytes for a time and some for the runs it fits into a datagram
MAX_DELTA = 0x7FFF  # ticks between two arrivals that a report can express


class TransportFeedbackRecorder:
    """One transport's arrivals. Feed `received`, drain `due` at `next_at`."""

    __slots__ = ("_arrivals", "_count", "_first_at", "_highest", "_sender_ssrc", "_start", "_unwrapper", "media_ssrc")

    def __init__(self, sender_ssrc: int, media_ssrc: int = 0) -> None:
        self._sender_ssrc = sender_ssrc
        self.media_ssrc = media_ssrc  # libwebrtc drops a report that does not name an SSRC it sends
        self._unwrapper = SequenceUnwrapper()
        self._arrivals: dict[int, float] = {}  # unwrapped number -> time of arrival
        self._start: int | None = None  # the first number that the next report tells of
        self._highest = -1
        self._first_at: float | None = None  # arrival of the first packet that is not reported yet
        self._count = 0

    def received(self, sequence_number: int, now: float) -> None:
        """Note the arrival of a packet with this transport-wide number (16 bits, as on the wire)."""
        sequence = self._unwrapper.unwrap(sequence_number)
        arrivals = self._arrivals
        if sequence in arrivals:
            return
        start = self._start
        if start is None or abs(sequence - self._highest) > MAX_LEAP:
            arrivals.clear()
            self._start = self._highest = sequence
        elif sequence > self._highest:
            self._highest = sequence
        else:
            self._unwrapper.last = self._highest
            if sequence < start:
                self._start = sequence
        arrivals[sequence] = now
        if self._first_at is None:
            self._first_at = now

    def restart(self) -> None:
        """Tell nothing of what was sent until now and did not come: it was sent to where nobody is any more."""
        self._arrivals.clear()
        self._start = self._first_at = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report."""
        return self._first_at is None

    def next_at(self) -> float | None:
        return None if self._first_at is None else self._first_at + INTERVAL

    def due(self, now: float) -> list[TransportFeedback]:
        """The reports to send now: none before the interval is over, several where much came."""
        if self._first_at is None or now < self._first_at + INTERVAL or self._start is None:
            return []
        reports = []
        report: TransportFeedback | None = None
        previous = 0  # ticks of the arrival before
        for sequence in sorted(number for number in self._arrivals if number >= self._start):
            ticks = int(self._arrivals[sequence] / TICK)
            if (
                report is None
                or sequence - report.base_sequence >= MAX_STATUSES
                or not -MAX_DELTA <= ticks - previous <= MAX_DELTA
            ):
                # Losses are told by the numbers between: a report begins where the one before ended.
                base = self._start if report is None else report.base_sequence + report.count
                base = max(base, sequence - MAX_STATUSES + 1)
                previous = ticks // REFERENCE_TICKS * REFERENCE_TICKS
                report = TransportFeedback(
                    sender_ssrc=self._sender_ssrc,
                    media_ssrc=self.media_ssrc,
                    base_sequence=base,
                    count=0,
                    reference_time=ticks // REFERENCE_TICKS,
                    feedback_count=self._count & 0xFF,
                )
                self._count += 1
                reports.append(report)
            report.count = sequence - report.base_sequence + 1
            report.received.append((sequence, ticks - previous))
            previous = ticks

        self._start = self._highest + 1
        self._first_at = None
        horizon = now - BACK_WINDOW
        self._arrivals = {number: at for number, at in self._arrivals.items() if at >= horizon}
        return reports
