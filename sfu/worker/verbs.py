"""What a web process can ask of a worker: a small function a request, found in a dict by the request's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from msgspec import Struct

from sfu import protocol as p
from sfu.protocol import InvalidRequest, Nothing
from sfu.worker.connection import Answer, ControlConnection

if TYPE_CHECKING:
    from sfu.worker.control import Control

log = structlog.get_logger("sfu.control")

R = TypeVar("R", bound=p.Request)
Verb = Callable[["Control", ControlConnection, Any], Answer]

VERBS: dict[type[p.Request], Verb] = {}


def verb(
    request: type[R],
) -> Callable[[Callable[[Control, ControlConnection, R], Answer]], Callable[[Control, ControlConnection, R], Answer]]:
    def register(
        function: Callable[[Control, ControlConnection, R], Answer],
    ) -> Callable[[Control, ControlConnection, R], Answer]:
        VERBS[request] = function
        return function

    return register


# --- the connection, rooms, peers ---


@verb(p.Hello)
def hello(control: Control, connection: ControlConnection, request: p.Hello) -> Struct:
    raise InvalidRequest("wrong_state", "hello was said already")


@verb(p.OpenRoom)
def open_room(control: Control, connection: ControlConnection, request: p.OpenRoom) -> Struct:
    return control.open_room(connection, request.room)


@verb(p.ReleaseRoom)
def release_room(control: Control, connection: ControlConnection, request: p.ReleaseRoom) -> Struct:
    connection.rooms.discard(request.room)
    return Nothing()


@verb(p.CloseRoom)
async def close_room(control: Control, connection: ControlConnection, request: p.CloseRoom) -> Struct:
    await control.close_room(request.room)
    return Nothing()


@verb(p.OpenPeer)
def open_peer(control: Control, connection: ControlConnection, request: p.OpenPeer) -> Struct:
    state = control.media.open_peer(request.room, request.peer, request.name)
    control.leases.claim(request.room, request.peer, connection)
    log.info("peer_opened", room=request.room, peer=request.peer, client=connection.client)
    return state


@verb(p.ReleasePeer)
def release_peer(control: Control, connection: ControlConnection, request: p.ReleasePeer) -> Struct:
    control.release_peer(connection, request.room, request.peer)
    return Nothing()


@verb(p.ClosePeer)
def close_peer(control: Control, connection: ControlConnection, request: p.ClosePeer) -> Struct:
    control.close_peer(request.room, request.peer, request.reason)
    return Nothing()


# --- transports ---


@verb(p.CreateTransport)
def create_transport(control: Control, connection: ControlConnection, request: p.CreateTransport) -> Struct:
    return control.media.create_transport(request.room, request.peer, request.direction)


@verb(p.ConnectTransport)
def connect_transport(control: Control, connection: ControlConnection, request: p.ConnectTransport) -> Struct:
    control.media.connect_transport(request.room, request.peer, request.transport_id, request.dtls_parameters)
    return Nothing()


@verb(p.RestartIce)
def restart_ice(control: Control, connection: ControlConnection, request: p.RestartIce) -> Struct:
    return control.media.restart_ice(request.room, request.peer, request.transport_id)


# --- producers and consumers ---


@verb(p.CreateProducer)
def create_producer(control: Control, connection: ControlConnection, request: p.CreateProducer) -> Struct:
    return control.media.create_producer(
        room=request.room,
        peer=request.peer,
        transport_id=request.transport_id,
        kind=request.kind,
        source=request.source,
        rtp_parameters=request.rtp_parameters,
        paused=request.paused,
    )


@verb(p.CloseProducer)
def close_producer(control: Control, connection: ControlConnection, request: p.CloseProducer) -> Struct:
    control.media.close_producer(request.room, request.peer, request.producer_id)
    return Nothing()


@verb(p.PauseProducer)
def pause_producer(control: Control, connection: ControlConnection, request: p.PauseProducer) -> Struct:
    control.media.pause_producer(request.room, request.peer, request.producer_id)
    return Nothing()


@verb(p.ResumeProducer)
def resume_producer(control: Control, connection: ControlConnection, request: p.ResumeProducer) -> Struct:
    control.media.resume_producer(request.room, request.peer, request.producer_id)
    return Nothing()


@verb(p.CreateConsumer)
def create_consumer(control: Control, connection: ControlConnection, request: p.CreateConsumer) -> Struct:
    return control.media.create_consumer(
        room=request.room,
        peer=request.peer,
        transport_id=request.transport_id,
        producer_id=request.producer_id,
        rtp_capabilities=request.rtp_capabilities,
    )


@verb(p.PauseConsumer)
def pause_consumer(control: Control, connection: ControlConnection, request: p.PauseConsumer) -> Struct:
    control.media.pause_consumer(request.room, request.peer, request.consumer_id)
    return Nothing()


@verb(p.ResumeConsumer)
def resume_consumer(control: Control, connection: ControlConnection, request: p.ResumeConsumer) -> Struct:
    control.media.resume_consumer(request.room, request.peer, request.consumer_id)
    return Nothing()


@verb(p.CloseConsumer)
def close_consumer(control: Control, connection: ControlConnection, request: p.CloseConsumer) -> Struct:
    control.media.close_consumer(request.room, request.peer, request.consumer_id)
    return Nothing()


# --- recordings ---


@verb(p.StartRecording)
async def start_recording(control: Control, connection: ControlConnection, request: p.StartRecording) -> Struct:
    await control.recorder.start(request.room, request.recording)
    return Nothing()


@verb(p.StopRecording)
async def stop_recording(control: Control, connection: ControlConnection, request: p.StopRecording) -> Struct:
    await control.recorder.stop(request.room, request.recording)
    return Nothing()


@verb(p.MarkRecording)
def mark_recording(control: Control, connection: ControlConnection, request: p.MarkRecording) -> Struct:
    control.recorder.mark(request.room, request.recording, request.mark)
    return Nothing()


# --- looking ---


@verb(p.GetStats)
def get_stats(control: Control, connection: ControlConnection, request: p.GetStats) -> Struct:
    return control.media.stats(request.room, request.peer)
