"""Packets that carry a number which only their receivers can read: how long was each under way?

From just before it was handed to the sender's socket until the kernel had it for the receiver's, by the kernel's stamp:
one machine, one clock (CLOCK_REALTIME), and however late the receiver reads, it is not counted.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence

from benchmarks.webrtc_client import Client

TRAILER = struct.Struct("!II")  # at a packet's end: MARK, and its number
MARK = 0x6D656574
SO_TIMESTAMPNS = 35
_stamp = struct.Struct("=qq").unpack


class Marks:
    def __init__(self) -> None:
        self._sent_at: list[int] = []  # nanoseconds, by the number that a packet carries
        self.start_counting()

    def start_counting(self) -> None:
        self._count_from = len(self._sent_at)
        self.latencies: list[int] = []  # nanoseconds

    def send(self, client: Client, packets: Sequence[bytes]) -> None:
        assert client.outbound is not None
        protect, send, sent_at, clock = client.outbound.protect, client.socket.send, self._sent_at, time.time_ns
        for packet in packets:
            protected = protect(packet + TRAILER.pack(MARK, len(sent_at)))
            sent_at.append(clock())
            send(protected)

    def receive(self, client: Client, protected: bytes, at: int) -> None:
        """Note the latency of a packet that arrived `at` (see `waiting`), if it was sent since counting began."""
        assert client.inbound is not None
        mark, number = TRAILER.unpack(client.inbound.unprotect(protected)[-TRAILER.size :])
        if mark == MARK and number >= self._count_from:
            self.latencies.append(at - self._sent_at[number])


def stamp_arrivals(client: Client) -> None:
    """From now on its socket tells when the kernel had each datagram."""
    client.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def waiting(client: Client, buffer: bytearray) -> Iterator[tuple[int, int]]:
    """Of each datagram that waits in the socket, while it is in the buffer: its bytes, and when the kernel had it.

    That is in nanoseconds since 1970; 0 for what came before arrivals were stamped.
    """
    receive = client.socket.recvmsg_into
    while True:
        try:
            size, ancillary, _, _ = receive([buffer], 64)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            continue
        at = 0
        if ancillary:
            seconds, nanoseconds = _stamp(ancillary[0][2])
            at = seconds * 1_000_000_000 + nanoseconds
        yield size, at
