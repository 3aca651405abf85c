"""What workers say to each other about a room that is on several of them, by control connections both ways.

A room has a home; its further workers are edges, and each of them has a pipe to the home alone. An edge tells home who
is on it and what they send; home tells the edges who is heard. The rest both say: `Bring` asks for a producer, and is
answered with what it is and under which SSRCs it will cross.

`pipe` is always the number that the one who is spoken to gave the pipe.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from sfu.core.pipe import LayerState, Piped, Wish
from sfu.protocol import REQUESTS, Id, ProducerInfo, Request

Number = Annotated[int, Meta(ge=1, le=0xFFFF)]
Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{56}\Z")]  # of AES-128-GCM, with its salt
Address = tuple[Annotated[str, Meta(max_length=64)], Annotated[int, Meta(ge=1, le=65535)]]


class PipeOpened(Struct):
    number: Number  # for the upper half of the SSRCs that are sent to who says this
    address: Address
    key: Key  # that he sends under


class OpenPipe(Request, tag="pipe.open"):
    """An edge to the room's home. `control` and `epoch`: where home reaches the edge; the others as in the answer."""

    room: Id
    control: Annotated[str, Meta(max_length=255)]
    epoch: Id
    number: Number
    address: Address
    key: Key
    result: ClassVar[type[Struct]] = PipeOpened


class PipeRequest(Request):
    pipe: Number


class ClosePipe(PipeRequest, tag="pipe.close"):
    """An edge has the room no more."""


class FarPeer(PipeRequest, tag="pipe.peer"):
    """Somebody is on this edge."""

    peer: Id
    name: Annotated[str, Meta(max_length=200)]
    cname: Id


class FarPeerClosed(PipeRequest, tag="pipe.peer_closed"):
    peer: Id


class FarProducer(PipeRequest, tag="pipe.producer"):
    """Somebody on this edge sends something."""

    producer: ProducerInfo


class Bring(PipeRequest, tag="pipe.bring"):
    """Send me this producer: a voice at once, of a picture the layers that I ask for by PLI or Want."""

    producer_id: Id
    result: ClassVar[type[Struct]] = Piped


class Want(PipeRequest, tag="pipe.want"):
    """Of a producer that was brought: these layers and no others."""

    producer_id: Id
    wish: Wish


class Drop(PipeRequest, tag="pipe.drop"):
    """Nobody here has it any more."""

    producer_id: Id


class Layers(PipeRequest, tag="pipe.layers"):
    """Of a producer that was brought: how it is sent now."""

    producer_id: Id
    layers: Annotated[list[LayerState], Meta(max_length=16)]


class Paused(PipeRequest, tag="pipe.paused"):
    """Answered when no packet of it leaves any more, from wherever."""

    producer_id: Id
    paused: bool


class Closed(PipeRequest, tag="pipe.closed"):
    producer_id: Id
    reason: str


class Voices(PipeRequest, tag="pipe.voices"):
    """Home to its edges: how many voices are forwarded (None: all), and whose those are now."""

    limit: int | None
    chosen: list[str]


PIPE_REQUESTS = (
    OpenPipe | ClosePipe | FarPeer | FarPeerClosed | FarProducer
    | Bring | Want | Drop | Layers | Paused | Closed | Voices
)  # fmt: skip


class WorkerRequestEnvelope(Struct, forbid_unknown_fields=True):
    """What a worker understands: what web processes ask, and what workers do."""

    id: int
    request: REQUESTS | PIPE_REQUESTS


requests = msgspec.json.Decoder(WorkerRequestEnvelope)
