"""What a web process and a media worker say to each other: JSON lines over one connection, every message a type.

Web to worker: `{"id": 7, "request": {"method": "peer.open", ...}}`, answered once by `{"id": 7, "result": {...}}`
or `{"id": 7, "error": {"code": "not_found", "message": "..."}}`. Worker to web, unasked: `{"event": {"type": ...}}`.
The first request on a connection is `Hello`; a worker closes a connection that opens with anything else.

What stands inside `rtp_parameters`, `rtp_capabilities`, `ice_parameters`, `ice_candidates` and `dtls_parameters` is
mediasoup's JSON (camelCase), passed through untouched; `sfu.core.ortc` judges it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

MAX_LINE = 256 * 1024  # bytes: the largest sane message is a join of a room with 2,000 producers' ids

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Kind = Literal["audio", "video"]
Source = Literal["microphone", "camera", "screen", "screen_audio"]
Direction = Literal["send", "recv"]
Json = dict[str, Any]

ErrorCode = Literal[
    "bad_request", "unauthenticated", "not_found", "wrong_state", "too_large", "media_unavailable", "internal"
]


class InvalidRequest(Exception):
    """A caller's fault: answered with its stable `code`; the connection lives."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(message or code)
        self.code: ErrorCode = code
        self.message = message or code


# --- results ---------------------------------------------------------------------------------------------------------


class Nothing(Struct):
    pass


class Welcome(Struct):
    worker_id: str
    epoch: str  # differs for each start of a worker: ids from another epoch are void
    rtp_capabilities: Json


class TransportMade(Struct):
    transport_id: str
    ice_parameters: Json
    ice_candidates: list[Json]
    dtls_parameters: Json


class IceRestarted(Struct):
    ice_parameters: Json


class ProducerMade(Struct):
    producer_id: str


class ConsumerMade(Struct):
    consumer_id: str
    producer_id: str
    kind: Kind
    type: Literal["simple", "simulcast", "svc"]
    rtp_parameters: Json
    producer_paused: bool


class TransportInfo(Struct):
    transport_id: str
    direction: Direction
    connected: bool


class ProducerInfo(Struct):
    producer_id: str
    peer: str
    kind: Kind
    source: Source
    paused: bool


class ConsumerInfo(Struct):
    consumer_id: str
    producer_id: str
    paused: bool


class PeerState(Struct):
    """What of a peer is alive: a browser that comes back need not build it anew."""

    transports: list[TransportInfo]
    producers: list[ProducerInfo]
    consumers: list[ConsumerInfo]


class RoomState(Struct):
    producers: list[ProducerInfo]
    recording: str | None


class Stats(Struct):
    transports: list[Json]
    producers: list[Json]
    consumers: list[Json]


# --- requests --------------------------------------------------------------------------------------------------------


class Request(Struct, tag_field="method", forbid_unknown_fields=True, kw_only=True):
    result: ClassVar[type[Struct]] = Nothing


class Hello(Request, tag="hello"):
    """`secret` is SFU_CONTROL_SECRET; `client` names the web process in logs."""

    secret: str
    client: str
    result: ClassVar[type[Struct]] = Welcome


class Home(Struct):
    """The worker that a large room is at home on, seen from its further workers."""

    control: Annotated[str, Meta(max_length=255)]  # "host:port", as in its heartbeat
    epoch: Id


class OpenRoom(Request, tag="room.open"):
    """Idempotent. The connection from now on gets the room's events.

    `home`: the room is at home on that worker and needs this one besides, for peers that are opened here. Who may be
    heard, who speaks and the recording are told by home; RoomState is empty.
    """

    room: Id
    home: Home | None = None
    result: ClassVar[type[Struct]] = RoomState


class ReleaseRoom(Request, tag="room.release"):
    """The web process has nobody in the room any more: no events of it from now on. Others may be in it elsewhere."""

    room: Id


class CloseRoom(Request, tag="room.close"):
    room: Id


class OpenPeer(Request, tag="peer.open"):
    """Make a peer, or take it over: it belongs to this connection until another claims it. Idempotent."""

    room: Id
    peer: Id
    name: Annotated[str, Meta(max_length=200)] = ""
    result: ClassVar[type[Struct]] = PeerState


class ReleasePeer(Request, tag="peer.release"):
    """The browser's socket went: the peer's lease begins to run out (LEASE seconds), as when this connection dies."""

    room: Id
    peer: Id


class ClosePeer(Request, tag="peer.close"):
    room: Id
    peer: Id
    reason: str = "left"


class CreateTransport(Request, tag="transport.create"):
    """A second one of the same direction replaces (closes) the first."""

    room: Id
    peer: Id
    direction: Direction
    result: ClassVar[type[Struct]] = TransportMade


class ConnectTransport(Request, tag="transport.connect"):
    room: Id
    peer: Id
    transport_id: Id
    dtls_parameters: Json


class RestartIce(Request, tag="transport.restart_ice"):
    room: Id
    peer: Id
    transport_id: Id
    result: ClassVar[type[Struct]] = IceRestarted


class CreateProducer(Request, tag="producer.create"):
    room: Id
    peer: Id
    transport_id: Id
    kind: Kind
    source: Source
    rtp_parameters: Json
    paused: bool = False
    result: ClassVar[type[Struct]] = ProducerMade


class CloseProducer(Request, tag="producer.close"):
    room: Id
    peer: Id
    producer_id: Id


class PauseProducer(Request, tag="producer.pause"):
    """Answered when no packet of it leaves any more."""

    room: Id
    peer: Id
    producer_id: Id


class ResumeProducer(Request, tag="producer.resume"):
    room: Id
    peer: Id
    producer_id: Id


class CreateConsumer(Request, tag="consumer.create"):
    """Made paused; `ResumeConsumer` starts it with a key frame."""

    room: Id
    peer: Id
    transport_id: Id
    producer_id: Id
    rtp_capabilities: Json
    result: ClassVar[type[Struct]] = ConsumerMade


class PauseConsumer(Request, tag="consumer.pause"):
    room: Id
    peer: Id
    consumer_id: Id


class ResumeConsumer(Request, tag="consumer.resume"):
    room: Id
    peer: Id
    consumer_id: Id


class CloseConsumer(Request, tag="consumer.close"):
    room: Id
    peer: Id
    consumer_id: Id


class StartRecording(Request, tag="recording.start"):
    """Begin, or after a worker's death go on, in the folder of that id.

    `peers`: whose media are recorded, present or not; of anybody else nothing is written at all. None: everybody's.
    Asked again for the same id, it only says anew whether the recording is paused, and whose media are recorded.
    """

    room: Id
    recording: Id
    paused: bool = False
    peers: list[Id] | None = None


class PauseRecording(Request, tag="recording.pause"):
    """Answered when nothing more is heard."""

    room: Id
    recording: Id


class ResumeRecording(Request, tag="recording.resume"):
    room: Id
    recording: Id


class RecordPeer(Request, tag="recording.peer"):
    """That person's media are recorded from now on, or no more, in a recording that was told whose are."""

    room: Id
    recording: Id
    peer: Id
    recorded: bool


class StopRecording(Request, tag="recording.stop"):
    """Answered when the manifest is on disk."""

    room: Id
    recording: Id


class MarkRecording(Request, tag="recording.mark"):
    """A line for the timeline (chat, layout, a teacher's mark); `at` is added by the worker."""

    room: Id
    recording: Id
    mark: Json


class StartStream(Request, tag="stream.start"):
    """Write the room's packets for a live stream, in the folder of that id, as for a recording.

    It is asked for again and again (STREAM_EXPIRES): so a worker that the room came to goes on with it, and one that
    nobody knows of any more ends. Another id takes the place of the one before.
    """

    room: Id
    stream: Id


class StopStream(Request, tag="stream.stop"):
    """Nothing more is written. The folder is its reader's, who deletes it."""

    room: Id
    stream: Id


class PreferLayers(Request, tag="consumer.prefer"):
    """How a consumer's picture is shown: in device pixels, and how much it matters beside the peer's others (4 a shared
    screen, 3 whoever speaks, 2 a pinned tile, 1 the others). `spatial`, `temporal`: no better layer than that."""

    room: Id
    peer: Id
    consumer_id: Id
    width: Annotated[int, Meta(ge=0, le=16384)] | None = None
    height: Annotated[int, Meta(ge=0, le=16384)] | None = None
    priority: Annotated[int, Meta(ge=1, le=255)] = 1
    spatial: Annotated[int, Meta(ge=0, le=7)] | None = None
    temporal: Annotated[int, Meta(ge=0, le=7)] | None = None


class GetStats(Request, tag="stats"):
    room: Id
    peer: Id | None = None
    result: ClassVar[type[Struct]] = Stats


REQUESTS = (
    Hello | OpenRoom | ReleaseRoom | CloseRoom | OpenPeer | ReleasePeer | ClosePeer
    | CreateTransport | ConnectTransport | RestartIce
    | CreateProducer | CloseProducer | PauseProducer | ResumeProducer
    | CreateConsumer | PauseConsumer | ResumeConsumer | CloseConsumer | PreferLayers
    | StartRecording | PauseRecording | ResumeRecording | StopRecording | RecordPeer | MarkRecording
    | StartStream | StopStream | GetStats
)  # fmt: skip


# --- events ----------------------------------------------------------------------------------------------------------


class Event(Struct, tag_field="type", kw_only=True):
    room: str


class PeerClosed(Event, tag="peer.closed"):
    """To every connection of the room.

    Reasons: left, removed, lease (nobody claimed it for LEASE seconds), error, home_lost (this worker was not the
    room's home, and has lost the pipe to it).
    """

    peer: str
    reason: str


class ProducerClosed(Event, tag="producer.closed"):
    """To every connection of the room, whoever closed it."""

    peer: str
    producer_id: str
    reason: str


class ConsumerClosed(Event, tag="consumer.closed"):
    """To the connection that holds the peer."""

    peer: str
    consumer_id: str
    reason: str


class ConsumerLayers(Event, tag="consumer.layers"):
    """To the connection that holds the peer: which layer goes to it from now on; both None: nothing of it."""

    peer: str
    consumer_id: str
    spatial: int | None
    temporal: int | None


class QualityWarning(Event, tag="quality.warning"):
    """To the connection that holds the peer: for some seconds it has got less than it wants, as its line is narrow.

    At most once a minute.
    """

    peer: str
    issue: Literal["bandwidth"]


class SpeakersChanged(Event, tag="speakers.changed"):
    """To every connection of the room, at most five times a second; it counts until the next one."""

    speaker: str | None  # the peer who holds the floor; None: nobody for two seconds
    levels: dict[str, int]  # of all peers who speak now and are heard: dB above silence, 0 to 127


class DiskLow(Event, tag="disk.low"):
    """Little is free where the recording is written; at most once a minute."""

    recording: str
    free: int  # bytes


class RecordingFailed(Event, tag="recording.failed"):
    """The disk is full or the folder cannot be written; what is there is kept, and the class goes on."""

    recording: str
    reason: str


EVENTS = (
    PeerClosed
    | ProducerClosed
    | ConsumerClosed
    | ConsumerLayers
    | QualityWarning
    | SpeakersChanged
    | DiskLow
    | RecordingFailed
)


# --- envelopes -------------------------------------------------------------------------------------------------------


class ErrorBody(Struct):
    code: ErrorCode
    message: str


class RequestEnvelope(Struct, forbid_unknown_fields=True):
    id: int
    request: REQUESTS


class ReplyEnvelope(Struct, omit_defaults=True):
    """A result, an error or an event: exactly one of them. `id` is None for events."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()  # empty: none. In a union msgspec takes Raw for a value to decode
    error: ErrorBody | None = None
    event: EVENTS | None = None


# --- the registry in Redis -------------------------------------------------------------------------------------------

STREAM_EXPIRES = 15.0  # seconds after which a stream that was not asked for again is no longer written
LEASE = 60.0  # seconds that a peer, its transports, producers and consumers outlive their holder
HEARTBEAT_EVERY = 1.0  # seconds
HEARTBEAT_EXPIRES = 4  # seconds without one after which a worker counts as gone
HEARTBEAT_KEY = "lectern:sfu:worker:{worker_id}"  # holds a Heartbeat as JSON, with that expiry
STARTS_KEY = "lectern:sfu:starts:{worker_id}"  # how often a worker of that id was started, for /metrics
STARTS_EXPIRE = 30 * 86400  # seconds after the last start: ids that are never used again must not pile up


class Heartbeat(Struct):
    worker_id: str
    epoch: str
    control: str  # "host:port" of the control connection
    announced: list[str]  # "ip:port" of the media addresses
    region: str
    load: float  # share of one core, 0 to 1
    peers: int
    draining: bool
    counters: Json = {}  # since this epoch began, for /metrics: numbers, numbers by reason, sfu.core.counters.Histogram
    memory: int = 0  # resident, in bytes; this and the next two must stay level, however many come and go
    descriptors: int = 0  # open files and sockets
    tasks: int = 0
