"""The floor: protect each packet for each receiver and send it segmented (GSO), and nothing else.

No ICE, DTLS, RTCP, rewriting or retransmission; the keys are handed over. What any server on this machine that uses
libsrtp from Python must pay, so the ratio to it tells more than microseconds, which differ from machine to machine.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import select
import struct
from multiprocessing.connection import Connection
from typing import Any

from pylibsrtp import Policy, Session

from benchmarks.media_source import Source
from benchmarks.peers import own_address, pin
from benchmarks.webrtc_client import GCM, Client
from sfu.worker.datagrams import (
    CONTROL,
    HEADER,
    IOVEC,
    SOL_UDP,
    UDP_SEGMENT,
    Receiver,
    ffi,
    open_udp,
    sendmmsg,
    socket_address,
)
from sfu.worker.srtp import PROFILE_BY_NAME, SrtpSessions, srtp_protect
from sfu.worker.srtp import ffi as srtp_ffi

TAG = 16  # bytes that AES-GCM adds
ROWS = 16  # receivers in one system call
ROW = 64 * 1024  # bytes for one receiver's packets
PACKETS = 64  # to one receiver at once, at most
IDENTIFIERS = {100: 0x1000, 111: 0x2000}  # payload type -> SSRC that receivers see


class Floor:
    name = "floor"

    def start(self, core: int) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, own_address()), daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid
        self.port: int = self.pipe.recv()
        pin(self.pid, core)

    def publish(self, client: Client) -> Source:
        client.socket.connect((own_address(), self.port))
        client.socket.setblocking(False)
        client.outbound = Session(_policy(os.urandom(28), Policy.SSRC_ANY_OUTBOUND))
        return Source(video_type=100, audio_type=111, mid_id=1, video_mid="0", audio_mid="1")

    def subscribe(self, client: Client) -> None:
        key = os.urandom(28)
        client.profile = GCM
        client.inbound = Session(_policy(key, Policy.SSRC_ANY_INBOUND))
        client.socket.setblocking(False)
        self.pipe.send((client.local_address, key))
        self.pipe.recv()

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(5)


def _policy(key: bytes, direction: int) -> Policy:
    return Policy(key=key, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)


def serve(pipe: Connection, host: str) -> None:
    sock = open_udp(host, 0)
    pipe.send(sock.getsockname()[1])
    receiver = Receiver(sock)
    forwarder = _Forwarder(sock.fileno())
    sources: list[Any] = [sock, pipe]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if pipe in ready:
            forwarder.add(*pipe.recv())
            pipe.send("added")
        if sock in ready:
            # A datagram tells its size and kind; what stands in it costs no less to protect if it is not read.
            count = receiver.read()
            forwarder.forward(
                [(receiver.views[i][1] & 0x7F, receiver.lengths[i] - TAG) for i in range(count) if receiver.lengths[i]]
            )


class _Forwarder:
    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._receivers: list[tuple[Any, int, Any]] = []  # SRTP session, address of the socket address, what keeps them
        self._buffer = bytearray(ROW * ROWS)
        self._base = srtp_ffi.from_buffer("char[]", self._buffer)
        self._address = int(srtp_ffi.cast("uintptr_t", self._base))
        self._headers = bytearray(HEADER.size * ROWS)
        self._headers_pointer = ffi.cast("struct mmsghdr *", ffi.from_buffer(self._headers))
        self._iovecs = bytearray(IOVEC.size * ROWS)
        self._iovecs_address = int(ffi.cast("uintptr_t", ffi.from_buffer(self._iovecs)))
        self._sequence = dict.fromkeys(IDENTIFIERS, 0)

    def add(self, address: tuple[str, int], key: bytes) -> None:
        sessions = SrtpSessions(PROFILE_BY_NAME[GCM], receive_key=key, send_key=key)
        name = ffi.new("char[]", socket_address(address, 2))
        self._receivers.append((sessions.outbound, int(ffi.cast("uintptr_t", name)), (sessions, name)))

    def forward(self, packets: list[tuple[int, int]]) -> None:
        """Packets of one kind and size that came together leave together; the last may be shorter."""
        run: list[tuple[int, int]] = []
        for kind, size in packets:
            if kind not in IDENTIFIERS:
                continue
            if run and (kind != run[0][0] or size > run[0][1] or run[-1][1] < run[0][1] or len(run) == PACKETS):
                self._send(run)
                run = []
            run.append((kind, size))
        if run:
            self._send(run)

    def _send(self, run: list[tuple[int, int]]) -> None:
        kind, segment = run[0]
        segment += TAG
        source = bytearray()
        for _, size in run:
            self._sequence[kind] = self._sequence[kind] + 1 & 0xFFFF
            header = struct.pack("!BBHII", 0x80, kind, self._sequence[kind], 0, IDENTIFIERS[kind])
            source += header + bytes(size + TAG - len(header))
        total = len(source)
        control = ffi.new("char[]", CONTROL.pack(18, SOL_UDP, UDP_SEGMENT, segment))
        control_address = int(ffi.cast("uintptr_t", control)) if len(run) > 1 else 0
        lengths = srtp_ffi.new("int[]", len(run))
        length_bytes = srtp_ffi.buffer(lengths)
        fresh = struct.pack(f"={len(run)}i", *[size for _, size in run])
        pointers = [
            [(self._base + row * total + j * segment, lengths + j) for j in range(len(run))] for row in range(ROWS)
        ]
        for first in range(0, len(self._receivers), ROWS):
            some = self._receivers[first : first + ROWS]
            for row, (session, name, _) in enumerate(some):
                self._buffer[row * total : (row + 1) * total] = source
                length_bytes[:] = fresh
                for pointer, length in pointers[row]:
                    srtp_protect(session, pointer, length)
                at = row * IOVEC.size
                IOVEC.pack_into(self._iovecs, at, self._address + row * total, total)
                HEADER.pack_into(
                    self._headers, row * HEADER.size, name, 16, self._iovecs_address + at, 1, control_address,
                    CONTROL.size if control_address else 0, 0, 0,
                )  # fmt: skip
            sendmmsg(self._fileno, self._headers_pointer, len(some), 0)
