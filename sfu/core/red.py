"""Redundant audio (RED, RFC 2198): a packet of voice that carries earlier ones again, so that a loss mends itself.

A header for each block, the earlier ones first: one bit "another follows", the payload type (7 bits), how much earlier
its timestamp is (14), its length (10). The last block is the packet's own: its header is one byte, its length what is
left. Chromium sends Opus so, with one or two earlier packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer

MAX_EARLIER = 9  # blocks; browsers send two at most
MAX_OFFSET = (1 << 14) - 1  # timestamp units: a third of a second of Opus
MAX_BLOCK = (1 << 10) - 1  # bytes

_LONG_HEADER = 4  # bytes
_FOLLOWS = 0x80


class Block(NamedTuple):
    payload_type: int
    timestamp_offset: int  # how much earlier than the packet's own timestamp; 0 for the last one
    offset: int  # of its payload in the buffer
    length: int  # 0: nothing was said


def parse_red(data: Buffer, offset: int, end: int) -> list[Block]:
    """The blocks of `data[offset:end]`, the packet's own last. Raises ParseError for what is malformed."""
    if not 0 <= offset < end <= len(data):
        raise ParseError("RED payload is empty")
    headers: list[tuple[int, int, int]] = []
    while data[offset] & _FOLLOWS:
        # The last block's one byte must follow.
        if offset + _LONG_HEADER >= end:
            raise ParseError("RED header is truncated")
        if len(headers) == MAX_EARLIER:
            raise ParseError("RED of too many blocks")
        value = int.from_bytes(data[offset : offset + _LONG_HEADER], "big")
        headers.append((value >> 24 & 0x7F, value >> 10 & MAX_OFFSET, value & MAX_BLOCK))
        offset += _LONG_HEADER
    own = data[offset]
    offset += 1
    blocks = []
    for payload_type, earlier, length in headers:
        blocks.append(Block(payload_type, earlier, offset, length))
        offset += length
    if offset > end:
        raise ParseError("RED blocks are longer than their packet")
    blocks.append(Block(own, 0, offset, end - offset))
    return blocks


def build_red(payload_type: int, payload: bytes, earlier: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """A payload with `earlier` ones, oldest first, each with how much earlier its timestamp was.

    Those too old, too long or too many for the format are left out: they only repeat.
    """
    fitting = [
        (offset, block) for offset, block in earlier if 0 < offset <= MAX_OFFSET and 0 < len(block) <= MAX_BLOCK
    ][-MAX_EARLIER:]
    headers = b"".join(
        ((_FOLLOWS | payload_type) << 24 | offset << 10 | len(block)).to_bytes(_LONG_HEADER, "big")
        for offset, block in fitting
    )
    return b"".join((headers, bytes((payload_type,)), *(block for _, block in fitting), payload))
