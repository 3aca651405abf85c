"""The worker's control: listens for web processes, does their requests, tells them what happened.

Who closes whom stands in docs/lifecycle.md. Time (`now`) is the event loop's, in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from msgspec.structs import replace

from sfu.protocol import (
    EVENTS,
    LEASE,
    ConsumerClosed,
    ConsumerLayers,
    GetStats,
    Home,
    InvalidRequest,
    PeerClosed,
    QualityWarning,
    Request,
    RoomState,
    Welcome,
)
from sfu.worker.connection import Answer, ControlConnection
from sfu.worker.leases import Leases
from sfu.worker.media import MediaServer
from sfu.worker.pipes import Pipes
from sfu.worker.recorder import Recorder
from sfu.worker.streamer import Streamer
from sfu.worker.verbs import VERBS

# isort: split
from sfu.worker import pipe_verbs as pipe_verbs  # puts its verbs among the others

log = structlog.get_logger("sfu.control")

MAX_CONNECTIONS = 256  # far more than web processes; strangers before their hello count, too
LOOK_EVERY = 0.5  # seconds between two looks for leases that have run out


class Control:
    def __init__(
        self,
        *,
        media: MediaServer,
        recorder: Recorder,
        streamer: Streamer,
        secret: str,
        worker_id: str,
        epoch: str,
        lease: float = LEASE,
    ) -> None:
        """`lease` is seconds; see `sfu.worker.leases`."""
        self.media = media
        self.recorder = recorder
        self.streamer = streamer
        self.leases = Leases(lease)
        self.pipes = Pipes(self, media, secret=secret, worker_id=worker_id, epoch=epoch)
        media.on_tick = self.pipes.tick
        self.draining = False
        self._secret = secret
        self._worker_id = worker_id
        self._epoch = epoch
        self._connections: dict[ControlConnection, None] = {}  # the oldest first
        self._rooms: dict[str, float] = {}  # when each was last seen in use
        self._listening: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port, for `port` may be 0."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._connection, host, port)
        self._looking = asyncio.create_task(self._look(), name="leases")
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Twice does no harm. The media and the recordings are not touched."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        await self.pipes.stop()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in list(self._connections):
            connection.close()

    def _connection(self) -> ControlConnection:
        return ControlConnection(
            secret=self._secret, welcome=self._welcome, handle=self._handle, opened=self._opened, ended=self._ended
        )

    def _welcome(self) -> Welcome:
        return Welcome(self._worker_id, self._epoch, self.media.router_rtp_capabilities)

    def _handle(self, connection: ControlConnection, request: Request) -> Answer:
        try:
            return self.pipes.serve(request, lambda: VERBS[type(request)](self, connection, request))
        except (InvalidRequest, RecursionError):
            raise
        except Exception:
            self._close_broken(request)
            raise

    def _opened(self, connection: ControlConnection) -> bool:
        if len(self._connections) >= MAX_CONNECTIONS:
            # Who said nothing yet gives way, the oldest first: a web process says its hello at once.
            stranger = next((other for other in self._connections if not other.welcomed), None)
            if stranger is None:
                return False
            del self._connections[stranger]
            stranger.drop("gave way to another")
        self._connections[connection] = None
        return True

    def _ended(self, connection: ControlConnection) -> None:
        self._connections.pop(connection, None)
        self.pipes.connection_ended(connection)
        if connection.welcomed:
            released = self.leases.release_all(connection, _now())
            log.info("control_closed", client=connection.client, released=len(released))

    # --- rooms and peers ---

    def open_room(self, connection: ControlConnection, room: str) -> RoomState:
        if self.draining and room not in self._rooms:
            raise InvalidRequest("media_unavailable", "this worker is about to end")
        if self.pipes.is_edge(room):  # its home went, and we are that now
            self.drop_room(room, "home_lost")
        state = self.media.open_room(room)
        self._heard_by(connection, room)
        return replace(state, recording=self.recorder.running(room))

    async def open_edge(self, connection: ControlConnection, room: str, home: Home) -> RoomState:
        if self.draining and room not in self._rooms:
            raise InvalidRequest("media_unavailable", "this worker is about to end")
        await self.pipes.join(room, home)
        self._heard_by(connection, room)
        return RoomState(producers=[], recording=None)

    def _heard_by(self, connection: ControlConnection, room: str) -> None:
        self._rooms[room] = _now()
        connection.rooms.add(room)

    def drop_room(self, room: str, reason: str) -> None:
        """The class goes on, but not here. A recording is left for whoever goes on with it."""
        self.recorder.abandon(room)
        self.streamer.abandon(room)
        self._close_room(room, reason)

    async def close_room(self, room: str) -> None:
        """The class is over: its recording, if one runs, is complete."""
        self.pipes.close_room(room, over=True)
        manifest_written = self.recorder.end(room)
        self.streamer.abandon(room)
        self._close_room(room)
        await manifest_written

    def release_peer(self, connection: ControlConnection, room: str, peer: str) -> None:
        self.leases.release(room, peer, connection, _now())

    def close_peer(self, room: str, peer: str, reason: str) -> None:
        self.leases.forget(room, peer)
        self.media.close_peer(room, peer, reason)
        log.info("peer_closed", room=room, peer=peer, reason=reason)

    def _close_broken(self, request: Request) -> None:
        """A bug of ours left this peer half changed: it closes, and its browser builds it anew."""
        room, peer = getattr(request, "room", None), getattr(request, "peer", None)
        if room is None or peer is None or isinstance(request, GetStats):
            return
        try:
            self.close_peer(room, peer, "error")
        except Exception:
            log.exception("closing a broken peer failed", room=room, peer=peer)

    def _close_room(self, room: str, reason: str = "room_closed") -> None:
        self.pipes.close_room(room)
        self.leases.forget_room(room)
        self._rooms.pop(room, None)
        self.media.close_room(room, reason)
        for connection in self._connections:
            connection.rooms.discard(room)
        log.info("room_closed", room=room)

    # --- what the media and the recorder tell ---

    def publish(self, event: EVENTS) -> None:
        """To whom sfu.protocol promises it, and to other workers that have the room."""
        self.pipes.heard(event)
        if isinstance(event, ConsumerClosed | ConsumerLayers | QualityWarning):
            holder = self.leases.holder(event.room, event.peer)
            if isinstance(holder, ControlConnection):
                holder.send_event(event)
            return
        if isinstance(event, PeerClosed):
            self.leases.forget(event.room, event.peer)
        for connection in list(self._connections):
            if event.room in connection.rooms:
                connection.send_event(event)

    # --- time ---

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                self.look(_now())
            except Exception:
                log.exception("looking for leases failed")

    def look(self, now: float) -> None:
        """Close the peers that nobody claimed, and the rooms that nobody and nothing is in any more."""
        for room, peer in self.leases.due(now):
            with contextlib.suppress(InvalidRequest):  # the media closed it themselves meanwhile
                self.close_peer(room, peer, "lease")
        in_use = set().union(*(connection.rooms for connection in self._connections))
        for room, last_used in list(self._rooms.items()):
            if room in in_use or self.leases.has_peers(room):
                self._rooms[room] = now
            elif now - last_used >= self.leases.lease:
                # No word that the class is over, so its recording is left for another worker or the sweeper.
                self.drop_room(room, "room_closed")


def _now() -> float:
    return asyncio.get_running_loop().time()
