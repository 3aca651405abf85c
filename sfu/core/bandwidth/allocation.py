"""Share one receiver's bandwidth among what he watches: a little of everything first, then better pictures by priority.

The rounds are mediasoup's (`Transport::DistributeAvailableOutgoingBitrate`). Rates are in bit/s, times in seconds.
Audio is exempt: it is always sent, and not taken off the estimate, which tells of the packets with a transport-wide
number, and voices carry none.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

ACTIVE_FOR = 2.0  # seconds that a layer must have been sent before somebody is moved up to it
NO_UPGRADE_AFTER = 10.0  # seconds after a downgrade: pictures that change to and fro are worse than coarse ones
NO_RETURN_AFTER = 4.0  # seconds after a pause, to the coarsest layer: no picture is worse than one that changes
UPGRADE_MARGIN = 1.1  # times what a better layer needs: what is shown already may use the estimate up
INTERVAL = 1.0  # seconds between two computations, unless the estimate
FELL, ROSE = 0.75, 1.5  # to less, or to more, than so many times the last one


class Priority(IntEnum):
    """Whose picture matters most. Also how many layers it may gain in one round."""

    OTHER = 1
    PINNED = 2
    SPEAKER = 3
    SCREEN = 4


@dataclass(slots=True, frozen=True)
class Layer:
    """`bitrate` in bit/s; `active_since` when it began to be sent, None while it is not."""

    bitrate: float
    active_since: float | None


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, frozen=True)
class Demand(Generic[Key]):
    """One consumer's. `layers` from the coarsest to the best; `wanted` is the best layer of use to him, None for
    nothing at all (a tile that is not seen); `current` is what he gets now, None while he gets nothing.
    """

    key: Key
    priority: Priority
    layers: Sequence[Layer]
    wanted: int | None
    current: int | None = None
    exempt: bool = False


@dataclass(slots=True)
class Allocation(Generic[Key]):
    """`layers`: by key, what to send; None for nothing. `usage`: what all that needs, exempt ones left out.

    `next_step`: how much more the first refused improvement needs, which is what a probe is good for; None where
    everybody has what he may have. `audio_only`: pictures are wanted and none can be sent.
    """

    layers: dict[Key, int | None]
    usage: float
    next_step: float | None
    audio_only: bool


class _Share(Generic[Key]):
    """A demand while it is being served: the layers that may be chosen, and how far it got."""

    __slots__ = ("capped", "demand", "position", "steps")

    def __init__(self, demand: Demand[Key], steps: list[int], capped: bool) -> None:
        self.demand = demand
        self.steps = steps  # indices of layers, ascending
        self.position = -1  # in `steps`
        self.capped = capped  # better ones exist, and are not given back yet

    @property
    def cost(self) -> float:
        """Of what it has."""
        return self.demand.layers[self.steps[self.position]].bitrate if self.position >= 0 else 0.0

    @property
    def next_cost(self) -> float | None:
        if self.position + 1 >= len(self.steps):
            return None
        return self.demand.layers[self.steps[self.position + 1]].bitrate - self.cost

    @property
    def chosen(self) -> int | None:
        return self.steps[self.position] if self.position >= 0 else None

    def rise(self, left: float) -> float | None:
        """Take the next layer if it fits into what is left. What it cost; None where it was not taken."""
        cost = self.next_cost
        if cost is None:
            return None
        current = self.demand.current
        better = current is None or self.steps[self.position + 1] > current
        # What is sent already shows that it fits; what is new needs a margin.
        if cost * (UPGRADE_MARGIN if better else 1.0) > left:
            return None
        self.position += 1
        return cost


class Allocator(Generic[Key]):
    """One transport's. Ask `due`, then `allocate`."""

    __slots__ = ("_allocated_at", "_downgraded_at", "_estimate")

    def __init__(self) -> None:
        self._allocated_at: float | None = None
        self._estimate = 0.0
        self._downgraded_at: dict[Key, float] = {}

    def due(self, estimate: float, now: float) -> bool:
        """Whether it is time: each second, or at once when the estimate changed much."""
        at = self._allocated_at
        return (
            at is None or now - at >= INTERVAL or estimate < FELL * self._estimate or estimate > ROSE * self._estimate
        )

    def allocate(self, estimate: float, demands: Sequence[Demand[Key]], now: float) -> Allocation[Key]:
        """Choose a layer for each demand."""
        self._allocated_at, self._estimate = now, estimate
        layers: dict[Key, int | None] = {}
        shares: list[_Share[Key]] = []
        for demand in demands:
            if demand.exempt:
                layers[demand.key] = demand.wanted
            elif share := self._share(demand, now):
                shares.append(share)
            else:
                layers[demand.key] = None
        shares.sort(key=lambda share: -share.demand.priority)

        left = estimate
        for share in shares:  # something of everything that can be had
            left -= share.rise(left) or 0.0
        rising = True
        while rising:
            rising = False
            for share in shares:
                for _ in range(share.demand.priority):
                    spent = share.rise(left)
                    if spent is None:
                        break
                    left -= spent
                    rising = True

        next_step: float | None = None
        for share in shares:
            demand, chosen = share.demand, share.chosen
            layers[demand.key] = chosen
            if next_step is None:
                next_step = share.next_cost
            self._note(share, now)
        self._forget({demand.key for demand in demands})
        wants = [share for share in shares if share.steps or share.capped]
        return Allocation(
            layers=layers,
            usage=estimate - left,
            next_step=next_step,
            audio_only=bool(wants) and all(share.position < 0 for share in wants),
        )

    def _share(self, demand: Demand[Key], now: float) -> _Share[Key] | None:
        if demand.wanted is None:
            return None
        sent = [
            (index, layer.active_since)
            for index, layer in enumerate(demand.layers[: demand.wanted + 1])
            if layer.active_since is not None
        ]
        current = demand.current
        steps = [
            index
            for index, since in sent
            if now - since >= ACTIVE_FOR or index == current or (current is not None and index < current)
        ]
        if not steps and sent:  # all are new: one must do
            steps = [sent[0][0]]
        allowed = steps
        since_downgrade = now - self._downgraded_at.get(demand.key, -1e9)
        if since_downgrade < NO_UPGRADE_AFTER:
            if current is not None:
                allowed = [index for index in steps if index <= current]
            else:
                allowed = steps[:1] if since_downgrade >= NO_RETURN_AFTER else []
        return _Share(demand, allowed, capped=len(allowed) < len(steps))

    def _note(self, share: _Share[Key], now: float) -> None:
        """A downgrade is what bandwidth forces, not what the page or the sender chose."""
        demand, chosen = share.demand, share.chosen
        if demand.current is None or not share.steps:
            return
        possible = max((index for index in share.steps if index <= demand.current), default=None)
        if possible is not None and (chosen is None or chosen < possible):
            self._downgraded_at[demand.key] = now

    def _forget(self, keys: set[Key]) -> None:
        for key in [key for key in self._downgraded_at if key not in keys]:
            del self._downgraded_at[key]
