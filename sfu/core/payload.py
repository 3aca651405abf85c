"""Whether a video packet begins a key frame, told by the first bytes of its payload."""

from __future__ import annotations

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer
from sfu.core.vp9 import parse_vp9

_H264_SPS = 7  # a sequence parameter set stands before each key frame
_H264_STAP_A = 24
_H264_FU_A = 28

_AV1_SEQUENCE_HEADER = 1  # stands before each key frame
_AV1_FRAME_HEADER = 3
_AV1_FRAME = 6
_AV1_MAX_ELEMENTS = 16  # in one packet; encoders put three or four


def is_keyframe(mime_type: str, data: Buffer, offset: int, end: int) -> bool:
    """`data[offset:end]` is the payload. False for other codecs and for whatever is malformed; never raises."""
    end = min(end, len(data))
    if not 0 <= offset < end:
        return False
    mime_type = mime_type.lower()
    if mime_type == "video/vp8":
        return _is_vp8_keyframe(data, offset, end)
    if mime_type == "video/h264":
        return _is_h264_keyframe(data, offset, end)
    if mime_type == "video/vp9":
        try:
            return parse_vp9(data, offset, end).key_frame
        except ParseError:
            return False
    if mime_type == "video/av1":
        return _is_av1_keyframe(data, offset, end)
    return False


def _is_vp8_keyframe(data: Buffer, offset: int, end: int) -> bool:
    """S = 1 and PID = 0 in the descriptor, P = 0 in the frame's header (RFC 7741, 4.2 and 4.3)."""
    first = data[offset]
    if first & 0x17 != 0x10:
        return False
    position = offset + 1
    if first & 0x80:
        if position >= end:
            return False
        extension = data[position]
        position += 1
        if extension & 0x80:
            if position >= end:
                return False
            position += 2 if data[position] & 0x80 else 1
        if extension & 0x40:
            position += 1
        if extension & 0x30:
            position += 1
    return position < end and not data[position] & 1


def _is_h264_keyframe(data: Buffer, offset: int, end: int) -> bool:
    """A sequence parameter set alone, first in an aggregate, or starting a fragmented unit (RFC 6184, 5.6-5.8)."""
    kind = data[offset] & 31
    if kind == _H264_SPS:
        return True
    if kind == _H264_STAP_A:
        position = offset + 1
        while position + 2 < end:
            if data[position + 2] & 31 == _H264_SPS:
                return True
            position += 2 + (data[position] << 8 | data[position + 1])
        return False
    if kind == _H264_FU_A:
        return offset + 1 < end and data[offset + 1] & 0x9F == 0x80 | _H264_SPS
    return False


def _is_av1_keyframe(data: Buffer, offset: int, end: int) -> bool:
    """A sequence header begins in the packet, and no frame other than a key frame follows it there.

    For senders without a dependency descriptor, which tells it without a look into the payload. N in the aggregation
    header is not asked: it says the same, where it is set (RTP payload format for AV1, 4.4).
    """
    head = data[offset]
    offset += 1
    if head & 0x80:  # Z: the first element goes on from the packet before
        return False
    count = head >> 4 & 3  # W: so many elements, the last without a length; 0: each has one
    sequence_header = False
    for number in range(1, _AV1_MAX_ELEMENTS + 1):
        if offset >= end:
            break
        if number == count:
            size = end - offset
        else:
            size, offset = _leb128(data, offset, end)
        kind = data[offset] >> 3 & 15 if offset < end and size else 0
        if kind == _AV1_SEQUENCE_HEADER:
            sequence_header = True
        elif kind in (_AV1_FRAME_HEADER, _AV1_FRAME):
            return sequence_header and _is_av1_intra(data, offset, min(end, offset + size))
        if number == count:
            break
        offset += size
    return sequence_header


def _is_av1_intra(data: Buffer, offset: int, end: int) -> bool:
    """Whether a frame's header says that it is a new key frame (AV1 specification, 5.9.2)."""
    head = data[offset]
    offset += 2 if head & 4 else 1  # an extension byte: the layer
    if head & 2:
        _, offset = _leb128(data, offset, end)
    # show_existing_frame, and two bits of frame_type, of which 0 is a key frame
    return offset < end and data[offset] & 0xE0 == 0


def _leb128(data: Buffer, offset: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends; `end` for one that does not end."""
    value = 0
    for shift in range(0, 35, 7):
        if offset >= end:
            break
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    return end, end
