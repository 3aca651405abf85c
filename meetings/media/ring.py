"""Choose the media worker for a room, so that few rooms move when a worker comes or goes.

A consistent-hash ring (Karger et al., 1997): each worker stands at 150 points of a circle, a room at one, and belongs
to the next worker clockwise. Plain hashing overfills some, so the load is bounded (Mirrokni, Thorup, Zadimoghaddam:
"Consistent Hashing with Bounded Loads", 2016): a worker that already has more than its share is passed over for the
next one clockwise. Pure: the same workers and loads give the same answer in every process.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sfu.protocol import Heartbeat

VIRTUAL_NODES = 150  # points a worker: the shares of the circle then differ by about 8 % (1 / sqrt(150))
SLACK = 0.25  # a worker may have this much more than the mean before it is passed over
ALONE = 25  # people of a room below which it stays on one worker, however busy that is: a class, not an event
# Share of a worker's core above which a large room's next people go to another: those who came last are not in it yet,
# and above 0.7 packets are delayed.
BUSY = 0.6
HOT = 0.85  # share of a worker's core: above it, any cooler worker is better, even one in another region


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker as its heartbeat describes it."""

    worker_id: str
    peers: int = 0  # what the bound counts: rooms differ by a factor of a thousand, peers do not
    load: float = 0.0  # share of one core, 0 to 1
    region: str = ""
    draining: bool = False

    @classmethod
    def of(cls, heartbeat: Heartbeat) -> Candidate:
        return cls(heartbeat.worker_id, heartbeat.peers, heartbeat.load, heartbeat.region, heartbeat.draining)


def _point(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class HashRing:
    """The circle. `walk(key)` names every worker once, in the order in which the key would choose them."""

    def __init__(self, workers: Iterable[str], virtual_nodes: int = VIRTUAL_NODES) -> None:
        nodes = sorted((_point(f"{worker}#{node}"), worker) for worker in set(workers) for node in range(virtual_nodes))
        self._points = [point for point, _ in nodes]
        self._owners = [owner for _, owner in nodes]

    def walk(self, key: str) -> Iterator[str]:
        start = bisect.bisect(self._points, _point(key))
        seen: set[str] = set()
        for owner in self._owners[start:] + self._owners[:start]:
            if owner not in seen:
                seen.add(owner)
                yield owner


@lru_cache(maxsize=64)
def _ring(workers: frozenset[str]) -> HashRing:
    return HashRing(workers)  # 64: a ring of 100 workers takes 10 ms to make, and workers seldom come and go


def choose_worker(room: str, candidates: Sequence[Candidate], region: str = "") -> str | None:
    """The worker id for `room`; None when no worker takes new rooms (there is none, or all are draining).

    Workers of `region` come first as long as one of them is not hot, then cool ones anywhere, then the hot ones.
    """
    open_to_new = [candidate for candidate in candidates if not candidate.draining]
    preferences: tuple[Callable[[Candidate], bool], ...] = (
        lambda worker: worker.region == region and worker.load < HOT,
        lambda worker: worker.load < HOT,
        lambda worker: worker.region == region,
        lambda worker: True,
    )
    for preferred in preferences:
        if pool := [candidate for candidate in open_to_new if preferred(candidate)]:
            return _first_within_bound(room, pool)
    return None


def _first_within_bound(room: str, pool: Sequence[Candidate]) -> str:
    peers = {candidate.worker_id: candidate.peers for candidate in pool}
    bound = load_bound(sum(peers.values()), len(pool))
    for worker in _ring(frozenset(peers)).walk(room):
        if peers[worker] < bound:
            return worker
    raise AssertionError("The least loaded worker is below the bound, because the bound is above the mean.")


def shares(
    room: str, home: str, candidates: Sequence[Candidate], *, present: Collection[str], most: int
) -> list[tuple[str, int]]:
    """How many of a large room's people each worker may have, in the order in which they are to be filled.

    First the room's home, then the workers where some of its people are already (`present`), so that it is on few;
    then others by the ring, those within the load bound first. All in home's region: the pipes between them want a
    LAN. A busy worker takes nobody more, but home always takes a class's worth. Those with 0 keep whom they have.
    """
    by_id = {candidate.worker_id: candidate for candidate in candidates}
    region = by_id[home].region if home in by_id else ""
    bound = load_bound(sum(candidate.peers for candidate in candidates), max(1, len(candidates)))
    walk = {worker: place for place, worker in enumerate(_ring(frozenset(by_id)).walk(room))}

    def order(worker: Candidate) -> tuple[bool, bool, bool, int]:
        return (
            worker.worker_id != home,
            worker.worker_id not in present,
            worker.peers >= bound,
            walk[worker.worker_id],
        )

    def share(worker: Candidate) -> int:
        if worker.draining or worker.region != region:
            return 0
        if worker.load < BUSY:
            return most
        return min(ALONE, most) if worker.worker_id == home else 0

    return [(worker.worker_id, share(worker)) for worker in sorted(candidates, key=order)]


def load_bound(total: int, workers: int) -> int:
    """How many peers a worker may have, the one about to come included, when `total` are on `workers` workers."""
    return math.ceil((1 + SLACK) * (total + 1) / workers)
