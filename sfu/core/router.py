"""A room's media: who is there, what they send, and who receives it.

Who closes whom: a room its peers, a peer its transports, a transport its producers and consumers, a producer the
consumers of it. Closing twice does no harm. What was closed without being asked for is told by events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from sfu.core import capabilities as extension_uris
from sfu.core import ortc
from sfu.core.agenda import Agenda
from sfu.core.capabilities import router_rtp_capabilities
from sfu.core.consumer import Consumer
from sfu.core.film import Spotlight, aim_taps
from sfu.core.layout import DEPENDENCY_DESCRIPTOR_ID, MAX_MIDS, mid_text
from sfu.core.peer import Peer
from sfu.core.pipe import Pipe, Piped, PipeProducer
from sfu.core.producer import Producer
from sfu.core.speakers import Speakers
from sfu.core.tap import Tap
from sfu.core.transport import Transport
from sfu.protocol import (
    ConsumerClosed,
    ConsumerMade,
    Direction,
    InvalidRequest,
    Json,
    Kind,
    PeerClosed,
    ProducerClosed,
    ProducerMade,
    RoomState,
    Source,
    SpeakersChanged,
)

logger = logging.getLogger(__name__)

CAPABILITIES = router_rtp_capabilities()

MAX_PRODUCERS = 16  # of one peer: a camera, a microphone, a screen with its sound, and some to spare
LARGE_ROOM = 50  # peers: in rooms above it only the loudest voices are forwarded
LOUDEST = 5  # of them
SHARED_MIDS = MAX_MIDS // 2  # for producers; the others for who consumes one again


class Router:
    def __init__(self, room: str, agenda: Agenda, *, new_id: Callable[[], str], loudest: int = LOUDEST) -> None:
        self.room = room
        self.agenda = agenda
        self.peers: dict[str, Peer] = {}
        self.far_peers: dict[str, Peer] = {}  # who are on other workers; known to the room's home alone
        self.is_home = True  # False: the room's voices are judged on another worker
        self.producers: dict[str, Producer] = {}
        self.taps: list[Tap] = []
        self.speakers = Speakers()
        self._loudest = loudest
        self._speaker: str | None = None  # as the taps were told
        self.spotlight = Spotlight()
        self._new_id = new_id
        self._used_ssrcs: set[int] = set()
        self._next_mid = 0

    # --- peers ---

    def open_peer(self, id: str, name: str) -> Peer:
        peer = self.peers.get(id)
        if peer is None:
            peer = self.peers[id] = Peer(id, name, room=self.room, cname=self._new_id())
            self.limit_voices()
            self._tell_taps("peer_opened", id, name)
        elif name:
            peer.name = name
        return peer

    def peer(self, id: str) -> Peer:
        try:
            return self.peers[id]
        except KeyError:
            raise InvalidRequest("not_found", "no such peer") from None

    def close_peer(self, id: str, reason: str) -> None:
        peer = self.peers.get(id)
        if peer is None:
            return
        for transport in list(peer.transports.values()):
            self.close_transport(transport, reason)
        del self.peers[id]
        self.limit_voices()
        self.agenda.event(PeerClosed(room=self.room, peer=id, reason=reason))
        self._tell_taps("peer_closed", id)

    def close(self, reason: str) -> None:
        for id in list(self.peers):
            self.close_peer(id, reason)
        self.taps.clear()
        self.agenda.talking.discard(self)

    def limit_voices(self) -> None:
        if self.is_home:
            large = len(self.peers) + len(self.far_peers) > LARGE_ROOM
            self.speakers.limit = self._loudest if large else None

    # --- transports ---

    def create_transport(self, peer: Peer, direction: Direction) -> Transport:
        for other in list(peer.transports.values()):
            if other.direction == direction:
                self.close_transport(other, "replaced")
        transport = Transport(id=self._new_id(), peer=peer, direction=direction, agenda=self.agenda)
        peer.transports[transport.id] = transport
        self.agenda.add(transport)
        return transport

    def transport(self, peer: Peer, id: str) -> Transport:
        try:
            return peer.transports[id]
        except KeyError:
            raise InvalidRequest("not_found", "no such transport") from None

    def close_transport(self, transport: Transport, reason: str) -> None:
        for producer in list(transport.producers.values()):
            self.close_producer(producer, reason)
        for consumer in list(transport.consumers.values()):
            self.close_consumer(consumer, reason)
        transport.connected = False
        transport.peer.transports.pop(transport.id, None)
        self.agenda.remove(transport)
        if transport.link is not None:
            transport.link.close()

    # --- producers ---

    def create_producer(
        self, transport: Transport, *, kind: Kind, source: Source, rtp_parameters: Json, paused: bool, now: float
    ) -> ProducerMade:
        if transport.direction != "send":
            raise InvalidRequest("wrong_state", "this transport is for receiving")
        if len(transport.producers) >= MAX_PRODUCERS:
            raise InvalidRequest("too_large", "a peer with so many producers must close some first")
        parameters = ortc.validate_rtp_parameters(kind, rtp_parameters)
        declared = _declared_ssrcs(parameters)
        if any(ssrc in transport.streams or ssrc in transport.repairs for ssrc in declared):
            raise InvalidRequest("bad_request", "an SSRC is in use by another producer of this transport")
        mid = parameters.get("mid")
        if mid is not None and any(producer.mid == mid for producer in transport.producers.values()):
            raise InvalidRequest("bad_request", "the MID is in use by another producer of this transport")
        ssrc = self._new_ssrc()
        mapping = ortc.producer_mapping(parameters, CAPABILITIES, ssrc=ssrc)
        consumable = ortc.consumable_rtp_parameters(kind, parameters, mapping, CAPABILITIES, cname=transport.peer.cname)
        producer = Producer(
            id=self._new_id(),
            transport=transport,
            kind=kind,
            source=source,
            parameters=parameters,
            mapping=mapping,
            consumable=consumable,
            ssrc=ssrc,
            consumer_mid=self._new_mid(),
            paused=paused,
            speakers=self.speakers if kind == "audio" and source == "microphone" else None,
        )
        transport.learn_extensions(producer)
        self._add(producer, now)
        return ProducerMade(producer_id=producer.id)

    def _add(self, producer: Producer, now: float) -> None:
        transport = producer.transport
        if producer.speakers is not None and self.is_home:
            self.agenda.talking.add(self)
        transport.producers[producer.id] = producer
        for stream in producer.streams:
            if stream.ssrc is not None:
                transport.streams[stream.ssrc] = stream
            if stream.rtx_ssrc is not None:
                transport.repairs[stream.rtx_ssrc] = stream
        self.producers[producer.id] = producer
        for tap in list(self.taps):
            self._add_tap(producer, tap, now)

    def producer(self, peer: Peer, id: str) -> Producer:
        """One of the peer's own: nobody can act on another's."""
        producer = self.producers.get(id)
        if producer is None or producer.owner is not peer:
            raise InvalidRequest("not_found", "no such producer")
        return producer

    def close_producer(self, producer: Producer, reason: str, *, tell: bool = True) -> None:
        """`tell` False: it goes on elsewhere, only nobody here wants it."""
        if producer.closed:
            return
        producer.closed = True
        for outgoing in list(producer.pipe_consumers.values()):
            outgoing.close()
        receivers = {transport for transport in self._receiving_transports() if producer.ssrc in transport.positions}
        receivers |= {consumer.transport for consumer in producer.consumers.values()}
        for consumer in list(producer.consumers.values()):
            self.close_consumer(consumer, reason)
        for receiver in receivers:
            receiver.forget_sent(producer.ssrc)
        producer.pause()
        transport = producer.transport
        del transport.producers[producer.id]
        del self.producers[producer.id]
        for stream in producer.streams:
            for ssrc, table in ((stream.ssrc, transport.streams), (stream.rtx_ssrc, transport.repairs)):
                if ssrc is not None and table.get(ssrc) is stream:
                    del table[ssrc]
                    transport.forget_ssrc(ssrc)
        if tell:
            self.agenda.event(
                ProducerClosed(room=self.room, peer=producer.owner.id, producer_id=producer.id, reason=reason)
            )
        self._tell_taps("producer_closed", producer.id)

    def pause_producer(self, producer: Producer) -> None:
        if not producer.paused:
            producer.pause()
            self._tell_taps("producer_paused", producer.id)

    def resume_producer(self, producer: Producer, now: float) -> None:
        if producer.paused:
            producer.resume(now)
            self._tell_taps("producer_resumed", producer.id)

    # --- other workers ---

    def open_pipe(self, pipe: Pipe) -> None:
        self.agenda.add(pipe)
        self.agenda.pipes.add(pipe)

    def create_pipe_producer(self, pipe: Pipe, about: Piped, now: float) -> PipeProducer:
        """A producer of another worker, as it will come by the pipe."""
        kind, source, consumable = about.kind, about.source, about.consumable
        codecs = [codec for codec in consumable["codecs"] if not codec["mimeType"].lower().endswith("/rtx")]
        encodings = [
            {**encoding, "ssrc": ssrc, **({"rid": rid} if rid else {})}
            for encoding, ssrc, rid in zip(consumable["encodings"], about.ssrcs, about.rids, strict=True)
        ]
        extensions = [*consumable["headerExtensions"]]
        if about.described:
            extensions.append({"uri": extension_uris.DEPENDENCY_DESCRIPTOR, "id": DEPENDENCY_DESCRIPTOR_ID})
        parameters = ortc.validate_rtp_parameters(
            kind, {**consumable, "codecs": codecs, "encodings": encodings, "headerExtensions": extensions}
        )
        ssrc = self._new_ssrc()
        mapping = ortc.producer_mapping(parameters, CAPABILITIES, ssrc=ssrc)
        producer = PipeProducer(
            id=about.producer_id,
            transport=pipe,
            owner=Peer(about.peer, "", room=self.room, cname=about.cname),
            kind=kind,
            source=source,
            parameters=parameters,
            mapping=mapping,
            consumable=ortc.consumable_rtp_parameters(kind, parameters, mapping, CAPABILITIES, cname=about.cname),
            ssrc=ssrc,
            consumer_mid=self._new_mid(),
            paused=about.paused,
            # Who is among the loudest is judged once, at home: what came from there is to be heard.
            speakers=self.speakers if self.is_home and kind == "audio" and source == "microphone" else None,
            layers=about.layers,
            now=now,
        )
        self._add(producer, now)
        return producer

    def open_far_peer(self, id: str, name: str, cname: str) -> None:
        known = self.far_peers.get(id)
        self.far_peers[id] = Peer(id, name, room=self.room, cname=cname)
        self.limit_voices()
        if known is None and id not in self.peers:
            self._tell_taps("peer_opened", id, name)

    def close_far_peer(self, id: str) -> None:
        if self.far_peers.pop(id, None) is not None:
            self.limit_voices()
            if id not in self.peers:
                self._tell_taps("peer_closed", id)

    def close_pipe(self, pipe: Pipe, reason: str) -> None:
        for outgoing in list(pipe.outgoing.values()):
            outgoing.close()
        self.agenda.pipes.discard(pipe)
        self.close_transport(pipe, reason)

    # --- speakers ---

    def tell_speakers(self, now: float) -> None:
        """To be called with each tick."""
        change = self.speakers.changes(now)
        if change is None:
            return
        self.agenda.event(SpeakersChanged(room=self.room, speaker=change.active, levels=change.levels))
        if change.active != self._speaker:
            self._speaker = change.active
            self._tell_taps("speaker_changed", change.active)
            self.spotlight.turn(change.active, now)
            aim_taps(self, now)

    # --- consumers ---

    def create_consumer(self, transport: Transport, *, producer_id: str, rtp_capabilities: Json) -> ConsumerMade:
        if transport.direction != "recv":
            raise InvalidRequest("wrong_state", "this transport is for sending")
        producer = self.producers.get(producer_id)
        if producer is None:
            raise InvalidRequest("not_found", "no such producer")
        # Two m-lines with one SSRC would confuse the receiver, and only one that lost track asks twice.
        for other in list(transport.consumers.values()):
            if other.producer is producer:
                self.close_consumer(other, "replaced")
        parameters = ortc.consumer_rtp_parameters(producer.consumable, rtp_capabilities, mid=0, ssrc=producer.ssrc)
        parameters["mid"] = _unused_mid(transport, producer)
        repair_number = transport.repair_numbers.get(producer.ssrc)
        consumer = Consumer(
            id=self._new_id(),
            producer=producer,
            transport=transport,
            rtp_parameters=parameters,
            repair_number=1000 + self.agenda.random_bits(14) if repair_number is None else repair_number,
        )
        transport.consumers[consumer.id] = consumer
        transport.by_ssrc[producer.ssrc] = transport.by_ssrc[producer.ssrc + 1] = consumer
        producer.consumers[consumer.id] = consumer
        return ConsumerMade(
            consumer_id=consumer.id,
            producer_id=producer.id,
            kind=producer.kind,
            type=ortc.producer_type(producer.consumable),
            rtp_parameters=parameters,
            producer_paused=producer.paused,
        )

    def consumer(self, peer: Peer, id: str) -> Consumer:
        for transport in peer.transports.values():
            if id in transport.consumers:
                return transport.consumers[id]
        raise InvalidRequest("not_found", "no such consumer")

    def close_consumer(self, consumer: Consumer, reason: str) -> None:
        transport, producer = consumer.transport, consumer.producer
        if transport.consumers.pop(consumer.id, None) is None:
            return
        consumer.pause()
        del producer.consumers[consumer.id]
        for ssrc in (producer.ssrc, producer.ssrc + 1):
            if transport.by_ssrc.get(ssrc) is consumer:
                del transport.by_ssrc[ssrc]
        self.agenda.event(
            ConsumerClosed(room=self.room, peer=transport.peer.id, consumer_id=consumer.id, reason=reason)
        )

    # --- taps ---

    def add_tap(self, tap: Tap, now: float) -> None:
        if tap in self.taps:
            return
        self.taps.append(tap)
        for peer in (*self.peers.values(), *self.far_peers.values()):
            self._tell(tap, "peer_opened", peer.id, peer.name)
        for producer in self.producers.values():
            self._add_tap(producer, tap, now)
        if self._speaker is not None:
            self._tell(tap, "speaker_changed", self._speaker)

    def introduce(self, peer: str, tap: Tap, now: float) -> None:
        """Tell the tap of somebody who is there, and of what he sends."""
        person = self.peers.get(peer) or self.far_peers.get(peer)
        if person is None or tap not in self.taps:
            return
        self._tell(tap, "peer_opened", person.id, person.name)
        for producer in list(self.producers.values()):
            if producer.owner.id == peer:
                self._add_tap(producer, tap, now)

    def heed(self, tap: Tap, now: float) -> None:
        """The tap wants others than before. What it gets from now on begins with a key frame."""
        if tap not in self.taps:
            return
        for producer in self.producers.values():
            if not tap.wants(producer.owner.id):
                producer.remove_tap(tap)
            elif tap not in producer.taps:
                producer.add_tap(tap, now)

    def refresh_for_taps(self, now: float) -> None:
        """Once in a while: see that each picture is recorded in the layer of use, with a key frame that is not old."""
        aim_taps(self, now)
        for producer in self.producers.values():
            producer.refresh_for_taps(now)

    def remove_tap(self, tap: Tap) -> None:
        if tap in self.taps:
            self.taps.remove(tap)
        for producer in self.producers.values():
            producer.remove_tap(tap)

    def _add_tap(self, producer: Producer, tap: Tap, now: float) -> None:
        self._tell(
            tap,
            "producer_added",
            producer.info(),
            producer.codec,
            producer.mime_type,
            producer.payload_type,
            producer.paused,
        )
        if tap in self.taps and tap not in producer.taps and tap.wants(producer.owner.id):
            producer.add_tap(tap, now)

    def _tell_taps(self, what: str, *arguments: Any) -> None:
        for tap in list(self.taps):
            self._tell(tap, what, *arguments)

    def _tell(self, tap: Tap, what: str, *arguments: Any) -> None:
        try:
            getattr(tap, what)(*arguments)
        except Exception:
            logger.exception("a recorder failed in room %s and is taken off", self.room)
            self.remove_tap(tap)

    # --- telling ---

    def state(self) -> RoomState:
        return RoomState(producers=[producer.info() for producer in self.producers.values()], recording=None)

    def _receiving_transports(self) -> Iterator[Transport]:
        for peer in self.peers.values():
            for transport in peer.transports.values():
                if transport.direction == "recv":
                    yield transport

    def _new_mid(self) -> bytes:
        self._next_mid += 1
        return mid_text(self._next_mid % SHARED_MIDS).encode()

    def _new_ssrc(self) -> int:
        """For a producer as consumers see it; the next one is for its repairs.

        None is ever given out twice in a room: under one key, SRTP must not see an SSRC's numbers again.
        """
        while True:
            ssrc = 2 * (10_000 + self.agenda.random_bits(30))
            if ssrc not in self._used_ssrcs:
                self._used_ssrcs.add(ssrc)
                return ssrc


def _unused_mid(transport: Transport, producer: Producer) -> str:
    """The producer's; for who consumed it before on the same transport one of its own: an m-line keeps its MID."""
    mid = producer.consumer_mid.decode()
    if mid in transport.mids:
        number = MAX_MIDS - len(transport.mids)  # another one each time
        if number < SHARED_MIDS:
            raise InvalidRequest("too_large", "too many consumers on this transport; make a new one")
        mid = mid_text(number)
    transport.mids.add(mid)
    return mid


def _declared_ssrcs(parameters: Json) -> set[int]:
    encodings = parameters["encodings"]
    return {e["ssrc"] for e in encodings if "ssrc" in e} | {e["rtx"]["ssrc"] for e in encodings if "rtx" in e}
