"""What a client may say about its media on the classroom's socket: a Struct for each payload, with its limits.

What stands inside `rtp_parameters`, `rtp_capabilities` and `dtls_parameters` is mediasoup's JSON. Here only its size is
judged; the worker judges the rest, because it is the one that must live with it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from meetings.errors import Refused
from meetings.messages import Key, Message
from sfu.protocol import Direction, Kind, Source

Json = dict[str, Any]
Pixels = Annotated[int, Meta(ge=0, le=16384)]
Layer = Annotated[int, Meta(ge=0, le=7)]

# Bytes as JSON. Chrome's largest (three simulcast layers, all header extensions) are about a quarter of these.
MAX_RTP_PARAMETERS = 16 * 1024
MAX_RTP_CAPABILITIES = 32 * 1024
MAX_DTLS_PARAMETERS = 4 * 1024
MAX_SDP = 32 * 1024  # characters: Chrome's with four media and all its codecs is half of that

KIND_OF: dict[Source, Kind] = {"microphone": "audio", "camera": "video", "screen": "video", "screen_audio": "audio"}


def within(limit: int, name: str, value: Json) -> Json:
    """`value`, when it is no longer than `limit` bytes as JSON; else Refused("too_large")."""
    if len(msgspec.json.encode(value)) > limit:
        raise Refused("too_large", f"{name} is larger than {limit} bytes.")
    return value


class TransportCreate(Message, frozen=True):
    direction: Direction


class TransportConnect(Message, frozen=True):
    transport_id: Key
    dtls_parameters: Json


class TransportRestartIce(Message, frozen=True):
    transport_id: Key


class Produce(Message, frozen=True):
    transport_id: Key
    kind: Kind
    source: Source
    rtp_parameters: Json
    paused: bool = False


class OneProducer(Message, frozen=True):
    producer_id: Key


class Consume(Message, frozen=True):
    transport_id: Key
    producer_id: Key
    rtp_capabilities: Json


class OneConsumer(Message, frozen=True):
    consumer_id: Key


class SessionDescription(Struct, forbid_unknown_fields=True, frozen=True):
    type: Literal["offer", "answer"]
    sdp: Annotated[str, Meta(max_length=MAX_SDP)]


class IceCandidate(Struct, forbid_unknown_fields=True, frozen=True):
    """As RTCIceCandidate.toJSON() has it; an empty `candidate` says that there are no more."""

    candidate: Annotated[str, Meta(max_length=1024)]
    sdpMid: Annotated[str, Meta(max_length=64)] | None = None
    sdpMLineIndex: Annotated[int, Meta(ge=0, le=255)] | None = None
    usernameFragment: Annotated[str, Meta(max_length=256)] | None = None


class P2pSignal(Message, frozen=True):
    """`pair`: which connection it belongs to; left out: the one there is."""

    participant_id: Key
    pair: Key | None = None
    description: SessionDescription | None = None
    candidate: IceCandidate | None = None


class P2pFailed(Message, frozen=True):
    pair: Key


class ConsumerPrefer(Message, frozen=True):
    """How large the consumer's picture is shown, and how much it matters to this participant."""

    consumer_id: Key
    width: Pixels | None = None
    height: Pixels | None = None
    priority: Annotated[int, Meta(ge=1, le=255)] | None = None
    spatial: Layer | None = None
    temporal: Layer | None = None
