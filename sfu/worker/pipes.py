"""Rooms that are on several workers: the pipes between them, and what has to be done elsewhere for what is asked here.

A room has a home, which knows everybody; each further worker, an edge, has one pipe to it. Whoever is on an edge is
held and served there; what he sends is piped to home when somebody else wants it, and from home to other edges, once
to each. Web processes talk to the worker that a peer is on; what they ask home about him, home passes on.

When one of the two control connections between two workers breaks, their pipes close. Then the edge closes its rooms
(those on it come again), and home what they sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import structlog
from msgspec import Struct

from sfu import protocol as p
from sfu.core.pipe import Pipe
from sfu.protocol import EVENTS, Home, InvalidRequest, PeerClosed, ProducerClosed, Request
from sfu.worker.connection import Answer, ControlConnection
from sfu.worker.media import MediaServer, new_id
from sfu.worker.neighbours import Neighbours
from sfu.worker.pipe_link import PipeLink, PipeSessions, new_key
from sfu.worker.pipe_messages import (
    ClosePipe,
    FarPeer,
    FarPeerClosed,
    FarProducer,
    OpenPipe,
    PipeOpened,
)
from sfu.worker.spread_room import End, SpreadRoom

if TYPE_CHECKING:
    from sfu.worker.control import Control

log = structlog.get_logger("sfu.pipes")

HANG_UP_AFTER = 0.5  # seconds after the last room that two workers had together

# What home passes on to the worker that the peer is on.
PASSED_ON = (p.PauseProducer, p.ResumeProducer, p.CloseProducer, p.ClosePeer, p.GetStats)


class Pipes:
    def __init__(self, control: Control, media: MediaServer, *, secret: str, worker_id: str, epoch: str) -> None:
        self.control = control
        self.media = media
        self.rooms: dict[str, SpreadRoom] = {}
        self.neighbours = Neighbours(secret=secret, name=f"worker-{worker_id}", on_lost=self._lost)
        self.address: tuple[str, int] = ("", 0)  # where other workers send to
        self.reached_at = ""  # our control connection, "host:port"
        self._epoch = epoch
        self._ends: dict[int, tuple[str, End]] = {}  # by our number: the room, the other end
        self._last_number = 0
        # A lock a room: a home that hangs keeps nobody out of the others.
        self._joining: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._next_second = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    # --- life ---

    async def start(self, listen_ip: str, control_host: str, control_port: int) -> None:
        """Other workers reach our media port by the address that is listened on, or where they reach our control."""
        host = control_host if ipaddress.ip_address(listen_ip).is_unspecified else listen_ip
        found = await asyncio.get_running_loop().getaddrinfo(host, self.media.port, type=socket.SOCK_DGRAM)
        self.address = (str(found[0][4][0]), self.media.port)
        self.reached_at = f"{f'[{control_host}]' if ':' in control_host else control_host}:{control_port}"

    async def stop(self) -> None:
        """Twice does no harm."""
        for task in self._closing:
            task.cancel()
        await self.neighbours.close()

    # --- opening and closing ---

    async def join(self, room: str, home: Home) -> None:
        """Be an edge of the room, which is at home there. Idempotent. Raises InvalidRequest."""
        async with self._joining.setdefault(room, asyncio.Lock()):
            spread = self.rooms.get(room)
            if spread is not None and spread.home is not None and spread.home.epoch == home.epoch:
                return
            if home.epoch == self._epoch:
                raise InvalidRequest("bad_request", "a room's home is another worker than its edge")
            client = await self.neighbours.client(home.control, home.epoch)
            end = End(client=client, epoch=home.epoch, number=self._new_number())
            key = new_key()
            opened: PipeOpened = await client.request(
                OpenPipe(
                    room=room, control=self.reached_at, epoch=self._epoch, number=end.number, address=self.address,
                    key=key,
                )
            )  # fmt: skip
            # Only now: a home that is not there takes nobody's media.
            if room in self.media.routers:
                self.control.drop_room(room, "home_lost")
            self.media.open_room(room)
            router = self.media.routers[room]
            router.is_home = False
            self.rooms[room] = SpreadRoom(router, home=end)
            self._open(room, end, opened, send_key=key)
            if client.closed:  # meanwhile
                self._lose(room, end)
                raise InvalidRequest("media_unavailable", "the room's home is gone")
            log.info("pipe_opened", room=room, home=home.epoch)

    async def open_pipe(self, connection: ControlConnection, request: OpenPipe) -> PipeOpened:
        """An edge joins a room that is at home here."""
        client = await self.neighbours.client(request.control, request.epoch)
        router = self.media.routers.get(request.room)
        if router is None or not router.is_home:
            raise InvalidRequest("not_found", "the room is not at home here")
        spread = self.rooms.setdefault(request.room, SpreadRoom(router))
        replaced = [end for end in spread.ends if end.epoch == request.epoch]
        end = End(client=client, epoch=request.epoch, number=self._new_number())
        end.connection = connection
        spread.ends.append(end)
        key = new_key()
        self._open(request.room, end, PipeOpened(request.number, request.address, request.key), send_key=key)
        for other in replaced:  # only now: with the last pipe to a worker goes the connection
            self._close_end(request.room, other, spread)
        log.info("pipe_opened", room=request.room, edge=request.epoch)
        return PipeOpened(end.number, self.address, key)

    def _open(self, room: str, end: End, other: PipeOpened, *, send_key: str) -> None:
        pipe = Pipe(id=new_id(), room=room, agenda=self.media.agenda, prefix=other.number)
        sessions = PipeSessions(other.number, receive_key=other.key, send_key=send_key)
        pipe.link = PipeLink(self.media.endpoint, pipe, address=other.address, number=end.number, sessions=sessions)
        end.pipe, end.theirs = pipe, other.number
        self._ends[end.number] = (room, end)
        self.media.routers[room].open_pipe(pipe)

    def _new_number(self) -> int:
        while True:
            self._last_number = self._last_number % 0xFFFF + 1
            if self._last_number not in self._ends:
                return self._last_number

    def close_room(self, room: str, *, over: bool = False) -> None:
        """The room closes here. `over`: the class is, so everywhere."""
        spread = self.rooms.pop(room, None)
        if spread is None:
            return
        for end in list(spread.ends):
            end.tell(p.CloseRoom(room=room) if over and spread.home is None else ClosePipe(pipe=end.theirs))
            self._close_end(room, end, spread)

    def is_edge(self, room: str) -> bool:
        spread = self.rooms.get(room)
        return spread is not None and spread.home is not None

    def _lose(self, room: str, end: End) -> None:
        """The pipe is no more. Home goes on without the edge; an edge without its home closes the room."""
        spread = self.rooms[room]
        self._close_end(room, end, spread)
        if not spread.ends:
            del self.rooms[room]
        if spread.home is end:
            self.control.drop_room(room, "home_lost")

    def _close_end(self, room: str, end: End, spread: SpreadRoom) -> None:
        del self._ends[end.number]
        spread.ends.remove(end)
        pipe, end.pipe = end.pipe, None
        assert pipe is not None
        far = [info for other, info in spread.far.values() if other is end]
        for info in far:
            del spread.far[info.producer_id]
        for peer in [peer for peer, other in spread.far_peers.items() if other is end]:
            del spread.far_peers[peer]
            spread.router.close_far_peer(peer)
        unheard = [info for info in far if info.producer_id not in spread.router.producers]
        spread.router.close_pipe(pipe, "lost")
        self.media.endpoint.flush()
        for info in unheard:
            self.control.publish(ProducerClosed(room=room, peer=info.peer, producer_id=info.producer_id, reason="lost"))
        self._hang_up(end.epoch)
        log.info("pipe_closed", room=room, other=end.epoch)

    def _hang_up(self, epoch: str) -> None:
        if any(end.epoch == epoch for _, end in self._ends.values()):
            return
        client = self.neighbours.forget(epoch)
        if client is not None:
            task = asyncio.ensure_future(_close_soon(client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _lost(self, epoch: str) -> None:
        """Our connection to that worker broke: it is to notice by its own, and both have the pipes no more."""
        for room, end in [found for found in self._ends.values() if found[1].epoch == epoch]:
            self._lose(room, end)
            if end.connection is not None:
                end.connection.drop("has lost us")

    def connection_ended(self, connection: ControlConnection) -> None:
        for room, end in [found for found in self._ends.values() if found[1].connection is connection]:
            self._lose(room, end)

    # --- who asks by the number of a pipe ---

    def find(self, number: int) -> tuple[SpreadRoom, End]:
        """Raises InvalidRequest."""
        room, end = self._ends.get(number, ("", None))
        if end is None:
            raise InvalidRequest("not_found", "no such pipe")
        return self.rooms[room], end

    def close_pipe(self, number: int) -> None:
        room, end = self._ends.get(number, ("", None))
        if end is not None:
            self._lose(room, end)

    def give_up(self, number: int) -> None:
        """The pipe is used up. The edge's people come again, by another one."""
        room, end = self._ends[number]
        end.tell(ClosePipe(pipe=end.theirs))
        self._lose(room, end)

    # --- what web processes ask ---

    def serve(self, request: Request, verb: Callable[[], Answer]) -> Answer:
        """Do what is asked, `verb`, and what it means for the room's other workers."""
        spread = self.rooms.get(getattr(request, "room", ""))
        if spread is None:
            return verb()
        if isinstance(request, PASSED_ON) and (end := _where(spread, request)) is not None:
            if isinstance(request, p.ClosePeer) and request.peer in spread.router.peers:
                verb()
            return _passed_on(end, request)
        if not isinstance(request, _SPREAD):
            return verb()
        if isinstance(request, p.CreateConsumer) and request.producer_id in spread.router.producers:
            return verb()  # as most are: what is here already needs nobody else
        return self._serve(spread, request, verb)

    async def _serve(self, spread: SpreadRoom, request: Request, verb: Callable[[], Answer]) -> Struct:
        now = asyncio.get_running_loop().time()
        if isinstance(request, p.CreateConsumer):
            await spread.bring(request.producer_id, now)
        answer = verb()
        result: Struct = answer if isinstance(answer, Struct) else await answer
        match request:
            case p.OpenRoom() if spread.home is None:
                assert isinstance(result, p.RoomState)
                result.producers = spread.state().producers
            case p.OpenPeer() if spread.home is not None:
                peer = spread.router.peer(request.peer)
                try:
                    await spread.home.ask(FarPeer(pipe=0, peer=peer.id, name=peer.name, cname=peer.cname))
                except InvalidRequest:
                    self.control.close_peer(request.room, peer.id, "left")
                    raise
            case p.CreateProducer() if spread.home is not None:
                assert isinstance(result, p.ProducerMade)
                await self._announce(spread, request, result.producer_id)
            case p.PauseProducer() | p.ResumeProducer():
                await spread.tell_paused(request.producer_id, isinstance(request, p.PauseProducer))
            case p.StartRecording() | p.ResumeRecording() | p.RecordPeer() | p.StartStream() if spread.home is None:
                await spread.bring_all(now)
        return result

    async def _announce(self, spread: SpreadRoom, request: p.CreateProducer, producer_id: str) -> None:
        """Home knows of a producer before anybody can ask home for it."""
        assert spread.home is not None
        producer = spread.router.producers[producer_id]
        spread.own.add(producer_id)
        try:
            await spread.home.ask(FarProducer(pipe=0, producer=producer.info()))
        except InvalidRequest:
            spread.router.close_producer(producer, "error")
            self.media.endpoint.flush()
            raise

    # --- what the media tell ---

    def heard(self, event: EVENTS) -> None:
        spread = self.rooms.get(event.room)
        if spread is None:
            return
        if isinstance(event, ProducerClosed):
            spread.tell_closed(event.producer_id, event.reason)
        elif isinstance(event, PeerClosed) and spread.home is not None:
            spread.home.tell(FarPeerClosed(pipe=0, peer=event.peer))

    def tick(self, now: float) -> None:
        for spread in self.rooms.values():
            if spread.home is None:
                spread.tell_voices()
        if now >= self._next_second:
            self._next_second = now + 1.0
            for spread in list(self.rooms.values()):
                spread.each_second(now)


_SPREAD = (
    p.OpenRoom,
    p.OpenPeer,
    p.CreateProducer,
    p.PauseProducer,
    p.ResumeProducer,
    p.CreateConsumer,
    p.StartRecording,
    p.ResumeRecording,
    p.RecordPeer,
    p.StartStream,
)


def _where(spread: SpreadRoom, request: Any) -> End | None:
    """The edge that has what is asked about. Somebody who was here a moment ago may be known in both places."""
    far = spread.far.get(getattr(request, "producer_id", ""))
    if far is not None:
        return far[0]
    if request.peer in spread.router.peers and not isinstance(request, p.ClosePeer):
        return None
    return spread.far_peers.get(request.peer)


async def _passed_on(end: End, request: Request) -> Struct:
    answer: Struct = await end.ask(request)
    return answer


async def _close_soon(client: Any) -> None:
    """What was told last is to be read first."""
    await asyncio.sleep(HANG_UP_AFTER)
    await client.close()
