"""Tell by the arrival times whether a queue grows on the way: the delay-based half of Google Congestion Control.

Source: draft-ietf-rmcat-gcc-02, sections 5.2 (groups), 5.4 (detector and adaptive threshold); in place of its Kalman
filter (5.3) a line fitted to the smoothed delay, as libwebrtc does. Thresholds are in milliseconds, as there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from sfu.core.bandwidth.sent_history import Arrival

GROUP = 0.005  # seconds of sending (or of arriving in a clump) that make one group
MAX_CLUMP = 0.100  # seconds: a longer clump is no accident of scheduling but a queue that drains
WINDOW = 20  # groups that the line is fitted to
SMOOTHING = 0.9
GAIN = 4.0
MAX_DELTAS = 60  # the trend is weighed by the number of groups seen, up to this
OVERUSE_TIME = 10.0  # milliseconds that the trend must have been above the threshold
THRESHOLD = 12.5  # milliseconds, at the start
MIN_THRESHOLD, MAX_THRESHOLD = 6.0, 600.0
K_UP, K_DOWN = 0.0087, 0.039  # per millisecond: the threshold rises slowly and falls quickly
MAX_ADAPT = 15.0  # milliseconds above the threshold: a larger leap is no reason to get used to it
MAX_ADAPT_TIME = 100.0  # milliseconds: a long pause does not count in full
RENEW = 500  # groups after which running sums are made anew
MAX_LEAP = 3.0  # seconds between the two clocks from one group to the next: one of them was set
MAX_BACKWARD = 3  # groups in a row that seem to have arrived before their predecessor
BASE_WINDOW = 30.0  # seconds; the least delay of the last one to two windows is taken for the empty path's
JITTER_SMOOTHING = 16  # groups (RFC 3550, 6.4.1)
STANDING = 5  # groups: a queue that lasts so long stands; one late packet is jitter


class Usage(Enum):
    """Of the path, as the detector sees it."""

    NORMAL = "normal"
    OVER = "over"  # a queue grows
    UNDER = "under"  # a queue drains


class Trendline:
    """Fit a line to the smoothed delay of the last groups: a slope above 0 is a queue that grows."""

    __slots__ = ("_accumulated", "_origin", "_points", "_smoothed", "_sums", "_updates", "deltas", "slope")

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()  # (arrival since `_origin`, smoothed delay) in ms
        self._sums = (0.0, 0.0, 0.0, 0.0)  # of the points: time, delay, time squared, time by delay
        self._accumulated = 0.0
        self._smoothed = 0.0
        self._origin: float | None = None
        self._updates = 0  # since the sums were made anew
        self.deltas = 0
        self.slope = 0.0  # milliseconds of delay gained in a millisecond

    def update(self, arrival_delta: float, send_delta: float, arrival: float) -> float:
        """One more group: how much later than its predecessor it arrived and left, and when it arrived, all in ms."""
        origin = self._origin
        if origin is None or self._updates >= RENEW:
            origin = self._renew(arrival)
        self._updates += 1
        self.deltas += 1
        self._accumulated = accumulated = self._accumulated + arrival_delta - send_delta
        self._smoothed = delay = SMOOTHING * self._smoothed + (1 - SMOOTHING) * accumulated
        time = arrival - origin
        points = self._points
        points.append((time, delay))
        times, delays, squares, products = self._sums
        times += time
        delays += delay
        squares += time * time
        products += time * delay
        if len(points) > WINDOW:
            time, delay = points.popleft()
            times -= time
            delays -= delay
            squares -= time * time
            products -= time * delay
        self._sums = (times, delays, squares, products)
        if len(points) == WINDOW:
            spread = WINDOW * squares - times * times
            if spread > 0.0:
                self.slope = (WINDOW * products - times * delays) / spread
        return self.slope

    def _renew(self, arrival: float) -> float:
        """Count time from here, and sum anew, so that no rounding error grows."""
        shift = 0.0 if self._origin is None else arrival - self._origin
        self._origin = arrival
        self._updates = 0
        self._points = points = deque([(time - shift, delay) for time, delay in self._points])
        self._sums = (
            sum([time for time, _ in points]),
            sum([delay for _, delay in points]),
            sum([time * time for time, _ in points]),
            sum([time * delay for time, delay in points]),
        )
        return arrival


class OveruseDetector:
    """Compare the trend with a threshold that adapts, so that the stream is not starved by one that fills queues."""

    __slots__ = ("_adapted_at", "_count", "_over_for", "_previous", "threshold", "usage")

    def __init__(self) -> None:
        self.threshold = THRESHOLD
        self.usage = Usage.NORMAL
        self._over_for: float | None = None  # ms
        self._count = 0
        self._previous = 0.0
        self._adapted_at: float | None = None  # ms

    def update(self, slope: float, deltas: int, send_delta: float, arrival: float) -> Usage:
        """`send_delta` and `arrival` of the last group in ms; `deltas` groups were seen so far."""
        if deltas < 2:
            return Usage.NORMAL
        trend = (deltas if deltas < MAX_DELTAS else MAX_DELTAS) * slope * GAIN
        threshold = self.threshold
        if trend > threshold:
            # When it began is somewhere between two groups.
            self._over_for = send_delta / 2 if self._over_for is None else self._over_for + send_delta
            self._count += 1
            if self._over_for > OVERUSE_TIME and self._count > 1 and slope >= self._previous:
                self._over_for = 0.0
                self._count = 0
                self.usage = Usage.OVER
        else:
            self._over_for = None
            self._count = 0
            self.usage = Usage.UNDER if trend < -threshold else Usage.NORMAL
        self._previous = slope

        adapted_at, self._adapted_at = self._adapted_at, arrival
        size = trend if trend >= 0 else -trend
        if adapted_at is None or size > threshold + MAX_ADAPT or arrival <= adapted_at:
            return self.usage
        # Comparisons, not min() and max(): each would cost as much as all the arithmetic here.
        elapsed = arrival - adapted_at
        if elapsed > MAX_ADAPT_TIME:
            elapsed = MAX_ADAPT_TIME
        threshold += (K_DOWN if size < threshold else K_UP) * (size - threshold) * elapsed
        if threshold < MIN_THRESHOLD:
            threshold = MIN_THRESHOLD
        elif threshold > MAX_THRESHOLD:
            threshold = MAX_THRESHOLD
        self.threshold = threshold
        return self.usage


class DelayDetector:
    """From arrivals to the usage of the path. Feed `update` with what each report brought."""

    __slots__ = (
        "_backward",
        "_base",
        "_base_before",
        "_base_since",
        "_detector",
        "_first_arrival",
        "_first_sent",
        "_last_arrival",
        "_last_sent",
        "_previous",
        "_trendline",
        "_waits",
        "jitter",
    )

    def __init__(self) -> None:
        self._base: float | None = None  # the least of (arrived - sent) in this window and in the one before
        self._base_before: float | None = None
        self._base_since = 0.0
        self._waits: deque[float] = deque(maxlen=STANDING)
        self.jitter = 0.0  # seconds that one group was delayed more or less than the next, smoothed
        self.reset()

    def reset(self) -> None:
        """Forget the trend: a long silence, or clocks that were set. The empty path's delay is kept."""
        self._trendline = Trendline()
        self._detector = OveruseDetector()
        self._first_sent: float | None = None  # of the group that is being filled
        self._last_sent = self._first_arrival = self._last_arrival = 0.0
        self._previous: tuple[float, float] | None = None  # (last sent, last arrival) of the group before
        self._backward = 0
        self._waits.clear()

    def forget_trend(self) -> None:
        """A queue that was made on purpose is no trend; how far the threshold has adapted is kept."""
        threshold = self._detector.threshold
        self._trendline = Trendline()
        self._detector = OveruseDetector()
        self._detector.threshold = threshold

    @property
    def usage(self) -> Usage:
        return self._detector.usage

    @property
    def threshold(self) -> float:
        return self._detector.threshold

    @property
    def queue(self) -> float:
        """Seconds that each of the last groups waited at least, against the least delay of the last minute."""
        return min(self._waits, default=0.0)

    def update(self, arrivals: Sequence[Arrival]) -> Usage:
        """Take arrivals in their order; the state after the last of them."""
        if self._first_sent is None:
            if not arrivals:
                return self._detector.usage
            self._first_sent, self._first_arrival, _ = arrivals[0]
            self._last_sent, self._last_arrival = self._first_sent, self._first_arrival
        first_sent, last_sent = self._first_sent, self._last_sent
        first_arrival, last_arrival = self._first_arrival, self._last_arrival
        for sent, arrived, _ in arrivals:
            if sent == last_sent:  # of one burst, as most are
                if arrived > last_arrival:
                    last_arrival = arrived
                continue
            since = sent - first_sent
            if since > GROUP:
                # Packets that a link held back and let go together say nothing one by one (section 5.2).
                gap = arrived - last_arrival
                if not (gap <= GROUP and gap < sent - last_sent and arrived - first_arrival < MAX_CLUMP):
                    self._close(last_sent, last_arrival)
                    first_sent = last_sent = sent
                    first_arrival = last_arrival = arrived
                    continue
            elif since < 0:  # overtaken by a later group: tells nothing of the queue
                continue
            if sent > last_sent:
                last_sent = sent
            if arrived > last_arrival:
                last_arrival = arrived
        self._first_sent, self._last_sent = first_sent, last_sent
        self._first_arrival, self._last_arrival = first_arrival, last_arrival
        return self._detector.usage

    def _close(self, sent: float, arrived: float) -> None:
        """A group is complete, the last of it sent and arrived then: compare it with the one before."""
        previous, self._previous = self._previous, (sent, arrived)
        self._measure_queue(arrived - sent, sent)
        if previous is None:
            return
        send_delta, arrival_delta = sent - previous[0], arrived - previous[1]
        if not -MAX_LEAP <= arrival_delta - send_delta <= MAX_LEAP:
            self.reset()
            self._base = self._base_before = None
            return
        if arrival_delta < 0 or send_delta < 0:
            self._backward += 1
            if self._backward >= MAX_BACKWARD:
                self.reset()
            return
        self._backward = 0
        self.jitter += (abs(arrival_delta - send_delta) - self.jitter) / JITTER_SMOOTHING
        arrival = arrived * 1000
        slope = self._trendline.update(arrival_delta * 1000, send_delta * 1000, arrival)
        self._detector.update(slope, self._trendline.deltas, send_delta * 1000, arrival)

    def _measure_queue(self, delay: float, sent: float) -> None:
        base = self._base
        if base is None or sent - self._base_since > BASE_WINDOW:
            self._base_before, self._base, self._base_since = base, delay, sent
            base = delay
        elif delay < base:
            self._base = base = delay
        before = self._base_before
        self._waits.append(delay - (base if before is None or base < before else min(delay, before)))
