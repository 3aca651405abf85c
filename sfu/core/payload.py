"""Whether a video packet begins a key frame, told by the first bytes of its payload."""

from __future__ import annotations

from sfu.core.rtp import Buffer

_H264_SPS = 7  # a sequence parameter set stands before each key frame
_H264_STAP_A = 24
_H264_FU_A = 28


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
