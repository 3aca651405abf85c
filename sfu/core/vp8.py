"""The VP8 payload descriptor: what the forwarder must know of a frame, and may have to write anew (RFC 7741, 4.2)."""

from __future__ import annotations

from sfu.core.rtp import Buffer


class Vp8Descriptor:
    """Offsets are from the first byte of the payload; None where the encoder left a field out."""

    __slots__ = (
        "begins_picture",
        "frame_at",
        "key_frame",
        "layer_sync",
        "picture_id",
        "picture_id_at",
        "temporal_id",
        "tl0_picture_index",
        "tl0_picture_index_at",
        "wide",
    )

    picture_id: int | None
    picture_id_at: int
    wide: bool  # the picture id has two bytes
    tl0_picture_index: int | None
    tl0_picture_index_at: int
    temporal_id: int
    layer_sync: bool
    key_frame: bool  # this packet begins a key frame
    frame_at: int  # where the descriptor ends
    begins_picture: bool
    spatial_id = 0
    ends_layer = False  # there is but one, which ends with the picture

    def lets_up(self, spatial: int, before: int, after: int) -> bool:
        # The picture refers to the lowest layer alone: what is in between, one would have to have.
        return self.layer_sync and self.temporal_id == before + 1


def key_frame_size(data: Buffer, offset: int, end: int) -> tuple[int, int] | None:
    """(width, height) in pixels, of a frame that begins at `offset` (RFC 6386, 9.1); None if it is cut short."""
    if end - offset < 10 or bytes(data[offset + 3 : offset + 6]) != b"\x9d\x01\x2a":
        return None
    width = (data[offset + 6] | data[offset + 7] << 8) & 0x3FFF
    height = (data[offset + 8] | data[offset + 9] << 8) & 0x3FFF
    return (width, height) if width and height else None


def parse_vp8(data: Buffer, offset: int, end: int) -> Vp8Descriptor | None:
    """None for what is too short to be VP8; never raises."""
    start = offset
    if offset >= end:
        return None
    first = data[offset]
    offset += 1
    found = Vp8Descriptor()
    found.picture_id = found.tl0_picture_index = None
    found.picture_id_at = found.tl0_picture_index_at = found.temporal_id = 0
    found.wide = found.layer_sync = False
    if first & 0x80:
        if offset >= end:
            return None
        flags = data[offset]
        offset += 1
        if flags & 0x80:
            if offset >= end:
                return None
            found.picture_id_at = offset - start
            if data[offset] & 0x80:
                if offset + 1 >= end:
                    return None
                found.picture_id = (data[offset] & 0x7F) << 8 | data[offset + 1]
                found.wide = True
                offset += 2
            else:
                found.picture_id = data[offset]
                offset += 1
        if flags & 0x40:
            if offset >= end:
                return None
            found.tl0_picture_index = data[offset]
            found.tl0_picture_index_at = offset - start
            offset += 1
        if flags & 0x30:
            if offset >= end:
                return None
            if flags & 0x20:
                found.temporal_id = data[offset] >> 6
                found.layer_sync = bool(data[offset] & 0x20)
            offset += 1
    # S=1 and partition 0: the frame's first packet; then the lowest bit of the frame itself: 0 is a key frame.
    found.begins_picture = first & 0x17 == 0x10
    found.key_frame = found.begins_picture and offset < end and data[offset] & 1 == 0
    found.frame_at = offset - start
    return found
