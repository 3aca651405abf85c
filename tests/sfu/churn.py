"""People who come and go, share, switch, lose their way and come back: hours of a school in a minute.

Everything goes through the control connections of two web processes, and over real sockets. A round begins and ends
with nobody there, so what a worker keeps after one it keeps for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.core.rtcp import Nack, PictureLossIndication
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import (
    OpusSender,
    Vp8Sender,
    opus_parameters,
    receiver_capabilities,
    simulcast_parameters,
    vp8_parameters,
)

PEOPLE = 10  # in a round
ROOMS = ("maths", "history")
ACTIONS = 8  # of each, while he is there
WATCHED = 6  # producers that one consumes at most


@contextlib.contextmanager
def unless_gone() -> Iterator[None]:
    """Whoever sends it may leave in the same moment."""
    try:
        yield
    except p.InvalidRequest as error:
        if error.code != "not_found":
            raise


class Churn:
    def __init__(self, clients: list[WorkerClient], *, seed: int = 1) -> None:
        self.clients = clients
        self.random = random.Random(seed)
        self.rounds = 0
        self.joins = 0
        self.packets = 0  # that came to somebody

    async def round(self) -> None:
        self.rounds += 1
        for client in self.clients:
            for room in ROOMS:
                await client.request(p.OpenRoom(room=room))
        recorded = ROOMS[self.rounds % 2]
        recording = f"rec-{self.rounds}"
        await self.clients[0].request(p.StartRecording(room=recorded, recording=recording))
        people = [Visitor(self, f"p{self.rounds}-{number}") for number in range(PEOPLE)]
        await asyncio.gather(*[person.visit() for person in people])
        await self.clients[0].request(p.StopRecording(room=recorded, recording=recording))
        for room in ROOMS:
            await self.clients[0].request(p.CloseRoom(room=room))


class Visitor:
    def __init__(self, churn: Churn, name: str) -> None:
        self.churn = churn
        self.name = name
        self.random = churn.random
        self.client = self.random.choice(churn.clients)
        self.room = self.random.choice(ROOMS)
        self.ssrc = self.random.randrange(10_000, 1 << 31)
        self.transports: dict[str, PeerTransport] = {}
        self.producers: dict[str, str] = {}  # source -> id
        self.senders: list[Vp8Sender | OpusSender] = []
        self.consumers: dict[str, p.ConsumerMade] = {}  # by producer id

    async def ask(self, request: type[p.Request], **fields: Any) -> Any:
        return await self.client.request(request(room=self.room, peer=self.name, **fields))

    async def visit(self) -> None:
        await asyncio.sleep(self.random.random() * 0.5)
        await self.ask(p.OpenPeer, name=self.name)
        self.churn.joins += 1
        if self.random.random() < 0.7:
            await self.connect("send")
            await self.share()
        await self.connect("recv")
        await self.watch()
        for _ in range(ACTIONS):
            await self.random.choice(CHANGES)(self)
            await self.speak()
        await self.leave()

    async def connect(self, direction: p.Direction) -> None:
        if (before := self.transports.pop(direction, None)) is not None:
            await before.close()
        made = await self.ask(p.CreateTransport, direction=direction)
        protocol = "tcp" if self.random.random() < 0.2 else "udp"
        transport = self.transports[direction] = PeerTransport(made, protocol=protocol)
        transport.on_rtp = self.heard
        await self.ask(p.ConnectTransport, transport_id=made.transport_id, dtls_parameters=transport.dtls_parameters)
        await transport.connect()

    def heard(self, packet: bytes) -> None:
        self.churn.packets += 1

    async def share(self) -> None:
        self.senders.clear()
        self.producers.clear()
        self.ssrc += 10
        await self._produce("audio", "microphone", opus_parameters(self.ssrc))
        self.senders.append(OpusSender(self.ssrc, level=self.random.randrange(128)))
        if self.random.random() < 0.5:
            await self._produce("video", "camera", simulcast_parameters())
            self.senders += [Vp8Sender(self.ssrc + 2 + n, rid=rid) for n, rid in enumerate("qhf")]
        else:
            await self._produce("video", "camera", vp8_parameters(self.ssrc + 2))
            self.senders.append(Vp8Sender(self.ssrc + 2))

    async def _produce(self, kind: p.Kind, source: p.Source, parameters: Any) -> None:
        made = await self.ask(
            p.CreateProducer,
            transport_id=self.transports["send"].made.transport_id,
            kind=kind,
            source=source,
            rtp_parameters=parameters,
        )
        self.producers[source] = made.producer_id

    async def speak(self) -> None:
        """A fifth of a second of what he sends. What was asked of him meanwhile is a key frame."""
        up = self.transports.get("send")
        for number in range(5):
            if up is not None and up.send_session is not None:
                for sender in self.senders:
                    packets = [sender.packet()] if isinstance(sender, OpusSender) else sender.frame(3, key=number == 0)
                    for packet in packets:
                        up.send_rtp(packet)
            await asyncio.sleep(0.04)
        for transport in self.transports.values():
            transport.rtcp.clear()

    # --- what he does ---

    async def watch(self) -> None:
        """All that the others send by now."""
        state = await self.client.request(p.OpenRoom(room=self.room))
        for producer in state.producers[:WATCHED]:
            if producer.peer == self.name:
                continue
            with unless_gone():
                self.consumers[producer.producer_id] = made = await self.ask(
                    p.CreateConsumer,
                    transport_id=self.transports["recv"].made.transport_id,
                    producer_id=producer.producer_id,
                    rtp_capabilities=receiver_capabilities(),
                )
                await self.ask(p.ResumeConsumer, consumer_id=made.consumer_id)

    async def _of_a_consumer(self, request: type[p.Request], **fields: Any) -> None:
        if self.consumers:
            consumer = self.random.choice(list(self.consumers.values()))
            with unless_gone():
                await self.ask(request, consumer_id=consumer.consumer_id, **fields)

    async def prefer(self) -> None:
        width = self.random.choice([0, 160, 320, 640, 1280])
        await self._of_a_consumer(
            p.PreferLayers, width=width, height=width * 9 // 16, priority=self.random.randint(1, 4)
        )

    async def pause(self) -> None:
        await self._of_a_consumer(p.PauseConsumer)

    async def resume(self) -> None:
        await self._of_a_consumer(p.ResumeConsumer)

    async def stop_watching(self) -> None:
        await self._of_a_consumer(p.CloseConsumer)

    async def mute(self) -> None:
        for request in (p.PauseProducer, p.ResumeProducer):
            if "microphone" in self.producers:
                await self.ask(request, producer_id=self.producers["microphone"])

    async def share_anew(self) -> None:
        if self.producers:
            for producer in self.producers.values():
                await self.ask(p.CloseProducer, producer_id=producer)
            await self.share()

    async def restart_ice(self) -> None:
        for transport in self.transports.values():
            answer = await self.ask(p.RestartIce, transport_id=transport.made.transport_id)
            transport.restart_ice(answer.ice_parameters)
            await transport.check()

    async def move(self) -> None:
        for transport in self.transports.values():
            if transport.protocol == "udp":
                transport.move()
                await transport.check()

    async def complain(self) -> None:
        """Of losses, and of pictures that cannot be decoded."""
        for consumer in self.consumers.values():
            ssrc = consumer.rtp_parameters["encodings"][0]["ssrc"]
            self.transports["recv"].send_rtcp(Nack(1, ssrc, [self.random.randrange(1 << 16) for _ in range(20)]))
            self.transports["recv"].send_rtcp(PictureLossIndication(1, ssrc))

    async def come_back(self) -> None:
        """By another web process, with new transports, as after a network that was away too long."""
        await self.ask(p.ReleasePeer)
        self.client = self.random.choice(self.churn.clients)
        await self.ask(p.OpenPeer, name=self.name)
        self.consumers.clear()
        if "send" in self.transports:
            await self.connect("send")
            await self.share()
        await self.connect("recv")
        await self.watch()

    async def leave(self) -> None:
        if self.random.random() < 0.5:
            for transport in self.transports.values():
                transport.say_goodbye()
        await self.ask(p.ClosePeer)
        for transport in self.transports.values():
            await transport.close()


CHANGES: tuple[Callable[[Visitor], Awaitable[None]], ...] = (
    Visitor.watch, Visitor.prefer, Visitor.prefer, Visitor.pause, Visitor.resume, Visitor.stop_watching, Visitor.mute,
    Visitor.share_anew, Visitor.restart_ice, Visitor.move, Visitor.complain, Visitor.come_back,
)  # fmt: skip
