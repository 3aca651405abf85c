"""What a forwarder must know of a packet of a picture, whatever the codec."""

from __future__ import annotations

from typing import Protocol


class Descriptor(Protocol):
    """Offsets are from the first byte of the payload; ids are None where there are none that could be written anew."""

    @property
    def picture_id(self) -> int | None: ...  # of 15 bits
    @property
    def picture_id_at(self) -> int: ...
    @property
    def tl0_picture_index(self) -> int | None: ...
    @property
    def tl0_picture_index_at(self) -> int: ...
    @property
    def spatial_id(self) -> int: ...
    @property
    def temporal_id(self) -> int: ...
    @property
    def begins_picture(self) -> bool: ...
    @property
    def ends_layer(self) -> bool:
        """The last packet of its spatial layer in this picture."""

    def lets_up(self, spatial: int, before: int, after: int) -> bool:
        """Whether one who has had no temporal layer above `before` can have those up to `after` from this packet on."""
