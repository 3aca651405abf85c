"""What one person has in the media worker, as the process that holds this person's socket knows it.

The worker is the judge; what is kept here lets a request for somebody else's transport, producer or consumer be refused
without asking it, and tells the source of a producer, on which the permission depends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meetings.errors import Refused
from meetings.media.placement import Placement
from meetings.session import RoomSession
from sfu.protocol import Direction, PeerState, Source

if TYPE_CHECKING:
    from meetings.media.room_media import RoomMedia


class SessionMedia:
    def __init__(self, room: RoomMedia, session: RoomSession) -> None:
        self.room = room
        self.session = session
        self.at: Placement | None = None  # the worker of a large room that this person is on; None: the room's home
        self.transports: dict[str, Direction] = {}
        self.producers: dict[str, Source] = {}
        self.consumers: dict[str, str] = {}  # consumer_id -> producer_id
        self.waiting = False  # answered without media although the room has a worker: to be told when it answers again

    @property
    def peer(self) -> str:
        return self.session.participant_id

    def adopt(self, state: PeerState) -> bool:
        """Know what the worker says is alive. False: something that this person had is not there any more."""
        had = {*self.transports, *self.producers}
        self.transports = {transport.transport_id: transport.direction for transport in state.transports}
        self.producers = {producer.producer_id: producer.source for producer in state.producers}
        self.consumers = {consumer.consumer_id: consumer.producer_id for consumer in state.consumers}
        return had <= {*self.transports, *self.producers}

    def forget(self) -> None:
        """All ids are void."""
        self.transports, self.producers, self.consumers = {}, {}, {}

    # --- whose is it? An id that is not this person's is not found, whoever else has it -----------------------------

    def own_transport(self, transport_id: str, direction: Direction | None = None) -> str:
        if transport_id not in self.transports:
            raise Refused("not_found", "You have no such transport.")
        if direction is not None and self.transports[transport_id] != direction:
            raise Refused("wrong_state", f"This transport is not one for {direction}ing.")
        return transport_id

    def own_producer(self, producer_id: str) -> Source:
        if producer_id not in self.producers:
            raise Refused("not_found", "You have no such producer.")
        return self.producers[producer_id]

    def own_consumer(self, consumer_id: str) -> str:
        if consumer_id not in self.consumers:
            raise Refused("not_found", "You have no such consumer.")
        return consumer_id


def alive(epoch: str | None, state: PeerState | None) -> dict[str, Any]:
    """`media` in the answer of room:join: what a browser that comes back need not build anew."""
    return {
        "epoch": epoch,
        "transports": [
            {"transport_id": one.transport_id, "direction": one.direction, "connected": one.connected}
            for one in (state.transports if state else [])
        ],
        "producers": [
            {"producer_id": one.producer_id, "kind": one.kind, "source": one.source, "paused": one.paused}
            for one in (state.producers if state else [])
        ],
        "consumers": [
            {"consumer_id": one.consumer_id, "producer_id": one.producer_id, "paused": one.paused}
            for one in (state.consumers if state else [])
        ],
    }
