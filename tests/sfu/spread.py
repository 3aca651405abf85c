"""A room on real workers, and people with real transports on any of them, reached by control connections alone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sfu.client import WorkerClient
from sfu.core.rtcp import PictureLossIndication, SenderReport
from sfu.core.rtp import parse_rtp
from sfu.protocol import (
    EVENTS,
    ConnectTransport,
    ConsumerMade,
    CreateConsumer,
    CreateProducer,
    CreateTransport,
    Home,
    OpenPeer,
    OpenRoom,
    PauseProducer,
    PreferLayers,
    ResumeConsumer,
    ResumeProducer,
)
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, Vp8Sender, receiver_capabilities
from tests.sfu.worker import LoopWorker, loop_worker
from tests.waiting import until

ROOM = "lecture"


class Member:
    """Somebody on one of the workers."""

    def __init__(self, client: WorkerClient, name: str) -> None:
        self.client = client
        self.name = name
        self.made: dict[str, str] = {}
        self.transports: dict[str, PeerTransport] = {}

    @property
    def up(self) -> PeerTransport:
        return self.transports["send"]

    @property
    def down(self) -> PeerTransport:
        return self.transports["recv"]

    async def ask(self, request: type[Any], **fields: Any) -> Any:
        return await self.client.request(request(room=ROOM, peer=self.name, **fields))

    async def connect(self, *directions: str) -> Member:
        await self.ask(OpenPeer, name=self.name.title())
        for direction in directions or ("send", "recv"):
            made = await self.ask(CreateTransport, direction=direction)
            transport = self.transports[direction] = PeerTransport(made)
            self.made[direction] = made.transport_id
            await self.ask(ConnectTransport, transport_id=made.transport_id, dtls_parameters=transport.dtls_parameters)
            await transport.connect()
        return self

    async def produce(self, source: str, rtp_parameters: dict[str, Any]) -> str:
        kind = "audio" if source == "microphone" else "video"
        made = await self.ask(
            CreateProducer,
            transport_id=self.made["send"], kind=kind, source=source, rtp_parameters=rtp_parameters,
        )  # fmt: skip
        return str(made.producer_id)

    async def consume(self, producer_id: str, *, resume: bool = True) -> ConsumerMade:
        made: ConsumerMade = await self.ask(
            CreateConsumer,
            transport_id=self.made["recv"], producer_id=producer_id, rtp_capabilities=receiver_capabilities(),
        )  # fmt: skip
        if resume:
            await self.ask(ResumeConsumer, consumer_id=made.consumer_id)
        return made

    async def prefer(self, consumer: ConsumerMade, width: int) -> None:
        await self.ask(PreferLayers, consumer_id=consumer.consumer_id, width=width, height=width * 9 // 16)

    async def pause(self, producer_id: str) -> None:
        await self.ask(PauseProducer, producer_id=producer_id)

    async def resume(self, producer_id: str) -> None:
        await self.ask(ResumeProducer, producer_id=producer_id)

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()


class Spread:
    """One room: at home on the first worker, and on the others besides. `events` holds what each told."""

    def __init__(self, workers: list[LoopWorker]) -> None:
        self.workers = workers
        self.clients: list[WorkerClient] = []
        self.events: list[list[EVENTS]] = [[] for _ in workers]
        self.members: list[Member] = []

    @property
    def home(self) -> Home:
        worker = self.workers[0].worker
        return Home(control=f"127.0.0.1:{worker.control_port}", epoch=worker.epoch)

    async def open(self) -> None:
        for index, worker in enumerate(self.workers):
            client = await worker.client(on_event=self.events[index].append)
            self.clients.append(client)
            await client.request(OpenRoom(room=ROOM, home=self.home if index else None))

    async def join(self, name: str, on: int, *directions: str) -> Member:
        member = Member(self.clients[on], name)
        self.members.append(member)
        return await member.connect(*directions)

    def piped(self, worker: int) -> int:
        """Packets of media that left this worker by pipes, repeats left out (nobody else asks for any)."""
        media = self.workers[worker].worker.media
        return media.endpoint.packets_piped - media.agenda.counters.retransmissions


@contextlib.asynccontextmanager
async def spread(data: Path, workers: int = 2) -> AsyncIterator[Spread]:
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(loop_worker(data / str(number), worker_id=f"sfu-{number}"))
            for number in range(workers)
        ]
        room = Spread(made)
        try:
            await room.open()
            yield room
        finally:
            await asyncio.gather(*[member.close() for member in room.members])


@contextlib.asynccontextmanager
async def sending(member: Member, *senders: Vp8Sender | OpusSender) -> AsyncIterator[None]:
    """A frame or a voice packet of each every 20 ms, and key frames where they are asked for."""

    async def send() -> None:
        for tick in itertools.count():
            if tick % 25 == 0:  # reports tie the layers' clocks together
                ntp = int((time.time() + 2208988800) * 2**32)
                for sender in senders:
                    member.up.send_rtcp(SenderReport(sender.ssrc, ntp, sender.timestamp, 0, 0))
            asked = {one.media_ssrc for one in member.up.rtcp if isinstance(one, PictureLossIndication)}
            member.up.rtcp.clear()
            for sender in senders:
                if isinstance(sender, OpusSender):
                    member.up.send_rtp(sender.packet())
                else:
                    for packet in sender.frame(2, key=sender.ssrc in asked):
                        member.up.send_rtp(packet)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def of(member: Member, ssrc: int) -> list[bytes]:
    return [packet for packet in member.down.rtp if parse_rtp(packet).ssrc == ssrc]


async def begins(member: Member, ssrc: int, within: float = 5.0) -> None:
    await until(lambda: of(member, ssrc), within=within, every=0.005)
