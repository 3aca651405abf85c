"""A link that can be computed: a queue of a certain rate with delay, jitter, loss and other people's traffic.

`Path` puts an estimator at its one end and at the other the recorder of arrivals that the worker itself uses, with
reports as they stand on the wire. Time goes in steps; whatever is random comes from a seed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from sfu.core.bandwidth.estimator import BandwidthEstimator
from sfu.core.bandwidth.sent_history import departures
from sfu.core.feedback import TransportFeedbackRecorder
from sfu.core.rtcp import parse_compound
from sfu.core.transport_feedback import TransportFeedback

STEP = 0.005  # seconds
PADDING_STEP = 0.02  # seconds between two looks at what padding is due: the worker's tick
PACKET = 1200  # bytes
CLOCK = 5_000.0  # seconds that the receiver's clock is ahead of ours


class Link:
    """Rates in bit/s, times in seconds. `limit`: a packet that would have to wait longer is dropped.

    `overtaking`: what jitter delays is overtaken by others; else all behind it wait, too.
    """

    def __init__(
        self,
        rate: float,
        *,
        delay: float = 0.025,
        jitter: float = 0.0,
        loss: float = 0.0,
        cross: float = 0.0,
        limit: float = 3.0,
        overtaking: bool = False,
        seed: int = 1,
    ) -> None:
        self.rate, self.delay, self.jitter, self.loss, self.cross, self.limit = rate, delay, jitter, loss, cross, limit
        self.overtaking = overtaking
        self._random = Random(seed)
        self._busy_until = 0.0
        self._crossed_until = 0.0
        self._last_arrival = 0.0

    def set_rate(self, rate: float, now: float) -> None:
        """The bits that wait are served at the new rate."""
        self._busy_until = now + self.queue(now) * self.rate / rate
        self.rate = rate

    def queue(self, now: float) -> float:
        """Seconds that a packet would wait."""
        return max(0.0, self._busy_until - now)

    def send(self, size: int, now: float) -> float | None:
        """When the packet arrives; None if it does not."""
        while self.cross and self._crossed_until < now:
            self._crossed_until += PACKET * 8 / self.cross
            if self.queue(self._crossed_until) < self.limit:
                self._serve(PACKET, self._crossed_until)
        if self.queue(now) > self.limit:
            return None
        self._serve(size, now)
        if self._random.random() < self.loss:
            return None
        arrival = self._busy_until + self.delay + self._random.random() * self.jitter
        if self.overtaking:
            return arrival
        self._last_arrival = max(arrival, self._last_arrival)
        return self._last_arrival

    def _serve(self, size: int, now: float) -> None:
        self._busy_until = max(self._busy_until, now) + size * 8 / self.rate


@dataclass
class Sample:
    at: float
    estimate: float
    queue: float
    sent: int


class Path:
    """`demand`: what the application sends in bit/s, given the estimate; None: as much as is estimated."""

    def __init__(
        self,
        link: Link,
        estimator: BandwidthEstimator | None = None,
        *,
        demand: Callable[[BandwidthEstimator], float] | None = None,
        frame: float = STEP,
        feedback_loss: float = 0.0,
    ) -> None:
        self.link = link
        self.estimator = estimator or BandwidthEstimator()
        self.demand = demand or (lambda estimator: estimator.estimate)
        self.before_sending: Callable[[float], None] = lambda now: None
        self.frame = frame  # seconds between bursts
        self.feedback_loss = feedback_loss
        self.now = 0.0
        self.samples: list[Sample] = []
        self.padding = 0  # bytes
        self._random = Random(7)
        self._recorder = TransportFeedbackRecorder(sender_ssrc=1, media_ssrc=2)
        self._arriving: list[tuple[float, int]] = []
        self._reports: list[tuple[float, bytes]] = []
        self._budget = 0.0
        self._steps = 0

    def run(self, seconds: float) -> list[Sample]:
        """Let time pass; the samples of that time, one a step."""
        begin = len(self.samples)
        for _ in range(round(seconds / STEP)):
            self._step()
        return self.samples[begin:]

    def _step(self) -> None:
        self._steps += 1
        self.now = now = self._steps * STEP
        estimator, link = self.estimator, self.link
        while self._reports and self._reports[0][0] <= now:
            for packet in parse_compound(self._reports.pop(0)[1]):
                assert isinstance(packet, TransportFeedback)
                estimator.on_feedback(packet, now)
        if self._steps % round(1 / STEP) == 0:
            estimator.on_rtt(2 * link.delay + link.queue(now))
            estimator.tick(now)
        self.before_sending(now)

        sent = 0
        self._budget += self.demand(estimator) * STEP / 8
        if self._steps % round(self.frame / STEP) == 0:
            count = int(self._budget / PACKET)
            self._budget -= count * PACKET
            sent = self._send([PACKET] * count)
        if estimator.probing and self._steps % round(PADDING_STEP / STEP) == 0:
            size = estimator.padding_due(now)
            self.padding += size
            sent += self._send([min(PACKET, size - at) for at in range(0, size, PACKET)])

        while self._arriving and self._arriving[0][0] <= now:
            at, number = heapq.heappop(self._arriving)
            self._recorder.received(number, at + CLOCK)
        for report in self._recorder.due(now + CLOCK):
            if self._random.random() >= self.feedback_loss:
                self._reports.append((now + link.delay, report.serialize()))
        self.samples.append(Sample(now, estimator.estimate, link.queue(now), sent))

    def _send(self, sizes: list[int]) -> int:
        number = self.estimator.history.next & 0xFFFF
        for first in range(0, len(sizes), 40):
            self.estimator.sent(number + first & 0xFFFF, departures(sizes[first : first + 40], self.now))
        for index, size in enumerate(sizes):
            arrival = self.link.send(size, self.now)
            if arrival is not None:
                heapq.heappush(self._arriving, (arrival, number + index & 0xFFFF))
        return sum(sizes)
