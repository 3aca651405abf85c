"""One room's media in one web process: which worker has it, whose peers are held here, and what to do when it goes.

Losing a worker: the connection breaks (`recover`); the room is placed anew by whichever process comes first; each
process with sockets in the room opens it there, with its own sessions' peers; a running recording goes on; then
`media:restart {epoch, reason}` is published, numbered, and the event log takes it once however many processes try. The
browsers hear of it by their hubs and build their transports anew. Until there is a worker, that is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from redis.exceptions import RedisError

from meetings import background
from meetings.errors import CLOSE_COME_AGAIN, Refused
from meetings.hub import Hub
from meetings.media.announce import Announcer
from meetings.media.edges import Edges
from meetings.media.hooks import (
    on_media_restart,
    on_recording_expected,
    on_recording_failed,
    on_recording_found,
)
from meetings.media.placement import Order, Placed, Placement, Placements
from meetings.media.pool import WorkerPool
from meetings.media.seats import Seats
from meetings.media.session_media import SessionMedia
from meetings.session import RoomSession
from meetings.wire import Frame
from sfu.client import WorkerClient
from sfu.protocol import (
    EVENTS,
    ClosePeer,
    ConsumerClosed,
    ConsumerLayers,
    DiskLow,
    InvalidRequest,
    OpenPeer,
    OpenRoom,
    PeerClosed,
    PeerState,
    ProducerClosed,
    QualityWarning,
    RecordingFailed,
    ReleasePeer,
    ReleaseRoom,
    Request,
    RoomState,
    SpeakersChanged,
)

log = logging.getLogger(__name__)

JOIN_WITHIN = 2.5  # seconds: a join waits no longer for media, they can come later
PATIENCE = 1.0  # seconds for an answer that nothing depends on
RETRY_FIRST, RETRY_MOST = 0.1, 0.5  # seconds between two tries to find a worker
WORKERS_TRIED = 3  # in one try
ASKED_FOR = frozenset({"left", "removed", "replaced", "ended", "lost"})  # reasons that we give
REMEMBERED = 256  # producers that closed lately


class RoomMedia:
    def __init__(self, hub: Hub, placements: Placements, seats: Seats, pool: WorkerPool) -> None:
        self.hub = hub
        self.code = hub.code
        self.announcer = Announcer(hub)
        self.speaking: Frame | None = None  # what was told last of who speaks; None: nobody does
        self.placement: Placement | None = None
        self.client: WorkerClient | None = None
        self.edges = Edges(hub.code, seats, pool)
        self.peers: dict[str, SessionMedia] = {}
        self._placements = placements
        self._pool = pool
        self._opening = asyncio.Lock()
        self._recovery: asyncio.Task[None] | None = None
        self._closed_lately: deque[str] = deque(maxlen=REMEMBERED)
        self._last_words: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[EVENTS] = asyncio.Queue()
        self._hearing = asyncio.create_task(self._hear(), name=f"media events of {self.code}")

    @property
    def epoch(self) -> str | None:
        return self.placement.epoch if self.placement else None

    # --- asking the worker -------------------------------------------------------------------------------------------

    async def request(self, request: Request, *, anew: bool = False) -> Any:
        """Ask the worker that the peer in it is on, if he is of this process; else the room's home, which passes it on.

        Raises Refused. `anew`: look first whether the room has been moved meanwhile.
        """
        client = self.client
        if anew or client is None or client.closed:
            client = await self.ready()
        try:
            at = self._at(request)
            if at is not None:
                client = await self.edges.client(at)
            return await client.request(request)
        except InvalidRequest as error:
            raise refused(error) from error

    def _at(self, request: Request) -> Placement | None:
        media = self.peers.get(getattr(request, "peer", ""))
        return media.at if media is not None else None

    async def ready(self) -> WorkerClient:
        """The connection to the room's home, with the room open there. Raises Refused."""
        async with self._opening:
            if self.client is not None and not self.client.closed and await self._is_here():
                return self.client
            try:
                return await self._open()
            except InvalidRequest as error:
                raise refused(error) from error

    async def _is_here(self) -> bool:
        assert self.placement is not None
        try:
            current = await self._placements.current(self.code)
            if current is None:  # Redis lost it, and what was being recorded; the room has not moved
                await self.keep(self.placement)
                current = await self._placements.current(self.code)
                await self._ask_what_is_recorded()
        except (RedisError, OSError):
            return True  # the media go on without Redis
        return current == self.placement

    async def keep(self, home: Placement) -> None:
        """Where the room and its people are, put back if Redis has lost it, and kept from expiring."""
        await self._placements.keep(self.code, home)
        await self.edges.keep({peer: media.at or home for peer, media in self.peers.items()})

    async def _ask_what_is_recorded(self) -> None:
        assert self.client is not None
        try:
            await self._go_on_recording(await self.client.request(OpenRoom(room=self.code)))
        except InvalidRequest as error:
            log.warning("What is recorded in %s is not known: %s", self.code, error)  # its worker is going

    async def _open(self) -> WorkerClient:
        avoid: set[Placement] = set()
        for _ in range(WORKERS_TRIED):
            placed = await self._placements.place(self.code, self._pool.unreachable | avoid)
            if placed is None:
                await self._placements.order_restart(self.code, "no_worker")
                break
            try:
                return await self._open_on(placed)
            except InvalidRequest as error:
                log.warning("Room %s cannot be opened on %s: %s", self.code, placed.placement.worker_id, error)
                avoid.add(placed.placement)
        raise InvalidRequest("media_unavailable", "There is no media worker at the moment.")

    async def _open_on(self, placed: Placed) -> WorkerClient:
        known = await self.hub.live.producers()  # before the worker tells: what is made in between is in neither
        same = placed.placement == self.placement
        if not same and self.speaking is not None:  # as the worker told that has the room no longer
            self._tell_speakers(SpeakersChanged(room=self.code, speaker=None, levels={}))
        client = await self._pool.client(placed)
        state: RoomState = await client.request(OpenRoom(room=self.code))
        self.edges.home_is(placed, same=same)
        if not same:
            for media in self.peers.values():
                media.forget()
        # The same home knows nothing of those on edges that they would have to hear.
        sessions = [media for media in self.peers.values() if not same or media.at is None or media.waiting]
        peers = await asyncio.gather(
            *[self._open_peer_at(m, client, placed.placement, sit=not same or m.waiting) for m in sessions]
        )
        void = [media for media, peer in zip(sessions, peers, strict=True) if not media.adopt(peer)]
        self.placement, self.client = placed.placement, client
        order = await self._placements.order(self.code)
        await self._drop_dead(known, state, tell=same and order is None)
        await self._go_on_recording(state)
        if order is not None:
            await self._tell_restart(client, order)
        for media in sessions:
            if media.waiting and order is None:
                await media.session.send("media:restart", self._restart(client, "worker_ready"))
            elif media in void and order is None:
                media.session.close(CLOSE_COME_AGAIN)
            media.waiting = False
        return client

    async def _open_peer_at(
        self, media: SessionMedia, client: WorkerClient, home: Placement, *, sit: bool = True
    ) -> PeerState:
        """On the worker that this person is on; found first, if `sit`. Raises InvalidRequest: it is home that fails."""
        if sit:
            await self.edges.sit(media, home)
        if media.at is not None:
            try:
                edge = await self.edges.client(media.at)
                state: PeerState = await edge.request(self._open_peer(media))
                return state
            except InvalidRequest as error:
                log.warning("%s cannot be on %s: %s", media.peer, media.at.worker_id, error)
                if error.code == "not_found":  # it lost the room when nobody of ours was there to be told of
                    self.edges.clients.pop(media.at, None)
                media.at = None
        at_home: PeerState = await client.request(self._open_peer(media))
        return at_home

    def _open_peer(self, media: SessionMedia) -> OpenPeer:
        return OpenPeer(room=self.code, peer=media.peer, name=media.session.participant.name)

    async def _drop_dead(self, known: dict[str, list[dict[str, Any]]], state: RoomState, *, tell: bool) -> None:
        """Take producers off the room's list that the worker does not have."""
        there = {producer.producer_id for producer in state.producers}
        for participant_id, producers in known.items():
            for producer in producers:
                if producer["producer_id"] not in there:
                    await self.announcer.producer_closed(participant_id, producer["producer_id"], "lost", tell=tell)

    async def _go_on_recording(self, state: RoomState) -> None:
        recording = await self.hub.live.recording()
        if recording is not None:
            await on_recording_expected.run(self.code, recording["recording_id"])
        elif state.recording is not None:
            await on_recording_found.run(self.code, state.recording)

    async def _tell_restart(self, client: WorkerClient, order: Order) -> None:
        assert self.placement is not None
        once = f"media:{order.token}:{self.placement.epoch}"
        await self.hub.publish("media:restart", self._restart(client, order.reason), once=once)
        await self._placements.fulfilled(self.code, order)
        await on_media_restart.run(self.code, self.placement.epoch)

    def _restart(self, client: WorkerClient, reason: str) -> dict[str, Any]:
        """With the capabilities: who joined when there was no worker has none yet."""
        return {"epoch": self.epoch, "reason": reason, "rtp_capabilities": client.welcome.rtp_capabilities}

    # --- a worker that went ------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Open the room again, wherever it is now, and as often as it takes. Twice does no harm."""
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.create_task(self._recover(), name=f"media of {self.code}")

    def lose_edge(self, edge: Placement) -> None:
        """A further worker is gone, or has lost the room's home: those on it are opened again, there or elsewhere."""
        self.edges.clients.pop(edge, None)
        self.edges.lost.add(edge)
        self.recover()

    async def _recover(self) -> None:
        wait = RETRY_FIRST
        while self.peers:
            try:
                await self.ready()
                while self.edges.lost:
                    edge = next(iter(self.edges.lost))
                    await asyncio.gather(*[self._sit_again(m) for m in self.peers.values() if m.at == edge])
                    self.edges.lost.discard(edge)
                return
            except (Refused, RedisError, OSError) as error:
                log.debug("Room %s has no media yet: %s", self.code, error)
            except Exception:
                log.exception("Room %s cannot be opened", self.code)
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_MOST)

    async def _sit_again(self, media: SessionMedia) -> None:
        """Only this person's media were there, so only he is told."""
        client, home = self.client, self.placement
        if client is None or home is None:
            raise Refused("media_unavailable", "The room is being moved.")
        try:
            state = await self._open_peer_at(media, client, home)
        except InvalidRequest as error:
            raise refused(error) from error
        if not media.adopt(state):
            await media.session.send("media:restart", self._restart(client, "worker_lost"))

    # --- people ------------------------------------------------------------------------------------------------------

    async def join(self, media: SessionMedia) -> PeerState | None:
        """Make the peer, or take it over when its browser comes back. None: no media now, `media:restart` follows."""
        self.peers[media.peer] = media
        try:
            async with asyncio.timeout(JOIN_WITHIN):
                client = await self.ready()
                assert self.placement is not None
                await self.edges.sit(media, self.placement)
                if media.session.replaces:
                    await self._close_peer(media.peer, "replaced", media.at)
                state = await self._open_peer_at(media, client, self.placement, sit=False)
                media.adopt(state)
                await self._list(media.peer, state)
                return state
        except (Refused, InvalidRequest, TimeoutError, RedisError, OSError) as error:
            log.info("%s joined %s without media: %s", media.peer, self.code, error)
            media.session.after_answer(lambda: self._wait(media))
            return None

    async def _list(self, peer: str, state: PeerState) -> None:
        """Redis may have come back empty: what the worker still has of this person is told to the room again."""
        for one in state.producers:
            if await self.hub.live.producer(one.producer_id) is None:
                await self.announcer.new_producer(peer, one.producer_id, one.kind, one.source, paused=one.paused)

    def _wait(self, media: SessionMedia) -> None:
        media.waiting = True
        self.client = None  # it may be there and not answer: opened again, it either answers or is given up
        self.recover()

    async def leave(self, media: SessionMedia, reason: str) -> None:
        """For good. Not when another socket of the same person has taken over."""
        if self.peers.get(media.peer) is media:
            del self.peers[media.peer]
            await self._close_peer(media.peer, reason, media.at)
            await self.edges.leave(media.peer)

    async def disconnect(self, media: SessionMedia) -> None:
        """The socket went: the peer stays for its lease."""
        if self.peers.get(media.peer) is media:
            del self.peers[media.peer]
            await self.try_request(ReleasePeer(room=self.code, peer=media.peer), media.at)

    async def close_peer(self, peer: str, reason: str) -> None:
        """Somebody's, wherever the socket is."""
        self.peers.pop(peer, None)
        await self._close_peer(peer, reason)
        await self.edges.leave(peer)

    async def _close_peer(self, peer: str, reason: str, at: Placement | None = None) -> None:
        await self.try_request(ClosePeer(room=self.code, peer=peer, reason=reason), at)

    async def try_request(self, request: Request, at: Placement | None = None) -> None:
        """Ask what need not be done when it cannot be: the worker is gone, or has done it already.

        A worker that hangs does it when it goes on; leaving a class does not wait for that. `at`: the worker of one who
        is not among ours any more.
        """
        at = at or self._at(request)
        client = self.client if at is None else self.edges.clients.get(at)
        if client is not None and not client.closed:
            try:
                await client.request(request, timeout=PATIENCE)
            except InvalidRequest as error:
                log.debug("%s: %s", type(request).__name__, error)

    def reset(self) -> None:
        """The class has ended: its room is closed by the process that ended it. Another class may come."""
        self.placement, self.client, self.speaking = None, None, None
        self.edges.reset()
        self.peers = {}

    async def close(self) -> None:
        """This process has nobody in the room any more."""
        release = asyncio.create_task(self._release())  # nobody waits for a worker here
        self._last_words.add(release)
        release.add_done_callback(self._last_words.discard)
        await background.end([self._hearing, self._recovery])

    async def _release(self) -> None:
        await self.try_request(ReleaseRoom(room=self.code))
        await self.edges.release()

    # --- what the worker tells ---------------------------------------------------------------------------------------

    def heard(self, event: EVENTS) -> None:
        if isinstance(event, ProducerClosed):
            self._closed_lately.append(event.producer_id)
        if isinstance(event, SpeakersChanged):
            self._tell_speakers(event)  # at once: news that waited for Redis would come too late, and many together
        else:
            self._events.put_nowait(event)

    def _tell_speakers(self, event: SpeakersChanged) -> None:
        """To the sockets of this process: every process that has people in the room hears the worker itself."""
        told = self.hub.send_here("speaker:active", {"participant_id": event.speaker, "levels": event.levels})
        self.speaking = told if event.speaker or event.levels else None

    def tell_speakers_to(self, session: RoomSession) -> None:
        """Who joins in the middle of a sentence need not wait for the next one."""
        if self.speaking is not None:
            session.wire.write(self.speaking)

    def has_closed(self, producer_id: str) -> bool:
        """It closed before it could be announced."""
        return producer_id in self._closed_lately

    async def _hear(self) -> None:
        """One after the other, so that the room is told in the order in which it happened."""
        while True:
            event = await self._events.get()
            try:
                await self._take(event)
            except (RedisError, OSError) as error:
                log.warning("What a media worker told of %s is lost: %s", self.code, error)
            except Exception:
                log.exception("What a media worker told of %s could not be handled", self.code)

    async def _take(self, event: EVENTS) -> None:
        match event:
            case ProducerClosed():
                media = self.peers.get(event.peer)
                if media is not None:
                    media.producers.pop(event.producer_id, None)
                await self.announcer.producer_closed(event.peer, event.producer_id, event.reason)
            case ConsumerClosed():
                await self._consumer_closed(event)
            case ConsumerLayers():
                if (media := self.peers.get(event.peer)) is not None and event.consumer_id in media.consumers:
                    layers = {"consumer_id": event.consumer_id, "spatial": event.spatial, "temporal": event.temporal}
                    await media.session.send("consumer:layers", layers)
            case QualityWarning():
                if (media := self.peers.get(event.peer)) is not None:
                    await media.session.send("quality:warning", {"issue": event.issue})
            case PeerClosed():
                await self._peer_closed(event)
            case DiskLow():
                about = {"recording_id": event.recording, "free": event.free}
                self.hub.send_here("recording:disk", about, needs="record")
            case RecordingFailed():
                await on_recording_failed.run(self.code, event.recording, event.reason)

    async def _consumer_closed(self, event: ConsumerClosed) -> None:
        media = self.peers.get(event.peer)
        if media is not None and (producer_id := media.consumers.pop(event.consumer_id, None)) is not None:
            data = {"consumer_id": event.consumer_id, "producer_id": producer_id, "reason": event.reason}
            await media.session.send("consumer:closed", data)

    async def _peer_closed(self, event: PeerClosed) -> None:
        """Unless we asked for it, it was a bug of the worker's, or a lease that ran out while we were cut off from it.

        The worker and the epoch are the same, so there is nothing to tell the room: this one browser comes again, and
        finds in the answer of its join that none of its media are alive.
        """
        media = self.peers.get(event.peer)
        if media is not None and event.reason == "home_lost":
            if media.at is not None:
                self.lose_edge(media.at)
        elif media is not None and event.reason not in ASKED_FOR:
            media.forget()
            media.session.close(CLOSE_COME_AGAIN)


def refused(error: InvalidRequest) -> Refused:
    if error.code == "unauthenticated":  # our secret is wrong, not the person's
        return Refused("media_unavailable", "The media worker cannot be reached.")
    return Refused(error.code, error.message)
