"""Our own media worker, by its control protocol."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import redis

from benchmarks.media_source import AUDIO_SSRC, LAYERS, VIDEO_SSRC, Offer, Source
from benchmarks.peers import Participant, Received, die_with_parent, free_port, own_address, pin
from benchmarks.peers.doors import LecternDoor, dtls_parameters, worker_address
from benchmarks.peers.sdp import LEVEL_URI, MID_URI, RID_URI, TRANSPORT_CC_URI
from benchmarks.webrtc_client import Client
from sfu import protocol
from sfu.client import WorkerClient
from tests.redis_server import running_redis

ROOM = "bench"


class Lectern:
    name = "Lectern"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.cleanup = ExitStack()
        self.producers: list[str] = []
        self.capabilities: dict[str, Any] = {}
        self.receivers = 0
        self.secret = secrets.token_hex(16)
        self.meetings: dict[int, list[tuple[int, str]]] = defaultdict(list)  # (participant, producer) of each room

    def start(self, core: int) -> None:
        self.folder = folder = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        server = self.cleanup.enter_context(running_redis(folder))
        port, secret = free_port(), self.secret
        environ = {
            **os.environ,
            "SFU_WORKER_ID": "bench", "SFU_PORT": str(free_port()), "SFU_LISTEN_IP": "0.0.0.0",  # noqa: S104
            "SFU_ANNOUNCED_IPS": own_address(), "SFU_CONTROL_PORT": str(port), "SFU_CONTROL_SECRET": secret,
            "REDIS_URL": server.url, "LECTERN_DATA": str(folder), "LOG_FORMAT": "json",
        }  # fmt: skip
        self.log = folder / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sfu"], env=environ, stderr=log, preexec_fn=die_with_parent
            )
        self.pid = self.process.pid
        self.control_port, self.redis_url = port, server.url
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
        raise TimeoutError(f"the media worker did not open its control port: {self.log.read_text()}")

    def ask(self, request: protocol.Request) -> Any:
        return self.loop.run_until_complete(self.client.request(request))

    def heartbeat(self) -> protocol.Heartbeat:
        """The newest: at most a second old."""
        with redis.Redis.from_url(self.redis_url) as connection:
            value: Any = connection.get(protocol.HEARTBEAT_KEY.format(worker_id="bench"))
        return msgspec.json.decode(value, type=protocol.Heartbeat)

    def be_edge_of(self, home: Lectern) -> None:
        """The room is at home on that worker, and on this one besides."""
        where = protocol.Home(control=f"127.0.0.1:{home.control_port}", epoch=home.client.welcome.epoch)
        self.ask(protocol.OpenRoom(room=ROOM, home=where))
        self.producers = home.producers

    def _transport(self, peer: str, direction: protocol.Direction, client: Client, room: str = ROOM) -> str:
        self.ask(protocol.OpenPeer(room=room, peer=peer))
        made = self.ask(protocol.CreateTransport(room=room, peer=peer, direction=direction))
        dtls = dtls_parameters()
        self.ask(protocol.ConnectTransport(room=room, peer=peer, transport_id=made.transport_id, dtls_parameters=dtls))
        client.connect(worker_address(made))
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
        self._consume(ROOM, peer, self._transport(peer, "recv", client), self.producers)

    def _consume(
        self, room: str, peer: str, transport: str, producers: Iterable[str], layer: int | None = None
    ) -> None:
        for producer in producers:
            made = self.ask(
                protocol.CreateConsumer(
                    room=room,
                    peer=peer,
                    transport_id=transport,
                    producer_id=producer,
                    rtp_capabilities=self.capabilities,
                )
            )
            consumer = made.consumer_id
            if layer is not None and made.kind == "video":
                self.ask(protocol.PreferLayers(room=room, peer=peer, consumer_id=consumer, spatial=layer))
            self.ask(protocol.ResumeConsumer(room=room, peer=peer, consumer_id=consumer))

    def door(self) -> LecternDoor:
        return LecternDoor(self.control_port, self.secret, ROOM, self.producers)

    # --- meetings ---

    def open_room(self, room: int) -> None:
        self.ask(protocol.OpenRoom(room=f"meeting-{room}"))

    def send_all(self, who: Participant, client: Client) -> None:
        room, peer, offer = f"meeting-{who.room}", f"peer-{who.number}", who.offer
        transport = self._transport(peer, "send", client, room)
        streams: list[tuple[protocol.Kind, protocol.Source, dict[str, Any]]] = [
            ("video", "camera", simulcast_parameters(offer)),
            ("audio", "microphone", voice_parameters(offer)),
        ]
        for kind, source, parameters in streams:
            made = self.ask(
                protocol.CreateProducer(
                    room=room,
                    peer=peer,
                    transport_id=transport,
                    kind=kind,
                    source=source,
                    rtp_parameters=parameters,
                )
            )
            self.meetings[who.room].append((who.number, made.producer_id))

    def receive_all(self, who: Participant, client: Client, layer: int) -> Received:
        room, peer = f"meeting-{who.room}", f"peer-{who.number}"
        others = [producer for number, producer in self.meetings[who.room] if number != who.number]
        self._consume(room, peer, self._transport(peer, "recv", client, room), others, layer)
        extensions = self.capabilities["headerExtensions"]
        return Received(
            video_type=self._codec("video/vp8")["preferredPayloadType"],
            audio_type=self._codec("audio/opus")["preferredPayloadType"],
            transport_cc_id=next(e["preferredId"] for e in extensions if e["uri"] == TRANSPORT_CC_URI),
            cameras=len(others) // 2,
            voices=len(others) // 2,
        )

    def stop(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.process.terminate()
        self.process.wait(10)
        for line in self.log.read_text().splitlines():
            if '"level": "info"' not in line:  # a line for everybody who comes
                print(line, file=sys.stderr)
        self.cleanup.close()
        self.loop.close()


def simulcast_parameters(offer: Offer) -> dict[str, Any]:
    """A camera in layers that are told by RID, without SSRCs, as browsers send it."""
    feedback = [("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("transport-cc", "")]
    codec = {
        "mimeType": "video/VP8",
        "payloadType": offer.video_type,
        "clockRate": 90000,
        "parameters": {},
        "rtcpFeedback": [{"type": kind, "parameter": parameter} for kind, parameter in feedback],
    }
    ids = {MID_URI: offer.mid_id, RID_URI: offer.rid_id, TRANSPORT_CC_URI: offer.transport_cc_id}
    return _parameters(offer.video_mid, codec, ids, [{"rid": rid} for rid, *_ in LAYERS])


def voice_parameters(offer: Offer) -> dict[str, Any]:
    codec = {
        "mimeType": "audio/opus",
        "payloadType": offer.audio_type,
        "clockRate": 48000,
        "channels": 2,
        "parameters": {"minptime": 10, "useinbandfec": 1},
        "rtcpFeedback": [{"type": "transport-cc", "parameter": ""}],
    }
    ids = {MID_URI: offer.mid_id, LEVEL_URI: offer.level_id, TRANSPORT_CC_URI: offer.transport_cc_id}
    return _parameters(offer.audio_mid, codec, ids, [{"ssrc": offer.audio_ssrc}])


def _parameters(
    mid: str, codec: dict[str, Any], ids: dict[str, int], encodings: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "mid": mid,
        "codecs": [codec],
        "headerExtensions": [
            {"uri": uri, "id": identifier, "encrypt": False, "parameters": {}} for uri, identifier in ids.items()
        ],
        "encodings": encodings,
        "rtcp": {"cname": "bench", "reducedSize": True},
    }
