"""Read and write RTP headers without copying a byte of them (RFC 3550, header extensions of RFC 8285).

`parse_rtp` answers with offsets into the caller's buffer, since the packet is rewritten in place on its way out.
The buffer is anything whose items are integers: `bytes`, `bytearray` or a `memoryview` of format "B".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct

from sfu.core.errors import ParseError

Buffer = bytes | bytearray | memoryview

FIXED_HEADER = 12  # bytes
ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000  # the low four bits are the application's

_FIXED = Struct("!BBHII")
_EXTENSION = Struct("!HH")
_unpack_fixed = _FIXED.unpack_from
_unpack_extension = _EXTENSION.unpack_from


class RtpHeader:
    """Where everything stands in one RTP packet. All lengths and offsets are bytes from the packet's first.

    `header_length` is the fixed header with its CSRC list, where the extension begins; `payload_offset` is where the
    payload begins; it ends at `payload_end`, followed by `padding_length` bytes up to the packet's end.
    `extensions` maps a negotiated id to (offset, length) of the element's value.
    """

    __slots__ = (
        "csrc_count",
        "extensions",
        "header_length",
        "marker",
        "padding_length",
        "payload_end",
        "payload_offset",
        "payload_type",
        "sequence_number",
        "ssrc",
        "timestamp",
    )

    marker: bool
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    csrc_count: int
    header_length: int
    payload_offset: int
    payload_end: int
    padding_length: int
    extensions: dict[int, tuple[int, int]]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name, None)!r}" for name in self.__slots__)
        return f"RtpHeader({fields})"


def parse_rtp(data: Buffer, length: int | None = None) -> RtpHeader:
    """Parse the packet in the first `length` bytes of `data` (all of it by default).

    Raises ParseError for whatever is malformed. This runs for every packet that arrives, so it is one function.
    """
    if length is None:
        length = len(data)
    elif length > len(data):
        raise ParseError("RTP length is more than its buffer")
    if length < FIXED_HEADER:
        raise ParseError("RTP packet is shorter than its fixed header")
    first, second, sequence_number, timestamp, ssrc = _unpack_fixed(data)
    if first >> 6 != 2:
        raise ParseError("RTP version is not 2")

    header = RtpHeader()
    header.marker = second > 127
    header.payload_type = second & 127
    header.sequence_number = sequence_number
    header.timestamp = timestamp
    header.ssrc = ssrc
    header.csrc_count = csrc_count = first & 15
    header.header_length = offset = FIXED_HEADER + 4 * csrc_count
    header.extensions = extensions = {}

    if first & 0x10:
        values = offset + 4
        if values > length:
            raise ParseError("RTP header extension is truncated")
        profile, words = _unpack_extension(data, offset)
        offset = values + 4 * words
        if offset > length:
            raise ParseError("RTP header extension is longer than the packet")
        if profile == ONE_BYTE_PROFILE:
            while values < offset:
                head = data[values]
                values += 1
                if head == 0:  # padding
                    continue
                identifier = head >> 4
                if identifier == 15 or identifier == 0:  # RFC 8285, 4.2: stop reading here
                    break
                size = (head & 15) + 1
                if values + size > offset:
                    raise ParseError("one-byte header extension element overruns")
                extensions[identifier] = (values, size)
                values += size
        elif profile & 0xFFF0 == TWO_BYTE_PROFILE:
            while values < offset:
                identifier = data[values]
                values += 1
                if identifier == 0:  # padding
                    continue
                if values == offset:
                    raise ParseError("two-byte header extension element has no length")
                size = data[values]
                values += 1
                if values + size > offset:
                    raise ParseError("two-byte header extension element overruns")
                extensions[identifier] = (values, size)
                values += size
        # Any other profile is an application's own, of no use to us (RFC 3550, 5.3.1).
    elif offset > length:
        raise ParseError("RTP CSRC list is longer than the packet")

    header.payload_offset = offset
    if first & 0x20:
        padding = data[length - 1]
        if padding == 0 or padding > length - offset:
            raise ParseError("RTP padding length is impossible")
        header.padding_length = padding
        header.payload_end = length - padding
    else:
        header.padding_length = 0
        header.payload_end = length
    return header


def extension_text(data: Buffer, header: RtpHeader, identifier: int) -> str | None:
    """The text of a MID, RID or repaired RID element, None if it has none. Raises ParseError on bad UTF-8."""
    place = header.extensions.get(identifier)
    if place is None:
        return None
    offset, size = place
    try:
        return bytes(data[offset : offset + size]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError("header extension text is not UTF-8") from error


def build_rtp(
    *,
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    payload: bytes = b"",
    marker: bool = False,
    csrcs: Iterable[int] = (),
    extensions: Mapping[int, bytes] | None = None,
    two_byte: bool = False,
    padding: int = 0,
) -> bytes:
    """Build a packet, for probes and tests. `padding` is the whole count of padding bytes, its length byte included."""
    sources = [ssrc_.to_bytes(4, "big") for ssrc_ in csrcs]
    if len(sources) > 15 or not 0 <= padding <= 255:
        raise ValueError("at most 15 CSRCs and 255 bytes of padding")
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extensions else 0) | len(sources)
    head = _FIXED.pack(first, (0x80 if marker else 0) | payload_type, sequence_number, timestamp, ssrc)
    block = pack_extensions(extensions, two_byte=two_byte) if extensions else b""
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return head + b"".join(sources) + block + payload + tail


def pack_extensions(extensions: Mapping[int, bytes], *, two_byte: bool = False) -> bytes:
    """The whole extension block: profile, length in words, elements in the mapping's order, padding to a word."""
    elements = bytearray()
    for identifier, value in extensions.items():
        if two_byte:
            if not (1 <= identifier <= 255 and len(value) <= 255):
                raise ValueError("a two-byte element has an id of 1-255 and at most 255 bytes")
            elements += bytes((identifier, len(value)))
        else:
            if not (1 <= identifier <= 14 and 1 <= len(value) <= 16):
                raise ValueError("a one-byte element has an id of 1-14 and 1-16 bytes")
            elements.append(identifier << 4 | len(value) - 1)
        elements += value
    elements += bytes(-len(elements) % 4)
    return _EXTENSION.pack(TWO_BYTE_PROFILE if two_byte else ONE_BYTE_PROFILE, len(elements) // 4) + elements


def seq_diff(a: int, b: int) -> int:
    """How far sequence number `a` is ahead of `b`, -32768 to 32767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


class SequenceUnwrapper:
    """16-bit sequence numbers in, numbers that never wrap out. Reordering is fine, also before the first one seen."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: int | None = None

    def unwrap(self, sequence_number: int) -> int:
        """The unwrapped number nearest to the last one unwrapped."""
        last = self.last
        # Starts one wrap up, so that numbers from before the first one stay positive.
        unwrapped = (
            sequence_number + 0x10000 if last is None else last + ((sequence_number - last + 0x8000) & 0xFFFF) - 0x8000
        )
        self.last = unwrapped
        return unwrapped
