"""Our own media worker, by its control protocol."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.media_source import AUDIO_SSRC, VIDEO_SSRC, Source
from benchmarks.peers import die_with_parent, free_port, own_address, pin
from benchmarks.webrtc_client import Client, Remote, fingerprint
from sfu import protocol
from sfu.client import WorkerClient
from tests.redis_server import running_redis

ROOM = "bench"
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"


class Lectern:
    name = "Lectern"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.cleanup = ExitStack()
        self.producers: list[str] = []
        self.capabilities: dict[str, Any] = {}
        self.receivers = 0

    def start(self, core: int) -> None:
        folder = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        redis = self.cleanup.enter_context(running_redis(folder))
        port, secret = free_port(), secrets.token_hex(16)
        environ = {
            **os.environ,
            "SFU_WORKER_ID": "bench", "SFU_PORT": str(free_port()), "SFU_LISTEN_IP": "0.0.0.0",  # noqa: S104
            "SFU_ANNOUNCED_IPS": own_address(), "SFU_CONTROL_PORT": str(port), "SFU_CONTROL_SECRET": secret,
            "REDIS_URL": redis.url, "LECTERN_DATA": str(folder),
        }  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-m", "sfu"], env=environ, preexec_fn=die_with_parent)
        self.pid = self.process.pid
        self.client = self.loop.run_until_complete(self._connect(port, secret))
        pin(self.pid, core)
        self.capabilities = self.client.welcome.rtp_capabilities
        self.ask(protocol.OpenRoom(room=ROOM))

    async def _connect(self, port: int, secret: str) -> WorkerClient:
        for _ in range(100):
            try:
                return await WorkerClient.connect(
                    "127.0.0.1", port, secret=secret, client="bench", on_event=lambda event: None,
                    on_closed=lambda *_: None,
                )  # fmt: skip
            except protocol.InvalidRequest:
                await asyncio.sleep(0.1)
        raise TimeoutError("the media worker did not open its control port")

    def ask(self, request: protocol.Request) -> Any:
        return self.loop.run_until_complete(self.client.request(request))

    def _transport(self, peer: str, direction: protocol.Direction, client: Client) -> str:
        self.ask(protocol.OpenPeer(room=ROOM, peer=peer))
        made = self.ask(protocol.CreateTransport(room=ROOM, peer=peer, direction=direction))
        dtls = {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": fingerprint()}]}
        self.ask(protocol.ConnectTransport(room=ROOM, peer=peer, transport_id=made.transport_id, dtls_parameters=dtls))
        candidate = next(c for c in made.ice_candidates if c["protocol"] == "udp")
        ice = made.ice_parameters
        address = (candidate.get("address") or candidate["ip"], candidate["port"])
        client.connect(Remote(address, ice["usernameFragment"], ice["password"]))
        return str(made.transport_id)

    def _codec(self, mime: str) -> dict[str, Any]:
        return next(dict(c) for c in self.capabilities["codecs"] if c["mimeType"].lower() == mime)

    def publish(self, client: Client) -> Source:
        transport = self._transport("sender", "send", client)
        streams: list[tuple[protocol.Kind, str, int, protocol.Source, str]] = [
            ("video", "video/vp8", VIDEO_SSRC, "camera", "0"),
            ("audio", "audio/opus", AUDIO_SSRC, "microphone", "1"),
        ]
        for kind, mime, ssrc, source, mid in streams:
            codec = self._codec(mime)
            codec["payloadType"] = codec.pop("preferredPayloadType")
            codec.pop("kind")
            parameters = {
                "mid": mid,
                "codecs": [codec],
                "headerExtensions": [{"uri": MID_URI, "id": 1, "encrypt": False, "parameters": {}}],
                "encodings": [{"ssrc": ssrc}],
                "rtcp": {"cname": "bench", "reducedSize": True},
            }
            made = self.ask(
                protocol.CreateProducer(
                    room=ROOM,
                    peer="sender",
                    transport_id=transport,
                    kind=kind,
                    source=source,
                    rtp_parameters=parameters,
                )
            )
            self.producers.append(made.producer_id)
        return Source(
            video_type=self._codec("video/vp8")["preferredPayloadType"],
            audio_type=self._codec("audio/opus")["preferredPayloadType"],
            mid_id=1, video_mid="0", audio_mid="1",
        )  # fmt: skip

    def subscribe(self, client: Client) -> None:
        self.receivers += 1
        peer = f"receiver-{self.receivers}"
        transport = self._transport(peer, "recv", client)
        for producer in self.producers:
            made = self.ask(
                protocol.CreateConsumer(
                    room=ROOM,
                    peer=peer,
                    transport_id=transport,
                    producer_id=producer,
                    rtp_capabilities=self.capabilities,
                )
            )
            self.ask(protocol.ResumeConsumer(room=ROOM, peer=peer, consumer_id=made.consumer_id))

    def stop(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.process.terminate()
        self.process.wait(10)
        self.cleanup.close()
        self.loop.close()
