"""The VP9 payload descriptor: which layer a packet is of, and what a forwarder may have to write anew (RFC 9628, 4.2).

One picture is up to eight frames, one a spatial layer, each in packets of its own. The layers of a picture share its
picture id and timestamp; the marker ends the picture, not the layer.
"""

from __future__ import annotations

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer

MAX_REFERENCES = 3  # pictures that one refers to in flexible mode


class Vp9Descriptor:
    """Offsets are from the first byte of the payload; None where the encoder left a field out."""

    __slots__ = (
        "begins_frame",
        "ends_frame",
        "flexible",
        "inter_layer",
        "inter_picture",
        "key_frame",
        "length",
        "picture_id",
        "picture_id_at",
        "references",
        "resolutions",
        "spatial_id",
        "spatial_layers",
        "switching_up",
        "temporal_id",
        "tl0_picture_index",
        "tl0_picture_index_at",
        "unused_above",
        "wide",
    )

    picture_id: int | None
    picture_id_at: int
    wide: bool  # the picture id has two bytes
    begins_frame: bool  # of its layer
    ends_frame: bool
    temporal_id: int
    spatial_id: int
    switching_up: bool  # U: from this picture on, higher temporal layers refer to nothing of theirs from before it
    inter_layer: bool  # D: refers to the next lower spatial layer of this picture
    inter_picture: bool  # P: refers to an earlier picture; where it does not, one may begin with this layer
    unused_above: bool  # Z: no higher spatial layer refers to this frame
    flexible: bool  # F: each picture names those it refers to, and there is no tl0 picture index
    references: tuple[int, ...]  # how many pictures back, in flexible mode
    tl0_picture_index: int | None
    tl0_picture_index_at: int
    spatial_layers: (
        int  # how many there are, where this packet tells (in a key frame, or as layers come and go); else 0
    )
    resolutions: tuple[tuple[int, int], ...]  # (width, height) of each of them, if told
    key_frame: bool  # this packet begins a key frame in the lowest layer
    length: int  # bytes of the descriptor; the frame follows

    @property
    def begins_picture(self) -> bool:
        return self.begins_frame and self.spatial_id == 0

    @property
    def ends_layer(self) -> bool:
        return self.ends_frame

    def lets_up(self, spatial: int, before: int, after: int) -> bool:
        return self.switching_up and self.temporal_id <= before


def parse_vp9(data: Buffer, offset: int, end: int) -> Vp9Descriptor:
    """The descriptor at `data[offset:end]`. Raises ParseError for what is malformed, nothing else."""
    start = offset
    if not 0 <= offset < end <= len(data):
        raise ParseError("VP9 payload is empty")
    first = data[offset]
    offset += 1
    found = Vp9Descriptor()
    found.picture_id = found.tl0_picture_index = None
    found.picture_id_at = found.tl0_picture_index_at = found.temporal_id = found.spatial_id = found.spatial_layers = 0
    found.wide = found.switching_up = found.inter_layer = False
    found.references = found.resolutions = ()
    found.inter_picture = first & 0x40 != 0
    found.flexible = first & 0x10 != 0
    found.begins_frame = first & 0x08 != 0
    found.ends_frame = first & 0x04 != 0
    found.unused_above = first & 0x01 != 0
    try:
        if first & 0x80:
            found.picture_id_at = offset - start
            picture_id = data[offset]
            if picture_id & 0x80:
                found.picture_id = (picture_id & 0x7F) << 8 | data[offset + 1]
                found.wide = True
                offset += 2
            else:
                found.picture_id = picture_id
                offset += 1
        if first & 0x20:
            layers = data[offset]
            offset += 1
            found.temporal_id = layers >> 5
            found.switching_up = layers & 0x10 != 0
            found.spatial_id = layers >> 1 & 7
            found.inter_layer = layers & 0x01 != 0
            if not found.flexible:
                found.tl0_picture_index = data[offset]
                found.tl0_picture_index_at = offset - start
                offset += 1
        if first & 0x50 == 0x50:
            references = []
            following = True
            while following:
                reference = data[offset]
                offset += 1
                references.append(reference >> 1)
                following = reference & 1 != 0
                if following and len(references) == MAX_REFERENCES:
                    raise ParseError("VP9 picture refers to more than three")
            found.references = tuple(references)
        if first & 0x02:
            offset = _read_structure(found, data, offset)
    except IndexError as error:
        raise ParseError("VP9 descriptor is truncated") from error
    if offset > end:
        raise ParseError("VP9 descriptor is longer than its packet")
    found.length = offset - start
    found.key_frame = first & 0x48 == 0x08 and found.spatial_id == 0 and offset < end
    return found


def _read_structure(found: Vp9Descriptor, data: Buffer, offset: int) -> int:
    """The scalability structure (RFC 9628, 4.2.1): sizes are kept, the pattern of a picture group is only measured."""
    head = data[offset]
    offset += 1
    found.spatial_layers = (head >> 5) + 1
    if head & 0x10:
        resolutions = []
        for _ in range(found.spatial_layers):
            resolutions.append((data[offset] << 8 | data[offset + 1], data[offset + 2] << 8 | data[offset + 3]))
            offset += 4
        found.resolutions = tuple(resolutions)
    if head & 0x08:
        pictures = data[offset]
        offset += 1
        for _ in range(pictures):
            offset += 1 + (data[offset] >> 2 & 3)
    return offset
