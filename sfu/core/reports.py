"""What sender and receiver reports are made of: counting what arrived, and telling the time as RTP does (RFC 3550).

Times are `now` of the core: seconds of any steady clock. `ntp_at(now)` needs the wall clock's distance from it.
"""

from __future__ import annotations

NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
MAX_LOST = 0x7FFFFF  # the field has 24 bits, with sign


def to_ntp(seconds: float) -> int:
    """Seconds since 1970 as a 64-bit NTP timestamp."""
    return int((seconds + NTP_EPOCH) * 4294967296) & 0xFFFFFFFFFFFFFFFF


def middle(ntp: int) -> int:
    """The 32 middle bits, which reports carry back: units of 1/65536 s."""
    return ntp >> 16 & 0xFFFFFFFF


class Reception:
    """Counts of one incoming stream, and the report block made of them (RFC 3550, appendices A.3 and A.8)."""

    __slots__ = (
        "_expected_before",
        "_first",
        "_received_before",
        "_transit",
        "clock_rate",
        "highest",
        "jitter",
        "lost_lately",
        "received",
        "report_at",
        "report_ntp",
        "report_timestamp",
    )

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.received = 0  # packets, without repeats
        self.highest: int | None = None  # unwrapped
        self.jitter = 0.0  # in units of the clock
        self.lost_lately = 0  # in 1/256, between the last two reports
        self._first = 0
        self._transit: float | None = None
        self._expected_before = 0
        self._received_before = 0
        self.report_ntp = 0  # of the last sender report; 0: none came yet
        self.report_timestamp = 0
        self.report_at = 0.0

    def packet(self, sequence: int, timestamp: int, now: float, *, repaired: bool) -> None:
        self.received += 1
        highest = self.highest
        if highest is None:
            self._first = self.highest = sequence
        elif sequence > highest:
            self.highest = sequence
        elif sequence < self._first:
            self._first = sequence
        if repaired:
            return  # it came late by the repair, which says nothing of the network
        # Half of what the timestamps do around a wrap is noise: the difference is taken modulo 2^32.
        arrival = now * self.clock_rate
        transit = (arrival - timestamp) % 4294967296.0
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference > 2147483648.0:
                difference = 4294967296.0 - difference
            # More than 10 s is a new timeline, not jitter.
            if difference < 10 * self.clock_rate:
                self.jitter += (difference - self.jitter) / 16
        self._transit = transit

    def sender_report(self, ntp: int, timestamp: int, now: float) -> None:
        self.report_ntp = ntp
        self.report_timestamp = timestamp
        self.report_at = now

    @property
    def expected(self) -> int:
        return 0 if self.highest is None else self.highest - self._first + 1

    @property
    def lost(self) -> int:
        return max(-MAX_LOST, min(MAX_LOST, self.expected - self.received))

    def fraction_lost(self) -> int:
        """Of the packets since the last call, in 1/256."""
        expected, received = self.expected, self.received
        interval = expected - self._expected_before
        lost = interval - (received - self._received_before)
        self._expected_before, self._received_before = expected, received
        self.lost_lately = 0 if interval <= 0 or lost <= 0 else min(255, (lost << 8) // interval)
        return self.lost_lately

    @property
    def last_report(self) -> int:
        return middle(self.report_ntp)

    def delay_since_last_report(self, now: float) -> int:
        """In 1/65536 s."""
        if not self.report_ntp:
            return 0
        return min(0xFFFFFFFF, max(0, int((now - self.report_at) * 65536)))
