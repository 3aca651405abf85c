"""How much one receiver's path carries: everything that is known of it, in one figure.

What leaves is recorded by `sent`; each transport-wide report is compared with it, and moves the estimate by queues
(`delay`), by loss (`rate`) and by what padding found out (`probing`). Rates are in bit/s, times in seconds.

    estimator.sent(number, departures((1100, 1100, 700), now))    in the sending loop
    estimator.on_feedback(report, now)                            when the receiver reports
    if allocator.due(estimator.estimate, now):
        allocation = allocator.allocate(estimator.estimate, demands, now)
        estimator.plan_probe(allocation.usage, allocation.next_step, now)
    size = estimator.padding_due(now)                             often, while `estimator.probing`
    estimator.tick(now)                                           each second
"""

from __future__ import annotations

from sfu.core.bandwidth.delay import DelayDetector, Usage
from sfu.core.bandwidth.probing import Prober
from sfu.core.bandwidth.rate import (
    SATURATED,
    STANDING_QUEUE,
    ApplicationLimit,
    DelayBasedRate,
    LossBasedRate,
    RateWindow,
)
from sfu.core.bandwidth.sent_history import Arrival, SentHistory
from sfu.core.transport_feedback import TransportFeedback

INITIAL = 600_000.0  # bit/s: most paths carry it, and a first picture with its sound fits in
MINIMUM = 30_000.0  # a probe at less would be too few packets to measure
EXHAUSTED_AFTER = 2.0  # seconds at the minimum in which the queue should have become shorter,
DRAINING = 0.9  # to so much of it
MAXIMUM = 20_000_000.0
SILENCE = 2.0  # seconds without a report, while packets leave: after it the trend is forgotten, and the rate falls
MAX_QUEUE_TO_PROBE = 0.100  # seconds: padding would come on top
SILENT_DECREASES = 3  # one a second,
SILENT_DECREASE = 0.8  # to so much; half of it remains, since a path mostly comes back as it was
MAX_RTT = 10.0  # seconds: more is a wrong report


class BandwidthEstimator:
    """One transport's way to its receiver. `estimate` is always within the minimum and the maximum."""

    __slots__ = (
        "_delay",
        "_exhausted_since",
        "_limit",
        "_loss",
        "_mark",
        "_prober",
        "_rate",
        "_received",
        "_reported_at",
        "_sent",
        "_sent_until",
        "_starved",
        "_unanswered_since",
        "estimate",
        "exhausted_at",
        "first_number",
        "history",
        "sent",
    )

    def __init__(
        self,
        *,
        initial: float = INITIAL,
        minimum: float = MINIMUM,
        maximum: float = MAXIMUM,
        first_number: int = 0,
        eager: bool = False,
    ) -> None:
        """`eager`: `initial` is a low guess, to be raised by probes that follow each other."""
        self.history = SentHistory(first_number)
        self.first_number = self.history.next  # unwrapped
        self.sent = self.history.sent  # (first number, burst); bound here: the sending loop finds it in one step
        self._delay = DelayDetector()
        self._rate = DelayBasedRate(initial, minimum, maximum)
        self._loss = LossBasedRate(minimum, maximum)
        self._limit = ApplicationLimit()
        self._prober = Prober(eager=eager)
        self._sent = RateWindow()
        self._received = RateWindow()
        self._reported_at: float | None = None
        self._sent_until = self.history.next  # at the last tick
        self._unanswered_since: float | None = None
        self._starved = 0  # times
        self._mark = self.history.next  # up to here packets are counted into the probe
        self.estimate = self._rate.rate
        self._exhausted_since: tuple[float, float] | None = None  # (when, queue then)
        # When the path was last seen not to carry even the minimum; None: never, or a probe has gone through since.
        self.exhausted_at: float | None = None

    # --- what the receiver says ---

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        """A transport-wide report."""
        arrivals, size, lost, complete = self.history.match(feedback)
        if not arrivals and not lost:
            return
        if self._reported_at is not None and now - self._reported_at > SILENCE:
            self._delay.reset()
            lost = 0  # the silence was answered already: see `tick`
        self._reported_at = now
        self._unanswered_since = None
        count = len(arrivals)
        usage = self._delay.usage
        if arrivals:
            usage = self._delay.update(arrivals)
            first, last = arrivals[0], arrivals[-1]
            self._received.add(first[1], last[1], size, joined=complete)
            self._sent.add(first[0], last[0], size * max(1.0, (count + lost) / count), joined=complete)

        if self._prober.waiting:
            self._hear_of_probe(arrivals, usage, now)
        else:
            self._judge(usage, now)
            self._loss.add(count, lost, self.estimate, now)
            self._prober.loss = self._loss.usual
            self._prober.jitter = self._delay.jitter
        self._settle(now)
        self._note_exhaustion(now)

    def on_receiver_report(self, fraction_lost: float, now: float) -> None:
        """Loss (0-1) by a receiver report (RFC 3550, 6.4.1): heeded only where transport-wide reports do not come.

        Such a path's estimate can fall by loss and rise to where it began, not beyond: nothing tells of its queues.
        """
        if self._reported_at is None or now - self._reported_at > SILENCE:
            self._loss.decide(fraction_lost, self.estimate, now)
            self._settle(now)

    def on_rtt(self, rtt: float) -> None:
        """The round trip in seconds."""
        rtt = min(max(rtt, 0.0), MAX_RTT)
        self._rate.rtt = self._loss.rtt = self._prober.rtt = rtt

    def tick(self, now: float) -> None:
        """To be called about each second: what happens when no report comes."""
        if self._prober.waiting:
            self._probed(self._prober.check(now), now)
        sent_until, self._sent_until = self._sent_until, self.history.next
        if self._reported_at is None or sent_until == self._sent_until:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
            self._starved = 0
        elif now - self._unanswered_since >= SILENCE and self._starved < SILENT_DECREASES:
            self._starved += 1
            self._rate.starve(SILENT_DECREASE)
        self._settle(now)

    # --- probing ---

    def plan_probe(self, usage: float, step: float | None, now: float) -> bool:
        """Try for a better layer, if it is time. `usage` and `step` as in `allocation.Allocation`. Whether it began."""
        fresh = self._reported_at is not None and now - self._reported_at < SILENCE
        if fresh and self._delay.queue > MAX_QUEUE_TO_PROBE:
            return False
        began = self._prober.plan(usage=usage, step=step, estimate=self.estimate, now=now)
        if began:
            self._mark = self.history.next
        return began

    @property
    def probing(self) -> bool:
        """Whether to ask for `padding_due`, every 20 ms or oftener."""
        return self._prober.sending

    def padding_due(self, now: float) -> int:
        """Bytes of padding to send now. What is sent must be recorded like all else."""
        if not self._prober.sending:
            return 0
        mark, self._mark = self._mark, self.history.next
        return self._prober.padding(self.history.sent_since(mark), now)

    @property
    def eager(self) -> bool:
        """Whether a probe may go for all that is wanted, since nothing was refused yet."""
        return self._prober.eager

    @property
    def refused(self) -> bool:
        """Whether the last probe for a better layer failed."""
        return self._prober.refused

    @property
    def reported(self) -> bool:
        """Whether the receiver has ever said anything."""
        return self._reported_at is not None

    # --- for the meter ---

    @property
    def queue(self) -> float:
        """Seconds that packets presently wait on the way."""
        return self._delay.queue

    @property
    def loss(self) -> float:
        """Fraction of the packets lost, 0-1, of late."""
        return self._loss.fraction

    @property
    def sent_rate(self) -> float | None:
        """bit/s of what was sent, of late; None where nothing was for a while."""
        return self._sent.rate

    # --- how it comes about ---

    def _note_exhaustion(self, now: float) -> None:
        queue = self._delay.queue
        if self.estimate > self._rate.minimum or not (queue > STANDING_QUEUE or self._loss.is_heavy):
            self._exhausted_since = None
            return
        since, before = self._exhausted_since or (now, queue)
        if now - since < EXHAUSTED_AFTER:
            self._exhausted_since = since, before
            return
        self._exhausted_since = now, queue
        if queue >= DRAINING * before:
            self.exhausted_at = now

    def _judge(self, usage: Usage, now: float) -> None:
        sent, received = self._sent.rate, self._received.rate
        self._rate.update(
            usage,
            now,
            acknowledged=self._received.peak if usage is Usage.OVER else received,
            limited=self._limit.update(sent, self.estimate),
            saturated=sent is not None and received is not None and received < SATURATED * sent,
            queue=self._delay.queue,
        )

    def _hear_of_probe(self, arrivals: list[Arrival], usage: Usage, now: float) -> None:
        """The queue and the loss that padding makes are what it is sent for: they do not count as trouble."""
        prober = self._prober
        if usage is Usage.OVER:
            prober.abort(now)
        self._probed(prober.report(arrivals, now), now)
        if not prober.waiting:
            self._delay.forget_trend()

    def _probed(self, rate: float | None, now: float) -> None:
        if rate is not None:
            self._rate.probed(rate, now)
            self._loss.probed(rate)
            if not self._prober.refused:
                self.exhausted_at = None

    def _settle(self, now: float) -> None:
        before = self.estimate
        self.estimate = min(self._rate.rate, self._loss.limit)
        if self.estimate < before:
            self._prober.postpone(now)
