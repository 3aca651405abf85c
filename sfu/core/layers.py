"""The sizes and frame rates that a producer's picture comes in, and which of them is of use to whom.

A spatial layer is a stream of its own (simulcast) or shares one with the layers below it, which it is drawn upon (SVC).
Within a spatial layer, temporal ones are frames that can be left out: what remains is the same picture, less smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sfu.core.stream import Stream

ENLARGED = 1.25  # times that a picture may be enlarged before the next layer is worth its bandwidth
ASSUMED = (1280, 720)  # pixels of the best layer, as long as none has told its size; each one below has half of it
TOP = 7  # the highest temporal layer that a packet can name: no limit
INACTIVE_AFTER = 1.0  # seconds without a packet after which a layer counts as not sent


class Preference(NamedTuple):
    """What a receiver's page says of one consumer; None where it does not say. Pixels are the device's."""

    width: int | None = None
    height: int | None = None
    priority: int = 1  # 4 a shared screen, 3 whoever speaks, 2 a pinned tile, 1 the others
    spatial: int | None = None  # the best layer wanted, whatever the size
    temporal: int | None = None  # the smoothest


class Rung(NamedTuple):
    """A quality that somebody can be given; the higher, the better: a larger picture is better than a smoother one."""

    layer: int  # index of the spatial layer
    temporal: int = TOP


BEST = Rung(1 << 30)  # more layers than there are


class Layer:
    """One size of a picture as it is sent now."""

    __slots__ = (
        "_counted",
        "_counted_at",
        "_octets",
        "_rates",
        "active_since",
        "below",
        "index",
        "last_packet_at",
        "size",
        "spatial",
        "stream",
        "temporal_layers",
    )

    def __init__(self, stream: Stream, index: int, spatial: int = 0, below: Layer | None = None) -> None:
        self.stream = stream
        self.index = index  # among the producer's: the higher, the better the picture
        self.spatial = spatial  # id within the stream
        self.below = below  # the one that it is drawn upon
        self.size: tuple[int, int] | None = None  # width and height in pixels, where a key frame told it
        self.temporal_layers = 1  # as many as were seen
        self.active_since: float | None = None
        self.last_packet_at: float | None = None
        self._octets = [0] * (TOP + 1)  # as they leave, of each temporal layer
        self._rates = [0.0] * (TOP + 1)
        self._counted = [0] * (TOP + 1)
        self._counted_at: float | None = None

    @property
    def is_top(self) -> bool:
        """Nothing of its stream is left out for it."""
        return self.spatial == len(self.stream.layers) - 1

    def received(self, temporal: int, octets: int, now: float) -> None:
        if self.last_packet_at is None or now - self.last_packet_at > INACTIVE_AFTER:
            self.active_since = now
        self.last_packet_at = now
        self._octets[temporal] += octets
        if temporal >= self.temporal_layers:
            self.temporal_layers = temporal + 1

    def is_active(self, now: float, within: float = INACTIVE_AFTER) -> bool:
        return self.last_packet_at is not None and now - self.last_packet_at < within

    def rate(self, temporal: int) -> float:
        """Bit/s over the last second of all that is sent for that rung; 0 while it is not known."""
        return sum(self._rates[: temporal + 1]) + (self.below.rate(temporal) if self.below is not None else 0.0)

    @property
    def own_rate(self) -> float:
        """The same without those below."""
        return sum(self._rates)

    @own_rate.setter
    def own_rate(self, rate: float) -> None:
        """As another worker says, which has its packets."""
        self._rates = [rate, *[0.0] * TOP]

    def temporals(self, most: int = TOP) -> list[int]:
        """The highest temporal layer of each rung, up to `most`. TOP stands for all, also those that come to it."""
        last = self.temporal_layers - 1
        return [*range(min(most, last)), TOP if most >= last else most]

    def each_second(self, now: float) -> None:
        if self._counted_at is not None and now > self._counted_at:
            for temporal in range(self.temporal_layers):
                rate = 8 * (self._octets[temporal] - self._counted[temporal]) / (now - self._counted_at)
                before = self._rates[temporal]
                self._rates[temporal] = rate if not before else 0.5 * before + 0.5 * rate
        self._counted_at, self._counted = now, self._octets.copy()


def ladder(layers: Sequence[Layer], most: int = TOP) -> list[Rung]:
    """What can be chosen among, the worst first: of all but the smallest picture the full and the next lower rate."""
    return [
        Rung(layer.index, temporal)
        for layer in layers
        for temporal in layer.temporals(most)[0 if layer.index == 0 else -2 :]
    ]


def useful_layer(layers: Sequence[Layer], preference: Preference) -> int:
    """The index of the coarsest layer that looks good at that size, or of the best."""
    best = len(layers) - 1
    if preference.spatial is not None:
        best = min(best, preference.spatial)
    for index in range(best):
        width, height = _size(layers, index)
        # The picture is shown whole, so the narrower side of the tile decides.
        scales = [
            shown / sent
            for shown, sent in ((preference.width, width), (preference.height, height))
            if shown is not None
        ]
        if scales and min(scales) <= ENLARGED:
            return index
    return best


def _size(layers: Sequence[Layer], index: int) -> tuple[int, int]:
    known = next(((i, layer.size) for i, layer in enumerate(layers) if layer.size is not None), None)
    own = layers[index].size
    if own is not None:
        return own
    reference, (width, height) = known if known is not None else (len(layers) - 1, ASSUMED)
    return max(1, int(width * 2.0 ** (index - reference))), max(1, int(height * 2.0 ** (index - reference)))
