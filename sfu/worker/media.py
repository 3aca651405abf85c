"""The media of one worker: rooms, peers, transports, and the one UDP and one TCP port that they share.

`MediaServer` is what the control connection drives: synchronous verbs, called in the event loop, their arguments named
as the fields of the requests in `sfu.protocol`; a caller's fault raises `InvalidRequest`. What happens unasked
(a producer closed because its peer left) goes to `on_event`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

from sfu.core.agenda import TICK, Agenda
from sfu.core.capabilities import router_rtp_capabilities
from sfu.core.ice import Address, IceLite
from sfu.core.layers import Preference
from sfu.core.router import LOUDEST, Router
from sfu.core.tap import Tap
from sfu.core.transport import Transport
from sfu.protocol import (
    EVENTS,
    ConsumerMade,
    Direction,
    IceRestarted,
    InvalidRequest,
    Json,
    Kind,
    PeerState,
    ProducerMade,
    RoomState,
    Source,
    Stats,
    TransportMade,
)
from sfu.worker.dtls import Certificate, parse_fingerprints
from sfu.worker.endpoint import Endpoint
from sfu.worker.link import Link
from sfu.worker.logs import OncePerSecond
from sfu.worker.memory import give_back

rarely = OncePerSecond(structlog.get_logger("sfu.media"))

LOAD_OVER = 2.0  # seconds that `load` looks back over


class MediaServer:
    def __init__(self, *, on_event: Callable[[EVENTS], None] = lambda event: None, loudest: int = LOUDEST) -> None:
        """`loudest`: how many voices are forwarded in a large room."""
        self.on_event = on_event
        self.on_tick: Callable[[float], None] = lambda now: None
        self._loudest = loudest
        self.agenda = Agenda(random_bits=secrets.randbits)
        self.endpoint = Endpoint(self.agenda)
        self.endpoint.on_events = self._tell
        self.endpoint.on_failure = self._close_failed
        self.routers: dict[str, Router] = {}
        self._certificate = Certificate()
        self._announced_ips: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._next_tick = 0.0
        self._next_second = 0.0
        self._shaking_hands = self._shook_hands = False  # whether somebody did, in this second and the one before
        self._load = 0.0
        self._load_from = (0.0, 0.0)  # wall clock, CPU

    # --- life ---

    async def start(self, listen_ip: str, port: int, announced_ips: list[str]) -> None:
        """Bind one UDP and one TCP socket to the same port (0: the system chooses; see `port`)."""
        self._loop = asyncio.get_running_loop()
        self._announced_ips = announced_ips or [listen_ip]
        self.agenda.clock_offset = time.time() - self._loop.time()
        await self.endpoint.start(listen_ip, port)
        self._load_from = (time.monotonic(), time.process_time())
        self._next_tick = self._next_second = self._loop.time()
        self._tick()

    async def stop(self) -> None:
        for room in list(self.routers):
            self.close_room(room)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        await self.endpoint.stop()

    @property
    def port(self) -> int:
        return self.endpoint.port

    @property
    def announced(self) -> list[str]:
        """The media addresses as `ip:port`, for the heartbeat."""
        return [f"[{ip}]:{self.port}" if ":" in ip else f"{ip}:{self.port}" for ip in self._announced_ips]

    @property
    def peer_count(self) -> int:
        return sum(len(router.peers) for router in self.routers.values())

    @property
    def dropped(self) -> Counter[str]:
        """Packets that were not forwarded, by reason."""
        return self.agenda.dropped

    def load(self) -> float:
        """The share of one core that this process used lately, 0 to 1."""
        return self._load

    def _tick(self) -> None:
        loop = self._loop
        assert loop is not None
        now = loop.time()
        self._next_tick = max(self._next_tick + TICK, now)
        self._ticker = loop.call_at(self._next_tick, self._tick)
        try:
            self.agenda.tick(now)
            self.on_tick(now)
            failed = self.agenda.take_failed()
            if failed:  # what is on its way under an SSRC must leave before libsrtp forgets how far that SSRC was
                self.endpoint.flush()
            for transport in failed:
                self._close_failed(transport)
            for link in list(self.endpoint.handshaking):
                self._shaking_hands = True
                if not link.repeat_dtls(now):
                    self.endpoint.handshaking.discard(link)
            if now >= self._next_second:
                self._next_second = now + 1.0
                self._each_second(now)
            self.endpoint.flush()
        except Exception:
            rarely.exception("tick_failed")  # or it is told fifty times a second

    def _each_second(self, now: float) -> None:
        for link in self.endpoint.links:
            link.check_consent(now)
        if self._shook_hands and not self._shaking_hands:  # all of those who joined together have done so
            give_back()
        self._shook_hands, self._shaking_hands = self._shaking_hands, False
        wall, cpu = time.monotonic(), time.process_time()
        since_wall, since_cpu = self._load_from
        if wall - since_wall >= LOAD_OVER:
            self._load = min(1.0, (cpu - since_cpu) / (wall - since_wall))
            self._load_from = (wall, cpu)

    def _tell(self, events: list[EVENTS]) -> None:
        for event in events:
            self.on_event(event)

    def _close_failed(self, transport: Transport) -> None:
        """A packet of this peer met a bug of ours: he goes, everybody else stays."""
        for router in self.routers.values():
            if router.peers.get(transport.peer.id) is transport.peer:
                router.close_peer(transport.peer.id, "error")
                return

    # --- rooms and peers ---

    @property
    def router_rtp_capabilities(self) -> Json:
        return router_rtp_capabilities()

    def open_room(self, room: str) -> RoomState:
        if room not in self.routers:
            self.routers[room] = Router(room, self.agenda, new_id=new_id, loudest=self._loudest)
        return self.routers[room].state()

    def close_room(self, room: str, reason: str = "room_closed") -> None:
        router = self.routers.pop(room, None)
        if router is not None:
            router.close(reason)
            self.endpoint.flush()

    def open_peer(self, room: str, peer: str, name: str = "") -> PeerState:
        return self._router(room).open_peer(peer, name).state()

    def close_peer(self, room: str, peer: str, reason: str = "left") -> None:
        self._router(room).close_peer(peer, reason)
        self.endpoint.flush()

    def peer_state(self, room: str, peer: str) -> PeerState:
        return self._router(room).peer(peer).state()

    def room_state(self, room: str) -> RoomState:
        return self._router(room).state()

    def _router(self, room: str) -> Router:
        try:
            return self.routers[room]
        except KeyError:
            raise InvalidRequest("not_found", "no such room") from None

    def _transport(self, room: str, peer: str, transport_id: str) -> tuple[Router, Transport]:
        router = self._router(room)
        return router, router.transport(router.peer(peer), transport_id)

    @property
    def _now(self) -> float:
        assert self._loop is not None, "the media server was not started"
        return self._loop.time()

    # --- transports ---

    def create_transport(self, room: str, peer: str, direction: Direction) -> TransportMade:
        router = self._router(room)
        transport = router.create_transport(router.peer(peer), direction)
        ufrag, password = _new_credentials()
        ice = IceLite(ufrag, password, on_selected=self._count_selected)
        link = Link(self.endpoint, transport, ice, self._certificate)
        transport.link = link
        self.endpoint.add(link)
        self.endpoint.flush()
        return TransportMade(
            transport_id=transport.id,
            ice_parameters={"usernameFragment": ufrag, "password": password, "iceLite": True},
            ice_candidates=self._candidates(),
            dtls_parameters={"role": "auto", "fingerprints": self._certificate.fingerprints},
        )

    def _count_selected(self, address: Address) -> None:
        self.agenda.counters.ice_selected["tcp" if "tcp" in address else "udp"] += 1

    def _candidates(self) -> list[Json]:
        """UDP above TCP, and the addresses in the order of their configuration (RFC 8445, 5.1.2.1)."""
        candidates: list[Json] = []
        for protocol, preference in (("udp", 1 << 14), ("tcp", 1 << 12)):
            for index, ip in enumerate(self._announced_ips):
                candidate: Json = {
                    "foundation": f"{protocol}{index}",
                    "priority": (126 << 24 if protocol == "udp" else 90 << 24) + ((preference - index) << 8) + 255,
                    "address": ip,
                    "ip": ip,
                    "protocol": protocol,
                    "port": self.port,
                    "type": "host",
                }
                if protocol == "tcp":
                    candidate["tcpType"] = "passive"
                candidates.append(candidate)
        return candidates

    def connect_transport(self, room: str, peer: str, transport_id: str, dtls_parameters: Json) -> None:
        _, transport = self._transport(room, peer, transport_id)
        link: Link = transport.link
        try:
            fingerprints = parse_fingerprints(dtls_parameters)
        except ValueError as error:
            raise InvalidRequest("bad_request", str(error)) from error
        if link.dtls.state != "new":
            raise InvalidRequest("wrong_state", "the transport was connected before")
        link.connect(fingerprints, self._now)

    def restart_ice(self, room: str, peer: str, transport_id: str) -> IceRestarted:
        _, transport = self._transport(room, peer, transport_id)
        link: Link = transport.link
        ufrag, password = _new_credentials()
        before = link.ice.local_ufrags
        link.ice.restart(ufrag, password)
        self.endpoint.learn_ufrags(link, before)
        return IceRestarted(ice_parameters={"usernameFragment": ufrag, "password": password, "iceLite": True})

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
        router, transport = self._transport(room, peer, transport_id)
        return router.create_producer(
            transport, kind=kind, source=source, rtp_parameters=rtp_parameters, paused=paused, now=self._now
        )

    def close_producer(self, room: str, peer: str, producer_id: str) -> None:
        router = self._router(room)
        router.close_producer(router.producer(router.peer(peer), producer_id), "closed")
        self.endpoint.flush()

    def pause_producer(self, room: str, peer: str, producer_id: str) -> None:
        """When this returns, no packet of the producer leaves any more."""
        router = self._router(room)
        router.pause_producer(router.producer(router.peer(peer), producer_id))

    def resume_producer(self, room: str, peer: str, producer_id: str) -> None:
        router = self._router(room)
        router.resume_producer(router.producer(router.peer(peer), producer_id), self._now)
        self.endpoint.flush()

    def create_consumer(
        self, room: str, peer: str, transport_id: str, producer_id: str, rtp_capabilities: Json
    ) -> ConsumerMade:
        router, transport = self._transport(room, peer, transport_id)
        made = router.create_consumer(transport, producer_id=producer_id, rtp_capabilities=rtp_capabilities)
        self.endpoint.flush()
        return made

    def pause_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        router = self._router(room)
        consumer = router.consumer(router.peer(peer), consumer_id)
        if not consumer.paused:
            consumer.pause()

    def resume_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        router = self._router(room)
        router.consumer(router.peer(peer), consumer_id).resume(self._now)
        self.endpoint.flush()

    def prefer_layers(
        self,
        room: str,
        peer: str,
        consumer_id: str,
        width: int | None = None,
        height: int | None = None,
        priority: int = 1,
        spatial: int | None = None,
        temporal: int | None = None,
    ) -> None:
        router = self._router(room)
        consumer = router.consumer(router.peer(peer), consumer_id)
        consumer.prefer(Preference(width, height, priority, spatial, temporal), self._now)
        self.endpoint.flush()

    def close_consumer(self, room: str, peer: str, consumer_id: str) -> None:
        router = self._router(room)
        router.close_consumer(router.consumer(router.peer(peer), consumer_id), "closed")
        self.endpoint.flush()

    # --- looking and listening ---

    def stats(self, room: str, peer: str | None = None) -> Stats:
        router = self._router(room)
        peers = list(router.peers.values()) if peer is None else [router.peer(peer)]
        now = self._now
        return Stats(
            transports=[transport.stats() for p in peers for transport in p.transports.values()],
            producers=[producer.stats(now) for p in peers for producer in p.producers],
            consumers=[consumer.stats() for p in peers for consumer in p.consumers],
        )

    def counters(self) -> dict[str, Any]:
        """Since the start, for /metrics: what was forwarded, how well it went, and what was dropped why."""
        egress = self.endpoint.egress
        return {
            "packets_forwarded": egress.packets,
            "bytes_forwarded": egress.bytes,
            "packets_failed": egress.failed,
            "packets_piped": self.endpoint.packets_piped,
            "packets_dropped": dict(self.agenda.dropped),
            **self.agenda.counters.json(),
        }

    def tap_room(self, room: str, tap: Tap) -> None:
        """From now on `tap` hears the room; the peers and producers that are there are told first."""
        self._router(room).add_tap(tap, self._now)
        self.endpoint.flush()

    def heed_tap(self, room: str, tap: Tap) -> None:
        """What the tap wants has changed."""
        self._router(room).heed(tap, self._now)
        self.endpoint.flush()

    def introduce(self, room: str, peer: str, tap: Tap) -> None:
        self._router(room).introduce(peer, tap, self._now)
        self.endpoint.flush()

    def refresh_for_taps(self, room: str) -> None:
        self._router(room).refresh_for_taps(self._now)
        self.endpoint.flush()

    def untap_room(self, room: str, tap: Tap) -> None:
        router = self.routers.get(room)
        if router is not None:
            router.remove_tap(tap)


def new_id() -> str:
    return secrets.token_urlsafe(12)


def _new_credentials() -> tuple[str, str]:
    """ICE ufrag and password: more than the 24 and 128 bits that RFC 8445 asks for."""
    return secrets.token_hex(8), secrets.token_hex(16)
