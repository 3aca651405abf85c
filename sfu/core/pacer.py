"""Send a burst little by little to a receiver behind a narrow line: a key frame at once would fill his queue.

A key frame of 200 packets is there in a moment, and takes a line of 1 Mbit/s two seconds; what a short queue in
front of it does not hold is lost. So packets leave at a few times the estimated rate, as libwebrtc's pacer lets them.
Only who has shown that his line is narrow has a pacer: his lane is a detour for the sending loop, which others do not
notice.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sfu.core.burst import Burst

if TYPE_CHECKING:
    from sfu.core.listener import Seat

FACTOR = 2.5  # times the estimate: a burst may be quicker than the line, or pictures would always be late
LONGEST = 0.5  # seconds that a packet waits here at most; beyond it the rate is raised
AT_ONCE = 4_000  # bytes that may leave together: a usual picture waits for nothing
MAX_REPAIR_DEBT = 0.1  # seconds of the rate that repairs may run ahead; the receiver asks again for the others


class Pacer:
    """One receiver's. `take` what is for him, send what is `due`; rates in bit/s, times in seconds."""

    __slots__ = ("_at", "_credit", "_queue", "queued", "rate")

    def __init__(self, estimate: float, now: float) -> None:
        self.rate = FACTOR * estimate
        self.queued = 0  # bytes
        self._credit: float = AT_ONCE
        self._at = now
        self._queue: deque[tuple[Burst, Seat, int]] = deque()  # (burst, his seat, its first packet that still waits)

    def take(self, burst: Burst, seat: Seat) -> None:
        self._queue.append((burst, seat, 0))
        self.queued += sum([len(packet.data) for packet, _, _ in burst.packets])

    def due(self, now: float) -> list[Burst]:
        """What may leave now, each with his seat alone."""
        rate = max(self.rate, 8 * self.queued / LONGEST)
        self._credit = min(max(AT_ONCE, self._credit), self._credit + rate * (now - self._at) / 8)
        self._at = now
        bursts = []
        while self._queue and self._credit > 0:
            bursts.append(self._next())
        return [burst for burst in bursts if burst.packets and not burst.feed.producer.paused]

    def rest(self) -> list[Burst]:
        """All of it, when there is no reason to wait any more."""
        self._credit = float("inf")
        return self.due(self._at)

    def _next(self) -> Burst:
        """As much of the first burst as may leave."""
        burst, seat, start = self._queue.popleft()
        end = start
        while end < len(burst.packets) and self._credit > 0:
            size = len(burst.packets[end][0].data)
            self._credit -= size
            self.queued -= size
            end += 1
        if end < len(burst.packets):
            self._queue.appendleft((burst, seat, end))
        return Burst(burst.feed, (seat,), None, burst.packets[start:end])

    def may_repair(self, size: int) -> bool:
        """Repairs go first, and what waits here waits for them."""
        if self._credit < -MAX_REPAIR_DEBT * self.rate / 8:
            return False
        self._credit -= size
        return True
