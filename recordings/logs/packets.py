"""Read a producer's packet log (classic rtpdump), trusting nothing in it: it came from the network through a crash.

A log cut short by a crash is read as far as it goes; a packet that makes no sense is counted and skipped. The layout
stands in `sfu.manifest`; RTP in RFC 3550, section 5.1, its sender reports in section 6.4.1.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from sfu.manifest import RTPDUMP_MAGIC

START = struct.Struct(">IIIHH")
RECORD = struct.Struct(">HHI")
RTP = struct.Struct(">BBHII")
SENDER_REPORT = 200
NTP_EPOCH = 2208988800  # seconds from 1900 to 1970
READ_AT_ONCE = 256 * 1024  # bytes, four times the longest record
REORDER_WAIT = 2.0  # seconds that a repaired packet may come late: the worker gives up asking before
REORDER_PACKETS = 2048  # and never more than this many are held


class PacketError(ValueError):
    """A log or packet that makes no sense."""


class RtpPacket(NamedTuple):
    arrival: float  # seconds since the Unix epoch, by the worker's clock
    sequence_number: int
    timestamp: int
    marker: bool
    payload_type: int
    payload: bytes


class SenderReport(NamedTuple):
    arrival: float
    ntp: float  # seconds since the Unix epoch, by the sender's clock
    timestamp: int  # the same moment in the packets' clock


def parse_rtp(data: bytes, arrival: float) -> RtpPacket:
    if len(data) < RTP.size:
        raise PacketError("shorter than an RTP header")
    first, second, sequence_number, timestamp, _ssrc = RTP.unpack_from(data)
    if first >> 6 != 2:
        raise PacketError("not RTP version 2")
    begin = RTP.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < begin + 4:
            raise PacketError("cut inside the header extension")
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4])
    end = len(data)
    if first & 0x20:
        padding = data[-1]
        if padding == 0:
            raise PacketError("padding of no length")
        end -= padding
    if begin > end:
        raise PacketError("header and padding are longer than the packet")
    return RtpPacket(arrival, sequence_number, timestamp, bool(second & 0x80), second & 0x7F, data[begin:end])


def parse_sender_reports(data: bytes, arrival: float) -> list[SenderReport]:
    """The sender reports of a compound RTCP packet; anything else in it is passed over."""
    reports = []
    position = 0
    while position + 4 <= len(data):
        kind, words = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        end = position + 4 + 4 * words
        if data[position] >> 6 != 2 or end > len(data):
            raise PacketError("not RTCP, or cut short")
        if kind == SENDER_REPORT and words >= 6:
            seconds, fraction, timestamp = struct.unpack_from(">III", data, position + 8)
            reports.append(SenderReport(arrival, seconds - NTP_EPOCH + fraction / 2**32, timestamp))
        position = end
    return reports


class PacketLog:
    """One log, also one that still grows: iterating yields its packets and sender reports in the order of their
    arrival as far as they are written; iterating again goes on from there."""

    def __init__(self, path: Path, position: int = 0) -> None:
        """`position`: where a record begins, as an earlier reader has told; 0: from the start."""
        self.path = path
        self.position = position  # bytes: where the next record begins
        self.bad = 0  # records that made no sense
        self._began: float | None = None  # seconds since the Unix epoch
        self._broken = False

    def __iter__(self) -> Iterator[RtpPacket | SenderReport]:
        return self.read()

    def read(self, until: float = math.inf) -> Iterator[RtpPacket | SenderReport]:
        """What arrived up to `until`, seconds since the Unix epoch; the rest is left for the next time."""
        with self.path.open("rb", buffering=0) as file:
            if self._broken or not self._reads_header(file):
                return
            yield from self._records(file, until)

    def _reads_header(self, file: FileIO) -> bool:
        if self._began is None:
            header = file.read(len(RTPDUMP_MAGIC) + START.size)
            if not header.startswith(RTPDUMP_MAGIC) or len(header) < len(RTPDUMP_MAGIC) + START.size:
                return False  # the worker has not yet written the first line, or died before
            seconds, microseconds, *_ = START.unpack_from(header, len(RTPDUMP_MAGIC))
            self._began = seconds + microseconds / 1e6
            self.position = max(self.position, len(header))
        file.seek(self.position)
        return True

    def _records(self, file: FileIO, until: float) -> Iterator[RtpPacket | SenderReport]:
        began = self._began or 0.0
        buffer, at = b"", 0
        while True:
            if len(buffer) - at < RECORD.size or len(buffer) - at < (length := RECORD.unpack_from(buffer, at)[0]):
                more = file.read(READ_AT_ONCE)
                if not more:
                    return  # a record that is half written, or that the worker died in
                buffer, at = buffer[at:] + more, 0
                continue
            _, packet_length, milliseconds = RECORD.unpack_from(buffer, at)
            if length < RECORD.size:
                self.bad += 1
                self._broken = True  # no length, no way on
                return
            arrival = began + milliseconds / 1000
            if arrival > until:
                return
            data = buffer[at + RECORD.size : at + length]
            at += length
            self.position += length
            try:
                if packet_length == 0:
                    yield from parse_sender_reports(data, arrival)
                else:
                    yield parse_rtp(data[:packet_length], arrival)
            except PacketError:
                self.bad += 1


def unwrapped(value: int, last: int | None, bits: int) -> int:
    """Of the numbers that look like `value` once they have wrapped at 2**bits, the nearest to `last`."""
    if last is None:
        return value
    half = 1 << (bits - 1)
    return last + (value - last + half) % (half << 1) - half


class Unwrapper:
    """Turn numbers that wrap at 2**bits into ones that do not, each the nearest to the one before."""

    def __init__(self, bits: int, last: int | None = None) -> None:
        self._bits = bits
        self._last = last

    def __call__(self, value: int) -> int:
        self._last = unwrapped(value, self._last, self._bits)
        return self._last


class Numbered(NamedTuple):
    """A packet in its place: both numbers without wrap, and whether packets are missing before it."""

    sequence: int
    timestamp: int
    gap: bool
    packet: RtpPacket


def in_order(packets: Iterable[RtpPacket | SenderReport], timestamp: int | None = None) -> Iterator[Numbered]:
    """RTP packets by sequence number, waiting for repaired ones as long as they can still come; no doubles.

    `timestamp`: one without wrap that lies near the first packet's, where reading begins in the middle of a log.
    """
    sequences, timestamps = Unwrapper(16), Unwrapper(32, timestamp)
    waiting: list[tuple[int, int, int, RtpPacket]] = []
    expected: int | None = None
    count = 0

    def due(now: float) -> bool:
        first = waiting[0]
        return first[0] == expected or len(waiting) > REORDER_PACKETS or now - first[3].arrival > REORDER_WAIT

    def release() -> Numbered | None:
        nonlocal expected
        sequence, _, timestamp, packet = heapq.heappop(waiting)
        if expected is not None and expected - REORDER_PACKETS < sequence < expected:
            return None  # a double, or too late
        gap = expected is not None and sequence != expected
        expected = sequence + 1
        return Numbered(sequence, timestamp, gap, packet)

    for packet in packets:
        if isinstance(packet, SenderReport):
            continue
        count += 1
        heapq.heappush(waiting, (sequences(packet.sequence_number), count, timestamps(packet.timestamp), packet))
        while waiting and due(packet.arrival):
            if (numbered := release()) is not None:
                yield numbered
    while waiting:
        if (numbered := release()) is not None:
            yield numbered
