"""Send bursts to their receivers: copy, patch, protect, and let the kernel cut and send many at once.

The one loop that decides what a worker can carry. For each receiver a burst is copied whole into the send buffer, MID
and transport-wide number are written at fixed offsets, SRTP goes on in place; packets of one size leave as one
segmented send, and the sends of several receivers in one system call. Whatever does not differ between receivers is
prepared once for each burst (`_rows`), so that the inner loop touches three things a packet.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any

from sfu.core.bandwidth.sent_history import departures
from sfu.core.feed import Burst
from sfu.core.layout import MID_AT, TRANSPORT_CC_HEAD, patch_mid_and_transport_cc
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
from sfu.worker.srtp import ffi as srtp_ffi
from sfu.worker.srtp import srtp_protect

logger = logging.getLogger(__name__)

BUFFER = 256 * 1024  # bytes protected before they are sent: fits the second-level cache
MAX_MESSAGES = 64  # sends in one system call
MAX_ROWS = 16  # receivers in one: more would save little in the kernel, and cost preparing for each burst
ROOM = 64 * 1024  # bytes for one burst


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
        self._headers = bytearray(HEADER.size * MAX_MESSAGES)
        self._header_words = memoryview(self._headers).cast("Q")
        self._headers_pointer = ffi.cast("struct mmsghdr *", ffi.from_buffer(self._headers))
        self._iovecs = bytearray(IOVEC.size * MAX_MESSAGES)
        self._iovecs_address = int(ffi.cast("uintptr_t", ffi.from_buffer(self._iovecs)))
        self._lengths = srtp_ffi.new("int[]", MAX_SEGMENTS)
        self._lengths_view = memoryview(srtp_ffi.buffer(self._lengths)).cast("B")
        self._length_pointers = [self._lengths + i for i in range(MAX_SEGMENTS)]
        self._controls: dict[int, tuple[int, Any]] = {}  # segment size -> (address, what keeps it)

    def send(self, burst: Burst, now: float) -> None:
        """Send a burst to all its seats; what cannot be sent is dropped and counted."""
        others = self._send_protected(burst, 16, burst.seats, now)
        if others:
            self._send_protected(burst, 10, others, now)

    def source(self, burst: Burst, now: float) -> list[memoryview]:
        """The packets as recorders get them: before MID and protection."""
        places = burst.render(self._source, 0, now)
        if burst.tap is not None and burst.tap.shift is not None:
            burst.shift(self._source, 0, burst.tap.shift)
        return [self._source_view[at : at + size] for at, size in places]

    def _send_protected(self, burst: Burst, tag: int, seats: Sequence[Seat], now: float) -> list[Seat]:
        """Send to the seats whose SRTP tag has that length; the rest is returned."""
        places = burst.render(self._source, tag, now, even=self.segments)
        last_at, last_size = places[-1]
        total = last_at + last_size + tag
        rows = self._rows(places, total, tag, len(seats))
        row_count = len(rows)
        fresh_lengths = Struct(f"={len(places)}i").pack(*[size for _, size in places])
        lengths = self._lengths_view[: len(fresh_lengths)]
        source = self._source_view[:total]
        buffer, header_words = self._buffer, self._header_words
        protect, patch = srtp_protect, patch_mid_and_transport_cc
        # Where there is no transport-wide number, its element is written as the padding that it was.
        head, step = (TRANSPORT_CC_HEAD, 1) if burst.feed.producer.is_video else (0, 0)
        left = departures([size for _, size in places], now)
        others: list[Seat] = []
        links: list[Any] = []
        row = 0
        for seat in seats:
            transport: Any = seat.transport
            link = transport.link
            session = link.outbound
            if session is None:
                continue
            if link.tag_length != tag:
                others.append(seat)
                continue
            view, packets, names = rows[row]
            view[:] = source
            lengths[:] = fresh_lengths
            if seat.shift is not None:
                burst.shift(buffer, row * total, seat.shift)
            mid = seat.mid
            first = sequence = transport.transport_sequence if step else 0
            for at, pointer, length in packets:
                patch(buffer, at, mid, head, sequence)
                sequence = sequence + step & 0xFFFF
                if protect(session, pointer, length):
                    # Nothing of what libsrtp refused may leave: the row is written over by the next receiver.
                    transport.agenda.dropped["srtp_protect"] += len(places)
                    break
            else:
                if step:
                    transport.transport_sequence = sequence
                    if transport.sent is not None:
                        transport.sent(first, left)
                if link.connection is not None:
                    self._send_framed(link, view, places, tag)
                    continue
                name = link.name
                for word in names:
                    header_words[word] = name
                links.append(link)
                row += 1
                if row == row_count:
                    self._transmit(rows, links, places, tag)
                    links = []
                    row = 0
        if row:
            self._transmit(rows, links, places, tag)
        return others

    def _rows(self, places: list[tuple[int, int]], total: int, tag: int, receivers: int) -> list[Any]:
        """Room in the send buffer for some receivers, with their messages to the kernel filled in but for the address.

        Each row: (view, [(offset of MID, pointer, length pointer)], [which word of the headers is the address]).
        """
        runs = self._runs(places, tag)
        count = max(1, min(receivers, MAX_ROWS, BUFFER // total, MAX_MESSAGES // len(runs)))
        rows = []
        message = 0
        base, length_pointers = self._base, self._length_pointers
        for index in range(count):
            start = index * total
            packets = [
                (start + at + MID_AT, base + (start + at), length_pointers[j]) for j, (at, _) in enumerate(places)
            ]
            names = []
            for at, size, segment in runs:
                control = self._control(segment) if segment else 0
                IOVEC.pack_into(self._iovecs, message * IOVEC.size, self._address + start + at, size)
                HEADER.pack_into(
                    self._headers,
                    message * HEADER.size,
                    0,
                    self._name_length,
                    self._iovecs_address + message * IOVEC.size,
                    1,
                    control,
                    CONTROL.size if control else 0,
                    0,
                    0,
                )
                names.append(message * HEADER.size // 8)
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

    def _transmit(self, rows: list[Any], links: list[Any], places: list[tuple[int, int]], tag: int) -> None:
        self.packets += len(links) * len(places)
        self.bytes += len(links) * rows[0][0].nbytes
        if not self.many:
            for (view, _, _), link in zip(rows, links, strict=False):
                self._send_singly(view, places, tag, link)
            return
        messages = len(links) * len(rows[0][2])
        sent = 0
        while sent < messages:
            result: int = sendmmsg(self._fileno, self._headers_pointer + sent, messages - sent, 0)
            if result > 0:
                sent += result
                continue
            number = ffi.errno
            if is_temporary(number):
                self.failed += (messages - sent) * len(places) // len(rows[0][2])
                return
            # One receiver's message is at fault, as where its way takes no packets of that size: not the others'.
            row = sent // len(rows[0][2])
            self._send_singly(rows[row][0], places, tag, links[row])
            sent = (row + 1) * len(rows[0][2])

    def _send_framed(self, link: Any, view: memoryview, places: list[tuple[int, int]], tag: int) -> None:
        self.packets += len(places)
        self.bytes += view.nbytes
        for at, size in places:
            link.connection.send(view[at : at + size + tag])

    def _send_singly(self, view: memoryview, places: list[tuple[int, int]], tag: int, link: Any) -> None:
        for at, size in places:
            try:
                self._socket.sendto(view[at : at + size + tag], link.address)
            except OSError:
                self.failed += 1
