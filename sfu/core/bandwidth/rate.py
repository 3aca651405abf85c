"""From what the path shows to a rate: raised while it carries what is sent, lowered when queues grow or packets vanish.

Source: draft-ietf-rmcat-gcc-02, sections 5.5 (delay) and 6 (loss). Rates are in bit/s, times in seconds.
What differs from the draft stands in docs/decisions/0005-bandwidth-estimation-for-layers.md.
"""

from __future__ import annotations

from collections import deque

from sfu.core.bandwidth.delay import Usage

WINDOW = 0.5  # seconds that a rate is measured over (section 5.5: 0.5-1 s)
RECENT = 0.2  # seconds: the same, shortly after the rate has changed
MIN_SPAN = 0.1  # seconds below which a rate would be chance
MAX_SILENCE = 1.0  # seconds: an average over a longer pause is not a rate of anything

DECREASE = 0.85  # of the acknowledged rate
CARRIED = 1.2  # times the acknowledged rate: no less is estimated of a path that shows no queue and lets all through
INCREASE = 1.08  # a second, while the path's limit is not known
HEADROOM, HEADROOM_BASE = 1.5, 10_000  # times the acknowledged rate, plus bit/s: beyond it nothing was ever tried
PACKET = 1200 * 8  # bits
FRAME_RATE = 30
MIN_ADDITIVE = 4_000  # bit/s in a second
REACTION = 0.100  # seconds that the detector needs, added to the round trip
MIN_DECREASE_INTERVAL = 0.2  # seconds between two decreases: feedback comes every 50-100 ms
MIN_VARIANCE, MAX_VARIANCE = 0.4, 2.5  # of the path's limit, kbit/s, relative to its mean

STANDING_QUEUE = 0.250  # seconds: a queue that no trend will drain
DRAIN_TIME = 2.0  # seconds in which it is to be gone
MIN_DRAIN = 0.5  # of the acknowledged rate
DRAIN_INTERVAL = 0.5  # seconds: until the acknowledged rate shows what the last decrease did
MAX_DRAINS = 2  # decreases for a queue that then does not drain: it is another's, or the way became longer

LIMITED_BELOW, LIMITED_UNTIL = 0.85, 0.90  # of the estimate: whoever sends less does not try the path
SATURATED = 0.9  # of the sent rate: a path that delivers less is full

LOSS_HIGH, LOSS_LOW = 0.10, 0.02
LOSS_INTERVAL, LOSS_PACKETS = 1.0, 50  # seconds and packets that a decision rests on; fewer are chance
SMOOTHING = 0.5  # of a decision's loss is that of those before it
HEAVY_LOSS = 0.25
HEAVY_INTERVAL, HEAVY_PACKETS = 0.5, 20  # enough where loss is heavy
FRUITLESS = 0.8  # of the loss remains after a decrease: one of congestion would have halved (see LossBasedRate)
FRUITFUL = 0.65  # less of it remains: it was one of congestion
MAX_FRUITLESS = 2  # decisions after a decrease that show no effect: the path loses that much whatever we do
MAX_INHERENT = 0.5  # what loses more carries no picture
FORGET = 0.3  # of the way down, when less is lost


class RateWindow:
    """Bytes on a timeline (of departures or of arrivals) over the last half second."""

    __slots__ = ("_bits", "_entries", "_last", "_span")

    def __init__(self) -> None:
        self._entries: deque[tuple[float, float]] = deque()  # (seconds, bits)
        self._span = 0.0
        self._bits = 0.0
        self._last: float | None = None

    def add(self, begin: float, end: float, size: float, *, joined: bool = True) -> None:
        """`size` bytes came until `end`, the first of them at `begin`. `joined`: nothing is missing before them."""
        last, self._last = self._last, end
        if last is None or not -MAX_SILENCE <= end - last <= MAX_SILENCE:
            self._entries.clear()
            self._span = self._bits = 0.0
            return
        span = max(0.0, end - (last if joined else max(last, begin)))
        self._last = max(last, end)
        entries = self._entries
        entries.append((span, size * 8))
        self._span += span
        self._bits += size * 8
        while self._span - entries[0][0] >= WINDOW:
            first_span, first_bits = entries.popleft()
            self._span -= first_span
            self._bits -= first_bits

    @property
    def rate(self) -> float | None:
        """bit/s; None while there is too little to tell."""
        return self._bits / self._span if self._span >= MIN_SPAN else None

    @property
    def peak(self) -> float | None:
        """The same, or that of the last fifth of a second if it is higher: what a path carries now, it can carry."""
        span = bits = 0.0
        for entry_span, entry_bits in reversed(self._entries):
            span += entry_span
            bits += entry_bits
            if span >= RECENT:
                return max(bits / span, self._bits / self._span)
        return self.rate


class LinkCapacity:
    """Where overuse was met: mean and deviation of the acknowledged rate then (section 5.5), in kbit/s."""

    __slots__ = ("_mean", "_variance")

    def __init__(self) -> None:
        self._mean: float | None = None
        self._variance = MIN_VARIANCE

    @property
    def known(self) -> bool:
        return self._mean is not None

    def overused_at(self, rate: float) -> None:
        sample = rate / 1000
        if self._mean is None:
            self._mean = sample
            return
        error = self._mean - sample
        self._mean += 0.05 * (sample - self._mean)
        variance = 0.95 * self._variance + 0.05 * error * error / max(self._mean, 1.0)
        self._variance = min(max(variance, MIN_VARIANCE), MAX_VARIANCE)

    def contains(self, rate: float) -> bool:
        """Whether a rate is within three deviations of the mean."""
        if self._mean is None:
            return True
        return abs(rate / 1000 - self._mean) <= self._deviation

    def is_below(self, rate: float) -> bool:
        return self._mean is not None and rate / 1000 > self._mean + self._deviation

    @property
    def _deviation(self) -> float:
        return 3 * (self._variance * max(self._mean or 0.0, 1.0)) ** 0.5

    def forget(self) -> None:
        self._mean = None
        self._variance = MIN_VARIANCE


class DelayBasedRate:
    """Additive or multiplicative increase, multiplicative decrease."""

    __slots__ = (
        "_capacity",
        "_changed_at",
        "_decreased_at",
        "_drained",
        "_drains",
        "_holding",
        "maximum",
        "minimum",
        "rate",
        "rtt",
    )

    def __init__(self, initial: float, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.rate = min(max(initial, minimum), maximum)
        self.rtt = 0.1
        self._capacity = LinkCapacity()
        self._holding = False
        self._changed_at: float | None = None
        self._decreased_at: float | None = None
        self._drains = 0
        self._drained = 0.0  # the rate to go back to when the queue is gone

    def update(
        self,
        usage: Usage,
        now: float,
        *,
        acknowledged: float | None,
        limited: bool = False,
        saturated: bool = False,
        queue: float = 0.0,
    ) -> None:
        """One report's verdict.

        `limited`: too little is sent to try the path; `saturated`: it delivers less than is sent; `queue`: seconds that
        packets wait in it.
        """
        if queue <= STANDING_QUEUE:
            self._drains = 0
        standing = queue > STANDING_QUEUE and self._drains < MAX_DRAINS
        if usage is Usage.OVER:
            if self._may_decrease(acknowledged, now):
                self._decrease(usage, acknowledged, now, limited and not saturated and not standing, queue)
        elif usage is Usage.NORMAL and standing:
            if self._decreased_at is None or now - self._decreased_at >= max(DRAIN_INTERVAL, self.rtt):
                self._decrease(usage, acknowledged, now, False, queue)
                self._drains += 1
        elif usage is Usage.NORMAL and not self._holding:
            self._increase(acknowledged, now, limited)
            return
        elif usage is Usage.NORMAL and queue <= STANDING_QUEUE / 2:
            self._set(max(self.rate, self._drained))  # the queue is gone: no reason to stay below the path's rate
            self._drained = 0.0
        self._holding = usage is not Usage.NORMAL or standing  # also on underuse: let the queue drain
        self._changed_at = now

    def _may_decrease(self, acknowledged: float | None, now: float) -> bool:
        if self._decreased_at is None or now - self._decreased_at >= max(MIN_DECREASE_INTERVAL, self.rtt):
            return True
        return acknowledged is not None and acknowledged < self.rate / 2

    def _decrease(self, usage: Usage, acknowledged: float | None, now: float, blindly: bool, queue: float) -> None:
        self._decreased_at = now
        if acknowledged is None or blindly:
            # What arrives is what was sent, and says nothing about what could be; but that much could be.
            self._set(max(DECREASE * self.rate, min(self.rate, CARRIED * (acknowledged or 0.0))))
            return
        factor = min(DECREASE, max(MIN_DRAIN, 1 - queue / DRAIN_TIME))
        self._drained = DECREASE * acknowledged if factor < DECREASE else 0.0
        if usage is Usage.OVER:
            if not self._capacity.contains(acknowledged):
                self._capacity.forget()
            self._capacity.overused_at(acknowledged)
        self._set(min(self.rate, factor * acknowledged))

    def _increase(self, acknowledged: float | None, now: float, limited: bool) -> None:
        before, self._changed_at = self._changed_at, now
        if acknowledged is not None and acknowledged > self.rate and self._decreased_at is None:
            self._set(acknowledged)  # it arrives, and no queue has ever grown: the first guess was too low
        if before is None or limited or acknowledged is None:
            return
        elapsed = min(max(now - before, 0.0), 1.0)
        if self._capacity.is_below(acknowledged):
            self._capacity.forget()
        if self._capacity.known:
            rate = self.rate + self._additive() * elapsed
        else:
            rate = max(self.rate * INCREASE**elapsed, self.rate + 1000 * elapsed)
        limit = HEADROOM * acknowledged + HEADROOM_BASE
        if self.rate < limit:
            self._set(min(rate, limit))

    def _additive(self) -> float:
        """Half a packet's worth per response time would be unnoticed: one packet (section 5.5), in bit/s a second."""
        frame = self.rate / FRAME_RATE
        packets = max(1.0, -(-frame // PACKET))
        return max(MIN_ADDITIVE, frame / packets / (self.rtt + REACTION))

    def probed(self, rate: float, now: float) -> None:
        """A probe went through at this rate."""
        if rate > self.rate:
            self._capacity.forget()
            self._set(rate)
            self._changed_at = now

    def starve(self, factor: float) -> None:
        """No word from the receiver: send less until there is one."""
        self._set(self.rate * factor)

    def _set(self, rate: float) -> None:
        self.rate = min(max(rate, self.minimum), self.maximum)


class LossBasedRate:
    """A limit that loss sets, and that its absence lifts again (section 6).

    A full path loses 1 - C/R of a rate R; after a decrease by half of that about half of the loss remains. Where all of
    it remains, a decrease is no remedy: that much is taken to be the path's own, and only what comes on top counts.
    """

    __slots__ = (
        "_average",
        "_decided_at",
        "_decreased_for",
        "_fruitless",
        "_lost",
        "_total",
        "fraction",
        "inherent",
        "limit",
        "maximum",
        "minimum",
        "rtt",
    )

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.limit = maximum
        self.rtt = 0.1
        self.fraction = 0.0  # of the packets, at the last decision
        self._average: float | None = None  # of it, over the last decisions; None after a decrease: it is to be seen
        self.inherent = 0.0  # of them, what the path loses by itself
        self._lost = self._total = 0
        self._decided_at: float | None = None
        self._decreased_for = 0.0  # the loss that the last decision was a decrease for; 0: it was none
        self._fruitless = 0

    def add(self, received: int, lost: int, rate: float, now: float) -> None:
        """Packets that a report tells of; `rate` is what we presently estimate."""
        self._lost += lost
        self._total += received + lost
        if self._decided_at is None:
            self._decided_at = now
        elapsed, total = now - self._decided_at, self._total
        if elapsed < max(HEAVY_INTERVAL, self.rtt) or total < HEAVY_PACKETS:
            return
        if self._lost > HEAVY_LOSS * total or (elapsed >= LOSS_INTERVAL and total >= LOSS_PACKETS):
            self.decide(max(0, self._lost) / total, rate, now)

    def decide(self, fraction: float, rate: float, now: float) -> None:
        """Loss of 0-1 since the last decision."""
        elapsed = 0.0 if self._decided_at is None else min(max(now - self._decided_at, 0.0), 1.0)
        self._decided_at = now
        self._lost = self._total = 0
        self.fraction = fraction = min(max(fraction, 0.0), 1.0)
        # Fifty packets of a path that loses a tenth lose a twentieth or a sixth: two such samples tell more than one.
        if self._average is not None and fraction <= HEAVY_LOSS:
            fraction = SMOOTHING * self._average + (1 - SMOOTHING) * fraction
        self._average = fraction
        if fraction < self.inherent:
            self.inherent += FORGET * (fraction - self.inherent)
        excess = (fraction - self.inherent) / (1 - self.inherent)
        if min(self.limit, rate) <= self.minimum:
            self._forget_decrease()  # there is no less, which would show whether it helps
        if self._decreased_for:
            # Loss about the threshold is now above it, now below: what is between the two marks tells nothing.
            if fraction > FRUITLESS * self._decreased_for:
                self._fruitless += 1
            elif fraction < FRUITFUL * self._decreased_for:
                self._forget_decrease()
            if self._fruitless >= MAX_FRUITLESS:
                self.inherent = min(fraction, MAX_INHERENT)
                self._forget_decrease()
                return
        if excess > LOSS_HIGH:
            self._decreased_for = fraction
            self._average = None
            self.limit = max(self.minimum, min(self.limit, rate) * (1 - excess / 2))
        elif excess < LOSS_LOW:
            self._forget_decrease()
            self.limit = min(self.maximum, self.limit * INCREASE**elapsed)

    @property
    def usual(self) -> float:
        """What gets lost anyway: what is small, or proven to be the path's own. The rest is what a full path drops."""
        return max(self.inherent, min(self.fraction, LOSS_HIGH))

    @property
    def is_heavy(self) -> bool:
        """Whether the last decision was about more than that."""
        return self.fraction > self.inherent + LOSS_HIGH

    def _forget_decrease(self) -> None:
        self._decreased_for = 0.0
        self._fruitless = 0

    def probed(self, rate: float) -> None:
        """A probe went through at this rate, whatever was lost before."""
        self.limit = min(self.maximum, max(self.limit, rate))


class ApplicationLimit:
    """Whether too little is sent to learn from (libwebrtc's application-limited region)."""

    __slots__ = ("limited",)

    def __init__(self) -> None:
        self.limited = False

    def update(self, sent: float | None, estimate: float) -> bool:
        if sent is None:
            self.limited = True
        else:
            self.limited = sent < estimate * (LIMITED_UNTIL if self.limited else LIMITED_BELOW)
        return self.limited
