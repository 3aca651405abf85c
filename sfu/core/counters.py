"""What a worker counts for its operator: numbers that only grow, so that nothing is lost between two looks at them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from sfu.protocol import Json


class Histogram:
    """How often values were how large, in the shape that Prometheus wants: `bounds` are upper ones, inclusive."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, *bounds: float) -> None:
        self._bounds = tuple(map(float, bounds))
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def json(self) -> Json:
        """`buckets`: [upper bound, how many were not above it] with "+Inf" last; `sum`: of all values."""
        buckets: list[tuple[str, int]] = []
        below = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            below += count
            buckets.append((bound, below))
        return {"buckets": buckets, "sum": self._sum}


class Counters:
    """All rooms of a worker together. Seconds, where a unit is not named."""

    def __init__(self) -> None:
        self.nacks_received = 0  # packets that receivers asked for again
        self.nacks_sent = 0  # packets that we asked senders for
        self.plis_received = 0  # requests for a key frame, PLI and FIR alike
        self.plis_sent = 0
        self.retransmissions = 0  # packets sent again
        self.repaired = 0  # packets that came as a retransmission
        self.ice_selected: Counter[str] = Counter()  # addresses that a peer's media went to, by "udp" and "tcp"
        # Of what receivers report, once a second for each stream:
        self.loss_percent = Histogram(0, 1, 2, 5, 10, 20, 50)  # since the report before
        self.jitter = Histogram(0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
        self.rtt = Histogram(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
        # From the packet's arrival in the kernel until the last of its receivers was served:
        self.forward_latency = Histogram(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

    def json(self) -> Json:
        found = {}
        for name, value in vars(self).items():
            found[name] = value.json() if isinstance(value, Histogram) else value
        return found
