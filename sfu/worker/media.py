"""The media of one worker: rooms, peers, transports, and the one UDP and one TCP port that they share.

`MediaServer` is what the control connection drives: synchronous verbs, called in the event loop, their arguments named
as the fields of the requests in `sfu.protocol`; a caller's fault raises `InvalidRequest`. What happens unasked
(a producer closed because its peer left) goes to `on_event`.
"""

from __future__ import annotations

from collections.abc import Callable

from sfu.core.tap import Tap
from sfu.protocol import (
    EVENTS,
    ConsumerMade,
    Direction,
    IceRestarted,
    Json,
    Kind,
    PeerState,
    ProducerMade,
    RoomState,
    Source,
    Stats,
    TransportMade,
)


class MediaServer:
    def __init__(self, *, on_event: Callable[[EVENTS], None] = lambda event: None) -> None:
        self.on_event = on_event

    # --- life ---

    async def start(self, listen_ip: str, port: int, announced_ips: list[str]) -> None:
        """Bind one UDP and one TCP socket to the same port (0: the system chooses; see `port`)."""
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    @property
    def port(self) -> int:
        raise NotImplementedError

    @property
    def announced(self) -> list[str]:
        """The media addresses as `ip:port`, for the heartbeat."""
        raise NotImplementedError

    @property
    def peer_count(self) -> int:
        raise NotImplementedError

    def load(self) -> float:
        """The share of one core that this process used lately, 0 to 1."""
        raise NotImplementedError

    # --- rooms and peers ---

    @property
    def router_rtp_capabilities(self) -> Json:
        raise NotImplementedError

    def open_room(self, room: str) -> RoomState:
        raise NotImplementedError

    def close_room(self, room: str) -> None:
        raise NotImplementedError

    def open_peer(self, room: str, peer: str, name: str = "") -> PeerState:
        raise NotImplementedError

    def close_peer(self, room: str, peer: str, reason: str = "left") -> None:
        raise NotImplementedError

    def peer_state(self, room: str, peer: str) -> PeerState:
        raise NotImplementedError

    def room_state(self, room: str) -> RoomState:
        raise NotImplementedError

    # --- transports ---

    def create_transport(self, room: str, peer: str, direction: Direction) -> TransportMade:
        raise NotImplementedError

    def connect_transport(self, room: str, peer: str, transport_id: str, dtls_parameters: Json) -> None:
        raise NotImplementedError

    def restart_ice(self, room: str, peer: str, transport_id: str) -> IceRestarted:
        raise NotImplementedError

    # --- producers and consumers ---

    def create_producer(
        self,
        room: str,
        peer: str,
        transport_id: str,
        kind: Kind,
        source: Source,
        rtp_parameters: Json,
        paused: bool = False,
    ) -> ProducerMade:
        raise NotImplementedError

    def close_producer(self, room: str, peer: str, producer_id: str) -> None:
        raise NotImplementedError

    def pause_producer(self, room: str, peer: str, producer_id: str) -> None:
        """When this returns, no packet of the producer leaves any more."""
        raise NotImplementedError

    def resume_producer(self, room: str, peer: str, producer_id: str) -> None:
        raise NotImplementedError

    def create_consumer(
        self, room: str, peer: str, transport_id: str, producer_id: str, rtp_capabilities: Json
    ) -> ConsumerMade:
        raise NotImplementedError

    def pause_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        raise NotImplementedError

    def resume_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        raise NotImplementedError

    def close_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        raise NotImplementedError

    # --- looking and listening ---

    def stats(self, room: str, peer: str | None = None) -> Stats:
        raise NotImplementedError

    def tap_room(self, room: str, tap: Tap) -> None:
        """From now on `tap` hears the room; the peers and producers that are there are told first."""
        raise NotImplementedError

    def untap_room(self, room: str, tap: Tap) -> None:
        raise NotImplementedError
