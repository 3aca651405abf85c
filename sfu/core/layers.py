"""Which layer of a simulcast picture is of use to somebody who shows it in a tile of a certain size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sfu.core.stream import Stream

ENLARGED = 1.25  # times that a picture may be enlarged before the next layer is worth its bandwidth
ASSUMED = (1280, 720)  # pixels of the best layer, as long as none has told its size; each one below has half of it


class Preference(NamedTuple):
    """What a receiver's page says of one consumer; None where it does not say. Pixels are the device's."""

    width: int | None = None
    height: int | None = None
    priority: int = 1  # 4 a shared screen, 3 whoever speaks, 2 a pinned tile, 1 the others
    spatial: int | None = None  # the best layer wanted, whatever the size
    temporal: int | None = None


def useful_layer(streams: Sequence[Stream], preference: Preference) -> int:
    """The index of the coarsest layer that looks good at that size, or of the best."""
    best = len(streams) - 1
    if preference.spatial is not None:
        best = min(best, preference.spatial)
    for index in range(best):
        width, height = _size(streams, index)
        # The picture is shown whole, so the narrower side of the tile decides.
        scales = [
            shown / sent
            for shown, sent in ((preference.width, width), (preference.height, height))
            if shown is not None
        ]
        if scales and min(scales) <= ENLARGED:
            return index
    return best


def _size(streams: Sequence[Stream], index: int) -> tuple[int, int]:
    known = next(((i, s.size) for i, s in enumerate(streams) if s.size is not None), None)
    own = streams[index].size
    if own is not None:
        return own
    reference, (width, height) = known if known is not None else (len(streams) - 1, ASSUMED)
    return max(1, int(width * 2.0 ** (index - reference))), max(1, int(height * 2.0 ** (index - reference)))
