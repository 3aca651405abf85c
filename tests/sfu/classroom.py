"""A small classroom on a real media server and real sockets: Tina teaches, Sam and Olga watch."""

from __future__ import annotations

from typing import Any

from sfu.protocol import EVENTS, ConsumerMade, Direction, Kind, Source
from sfu.worker.media import MediaServer
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import opus_parameters, receiver_capabilities, vp8_parameters

ROOM = "maths"


class Person:
    """A peer with the transports that a test gave it."""

    def __init__(self, classroom: Classroom, name: str) -> None:
        self.classroom = classroom
        self.name = name
        self.media = classroom.media
        self.transports: dict[str, PeerTransport] = {}
        self.media.open_peer(ROOM, name, name.title())

    async def connect(self, direction: Direction, **options: Any) -> PeerTransport:
        transport = self.make(direction, **options)
        self.media.connect_transport(ROOM, self.name, transport.made.transport_id, transport.dtls_parameters)
        await transport.connect()
        return transport

    def make(self, direction: Direction, **options: Any) -> PeerTransport:
        made = self.media.create_transport(ROOM, self.name, direction)
        transport = self.transports[direction] = PeerTransport(made, **options)
        self.classroom.transports.append(transport)
        return transport

    def produce(self, kind: Kind, source: Source, parameters: dict[str, Any], *, paused: bool = False) -> str:
        transport_id = self.transports["send"].made.transport_id
        return self.media.create_producer(ROOM, self.name, transport_id, kind, source, parameters, paused).producer_id

    def camera(self, ssrc: int = 1111) -> str:
        return self.produce("video", "camera", vp8_parameters(ssrc))

    def microphone(self, ssrc: int = 2222) -> str:
        return self.produce("audio", "microphone", opus_parameters(ssrc))

    def consume(self, producer_id: str, *, resume: bool = True) -> ConsumerMade:
        transport_id = self.transports["recv"].made.transport_id
        consumer = self.media.create_consumer(ROOM, self.name, transport_id, producer_id, receiver_capabilities())
        if resume:
            self.media.resume_consumer(ROOM, self.name, consumer.consumer_id)
        return consumer


class Classroom:
    def __init__(self) -> None:
        self.events: list[EVENTS] = []
        self.media = MediaServer(on_event=self.events.append)
        self.transports: list[PeerTransport] = []

    async def open(self, address: str = "127.0.0.1") -> None:
        await self.media.start(address, 0, [address])
        self.media.open_room(ROOM)

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()
        await self.media.stop()

    def person(self, name: str) -> Person:
        return Person(self, name)


def ssrc_of(consumer: ConsumerMade) -> int:
    ssrc: int = consumer.rtp_parameters["encodings"][0]["ssrc"]
    return ssrc


def rtx_ssrc_of(consumer: ConsumerMade) -> int:
    ssrc: int = consumer.rtp_parameters["encodings"][0]["rtx"]["ssrc"]
    return ssrc
