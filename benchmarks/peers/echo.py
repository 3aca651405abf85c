"""The floor of latency: a process that sends every datagram back to where it came from, and does nothing else.

What a packet's way there and back takes on this machine, in the kernel and by waking a process that waits; the rest
of a server's latency is its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import socket
from multiprocessing.connection import Connection

from pylibsrtp import Policy, Session

from benchmarks.media_source import LAYERS
from benchmarks.peers import Participant, Received, own_address, pin
from benchmarks.webrtc_client import GCM, Client


class Echo:
    name = "udp echo"

    def start(self, core: int) -> None:
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, own_address()), daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid
        self.port: int = ours.recv()
        pin(self.pid, core)

    def open_room(self, room: int) -> None:
        """There are none: everybody gets what he sends himself."""

    def send_all(self, who: Participant, client: Client) -> None:
        key = os.urandom(28)
        client.profile = GCM
        client.outbound = Session(_policy(key, Policy.SSRC_ANY_OUTBOUND))
        client.inbound = Session(_policy(key, Policy.SSRC_ANY_INBOUND))
        client.socket.connect((own_address(), self.port))
        client.socket.setblocking(False)

    def receive_all(self, who: Participant, client: Client, layer: int) -> Received:
        return Received(who.offer.video_type, who.offer.audio_type, 0, len(LAYERS), 1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(5)


def _policy(key: bytes, direction: int) -> Policy:
    return Policy(key=key, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)


def serve(pipe: Connection, host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        pipe.send(sock.getsockname()[1])
        buffer = bytearray(2048)
        while True:
            size, address = sock.recvfrom_into(buffer)
            with contextlib.suppress(OSError):
                sock.sendto(memoryview(buffer)[:size], address)
