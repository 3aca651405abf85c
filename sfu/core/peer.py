"""A participant as the media sees him: his transports, and through them what he sends and receives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sfu.protocol import ConsumerInfo, PeerState, TransportInfo

if TYPE_CHECKING:
    from sfu.core.consumer import Consumer
    from sfu.core.producer import Producer
    from sfu.core.transport import Transport

MAX_SSRCS = 20  # a camera in three layers, a microphone, a screen with sound, their repairs, and some to spare


class Peer:
    def __init__(self, id: str, name: str, *, room: str, cname: str) -> None:
        self.id = id
        self.name = name
        self.room = room
        self.cname = cname  # one for all he sends: browsers keep in step what has the same
        self.transports: dict[str, Transport] = {}

    @property
    def producers(self) -> Iterator[Producer]:
        for transport in self.transports.values():
            yield from transport.producers.values()

    @property
    def consumers(self) -> Iterator[Consumer]:
        for transport in self.transports.values():
            yield from transport.consumers.values()

    @property
    def ssrc_count(self) -> int:
        return sum(len(transport.ssrcs) for transport in self.transports.values())

    def state(self) -> PeerState:
        return PeerState(
            transports=[
                TransportInfo(transport_id=t.id, direction=t.direction, connected=t.connected)
                for t in self.transports.values()
            ],
            producers=[producer.info() for producer in self.producers],
            consumers=[
                ConsumerInfo(consumer_id=c.id, producer_id=c.producer.id, paused=c.paused) for c in self.consumers
            ],
        )
