"""What a web process can ask of a worker: a small function a request, found in a dict by the request's type.

Most requests are a verb of `MediaServer` with the same arguments: those stand in a table. The others, which touch
leases, rooms or recordings, have a function of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import asdict

from sfu import protocol as p
from sfu.protocol import InvalidRequest, Nothing
from sfu.worker.connection import Answer, ControlConnection
from sfu.worker.media import MediaServer

if TYPE_CHECKING:
    from sfu.worker.control import Control

log = structlog.get_logger("sfu.control")

R = TypeVar("R", bound=p.Request)
Verb = Callable[["Control", ControlConnection, Any], Answer]

MEDIA_VERBS: dict[type[p.Request], Callable[[MediaServer], Callable[..., Struct | None]]] = {
    p.CreateTransport: lambda media: media.create_transport,
    p.ConnectTransport: lambda media: media.connect_transport,
    p.RestartIce: lambda media: media.restart_ice,
    p.CreateProducer: lambda media: media.create_producer,
    p.CloseProducer: lambda media: media.close_producer,
    p.PauseProducer: lambda media: media.pause_producer,
    p.ResumeProducer: lambda media: media.resume_producer,
    p.CreateConsumer: lambda media: media.create_consumer,
    p.PauseConsumer: lambda media: media.pause_consumer,
    p.ResumeConsumer: lambda media: media.resume_consumer,
    p.CloseConsumer: lambda media: media.close_consumer,
    p.PreferLayers: lambda media: media.prefer_layers,
    p.GetStats: lambda media: media.stats,
}


def media_verb(control: Control, connection: ControlConnection, request: p.Request) -> Struct:
    return MEDIA_VERBS[type(request)](control.media)(**asdict(request)) or Nothing()


VERBS: dict[type[p.Request], Verb] = dict.fromkeys(MEDIA_VERBS, media_verb)


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
def open_room(control: Control, connection: ControlConnection, request: p.OpenRoom) -> Answer:
    if request.home is not None:
        return control.open_edge(connection, request.room, request.home)
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


# --- recordings ---


@verb(p.StartRecording)
async def start_recording(control: Control, connection: ControlConnection, request: p.StartRecording) -> Struct:
    await control.recorder.start(request.room, request.recording, paused=request.paused, peers=request.peers)
    return Nothing()


@verb(p.PauseRecording)
def pause_recording(control: Control, connection: ControlConnection, request: p.PauseRecording) -> Struct:
    control.recorder.pause(request.room, request.recording)
    return Nothing()


@verb(p.ResumeRecording)
def resume_recording(control: Control, connection: ControlConnection, request: p.ResumeRecording) -> Struct:
    control.recorder.resume(request.room, request.recording)
    return Nothing()


@verb(p.RecordPeer)
def record_peer(control: Control, connection: ControlConnection, request: p.RecordPeer) -> Struct:
    control.recorder.record_peer(request.room, request.recording, request.peer, request.recorded)
    return Nothing()


@verb(p.StopRecording)
async def stop_recording(control: Control, connection: ControlConnection, request: p.StopRecording) -> Struct:
    await control.recorder.stop(request.room, request.recording)
    return Nothing()


@verb(p.MarkRecording)
def mark_recording(control: Control, connection: ControlConnection, request: p.MarkRecording) -> Struct:
    control.recorder.mark(request.room, request.recording, request.mark)
    return Nothing()


# --- live streams ---


@verb(p.StartStream)
async def start_stream(control: Control, connection: ControlConnection, request: p.StartStream) -> Struct:
    await control.streamer.keep(request.room, request.stream)
    return Nothing()


@verb(p.StopStream)
def stop_stream(control: Control, connection: ControlConnection, request: p.StopStream) -> Struct:
    if control.streamer.running(request.room) == request.stream:
        control.streamer.abandon(request.room)
    return Nothing()
