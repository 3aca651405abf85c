"""Try with padding whether the path carries a better layer, before a layer is promised that it does not.

A forwarder cannot raise its rate little by little: layers are steps. So it sends, for a moment, as much padding beside
the media as the next layer would need, and measures at which rate that arrives (as libwebrtc's probe clusters do).
Rates are in bit/s, sizes in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from sfu.core.bandwidth.sent_history import Arrival

MARGIN = 1.2  # times the next layer's step: it must fit with something to spare
MAX_GROWTH = 2.0  # times the estimate: beyond it a failed attempt would make too long a queue
DURATION = 0.2  # seconds of one attempt, or
MIN_BYTES = 6_000  # what makes out enough packets to measure, in
MAX_DURATION = 0.5  # seconds at most
FIRST_INTERVAL = 3.0  # seconds to the next attempt
BACK_OFF = 1.5  # times longer after each failure
MAX_INTERVAL = 120.0
AFTER_SUCCESS = 1.0  # seconds to the next attempt: the better layer has begun by then
EASIER = 0.5  # times the target that failed: a new target below it has not been refused yet
RESULT_WAIT = 0.5  # seconds after the end for the last reports to come, and one round trip
MIN_RECEIVED = 0.8  # of the bytes that usually arrive, or the attempt tells only that they got lost
MAX_LOSS = 0.5  # of the packets, that can be usual
MAX_COMPRESSION = 2.0  # times the rate of departure: arriving faster, packets were held back and let go together
SATURATED = 0.9  # of the rate of departure: arriving slower, the path was full, and
UTILISATION = 0.95  # of what a full path delivered is ours to use
ENOUGH = 0.95  # of the target
JITTERS = 6.0  # an attempt lasts that many times the jitter of arrivals, or it would measure that


class Cluster:
    """The packets of one attempt, media and padding: how fast they left, and how fast they arrived."""

    __slots__ = (
        "_arrived",
        "_bytes",
        "_count",
        "_first_arrival",
        "_first_size",
        "_jitter",
        "begin",
        "end",
        "last_sent",
        "sent_bytes",
        "target",
        "usual",
    )

    def __init__(self, target: float, begin: float, loss: float = 0.0, jitter: float = 0.0) -> None:
        """`loss`: the share of packets that the path loses anyway; `jitter`: seconds that delays vary anyway."""
        self.target = target
        self._jitter = jitter
        self.usual = 1.0 - loss  # share of the bytes that arrives
        self.begin = begin
        self.end: float | None = None  # when sending ended
        self.sent_bytes = 0
        self.last_sent = begin
        self._bytes = self._count = self._first_size = 0
        self._first_arrival = self._arrived = 0.0

    @property
    def duration(self) -> float:
        return min(MAX_DURATION, max(DURATION, MIN_BYTES * 8 / self.target, JITTERS * self._jitter))

    def add(self, arrivals: Iterable[Arrival]) -> bool:
        """Take a report's packets. Whether one of them left after the end, so that nothing more is to be expected."""
        after = False
        for sent, arrived, size in arrivals:
            if sent < self.begin:
                continue
            if self.end is not None and sent > self.end:
                after = True
                continue
            if not self._count or arrived < self._first_arrival:
                self._first_arrival, self._first_size = arrived, size
            if not self._count or arrived > self._arrived:
                self._arrived = arrived
            if sent > self.last_sent:
                self.last_sent = sent
            self._count += 1
            self._bytes += size
        return after

    @property
    def rate(self) -> float | None:
        """What the path was seen to carry; None where the packets do not tell."""
        left_in = self.last_sent - self.begin
        arrived_in = self._arrived - self._first_arrival
        if arrived_in > left_in:  # it may be that the last ones were late by chance
            arrived_in = max(left_in, arrived_in - self._jitter)
        if (
            self._count < 3
            or left_in <= 0
            or arrived_in <= 0
            or self._bytes < MIN_RECEIVED * self.usual * self.sent_bytes
        ):
            return None
        # Padding follows its interval (nothing leaves at `begin`); the first packet to arrive begins one.
        left = self._bytes * 8 / left_in / self.usual
        arrived = (self._bytes - self._first_size) * 8 / arrived_in / self.usual
        if left <= 0 or arrived > MAX_COMPRESSION * left:
            return None
        return UTILISATION * arrived if arrived < SATURATED * left else min(left, arrived)


class Prober:
    """When to try, how much padding to send, what came of it."""

    __slots__ = ("_cluster", "_failed", "eager", "interval", "jitter", "loss", "next_at", "rtt")

    def __init__(self, *, eager: bool = False) -> None:
        """`eager`: go from one attempt that succeeds right to the next, until one fails or the path shows trouble."""
        self.eager = eager
        self._cluster: Cluster | None = None
        self._failed = 0.0  # the target of the last attempt that failed
        self.interval = FIRST_INTERVAL
        self.next_at = 0.0
        self.rtt = 0.1
        self.loss = 0.0  # share of the packets, while nothing is tried
        self.jitter = 0.0  # seconds by which delays vary meanwhile

    @property
    def sending(self) -> bool:
        """Whether padding is wanted."""
        return self._cluster is not None and self._cluster.end is None

    @property
    def refused(self) -> bool:
        """Whether the last attempt showed that the path does not carry more."""
        return self.interval > FIRST_INTERVAL

    @property
    def waiting(self) -> bool:
        """Whether an attempt is under way, or its result."""
        return self._cluster is not None

    def plan(self, *, usage: float, step: float | None, estimate: float, now: float) -> bool:
        """Begin an attempt if there is reason and it is time. Whether one began.

        `usage`: rate of what is being sent; `step`: how much more the next better layer needs, None if there is none.
        """
        if self._cluster is not None or step is None or usage + MARGIN * step <= estimate:
            return False
        target = min(usage + MARGIN * step, MAX_GROWTH * estimate)
        if target < EASIER * self._failed and self.interval > FIRST_INTERVAL:
            self.interval = FIRST_INTERVAL
            self.next_at = min(self.next_at, now + FIRST_INTERVAL)
        if now < self.next_at:
            return False
        self._cluster = Cluster(target, now, min(self.loss, MAX_LOSS), self.jitter)
        return True

    def postpone(self, now: float) -> None:
        """The path showed trouble: not now."""
        self.eager = False
        self.next_at = max(self.next_at, now + FIRST_INTERVAL)

    def padding(self, sent: int, now: float) -> int:
        """Bytes of padding to send now, besides `sent` bytes that left since the last call, padding included."""
        cluster = self._cluster
        if cluster is None or cluster.end is not None:
            return 0
        cluster.sent_bytes += sent
        elapsed = now - cluster.begin
        if elapsed > cluster.duration:
            cluster.end = cluster.begin + cluster.duration
            return 0
        return max(0, int(cluster.target * elapsed / 8) - cluster.sent_bytes)

    def abort(self, now: float) -> None:
        """Overuse: stop sending, what was sent will tell enough."""
        if self._cluster is not None and self._cluster.end is None:
            self._cluster.end = now

    def report(self, arrivals: Iterable[Arrival], now: float) -> float | None:
        """Take what a report brought. The rate that was carried, once the attempt is over and if it was measured."""
        cluster = self._cluster
        if cluster is None:
            return None
        over = cluster.add(arrivals)
        return self._finish(cluster, now) if over else self.check(now)

    def check(self, now: float) -> float | None:
        """The same when no report comes: to be called now and then."""
        cluster = self._cluster
        if cluster is None:
            return None
        if cluster.end is None:
            if now - cluster.begin > 2 * MAX_DURATION:  # nobody asks for the padding
                cluster.end = now
            return None
        if now - cluster.end < RESULT_WAIT + self.rtt:
            return None
        return self._finish(cluster, now)

    def _finish(self, cluster: Cluster, now: float) -> float | None:
        self._cluster = None
        rate = cluster.rate
        if rate is not None and rate >= ENOUGH * cluster.target:
            self.interval = FIRST_INTERVAL
            self.next_at = max(self.next_at, now + (0.0 if self.eager else AFTER_SUCCESS))
        else:
            self.eager = False
            self._failed = cluster.target
            self.next_at = now + self.interval
            self.interval = min(self.interval * BACK_OFF, MAX_INTERVAL)
        return rate
