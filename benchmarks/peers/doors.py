"""Signaling for many who join at once: a joiner's questions do not wait for those of another.

A door is made by a peer and goes to the processes that join; each opens it for itself and has one connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.peers import own_address
from benchmarks.peers.sdp import remote as remote_of
from benchmarks.peers.sdp import sections, write
from benchmarks.webrtc_client import Client, Remote, fingerprint
from benchmarks.websocket import WebSocket, connect
from sfu import protocol
from sfu.client import WorkerClient

ANSWER_WITHIN = 30.0  # seconds: a whole class asks at once

Found = Callable[[Remote, int], None]  # told where to connect, and the payload type of video


class Door(Protocol):
    async def open(self) -> None: ...

    async def join(self, name: str, client: Client, found: Found) -> None:
        """Ask for camera and voice; `found` is called as soon as the client may connect, the rest goes on beside."""

    async def close(self) -> None: ...


@dataclass
class LecternDoor:
    """The worker's control connection, asked as a web process asks for a browser."""

    port: int
    secret: str
    room: str
    producers: list[str]

    async def open(self) -> None:
        self.client = await WorkerClient.connect("127.0.0.1", self.port, secret=self.secret, client="joiners")
        self.capabilities = self.client.welcome.rtp_capabilities
        codec = next(c for c in self.capabilities["codecs"] if c["mimeType"].lower() == "video/vp8")
        self.video_type: int = codec["preferredPayloadType"]

    async def join(self, name: str, client: Client, found: Found) -> None:
        room, peer = self.room, name
        await self._ask(protocol.OpenPeer(room=room, peer=peer))
        made = await self._ask(protocol.CreateTransport(room=room, peer=peer, direction="recv"))
        transport = made.transport_id
        dtls = dtls_parameters()
        await self._ask(protocol.ConnectTransport(room=room, peer=peer, transport_id=transport, dtls_parameters=dtls))
        found(worker_address(made), self.video_type)
        await asyncio.gather(*(self._consume(peer, transport, producer) for producer in self.producers))

    async def _consume(self, peer: str, transport: str, producer: str) -> None:
        request = protocol.CreateConsumer(
            room=self.room,
            peer=peer,
            transport_id=transport,
            producer_id=producer,
            rtp_capabilities=self.capabilities,
        )
        made = await self._ask(request)
        await self._ask(protocol.ResumeConsumer(room=self.room, peer=peer, consumer_id=made.consumer_id))

    async def _ask(self, request: protocol.Request) -> Any:
        return await self.client.request(request, timeout=ANSWER_WITHIN)

    async def close(self) -> None:
        await self.client.close()


def dtls_parameters() -> dict[str, Any]:
    return {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": fingerprint()}]}


def worker_address(made: protocol.TransportMade) -> Remote:
    """Where and how to reach a transport of our worker."""
    candidate = next(c for c in made.ice_candidates if c["protocol"] == "udp")
    ice = made.ice_parameters
    address = (candidate.get("address") or candidate["ip"], candidate["port"])
    return Remote(address, ice["usernameFragment"], ice["password"])


@dataclass
class JanusDoor:
    """janus's WebSocket: one session, a handle for each joiner."""

    port: int
    room: int
    publisher: int

    async def open(self) -> None:
        self.waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.numbers = itertools.count()
        self.socket: WebSocket = await connect("127.0.0.1", self.port, "/", self._take, protocol="janus-protocol")
        self.session = (await self._ask({"janus": "create"}))["data"]["id"]

    def _take(self, data: bytes) -> None:
        message = json.loads(data)
        future = self.waiting.get(message.get("transaction", ""))
        if future is None or future.done() or message["janus"] == "ack":
            return  # what it tells unasked, or that it will answer
        if message["janus"] == "error" or "error" in message.get("plugindata", {}).get("data", {}):
            future.set_exception(RuntimeError(data.decode()))
        else:
            future.set_result(message)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        transaction = str(next(self.numbers))
        future = self.waiting[transaction] = asyncio.get_running_loop().create_future()
        self.socket.send(request | {"transaction": transaction})
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await future
        finally:
            del self.waiting[transaction]

    async def join(self, name: str, client: Client, found: Found) -> None:
        attached = await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom", "session_id": self.session})
        message = {"janus": "message", "session_id": self.session, "handle_id": attached["data"]["id"]}
        streams = [{"feed": self.publisher}]
        join = {"request": "join", "ptype": "subscriber", "room": self.room, "streams": streams}
        offer = (await self._ask(message | {"body": join}))["jsep"]["sdp"]
        theirs = sections(offer)
        answer = {"type": "answer", "sdp": write(client, theirs, direction="recvonly")}
        await self._ask(message | {"body": {"request": "start"}, "jsep": answer})
        found(remote_of(offer, own_address()), next(s.payload_type for s in theirs if s.kind == "video"))

    async def close(self) -> None:
        self.socket.transport.abort()
