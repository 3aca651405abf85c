"""What one writes first in Python: aiortc's RTCPeerConnection and MediaRelay, which decode and encode everything."""

from __future__ import annotations

import asyncio
import multiprocessing as mp
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.media_source import Source
from benchmarks.peers import own_address, pin
from benchmarks.peers.sdp import Section, remote, write
from benchmarks.webrtc_client import Client

OURS = [Section("audio", 111, "1"), Section("video", 96, "0")]


class AiortcRelay:
    name = "aiortc relay"

    def start(self, core: int) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid
        self.pipe.recv()
        pin(self.pid, core)

    def ask(self, *request: str) -> Any:
        self.pipe.send(request)
        return self.pipe.recv()

    def publish(self, client: Client) -> Source:
        answer = self.ask("publish", write(client, OURS, direction="sendonly"))
        client.connect(remote(answer, own_address()))
        return Source(video_type=96, audio_type=111, mid_id=1, video_mid="0", audio_mid="1")

    def subscribe(self, client: Client) -> None:
        # We offer here too: the offerer controls ICE, and our client knows no other part.
        answer = self.ask("subscribe", write(client, OURS, direction="recvonly"))
        client.connect(remote(answer, own_address()))

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(5)


def serve(pipe: Connection) -> None:
    from aiortc import RTCPeerConnection, RTCSessionDescription
    from aiortc.contrib.media import MediaRelay

    async def run() -> None:
        relay = MediaRelay()
        tracks: list[Any] = []
        connections: list[Any] = []
        pipe.send("ready")
        while True:
            request = await asyncio.to_thread(pipe.recv)
            connection = RTCPeerConnection()
            connections.append(connection)
            if request[0] == "publish":
                connection.on("track", tracks.append)
            else:
                for track in tracks:
                    connection.addTrack(relay.subscribe(track))
            await connection.setRemoteDescription(RTCSessionDescription(request[1], "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
            pipe.send(connection.localDescription.sdp)

    asyncio.run(run())
