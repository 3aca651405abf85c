"""Debian's janus: its videoroom plugin, one event loop, ICE-lite, driven by its HTTP API."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.media_source import LAYERS, Source
from benchmarks.peers import Participant, Received, die_with_parent, free_port, own_address, pin
from benchmarks.peers.doors import JanusDoor
from benchmarks.peers.sdp import LEVEL_URI, MID_URI, RID_URI, TRANSPORT_CC_URI, Section, remote, sections, write
from benchmarks.webrtc_client import Client

ROOM = 1234
MEETING = 2000  # the first of the meetings' rooms


class Janus:
    name = "janus videoroom"

    def __init__(self, *, websocket: bool = False) -> None:
        self.port, self.websocket_port = free_port(), free_port() if websocket else 0
        self.folder = tempfile.TemporaryDirectory()
        self.sessions: list[tuple[int, int]] = []
        self.publishers: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (participant, id) of each room

    def start(self, core: int) -> None:
        folder = Path(self.folder.name)
        (folder / "janus.jcfg").write_text(
            f'general: {{ plugins_folder = "{plugins_folder()}" event_loops = 1 session_timeout = 0 }}\n'
            f'nat: {{ ice_lite = true ice_enforce_list = "{own_address()}" ignore_mdns = true }}\n'
            'media: { rtp_port_range = "20000-39000" }\n'
            'plugins: { disable = "libjanus_audiobridge.so,libjanus_echotest.so,libjanus_recordplay.so,'
            "libjanus_sip.so,libjanus_nosip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,"
            'libjanus_voicemail.so,libjanus_lua.so,libjanus_duktape.so" }\n'
            f'transports: {{ disable = "{"" if self.websocket_port else "libjanus_websockets.so,"}libjanus_pfunix.so,'
            'libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so" }\n'
        )
        (folder / "janus.transport.websockets.jcfg").write_text(
            f'general: {{ json = "compact" ws = true ws_port = {self.websocket_port} ws_ip = "127.0.0.1" }}\n'
        )
        (folder / "janus.transport.http.jcfg").write_text(
            f'general: {{ json = "compact" http = true port = {self.port} ip = "127.0.0.1" https = false }}\n'
        )
        (folder / "janus.plugin.videoroom.jcfg").write_text(
            f'room-{ROOM}: {{ description = "bench" publishers = 2 bitrate = 8000000 fir_freq = 0 '
            'audiocodec = "opus" videocodec = "vp8" transport_wide_cc_ext = true audiolevel_ext = false }\n'
        )
        self.process = subprocess.Popen(
            ["janus", "--configs-folder", str(folder), "--log-file", str(folder / "log"), "--disable-stdout"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
        )  # fmt: skip
        self.pid = self.process.pid
        deadline = time.monotonic() + 20
        while True:
            try:
                self.call("", {"janus": "info"})
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise TimeoutError((folder / "log").read_text()) from None
                time.sleep(0.1)
        pin(self.pid, core)

    # --- its API ---

    def http(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        connection.request(method, f"/janus{path}", json.dumps(body) if body else None)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http("POST", path, {**body, "transaction": secrets.token_hex(6)})
        if answer.get("janus") == "error":
            raise RuntimeError(answer)
        return dict(answer)

    def handle(self) -> tuple[int, int]:
        session = self.call("", {"janus": "create"})["data"]["id"]
        handle = self.call(f"/{session}", {"janus": "attach", "plugin": "janus.plugin.videoroom"})["data"]["id"]
        self.sessions.append((session, handle))
        return session, handle

    def message(self, where: tuple[int, int], body: dict[str, Any], jsep: Any = None) -> dict[str, Any]:
        """Send, and wait for the plugin's event that answers; some requests are answered at once."""
        request: dict[str, Any] = {"janus": "message", "body": body}
        if jsep:
            request["jsep"] = jsep
        answer = self.call(f"/{where[0]}/{where[1]}", request)
        if answer["janus"] == "success":
            return answer
        while True:
            event = self.http("GET", f"/{where[0]}?maxev=1")
            if event.get("janus") == "event":
                if "error" in event["plugindata"]["data"]:
                    raise RuntimeError(event)
                return dict(event)

    # --- the verbs ---

    def publish(self, client: Client) -> Source:
        where = self.handle()
        joined = self.message(where, {"request": "join", "ptype": "publisher", "room": ROOM, "display": "sender"})
        self.publisher = joined["plugindata"]["data"]["id"]
        ours = [Section("audio", 111, "1"), Section("video", 96, "0")]
        offer = {"type": "offer", "sdp": write(client, ours, direction="sendonly")}
        answer = self.message(where, {"request": "publish"}, offer)["jsep"]["sdp"]
        client.connect(remote(answer, own_address()))
        return Source(video_type=96, audio_type=111, mid_id=1, video_mid="0", audio_mid="1")

    def subscribe(self, client: Client) -> None:
        where = self.handle()
        streams = [{"feed": self.publisher}]
        joined = self.message(where, {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams})
        offer = joined["jsep"]["sdp"]
        answer = {"type": "answer", "sdp": write(client, sections(offer), direction="recvonly")}
        self.message(where, {"request": "start"}, answer)
        client.connect(remote(offer, own_address()))

    def door(self) -> JanusDoor:
        return JanusDoor(self.websocket_port, ROOM, self.publisher)

    # --- meetings ---

    def open_room(self, room: int) -> None:
        self.message(
            self.handle(),
            {
                "request": "create", "room": MEETING + room, "publishers": 100, "bitrate": 8_000_000, "fir_freq": 0,
                "audiocodec": "opus", "videocodec": "vp8", "transport_wide_cc_ext": True, "audiolevel_ext": True,
                "audiolevel_event": True,
            },
        )  # fmt: skip

    def send_all(self, who: Participant, client: Client) -> None:
        where, offer = self.handle(), who.offer
        room = MEETING + who.room
        joined = self.message(where, {"request": "join", "ptype": "publisher", "room": room, "display": "sender"})
        self.publishers[who.room].append((who.number, joined["plugindata"]["data"]["id"]))
        ids = {MID_URI: offer.mid_id, TRANSPORT_CC_URI: offer.transport_cc_id}
        ours = [
            Section("audio", offer.audio_type, offer.audio_mid, ids | {LEVEL_URI: offer.level_id}, offer.audio_ssrc),
            Section(
                "video", offer.video_type, offer.video_mid, ids | {RID_URI: offer.rid_id},
                rids=tuple(rid for rid, *_ in reversed(LAYERS)),
            ),
        ]  # fmt: skip
        made = {"type": "offer", "sdp": write(client, ours, direction="sendonly")}
        answer = self.message(where, {"request": "publish"}, made)["jsep"]["sdp"]
        client.connect(remote(answer, own_address()))

    def receive_all(self, who: Participant, client: Client, layer: int) -> Received:
        where = self.handle()
        streams = [{"feed": publisher} for number, publisher in self.publishers[who.room] if number != who.number]
        joined = self.message(
            where, {"request": "join", "ptype": "subscriber", "room": MEETING + who.room, "streams": streams}
        )
        offer = joined["jsep"]["sdp"]
        theirs = sections(offer, accept=(MID_URI, TRANSPORT_CC_URI, LEVEL_URI))
        answer = {"type": "answer", "sdp": write(client, theirs, direction="recvonly")}
        self.message(where, {"request": "start"}, answer)
        client.connect(remote(offer, own_address()))
        wanted = [{"mid": section.mid, "substream": layer} for section in theirs if section.kind == "video"]
        self.message(where, {"request": "configure", "streams": wanted})
        types = {section.kind: section.payload_type for section in theirs}
        ids = [section.extensions.get(TRANSPORT_CC_URI, 0) for section in theirs]
        return Received(types["video"], types["audio"], max(ids), len(streams), len(streams))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def plugins_folder() -> str:
    """Debian keeps them below its multiarch folder."""
    for folder in Path("/usr/lib").glob("*/janus/plugins"):
        return str(folder)
    raise FileNotFoundError("janus is not installed: apt-get install janus")
