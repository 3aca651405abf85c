"""Put frames together from RTP payloads: VP8 (RFC 7741), H264 (RFC 6184) and Opus (RFC 7587), without decoding. VP9 and
AV1 are in `recordings.logs.layered_codecs`.

A frame counts only when it began with a start bit, every packet of it is there and it ended with the marker. After a
loss everything is skipped up to the next key frame, since what follows would be drawn on a picture that never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from recordings.logs.layered_codecs import Av1, Vp9
from recordings.logs.packets import Numbered, PacketError

START_CODE = b"\x00\x00\x00\x01"
MAX_FRAME = 8 * 1024 * 1024  # bytes: more than a key frame of 4K ever has
MAX_SIDE = 8192  # pixels


class Frame(NamedTuple):
    timestamp: int  # in the packets' clock, without wrap
    arrival: float
    data: bytes
    key: bool


class Depayloader(Protocol):
    """Takes one frame's payloads one by one. `finish` gives the frame and begins anew.

    `begins_key` says by one payload alone whether a key frame seems to begin in it: a place to begin decoding.
    """

    @staticmethod
    def begins_key(payload: bytes) -> bool: ...
    def begins(self, payload: bytes) -> bool: ...
    def add(self, payload: bytes) -> None: ...
    def finish(self) -> tuple[bytes, bool]: ...
    def clear(self) -> None: ...


def vp8_descriptor(payload: bytes) -> tuple[int, bool]:
    """The length of the payload descriptor (RFC 7741, section 4.2), and whether a frame begins in this packet."""
    if not payload:
        raise PacketError("an empty payload")
    first = payload[0]
    begins = bool(first & 0x10) and first & 0x07 == 0  # S, and partition 0
    length = 1
    if first & 0x80:  # X: which fields follow
        if len(payload) < 2:
            raise PacketError("cut inside the VP8 descriptor")
        fields = payload[1]
        length = 2
        if fields & 0x80:  # I: a picture id of 7 or 15 bits
            if len(payload) <= length:
                raise PacketError("cut inside the VP8 descriptor")
            length += 2 if payload[length] & 0x80 else 1
        length += bool(fields & 0x40)  # L: TL0PICIDX
        length += bool(fields & 0x30)  # T or K share a byte
    if len(payload) <= length:
        raise PacketError("a VP8 payload without a payload")
    return length, begins


def vp8_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height of a key frame (RFC 6386, section 9.1); None for any other frame."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    width, height = int.from_bytes(frame[6:8], "little") & 0x3FFF, int.from_bytes(frame[8:10], "little") & 0x3FFF
    return (width, height) if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE else None


class Vp8:
    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @staticmethod
    def begins_key(payload: bytes) -> bool:
        length, begins = vp8_descriptor(payload)
        return begins and not payload[length] & 1

    def begins(self, payload: bytes) -> bool:
        return vp8_descriptor(payload)[1]

    def add(self, payload: bytes) -> None:
        length, _ = vp8_descriptor(payload)
        self._parts.append(payload[length:])

    def finish(self) -> tuple[bytes, bool]:
        data = b"".join(self._parts)
        self.clear()
        if data and not data[0] & 1 and vp8_size(data) is None:
            raise PacketError("a key frame without a size")
        return data, vp8_size(data) is not None

    def clear(self) -> None:
        self._parts = []


class H264:
    """To Annex B, as decoders and FFmpeg's muxers like it (they make AVCC of it themselves)."""

    IDR, SPS, PPS, STAP_A, FU_A = 5, 7, 8, 24, 28

    def __init__(self) -> None:
        self._nals: list[bytes] = []
        self._fragments: list[bytes] = []

    @classmethod
    def begins_key(cls, payload: bytes) -> bool:
        """Parameter sets count, too: browsers send them in front of each key frame, and decoders need them."""
        kind = payload[0] & 0x1F if payload else 0
        if kind == cls.STAP_A:
            kinds = {nal[0] & 0x1F for nal in cls._aggregated(payload)}
        elif kind == cls.FU_A:
            kinds = {payload[1] & 0x1F} if len(payload) > 1 and payload[1] & 0x80 else set()
        else:
            kinds = {kind}
        return bool(kinds & {cls.IDR, cls.SPS})

    def begins(self, payload: bytes) -> bool:
        if not payload:
            raise PacketError("an empty payload")
        if payload[0] & 0x1F == self.FU_A:
            return len(payload) > 1 and bool(payload[1] & 0x80)
        return True

    def add(self, payload: bytes) -> None:
        if not payload:
            raise PacketError("an empty payload")
        kind = payload[0] & 0x1F
        if self._fragments and kind != self.FU_A:
            raise PacketError("a fragmented unit never ended")
        if 1 <= kind <= 23:
            self._nals.append(payload)
        elif kind == self.STAP_A:
            self._nals.extend(self._aggregated(payload))
        elif kind == self.FU_A:
            self._fragment(payload)
        else:
            raise PacketError(f"packetisation type {kind} is not in use")

    @staticmethod
    def _aggregated(payload: bytes) -> Iterator[bytes]:
        position = 1
        while position < len(payload):
            length = int.from_bytes(payload[position : position + 2])
            position += 2
            if length == 0 or position + length > len(payload):
                raise PacketError("an aggregated unit is longer than its packet")
            yield payload[position : position + length]
            position += length

    def _fragment(self, payload: bytes) -> None:
        if len(payload) < 3:
            raise PacketError("a fragment of nothing")
        header = payload[1]
        if header & 0x80:
            if self._fragments:
                raise PacketError("a fragmented unit never ended")
            self._fragments.append(bytes([payload[0] & 0xE0 | header & 0x1F]))
        elif not self._fragments:
            raise PacketError("a fragment without its beginning")
        self._fragments.append(payload[2:])
        if header & 0x40:
            self._nals.append(b"".join(self._fragments))
            self._fragments = []

    def finish(self) -> tuple[bytes, bool]:
        nals, open_fragment = self._nals, self._fragments
        self.clear()
        if open_fragment:
            raise PacketError("a fragmented unit never ended")
        kinds = {nal[0] & 0x1F for nal in nals}
        return b"".join(START_CODE + nal for nal in nals), self.IDR in kinds

    def clear(self) -> None:
        self._nals, self._fragments = [], []


DEPAYLOADERS: dict[str, type[Vp8] | type[H264] | type[Vp9] | type[Av1]] = {
    "video/vp8": Vp8,
    "video/h264": H264,
    "video/vp9": Vp9,
    "video/av1": Av1,
}


def video_frames(packets: Iterable[Numbered], codec: Depayloader) -> Iterator[Frame]:
    """Whole frames, the first and the first after each loss a key frame. A bad payload counts as a loss."""
    timestamp: int | None = None  # of the frame that is being put together
    size = 0
    wants_key = True

    def lose() -> None:
        nonlocal timestamp, wants_key
        codec.clear()
        timestamp, wants_key = None, True

    for numbered in packets:
        packet = numbered.packet
        if numbered.gap:
            lose()
        if not packet.payload:
            continue  # a probe, made of padding
        try:
            if timestamp is not None and numbered.timestamp != timestamp:
                lose()  # the frame before never had its marker
            if timestamp is None:
                if not codec.begins(packet.payload):
                    lose()
                    continue
                timestamp, size = numbered.timestamp, 0
            size += len(packet.payload)
            if size > MAX_FRAME:
                raise PacketError("a frame without an end")
            codec.add(packet.payload)
            if not packet.marker:
                continue
            data, key = codec.finish()
        except PacketError:
            lose()
            continue
        if data and (key or not wants_key):
            wants_key = False
            yield Frame(timestamp, packet.arrival, data, key)
        timestamp = None


def opus_duration(payload: bytes) -> float:
    """Seconds of sound in a packet, by its table of contents (RFC 6716, section 3.1)."""
    if not payload:
        raise PacketError("an empty payload")
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = (0.010, 0.020, 0.040, 0.060)[config & 3]
    elif config < 16:
        frame = (0.010, 0.020)[config & 1]
    else:
        frame = (0.0025, 0.005, 0.010, 0.020)[config & 3]
    if code == 3:
        if len(payload) < 2:
            raise PacketError("cut before the count of frames")
        frames = payload[1] & 0x3F
    else:
        frames = 1 if code == 0 else 2
    if not 0 < frames * frame <= 0.1201:
        raise PacketError("an Opus packet of no length, or longer than 120 ms")
    return frames * frame


def opus_frames(packets: Iterable[Numbered]) -> Iterator[Frame]:
    """Each packet is a frame, and each frame a beginning: what is missing stays silent."""
    for numbered in packets:
        payload = numbered.packet.payload
        try:
            opus_duration(payload)
        except PacketError:
            continue
        yield Frame(numbered.timestamp, numbered.packet.arrival, payload, True)
