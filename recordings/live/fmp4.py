"""Fragments of MP4 (ISO/IEC 14496-12, CMAF): what parts and segments are made of.

FFmpeg encodes and writes the header. Fragments are written here, because a part has to end where we say and at once,
and not when FFmpeg's muxer has seen what follows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

SYNC, NOT_SYNC = 0x02000000, 0x01010000  # sample_depends_on, sample_is_non_sync_sample
PARAMETER_SETS = (7, 8, 9)  # units that stand in the header, and the delimiter


class Sample(NamedTuple):
    time: int  # in the track's timescale, of decoding and of showing alike: nothing is reordered
    duration: int
    data: bytes
    key: bool


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def fragment(sequence: int, samples: Sequence[Sample]) -> bytes:
    """One `moof` and its `mdat`, with samples of one track."""
    runs = b"".join(
        struct.pack(">III", sample.duration, len(sample.data), SYNC if sample.key else NOT_SYNC) for sample in samples
    )

    def moof(offset: int) -> bytes:
        header = _box(b"mfhd", struct.pack(">II", 0, sequence))
        track = _box(b"tfhd", struct.pack(">II", 0x020000, 1))  # default-base-is-moof; track 1
        time = _box(b"tfdt", struct.pack(">IQ", 0x01000000, samples[0].time))
        # The data's offset, then each sample's duration, size and flags.
        run = _box(b"trun", struct.pack(">IIi", 0x000701, len(samples), offset), runs)
        return _box(b"moof", header, _box(b"traf", track, time, run))

    return moof(len(moof(0)) + 8) + _box(b"mdat", *(sample.data for sample in samples))


def units(data: bytes) -> list[bytes]:
    """The units of H.264 with start codes (Annex B)."""
    return [unit for unit in data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01") if unit]


def length_prefixed(data: bytes) -> bytes:
    """H.264 as MP4 holds it."""
    kept = (unit for unit in units(data) if unit[0] & 0x1F not in PARAMETER_SETS)
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in kept)


def h264_name(header: bytes) -> str:
    """The codec's name with profile and level (RFC 6381), from the encoder's parameter sets."""
    profile = next(unit for unit in units(header) if unit[0] & 0x1F == 7)[1:4]
    return f"avc1.{profile.hex()}"
