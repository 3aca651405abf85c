"""Read and write RTCP: reports, source descriptions, goodbyes and feedback (RFC 3550, 4585, 5104; REMB; transport-cc).

`parse_compound` gives one object for each packet that we understand and skips the types that we do not. Each object
serialises itself to one RTCP packet; join the bytes of several for a compound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import Struct, error
from typing import ClassVar

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer
from sfu.core.transport_feedback import TransportFeedback
from sfu.core.transport_feedback import parse as parse_transport_feedback

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
BYE = 203
TRANSPORT_LAYER_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206
EXTENDED_REPORT = 207

CNAME = 1  # the SDES item

_HEADER = Struct("!BBH")
_WORD = Struct("!I")
_TWO_WORDS = Struct("!II")
_SENDER_INFO = Struct("!IQIII")
_BLOCK = Struct("!IIIIII")
_NACK = Struct("!HH")
_REFERENCE_TIME = Struct("!BxHQ")
_XR_BLOCK = Struct("!BxH")
_DELAY = Struct("!III")

REFERENCE_TIME, DELAYS = 4, 5  # kinds of extended report blocks


def pack(packet_type: int, count: int, body: bytes) -> bytes:
    """A packet with its header. The body's length must be a multiple of four bytes."""
    return _HEADER.pack(0x80 | count, packet_type, len(body) // 4) + body


@dataclass(slots=True)
class ReportBlock:
    """One source's reception. `fraction_lost` is in 1/256; `last_sr` the middle 32 bits of the NTP time of
    its last report that came, and the delay since then in 1/65536 s; both 0 before the first.
    """

    ssrc: int
    fraction_lost: int = 0
    packets_lost: int = 0  # signed: repeats count negative
    highest_sequence: int = 0  # wraps counted in the upper 16 bits
    jitter: int = 0
    last_sr: int = 0
    delay_since_last_sr: int = 0

    def serialize(self) -> bytes:
        lost = max(-0x800000, min(0x7FFFFF, self.packets_lost)) & 0xFFFFFF
        return _BLOCK.pack(
            self.ssrc,
            self.fraction_lost << 24 | lost,
            self.highest_sequence & 0xFFFFFFFF,
            min(self.jitter, 0xFFFFFFFF),
            self.last_sr,
            min(self.delay_since_last_sr, 0xFFFFFFFF),
        )

    @classmethod
    def parse_all(cls, body: bytes, offset: int, count: int) -> list[ReportBlock]:
        blocks = []
        for position in range(offset, offset + count * _BLOCK.size, _BLOCK.size):
            ssrc, lost, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, position)
            signed = (lost & 0xFFFFFF) - ((lost & 0x800000) << 1)
            blocks.append(cls(ssrc, lost >> 24, signed, highest, jitter, last_sr, delay))
        return blocks


@dataclass(slots=True)
class SenderReport:
    """`ntp_timestamp` is 64-bit fixed point, seconds since 1900 in the upper half."""

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int = 0
    octet_count: int = 0
    blocks: list[ReportBlock] = field(default_factory=list)

    def serialize(self) -> bytes:
        info = _SENDER_INFO.pack(
            self.ssrc,
            self.ntp_timestamp,
            self.rtp_timestamp,
            self.packet_count & 0xFFFFFFFF,
            self.octet_count & 0xFFFFFFFF,
        )
        return pack(SENDER_REPORT, len(self.blocks), info + b"".join(b.serialize() for b in self.blocks))

    @classmethod
    def parse(cls, body: bytes, count: int) -> SenderReport:
        # What follows the blocks is a profile's extension (RFC 3550, 6.4.3): allowed, and of no use to us.
        ssrc, ntp, rtp, packets, octets = _SENDER_INFO.unpack_from(body)
        return cls(ssrc, ntp, rtp, packets, octets, ReportBlock.parse_all(body, _SENDER_INFO.size, count))


@dataclass(slots=True)
class ReceiverReport:
    ssrc: int
    blocks: list[ReportBlock] = field(default_factory=list)

    def serialize(self) -> bytes:
        blocks = b"".join(block.serialize() for block in self.blocks)
        return pack(RECEIVER_REPORT, len(self.blocks), _WORD.pack(self.ssrc) + blocks)

    @classmethod
    def parse(cls, body: bytes, count: int) -> ReceiverReport:
        return cls(_WORD.unpack_from(body)[0], ReportBlock.parse_all(body, _WORD.size, count))


@dataclass(slots=True)
class ExtendedReport:
    """The round trip as one who sends no media measures it (RFC 3611, 4.4 and 4.5; other blocks are read over).

    `reference_time` is the receiver's 64-bit NTP time, 0 if it is not told. The sender of media answers with `delays`:
    (the receiver's ssrc, the middle 32 bits of the last time it told, the delay since that came in 1/65536 s).
    """

    ssrc: int
    reference_time: int = 0
    delays: list[tuple[int, int, int]] = field(default_factory=list)

    def serialize(self) -> bytes:
        body = _WORD.pack(self.ssrc)
        if self.reference_time:
            body += _REFERENCE_TIME.pack(REFERENCE_TIME, 2, self.reference_time)
        if self.delays:
            body += _XR_BLOCK.pack(DELAYS, 3 * len(self.delays))
            body += b"".join(_DELAY.pack(*delay) for delay in self.delays)
        return pack(EXTENDED_REPORT, 0, body)

    @classmethod
    def parse(cls, body: bytes, count: int) -> ExtendedReport:
        report = cls(_WORD.unpack_from(body)[0])
        position = 4
        while position < len(body):
            kind, words = _XR_BLOCK.unpack_from(body, position)
            start, position = position, position + 4 + 4 * words
            if position > len(body):
                raise ParseError("XR block overruns")
            if kind == REFERENCE_TIME and words == 2:
                report.reference_time = _REFERENCE_TIME.unpack_from(body, start)[2]
            elif kind == DELAYS:
                report.delays += [_DELAY.unpack_from(body, at) for at in range(start + 4, position - 11, 12)]
        return report


@dataclass(slots=True)
class SourceDescription:
    """The canonical names of sources: (ssrc, cname). Other items are read over; "" is a source without a name."""

    cnames: list[tuple[int, str]]

    def serialize(self) -> bytes:
        """More sources than one packet can count (31) make several packets."""
        packets = []
        for start in range(0, max(1, len(self.cnames)), 31):
            chunks = self.cnames[start : start + 31]
            body = bytearray()
            for ssrc, cname in chunks:
                body += _WORD.pack(ssrc)
                if value := cname.encode()[:255]:
                    body += bytes((CNAME, len(value))) + value
                body += bytes(4 - len(body) % 4)  # one zero byte at least ends the chunk
            packets.append(pack(SOURCE_DESCRIPTION, len(chunks), bytes(body)))
        return b"".join(packets)

    @classmethod
    def parse(cls, body: bytes, count: int) -> SourceDescription:
        cnames = []
        position = 0
        for _ in range(count):
            (ssrc,) = _WORD.unpack_from(body, position)
            position += 4
            cname = b""
            while (kind := body[position]) != 0:
                start = position + 2
                position = start + body[position + 1]
                if position > len(body):
                    raise ParseError("SDES item overruns")
                if kind == CNAME:
                    cname = body[start:position]
            position += 4 - position % 4
            cnames.append((ssrc, cname.decode("utf-8", "replace")))
        return cls(cnames)


@dataclass(slots=True)
class Bye:
    ssrcs: list[int]
    reason: bytes = b""

    def serialize(self) -> bytes:
        body = b"".join(_WORD.pack(ssrc) for ssrc in self.ssrcs)
        if self.reason:
            body += bytes([len(self.reason)]) + self.reason
            body += bytes(-len(body) % 4)
        return pack(BYE, len(self.ssrcs), body)

    @classmethod
    def parse(cls, body: bytes, count: int) -> Bye:
        ssrcs = [_WORD.unpack_from(body, 4 * index)[0] for index in range(count)]
        reason = b""
        if len(body) > 4 * count:
            start = 4 * count + 1
            reason = body[start : start + body[start - 1]]
            if len(reason) != body[start - 1]:
                raise ParseError("BYE reason overruns")
        return cls(ssrcs, reason)


@dataclass(slots=True)
class Nack:
    """Packets that a receiver misses. `lost` may hold unwrapped numbers, in any order; the wire has the low 16 bits."""

    sender_ssrc: int
    media_ssrc: int
    lost: list[int]

    def serialize(self) -> bytes:
        body = _TWO_WORDS.pack(self.sender_ssrc, self.media_ssrc)
        for first, bitmask in self.pairs():
            body += _NACK.pack(first, bitmask)
        return pack(TRANSPORT_LAYER_FEEDBACK, 1, body)

    def pairs(self) -> list[tuple[int, int]]:
        """A packet number each, and the 16 that follow it as bits, across the wrap as elsewhere."""
        numbers = sorted({number & 0xFFFF for number in self.lost})
        if not numbers:
            return []
        # On a circle a list begins after its widest gap: 65534, 65535, 0, 1 begins with 65534.
        gaps = [(number - numbers[index - 1]) & 0xFFFF for index, number in enumerate(numbers)]
        start = gaps.index(max(gaps))
        pairs: list[tuple[int, int]] = []
        for number in numbers[start:] + numbers[:start]:
            distance = (number - pairs[-1][0]) & 0xFFFF if pairs else 0xFFFF
            if distance <= 16:
                pairs[-1] = (pairs[-1][0], pairs[-1][1] | 1 << distance - 1)
            else:
                pairs.append((number, 0))
        return pairs

    @classmethod
    def parse(cls, body: bytes) -> Nack:
        sender_ssrc, media_ssrc = _TWO_WORDS.unpack_from(body)
        if len(body) < 12:
            raise ParseError("NACK asks for nothing")
        lost = []
        for position in range(8, len(body), 4):
            first, bitmask = _NACK.unpack_from(body, position)
            lost.append(first)
            while bitmask:
                lowest = bitmask & -bitmask
                lost.append((first + lowest.bit_length()) & 0xFFFF)
                bitmask ^= lowest
        return cls(sender_ssrc, media_ssrc, lost)


@dataclass(slots=True)
class PictureLossIndication:
    sender_ssrc: int
    media_ssrc: int

    def serialize(self) -> bytes:
        return pack(PAYLOAD_FEEDBACK, 1, _TWO_WORDS.pack(self.sender_ssrc, self.media_ssrc))

    @classmethod
    def parse(cls, body: bytes) -> PictureLossIndication:
        return cls(*_TWO_WORDS.unpack_from(body))


@dataclass(slots=True)
class FullIntraRequest:
    """`entries`: (ssrc, number of the request). The same number again is the same request."""

    sender_ssrc: int
    entries: list[tuple[int, int]]

    def serialize(self) -> bytes:
        body = _TWO_WORDS.pack(self.sender_ssrc, 0)
        for ssrc, number in self.entries:
            body += _TWO_WORDS.pack(ssrc, (number & 0xFF) << 24)
        return pack(PAYLOAD_FEEDBACK, 4, body)

    @classmethod
    def parse(cls, body: bytes) -> FullIntraRequest:
        sender_ssrc, _ = _TWO_WORDS.unpack_from(body)
        entries = [_TWO_WORDS.unpack_from(body, position) for position in range(8, len(body), 8)]
        return cls(sender_ssrc, [(ssrc, number >> 24) for ssrc, number in entries])


@dataclass(slots=True)
class Remb:
    """The receiver's estimate of the way's bandwidth, bits a second (draft-alvestrand-rmcat-remb-03)."""

    sender_ssrc: int
    bitrate: int
    ssrcs: list[int]

    NAME: ClassVar[bytes] = b"REMB"

    def serialize(self) -> bytes:
        exponent = max(0, self.bitrate.bit_length() - 18)
        mantissa = self.bitrate >> exponent
        body = _TWO_WORDS.pack(self.sender_ssrc, 0) + self.NAME
        body += _WORD.pack(len(self.ssrcs) << 24 | exponent << 18 | mantissa)
        return pack(PAYLOAD_FEEDBACK, 15, body + b"".join(_WORD.pack(ssrc) for ssrc in self.ssrcs))

    @classmethod
    def parse(cls, body: bytes) -> Remb | None:
        """None for another application's layer feedback."""
        if body[8:12] != cls.NAME:
            return None
        (packed,) = _WORD.unpack_from(body, 12)
        count = packed >> 24
        if len(body) != 16 + 4 * count:
            raise ParseError("REMB has not as many SSRCs as it says")
        ssrcs = [_WORD.unpack_from(body, 16 + 4 * index)[0] for index in range(count)]
        return cls(_WORD.unpack_from(body)[0], (packed & 0x3FFFF) << (packed >> 18 & 63), ssrcs)


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | ExtendedReport
    | SourceDescription
    | Bye
    | Nack
    | PictureLossIndication
    | FullIntraRequest
    | TransportFeedback
    | Remb
)

_REPORTS: dict[int, Callable[[bytes, int], RtcpPacket]] = {
    SENDER_REPORT: SenderReport.parse,
    RECEIVER_REPORT: ReceiverReport.parse,
    SOURCE_DESCRIPTION: SourceDescription.parse,
    BYE: Bye.parse,
    EXTENDED_REPORT: ExtendedReport.parse,
}
_FEEDBACK: dict[tuple[int, int], Callable[[bytes], RtcpPacket | None]] = {
    (TRANSPORT_LAYER_FEEDBACK, 1): Nack.parse,
    (TRANSPORT_LAYER_FEEDBACK, 15): parse_transport_feedback,
    (PAYLOAD_FEEDBACK, 1): PictureLossIndication.parse,
    (PAYLOAD_FEEDBACK, 4): FullIntraRequest.parse,
    (PAYLOAD_FEEDBACK, 15): Remb.parse,
}


def parse_compound(data: Buffer) -> list[RtcpPacket]:
    """All packets of a datagram that we understand. One malformed packet condemns the datagram: ParseError.

    A reduced-size compound (RFC 5506) may begin with any packet.
    """
    packets: list[RtcpPacket] = []
    for first, packet_type, body in _split(bytes(data)):
        count = first & 31
        try:
            packet: RtcpPacket | None = None
            if report := _REPORTS.get(packet_type):
                packet = report(body, count)
            elif feedback := _FEEDBACK.get((packet_type, count)):
                packet = feedback(body)
        except (error, IndexError) as fault:
            raise ParseError(f"RTCP packet of type {packet_type} is too short") from fault
        if packet is not None:
            packets.append(packet)
    return packets


def _split(data: bytes) -> Iterable[tuple[int, int, bytes]]:
    """First byte, packet type and body (without padding) of each packet in a compound."""
    if not data:
        raise ParseError("RTCP datagram is empty")
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise ParseError("RTCP header is truncated")
        first, packet_type, words = _HEADER.unpack_from(data, position)
        start, position = position + 4, position + 4 + 4 * words
        if first >> 6 != 2:
            raise ParseError("RTCP version is not 2")
        if position > len(data):
            raise ParseError("RTCP packet is longer than its datagram")
        end = position
        if first & 0x20:
            padding = data[end - 1] if words else 0
            # A feedback on arrivals ends where its last one does, and is padded to a word: by less than one.
            odd = padding % 4 and packet_type != TRANSPORT_LAYER_FEEDBACK
            if padding == 0 or odd or padding > end - start:
                raise ParseError("RTCP padding length is impossible")
            end -= padding
        yield first, packet_type, data[start:end]
