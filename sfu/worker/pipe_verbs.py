"""What workers ask of each other about a room that is on both: a small function a request, as in `sfu.worker.verbs`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from sfu.protocol import InvalidRequest, Nothing, ProducerClosed
from sfu.worker import pipe_messages as m
from sfu.worker.connection import ControlConnection
from sfu.worker.verbs import verb

if TYPE_CHECKING:
    from sfu.worker.control import Control


@verb(m.OpenPipe)
async def open_pipe(control: Control, connection: ControlConnection, request: m.OpenPipe) -> Struct:
    return await control.pipes.open_pipe(connection, request)


@verb(m.ClosePipe)
def close_pipe(control: Control, connection: ControlConnection, request: m.ClosePipe) -> Struct:
    control.pipes.close_pipe(request.pipe)
    return Nothing()


# --- an edge tells home ---


@verb(m.FarPeer)
def far_peer(control: Control, connection: ControlConnection, request: m.FarPeer) -> Struct:
    room, end = control.pipes.find(request.pipe)
    room.far_peers[request.peer] = end
    room.router.open_far_peer(request.peer, request.name, request.cname)
    return Nothing()


@verb(m.FarPeerClosed)
def far_peer_closed(control: Control, connection: ControlConnection, request: m.FarPeerClosed) -> Struct:
    room, end = control.pipes.find(request.pipe)
    if room.far_peers.get(request.peer) is end:  # else he is on another edge by now
        del room.far_peers[request.peer]
        room.router.close_far_peer(request.peer)
    return Nothing()


@verb(m.FarProducer)
async def far_producer(control: Control, connection: ControlConnection, request: m.FarProducer) -> Struct:
    """Voices are brought at once, for home judges them all; what is recorded, too."""
    room, end = control.pipes.find(request.pipe)
    producer = request.producer
    room.far[producer.producer_id] = (end, producer)
    if room.is_recorded(producer.peer) or producer.source == "microphone":
        end.follow(room.bring(producer.producer_id, asyncio.get_running_loop().time()), "Bring")
    return Nothing()


# --- both ---


@verb(m.Bring)
async def bring(control: Control, connection: ControlConnection, request: m.Bring) -> Struct:
    room, end = control.pipes.find(request.pipe)
    now = asyncio.get_running_loop().time()
    if room.home is None and request.producer_id in room.far:
        await room.bring(request.producer_id, now)  # from one edge to another by way of home
    try:
        return room.give(end, request.producer_id).about(now)
    except OverflowError:
        control.pipes.give_up(request.pipe)
        raise InvalidRequest("media_unavailable", "the pipe is used up") from None


@verb(m.Want)
def want(control: Control, connection: ControlConnection, request: m.Want) -> Struct:
    room, end = control.pipes.find(request.pipe)
    if (outgoing := room.outgoing(end, request.producer_id)) is not None:
        outgoing.wish(request.wish)
    return Nothing()


@verb(m.Drop)
def drop(control: Control, connection: ControlConnection, request: m.Drop) -> Struct:
    room, end = control.pipes.find(request.pipe)
    end.given.discard(request.producer_id)
    if (outgoing := room.outgoing(end, request.producer_id)) is not None:
        outgoing.close()
    return Nothing()


@verb(m.Layers)
async def layers(control: Control, connection: ControlConnection, request: m.Layers) -> Struct:
    room, _ = control.pipes.find(request.pipe)
    if (producer := await room.settled(request.producer_id)) is not None:
        producer.tell(request.layers, asyncio.get_running_loop().time())
    return Nothing()


@verb(m.Paused)
async def paused(control: Control, connection: ControlConnection, request: m.Paused) -> Struct:
    """Passed on to the others that have it, and answered when they are done."""
    room, end = control.pipes.find(request.pipe)
    room.note_paused(request.producer_id, request.paused)
    producer = await room.settled(request.producer_id)
    if producer is not None and request.paused:
        room.router.pause_producer(producer)
    elif producer is not None:
        room.router.resume_producer(producer, asyncio.get_running_loop().time())
    control.media.endpoint.flush()
    await room.tell_paused(request.producer_id, request.paused, but=end)
    return Nothing()


@verb(m.Closed)
async def closed(control: Control, connection: ControlConnection, request: m.Closed) -> Struct:
    room, _ = control.pipes.find(request.pipe)
    far = room.far.pop(request.producer_id, None)
    producer = await room.settled(request.producer_id)
    if producer is not None:
        room.router.close_producer(producer, request.reason)
        control.media.endpoint.flush()
    elif far is not None:
        control.publish(
            ProducerClosed(
                room=room.router.room, peer=far[1].peer, producer_id=request.producer_id, reason=request.reason
            )
        )
    return Nothing()


# --- home tells its edges ---


@verb(m.Voices)
def voices(control: Control, connection: ControlConnection, request: m.Voices) -> Struct:
    room, end = control.pipes.find(request.pipe)
    if room.home is end:
        room.router.speakers.limit = request.limit
        room.router.speakers.chosen = frozenset(request.chosen)
    return Nothing()
