"""Write packets as rtpdump does: the classic layout of rtptools (`rtpdump -F dump`), as sfu.manifest describes it.

https://www.cs.columbia.edu/irt/software/rtptools/ , file format "RTP dump".
"""

from __future__ import annotations

import struct

from sfu.manifest import RTPDUMP_MAGIC

_START = struct.Struct(">IIIHH")
_RECORD = struct.Struct(">HHI")

RECORD_HEADER = _RECORD.size
MAX_PACKET = 0xFFFF - RECORD_HEADER


def file_header(started_at: float) -> bytes:
    """`started_at`: seconds since the Unix epoch. The source address is left 0: it is nobody's business later."""
    seconds = int(started_at)
    return RTPDUMP_MAGIC + _START.pack(seconds, int((started_at - seconds) * 1_000_000), 0, 0, 0)


def append_rtp(log: bytearray, packet: bytes | memoryview, offset: float) -> None:
    """`offset`: seconds since the file's start."""
    length = len(packet)
    log += _RECORD.pack(length + 8, length, max(0, int(offset * 1000)))
    log += packet


def append_rtcp(log: bytearray, packet: bytes | memoryview, offset: float) -> None:
    log += _RECORD.pack(len(packet) + 8, 0, max(0, int(offset * 1000)))
    log += packet
