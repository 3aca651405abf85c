"""The transport-wide feedback packet: which packets arrived, and when.

Its draft is draft-holmer-rmcat-transport-wide-cc-extensions-01, which every browser follows.
A run or a bit vector tells of each packet whether it arrived; an arrival's time is a difference to the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

from sfu.core.errors import ParseError

TICK = 0.000_25  # seconds: the unit of arrival differences
REFERENCE_TICKS = 256  # ticks in one unit of the reference time, 64 ms
MAX_RUN = 0x1FFF  # packets in one run-length chunk

_NOT_RECEIVED, _SMALL, _LARGE = 0, 1, 2
_HEAD = Struct("!IIHH")
_CHUNK = Struct("!H")
_LARGE_DELTA = Struct("!h")


@dataclass(slots=True)
class TransportFeedback:
    """`received` holds (sequence number, ticks since the arrival before) in order of sequence numbers, which run on
    from `base_sequence` without wrapping; of `count` numbers from there, those not in it did not arrive.

    The first difference is counted from `reference_time`, which is in units of 64 ms, signed, 24 bits.
    """

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    count: int
    reference_time: int
    feedback_count: int
    received: list[tuple[int, int]] = field(default_factory=list)

    def serialize(self) -> bytes:
        symbols = bytearray(self.count)
        deltas = bytearray()
        for sequence, delta in self.received:
            if 0 <= delta <= 255:
                symbols[sequence - self.base_sequence] = _SMALL
                deltas.append(delta)
            else:
                symbols[sequence - self.base_sequence] = _LARGE
                deltas += _LARGE_DELTA.pack(delta)
        body = bytearray(_HEAD.pack(self.sender_ssrc, self.media_ssrc, self.base_sequence & 0xFFFF, self.count))
        body += (self.reference_time & 0xFFFFFF).to_bytes(3, "big")
        body.append(self.feedback_count & 0xFF)
        body += _chunks(symbols)
        body += deltas
        body += bytes(-len(body) % 4)
        return b"\x8f\xcd" + (len(body) // 4).to_bytes(2, "big") + body


def parse(body: bytes) -> TransportFeedback:
    """The packet after its RTCP header. Raises ParseError, or struct.error and IndexError where it is too short."""
    sender_ssrc, media_ssrc, base, count = _HEAD.unpack_from(body)
    reference = int.from_bytes(body[12:15], "big", signed=True)
    feedback = TransportFeedback(sender_ssrc, media_ssrc, base, count, reference, body[15])

    numbers: list[int] = []  # that arrived: runs of lost packets cost nothing, however long
    symbols: list[int] = []  # theirs, from the first on that is not small
    index, position = 0, 16
    while index < count:
        (chunk,) = _CHUNK.unpack_from(body, position)
        position += 2
        if not chunk & 0x8000:
            symbol, run = chunk >> 13, min(chunk & MAX_RUN, count - index)
            if symbol != _NOT_RECEIVED:
                if run > len(body) - position:
                    raise ParseError("transport feedback has more arrivals than times")
                if symbol != _SMALL or symbols:
                    symbols += [_SMALL] * (len(numbers) - len(symbols)) + [symbol] * run
                numbers += range(base + index, base + index + run)
            index += run
            continue
        bits, in_chunk = (2, 7) if chunk & 0x4000 else (1, 14)
        for shift in range((in_chunk - 1) * bits, -1, -bits):
            symbol = chunk >> shift & (1 << bits) - 1
            if symbol != _NOT_RECEIVED and index < count:
                if symbol != _SMALL or symbols:
                    symbols += [_SMALL] * (len(numbers) - len(symbols)) + [symbol]
                numbers.append(base + index)
            index += 1

    if not symbols:  # as nearly always: a byte each
        if len(numbers) > len(body) - position:
            raise ParseError("transport feedback has more arrivals than times")
        feedback.received = list(zip(numbers, body[position:], strict=False))
        return feedback
    for number, symbol in zip(numbers, symbols, strict=True):
        if symbol == _SMALL:
            delta = body[position]
            position += 1
        elif symbol == _LARGE:
            (delta,) = _LARGE_DELTA.unpack_from(body, position)
            position += 2
        else:
            raise ParseError("transport feedback has a reserved symbol")
        feedback.received.append((number, delta))
    return feedback


def _chunks(symbols: bytearray) -> bytes:
    """The statuses as runs where they are long and as vectors where they change."""
    chunks = bytearray()
    position = 0
    while position < len(symbols):
        symbol = symbols[position]
        end = position + 1
        while end < len(symbols) and symbols[end] == symbol and end - position < MAX_RUN:
            end += 1
        vector = symbols[position : position + 14]
        bits, per_chunk = (2, 7) if _LARGE in vector else (1, 14)
        if end - position >= per_chunk or end == len(symbols):
            chunk = symbol << 13 | end - position
        else:
            chunk = 0x8000 if bits == 1 else 0xC000
            end = min(position + per_chunk, len(symbols))
            for index, value in enumerate(symbols[position:end]):
                chunk |= value << (per_chunk - 1 - index) * bits
        chunks += _CHUNK.pack(chunk)
        position = end
    return bytes(chunks)
