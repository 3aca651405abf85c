"""Send bursts to their receivers: copy, patch, protect, and let the kernel cut and send many at once.

The one loop that decides what a worker can carry. For each receiver a burst is copied whole into the send buffer, the
transport-wide number is written at a fixed offset, SRTP goes on in place; packets of one size leave as one
segmented send, and the sends of several receivers in one system call. Whatever does not differ between receivers is
prepared once for each burst (`_rows`), and what does stands in one object (`Lane`).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any

from sfu.core.bandwidth.sent_history import departures
from sfu.core.burst import Burst
from sfu.core.lane import Lane
from sfu.core.layout import NUMBER_AT, patch_number
from sfu.core.listener import Seat
from sfu.worker.datagrams import (
    CONTROL,
    HEADER,
    IOVEC,
    MAX_SEGMENTS,
    MAX_SEND,
    SOL_UDP,
    UDP_SEGMENT,
    can_segment,
    ffi,
    is_temporary,
    sendmmsg,
)
from sfu.worker.srtp import MAIN_TAG, srtp_protect
from sfu.worker.srtp import ffi as srtp_ffi

logger = logging.getLogger(__name__)

BUFFER = 256 * 1024  # bytes protected before they are sent: fits the second-level cache
MAX_MESSAGES = 64  # sends in one system call
MAX_ROWS = 16  # receivers in one: more would save little in the kernel, and cost preparing for each burst
ROOM = 64 * 1024  # bytes for one burst

# One receiver's: its bytes, of each packet (offset of the number, pointer, length pointer), and which words of the
# headers are the address.
Row = tuple[memoryview, list[tuple[int, Any, Any]], list[int]]


class Messages:
    """What the kernel is told of so many sends at once: an array of struct mmsghdr, each with one struct iovec."""

    __slots__ = ("_headers", "_iovecs", "_iovecs_address", "pointer", "words")

    def __init__(self, count: int) -> None:
        self._headers = bytearray(HEADER.size * count)
        self._iovecs = bytearray(IOVEC.size * count)
        self._iovecs_address = int(ffi.cast("uintptr_t", ffi.from_buffer(self._iovecs)))
        self.words = memoryview(self._headers).cast("Q")
        self.pointer = ffi.cast("struct mmsghdr *", ffi.from_buffer(self._headers))

    def fill(self, index: int, address: int, size: int, name_length: int, control: int) -> int:
        """Write one of them; which of `words` is the address to send to, that is left out."""
        iovec = index * IOVEC.size
        IOVEC.pack_into(self._iovecs, iovec, address, size)
        HEADER.pack_into(
            self._headers,
            index * HEADER.size,
            0,
            name_length,
            self._iovecs_address + iovec,
            1,
            control,
            CONTROL.size if control else 0,
            0,
            0,
        )
        return index * HEADER.size // 8


class Rows(list[Row]):
    """Places in the send buffer, one a receiver."""

    __slots__ = ("messages",)

    def __init__(self, messages: Messages) -> None:
        self.messages = messages


class Egress:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._fileno = sock.fileno()
        self._name_length = 16 if sock.family == socket.AF_INET else 28
        self.many = sendmmsg is not None
        self.segments = self.many and can_segment(sock)
        if not self.segments:
            logger.warning("the kernel cannot segment UDP sends (GSO): each packet is a send of its own")
        self.packets = 0
        self.bytes = 0
        self.failed = 0  # packets that the kernel did not take
        self._source = bytearray(ROOM)
        self._source_view = memoryview(self._source)
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._base = srtp_ffi.from_buffer("char[]", self._buffer)
        self._address = int(srtp_ffi.cast("uintptr_t", self._base))
        self._messages = Messages(MAX_MESSAGES)
        self._singles: dict[int, Rows] = {}  # of bursts of one packet, by its size and tag: about 1,500 at most
        self._lengths = srtp_ffi.new("int[]", MAX_SEGMENTS)
        self._lengths_view = memoryview(srtp_ffi.buffer(self._lengths)).cast("B")
        self._length_pointers = [self._lengths + i for i in range(MAX_SEGMENTS)]
        self._controls: dict[int, tuple[int, Any]] = {}  # segment size -> (address, what keeps it)

    def send(self, burst: Burst, now: float) -> None:
        """Send a burst to all its seats; what cannot be sent is dropped and counted."""
        detours = self._send(burst, burst.seats, MAIN_TAG, now)
        by_tag: dict[int, list[Seat]] = {}
        for seat in detours:
            lane: Any = seat.lane
            if lane.pacer is not None and burst.feed.producer.is_video:
                lane.pacer.take(burst, seat)
            else:
                by_tag.setdefault(lane.link.sessions.tag_length, []).append(seat)
        for tag, seats in by_tag.items():
            self._send(burst, seats, tag, now, by_detour=True)

    def send_paced(self, burst: Burst, now: float) -> None:
        """Send what a pacer let go, to the one seat that it has."""
        lane: Any = burst.seats[0].lane
        if lane.detour:
            self._send(burst, burst.seats, lane.link.sessions.tag_length, now, by_detour=True)

    def source(self, burst: Burst, now: float) -> list[memoryview]:
        """The packets as recorders get them: before protection."""
        places = burst.render(self._source, 0, now)
        if burst.tap is not None and burst.tap.differs:
            burst.differ(self._source, 0, burst.tap)
        return [self._source_view[at : at + size] for at, size in places]

    def _send(
        self, burst: Burst, seats: Sequence[Seat], tag: int, now: float, *, by_detour: bool = False
    ) -> list[Seat]:
        """Send to the seats whose lanes are open. Returned are those with a detour, whose SRTP tag may be another."""
        places = burst.render(self._source, tag, now, even=self.segments)
        last_at, last_size = places[-1]
        total = last_at + last_size + tag
        if len(places) == 1:
            rows = self._singles.get(total)
            if rows is None:
                rows = self._singles[total] = self._rows(places, total, tag, MAX_ROWS, Messages(MAX_ROWS))
        else:
            rows = self._rows(places, total, tag, len(seats), self._messages)
        row_count = len(rows)
        fresh_lengths = Struct(f"={len(places)}i").pack(*[size for _, size in places])
        lengths = self._lengths_view[: len(fresh_lengths)]
        source = self._source_view[:total]
        buffer, header_words = self._buffer, rows.messages.words
        protect, patch = srtp_protect, patch_number
        numbered = burst.feed.producer.is_video
        left = departures([size for _, size in places], now)
        detours: list[Seat] = []
        lanes: list[Lane] = []
        row = 0
        for seat in seats:
            lane: Any = seat.lane
            session = lane.session
            if session is None:
                if not lane.detour:
                    continue
                if not by_detour:
                    detours.append(seat)
                    continue
                session = lane.link.outbound
            view, packets, names = rows[row]
            view[:] = source
            lengths[:] = fresh_lengths
            if seat.differs:
                burst.differ(buffer, row * total, seat)
            refused = 0
            if numbered:
                first = number = lane.sequence
                for at, pointer, length in packets:
                    patch(buffer, at, number)
                    number = number + 1 & 0xFFFF
                    refused |= protect(session, pointer, length)
                if not refused:
                    lane.sequence = number
                    if lane.sent is not None:
                        lane.sent(first, left)
            else:
                for _, pointer, length in packets:
                    refused |= protect(session, pointer, length)
            if refused:
                # Nothing of it may leave: the row is written over by the next receiver.
                seat.feed.producer.agenda.dropped["srtp_protect"] += len(places)
                continue
            if by_detour and lane.link.path.connection is not None:
                self._send_framed(lane.link, view, places, tag)
                continue
            name = lane.name
            for word in names:
                header_words[word] = name
            lanes.append(lane)
            row += 1
            if row == row_count:
                self._transmit(rows, lanes, places, tag)
                lanes = []
                row = 0
        if row:
            self._transmit(rows, lanes, places, tag)
        return detours

    def _rows(self, places: list[tuple[int, int]], total: int, tag: int, receivers: int, messages: Messages) -> Rows:
        """Room in the send buffer for some receivers, their messages filled in but for the address."""
        runs = self._runs(places, tag)
        count = max(1, min(receivers, MAX_ROWS, BUFFER // total, MAX_MESSAGES // len(runs)))
        rows = Rows(messages)
        message = 0
        base, length_pointers = self._base, self._length_pointers
        for index in range(count):
            start = index * total
            packets = [
                (start + at + NUMBER_AT, base + (start + at), length_pointers[j]) for j, (at, _) in enumerate(places)
            ]
            names = []
            for at, size, segment in runs:
                control = self._control(segment) if segment else 0
                names.append(messages.fill(message, self._address + start + at, size, self._name_length, control))
                message += 1
            rows.append((self._view[start : start + total], packets, names))
        return rows

    def _runs(self, places: list[tuple[int, int]], tag: int) -> list[tuple[int, int, int]]:
        """Packets that one send can carry: all of one size, but for a shorter last one. (offset, bytes, segment)."""
        runs: list[tuple[int, int, int]] = []
        start = end = segment = count = 0
        for at, size in places:
            protected = size + tag
            if (
                count
                and self.segments
                and count < MAX_SEGMENTS
                and protected <= segment
                and (end - start) == count * segment  # else the last one was the shorter one already
                and end - start + protected <= MAX_SEND
            ):
                count += 1
            else:
                if count:
                    runs.append((start, end - start, segment if count > 1 else 0))
                start, segment, count = at, protected, 1
            end = at + protected
        runs.append((start, end - start, segment if count > 1 else 0))
        return runs

    def _control(self, segment: int) -> int:
        """The address of a control message that asks for segments of that size; there are about 1,500 of them."""
        known = self._controls.get(segment)
        if known is None:
            buffer = ffi.new("char[]", CONTROL.pack(18, SOL_UDP, UDP_SEGMENT, segment))
            known = self._controls[segment] = (int(ffi.cast("uintptr_t", buffer)), buffer)
        return known[0]

    def _transmit(self, rows: Rows, lanes: list[Lane], places: list[tuple[int, int]], tag: int) -> None:
        self.packets += len(lanes) * len(places)
        self.bytes += len(lanes) * rows[0][0].nbytes
        if not self.many:
            for (view, _, _), lane in zip(rows, lanes, strict=False):
                self._send_singly(view, places, tag, lane)
            return
        messages = len(lanes) * len(rows[0][2])
        sent = 0
        while sent < messages:
            result: int = sendmmsg(self._fileno, rows.messages.pointer + sent, messages - sent, 0)
            if result > 0:
                sent += result
                continue
            number = ffi.errno
            if is_temporary(number):
                self.failed += (messages - sent) * len(places) // len(rows[0][2])
                return
            # One receiver's message is at fault, as where its way takes no packets of that size: not the others'.
            row = sent // len(rows[0][2])
            self._send_singly(rows[row][0], places, tag, lanes[row])
            sent = (row + 1) * len(rows[0][2])

    def _send_framed(self, link: Any, view: memoryview, places: list[tuple[int, int]], tag: int) -> None:
        self.packets += len(places)
        self.bytes += view.nbytes
        for at, size in places:
            link.path.connection.send(view[at : at + size + tag])

    def _send_singly(self, view: memoryview, places: list[tuple[int, int]], tag: int, lane: Lane) -> None:
        for at, size in places:
            try:
                self._socket.sendto(view[at : at + size + tag], lane.link.path.destination)
            except OSError:
                self.failed += 1
