"""Tina speaks and shows, Sam watches, in a process of their own: what an attack does to them is not what it does to us.

    python -m tests.sfu.hostile.bystanders HOST:PORT

Each line on standard input is answered by one: what Sam got since the line before. A gap is the time between two
voice packets as they reached his machine, less what Tina's were apart: a machine that is busy delays her too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import sys
import time
from typing import Any

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.core.rtcp import PictureLossIndication
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, Vp8Sender, receiver_capabilities
from tests.sfu.worker import SECRET, Speaker

ROOM = "maths"
VOICE, CAMERA = 2222, 1111
EVERY = 0.02  # seconds between two voice packets
FRAME_EVERY = 5  # of them
SO_TIMESTAMPNS = 35


class Watching(PeerTransport):
    """Notes when each datagram reached the kernel: the loop may look later."""

    arrived = 0.0

    def _open_socket(self) -> None:
        super()._open_socket()
        assert self._socket is not None
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def _on_readable(self) -> None:
        assert self._socket is not None
        for _ in range(100):
            try:
                data, control, _, _ = self._socket.recvmsg(2048, 128)
            except (BlockingIOError, ConnectionRefusedError):
                return
            seconds, nanoseconds = struct.unpack("qq", control[0][2]) if control else (time.time(), 0)
            self.arrived = seconds + nanoseconds / 1e9
            self.receive(data)


class Bystanders:
    def __init__(self) -> None:
        self.sent_at: list[float] = []  # by number of the voice packet
        self.came_at: list[tuple[int, float]] = []  # (number, when)
        self.pictures = 0
        self.reported = 0  # packets sent before the last report

    async def join(self, host: str, port: int) -> None:
        client = await WorkerClient.connect(host, port, secret=SECRET, client="bystanders")
        await client.request(p.OpenRoom(room=ROOM))
        tina = Speaker(client, ROOM, "tina")
        self.up = await tina.connect()
        await tina.produce(camera=CAMERA, voice=VOICE)
        await client.request(p.OpenPeer(room=ROOM, peer="sam", name="Sam"))
        made = await client.request(p.CreateTransport(room=ROOM, peer="sam", direction="recv"))
        self.down = Watching(made)
        await client.request(
            p.ConnectTransport(
                room=ROOM, peer="sam", transport_id=made.transport_id, dtls_parameters=self.down.dtls_parameters
            )
        )
        await self.down.connect()
        self.down.on_rtp = self.came
        for producer in tina.producers.values():
            consumer = await client.request(
                p.CreateConsumer(
                    room=ROOM, peer="sam", transport_id=made.transport_id, producer_id=producer,
                    rtp_capabilities=receiver_capabilities(),
                )
            )  # fmt: skip
            await client.request(p.ResumeConsumer(room=ROOM, peer="sam", consumer_id=consumer.consumer_id))

    def came(self, packet: bytes) -> None:
        if packet[1] & 0x7F != 100:  # the router's payload type of Opus
            self.pictures += 1
            return
        self.came_at.append((int.from_bytes(packet[-4:], "big"), self.down.arrived))

    async def speak(self) -> None:
        voice, camera = OpusSender(VOICE, size=80), Vp8Sender(CAMERA)
        loop = asyncio.get_running_loop()
        due = loop.time()
        checked = 0.0
        while True:
            number = len(self.sent_at)
            packet = voice.packet()
            self.sent_at.append(time.time())
            self.up.send_rtp(packet[:-4] + number.to_bytes(4, "big"))
            if number % FRAME_EVERY == 0:
                wanted = any(isinstance(packet, PictureLossIndication) for packet in self.up.rtcp)
                self.up.rtcp.clear()
                for packet in camera.frame(4, key=wanted or number == 0):
                    self.up.send_rtp(packet)
            if loop.time() - checked > 5:  # consent
                checked = loop.time()
                for transport in (self.up, self.down):
                    transport.send_raw(transport.stun_request())
                self.down.rtcp.clear()
            due = max(due + EVERY, loop.time())
            await asyncio.sleep(max(0.0, due - loop.time()))

    def report(self) -> dict[str, Any]:
        """Of all voice packets sent since the last report but the newest: they may be on their way."""
        first, last = self.reported, max(self.reported, len(self.sent_at) - 10)
        self.reported = last
        came = dict(self.came_at)
        numbers = [number for number in range(first, last) if number in came]
        gaps = [
            came[b] - came[a] - max(0.0, self.sent_at[b] - self.sent_at[a] - EVERY * (b - a))
            for a, b in itertools.pairwise(numbers)
        ]
        pictures, self.pictures = self.pictures, 0
        self.came_at = [(number, at) for number, at in self.came_at if number >= last]
        return {
            "sent": last - first,
            "came": len(numbers),
            "longest_gap": max(gaps, default=0.0) if len(numbers) > 1 or last - first < 2 else 999.0,
            "pictures": pictures,
        }


async def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    bystanders = Bystanders()
    await bystanders.join(host, int(port))
    speaking = asyncio.create_task(bystanders.speak())
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while await reader.readline():
        assert not speaking.done(), speaking.exception()
        print(json.dumps(bystanders.report()), flush=True)
    speaking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await speaking


if __name__ == "__main__":
    asyncio.run(main())
