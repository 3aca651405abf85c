"""Put frames together from RTP payloads of VP9 (RFC 9628) and AV1 (RTP payload format for AV1), without decoding.

Both can carry layers of several sizes in one stream (SVC), of which a muxed file can show but one: the smallest, which
refers to no other.
"""

from __future__ import annotations

from recordings.logs.packets import PacketError

MAX_SIDE = 8192  # pixels


class Vp9:
    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @staticmethod
    def begins_key(payload: bytes) -> bool:
        _, begins, spatial = vp9_descriptor(payload)
        return begins and spatial == 0 and not payload[0] & 0x40  # P: refers to an earlier picture

    def begins(self, payload: bytes) -> bool:
        _, begins, spatial = vp9_descriptor(payload)
        return begins and spatial == 0

    def add(self, payload: bytes) -> None:
        length, _, spatial = vp9_descriptor(payload)
        if spatial == 0:
            self._parts.append(payload[length:])

    def finish(self) -> tuple[bytes, bool]:
        data = b"".join(self._parts)
        self.clear()
        return data, vp9_size(data) is not None

    def clear(self) -> None:
        self._parts = []


def vp9_descriptor(payload: bytes) -> tuple[int, bool, int]:
    """The length of the payload descriptor (RFC 9628, 4.2), whether a layer's frame begins in it, and which layer's."""
    try:
        first, length, spatial = payload[0], 1, 0
        if first & 0x80:  # I: a picture id of 7 or 15 bits
            length += 2 if payload[length] & 0x80 else 1
        if first & 0x20:  # L: layers, and TL0PICIDX where not flexible
            spatial = payload[length] >> 1 & 7
            length += 1 if first & 0x10 else 2
        if first & 0x50 == 0x50:  # F and P: up to three references, each says whether another follows
            while payload[length] & 1:
                length += 1
            length += 1
        if first & 0x02:  # V: the structure
            head = payload[length]
            length += 1 + (4 * ((head >> 5) + 1) if head & 0x10 else 0)
            if head & 0x08:
                pictures = payload[length]
                length += 1
                for _ in range(pictures):
                    length += 1 + (payload[length] >> 2 & 3)
    except IndexError:
        raise PacketError("cut inside the VP9 descriptor") from None
    if len(payload) <= length:
        raise PacketError("a VP9 payload without a payload")
    return length, bool(first & 0x08), spatial


def vp9_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height of a key frame of profile 0 (VP9 bitstream specification, 6.2); None for any other frame."""
    if len(frame) < 10 or frame[0] & 0xFC != 0x80 or frame[1:4] != b"\x49\x83\x42":
        return None
    bits = int.from_bytes(frame[4:10])  # 3 bits of colour space, and one of range but for RGB, which profile 0 has not
    width, height = (bits >> 28 & 0xFFFF) + 1, (bits >> 12 & 0xFFFF) + 1
    return (width, height) if width <= MAX_SIDE and height <= MAX_SIDE else None


class Av1:
    """To units with their sizes, as files hold them."""

    SEQUENCE_HEADER, TEMPORAL_DELIMITER, FRAME_HEADER, FRAME, TILE_LIST, PADDING = 1, 2, 3, 6, 8, 15

    def __init__(self) -> None:
        self._units: list[bytes] = []
        self._fragments: list[bytes] = []

    @classmethod
    def begins_key(cls, payload: bytes) -> bool:
        if len(payload) < 2 or payload[0] & 0x80:
            return False
        return any(element[:1] and element[0] >> 3 & 15 == cls.SEQUENCE_HEADER for element in cls._elements(payload))

    def begins(self, payload: bytes) -> bool:
        if not payload:
            raise PacketError("an empty payload")
        return not payload[0] & 0x80  # Z: goes on from the packet before

    def add(self, payload: bytes) -> None:
        if len(payload) < 2:
            raise PacketError("an AV1 payload without a payload")
        goes_on, continued = bool(payload[0] & 0x80), bool(payload[0] & 0x40)
        if goes_on != bool(self._fragments):
            raise PacketError("a fragment without its beginning, or without its end")
        elements = self._elements(payload)
        for index, element in enumerate(elements):
            self._fragments.append(element)
            if index < len(elements) - 1 or not continued:
                self._units.append(b"".join(self._fragments))
                self._fragments = []

    @staticmethod
    def _elements(payload: bytes) -> list[bytes]:
        count, position = payload[0] >> 4 & 3, 1  # W: so many, the last without a length; 0: each has one
        elements: list[bytes] = []
        while position < len(payload):
            if count and len(elements) == count - 1:
                size = len(payload) - position
            else:
                size, position = _leb128(payload, position)
            if position + size > len(payload):
                raise PacketError("an element is longer than its packet")
            elements.append(payload[position : position + size])
            position += size
        if count and len(elements) != count:
            raise PacketError("fewer elements than were said")
        return elements

    def finish(self) -> tuple[bytes, bool]:
        units, open_fragment = self._units, self._fragments
        self.clear()
        if open_fragment:
            raise PacketError("a unit never ended")
        out, sequence_header, key = [], False, False
        for unit in units:
            kind, spatial, body = _unit(unit)
            if kind in (self.TEMPORAL_DELIMITER, self.TILE_LIST, self.PADDING) or spatial:
                continue
            sequence_header = sequence_header or kind == self.SEQUENCE_HEADER
            if kind in (self.FRAME_HEADER, self.FRAME) and body and body[0] & 0xE0 == 0:
                key = True  # it is shown, and is a key frame (AV1 specification, 5.9.2)
            head = unit[: 2 if unit[0] & 4 else 1]
            out.append(bytes((head[0] | 2,)) + head[1:] + _as_leb128(len(body)) + body)
        return b"".join(out), sequence_header and key

    def clear(self) -> None:
        self._units, self._fragments = [], []


def av1_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height as a frame's sequence header says (AV1 specification, 5.5.1); None without one."""
    position = 0
    while position < len(frame):
        start = position
        try:
            position += 2 if frame[start] & 4 else 1
            size, position = _leb128(frame, position)
        except (IndexError, PacketError):
            return None
        if frame[start] >> 3 & 15 == Av1.SEQUENCE_HEADER:
            return _sequence_size(frame[position : position + size])
        position += size
    return None


def _sequence_size(header: bytes) -> tuple[int, int] | None:
    bits, left = int.from_bytes(header), 8 * len(header)

    def read(count: int) -> int:
        nonlocal left
        left -= count
        if left < 0:
            raise PacketError("cut inside the sequence header")
        return bits >> left & (1 << count) - 1

    try:
        read(4)  # profile, still picture
        if read(1):  # reduced
            read(5)
        else:
            if read(1):
                return None  # timing: no browser tells it
            delays = read(1)
            for _ in range(read(5) + 1):
                read(12)
                if read(5) > 7:
                    read(1)
                if delays and read(1):
                    read(4)
        width_bits, height_bits = read(4) + 1, read(4) + 1
        width, height = read(width_bits) + 1, read(height_bits) + 1
    except PacketError:
        return None
    return (width, height) if width <= MAX_SIDE and height <= MAX_SIDE else None


def _unit(unit: bytes) -> tuple[int, int, bytes]:
    """Type, spatial layer and content."""
    if not unit:
        raise PacketError("an empty unit")
    position = 2 if unit[0] & 4 else 1
    if len(unit) < position:
        raise PacketError("cut inside a unit's header")
    spatial = unit[1] >> 3 & 3 if unit[0] & 4 else 0
    if unit[0] & 2:
        size, position = _leb128(unit, position)
        if position + size > len(unit):
            raise PacketError("a unit is longer than it is")
        return unit[0] >> 3 & 15, spatial, unit[position : position + size]
    return unit[0] >> 3 & 15, spatial, unit[position:]


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise PacketError("a length that does not end")


def _as_leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
