"""The classroom's media requests: transports, producers, consumers. Each asks for permission, asks the worker, answers.

They run in a lane of their own: while a worker does not answer, chat and presence of the same person go on.
"""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings

from meetings import metrics
from meetings.errors import Refused
from meetings.limits import REPORTS, TOLD_TO_ALL
from meetings.media import messages as m
from meetings.media.ice_servers import ice_servers
from meetings.media.session_media import SessionMedia
from meetings.messages import Empty
from meetings.permissions import SOURCE_NEEDS
from meetings.registry import on
from meetings.session import RoomSession
from sfu.protocol import (
    CloseConsumer,
    CloseProducer,
    ConnectTransport,
    ConsumerMade,
    CreateConsumer,
    CreateProducer,
    CreateTransport,
    GetStats,
    IceRestarted,
    PauseConsumer,
    PauseProducer,
    PreferLayers,
    ProducerMade,
    RestartIce,
    ResumeConsumer,
    ResumeProducer,
    Stats,
    TransportMade,
)

LANE = "media"

Data = dict[str, Any]


def media_of(session: RoomSession) -> SessionMedia:
    if session.media is None:
        raise Refused("wrong_state", "Join the class first.")
    media: SessionMedia = session.media
    return media


def ice_servers_for(session: RoomSession) -> list[Data]:
    return ice_servers(session.participant_id, settings.TURN_URLS, settings.TURN_SECRET, now=time.time())


def _owner(media: SessionMedia) -> Data:
    return {"room": media.room.code, "peer": media.peer}


# --- transports ------------------------------------------------------------------------------------------------------


@on("transport:create", m.TransportCreate, lane=LANE)
async def create_transport(session: RoomSession, message: m.TransportCreate) -> Data:
    """A second one of the same direction replaces the first, and closes what went through it."""
    media = media_of(session)
    request = CreateTransport(**_owner(media), direction=message.direction)
    made: TransportMade = await media.room.request(request, anew=True)
    kept = {key: direction for key, direction in media.transports.items() if direction != message.direction}
    media.transports = {**kept, made.transport_id: message.direction}
    return {
        "transport_id": made.transport_id,
        "ice_parameters": made.ice_parameters,
        "ice_candidates": made.ice_candidates,
        "dtls_parameters": made.dtls_parameters,
        "ice_servers": ice_servers_for(session),
    }


@on("transport:connect", m.TransportConnect, lane=LANE)
async def connect_transport(session: RoomSession, message: m.TransportConnect) -> None:
    media = media_of(session)
    dtls = m.within(m.MAX_DTLS_PARAMETERS, "dtls_parameters", message.dtls_parameters)
    transport = media.own_transport(message.transport_id)
    await media.room.request(ConnectTransport(**_owner(media), transport_id=transport, dtls_parameters=dtls))


@on("transport:restart_ice", m.TransportRestartIce, lane=LANE)
async def restart_ice(session: RoomSession, message: m.TransportRestartIce) -> Data:
    media = media_of(session)
    transport = media.own_transport(message.transport_id)
    restarted: IceRestarted = await media.room.request(RestartIce(**_owner(media), transport_id=transport))
    return {"ice_parameters": restarted.ice_parameters, "ice_servers": ice_servers_for(session)}


# --- producers -------------------------------------------------------------------------------------------------------


@on("produce", m.Produce, lane=LANE, limit=TOLD_TO_ALL)
async def produce(session: RoomSession, message: m.Produce) -> Data:
    """One producer a source: who wants another camera replaces the track, or closes the producer first."""
    media = media_of(session)
    session.demand(SOURCE_NEEDS[message.source])
    if m.KIND_OF[message.source] != message.kind:
        raise Refused("bad_request", f"A {message.source} is {m.KIND_OF[message.source]}.")
    rtp_parameters = m.within(m.MAX_RTP_PARAMETERS, "rtp_parameters", message.rtp_parameters)
    transport = media.own_transport(message.transport_id, "send")
    if message.source in media.producers.values():
        raise Refused("wrong_state", f"Your {message.source} is there already.")
    made: ProducerMade = await media.room.request(
        CreateProducer(
            **_owner(media), transport_id=transport, kind=message.kind, source=message.source,
            rtp_parameters=rtp_parameters, paused=message.paused,
        )
    )  # fmt: skip
    media.producers[made.producer_id] = message.source
    try:
        await _announce(media, made.producer_id, message)
    except BaseException:
        media.producers.pop(made.producer_id, None)
        await media.room.try_request(CloseProducer(**_owner(media), producer_id=made.producer_id))
        raise
    metrics.TRACKS.labels(message.source).inc()
    return {"producer_id": made.producer_id}


async def _announce(media: SessionMedia, producer_id: str, message: m.Produce) -> None:
    announcer = media.room.announcer
    media.session.demand(SOURCE_NEEDS[message.source])  # the host may have locked it while the worker was at it
    await announcer.new_producer(media.peer, producer_id, message.kind, message.source, paused=message.paused)
    if media.room.has_closed(producer_id):
        await announcer.producer_closed(media.peer, producer_id, "transport")
        raise Refused("wrong_state", "The transport was closed meanwhile.")


@on("produce:close", m.OneProducer, lane=LANE, limit=TOLD_TO_ALL)
async def close_producer(session: RoomSession, message: m.OneProducer) -> None:
    media = media_of(session)
    media.own_producer(message.producer_id)
    await close_own(media, message.producer_id)


async def close_own(media: SessionMedia, producer_id: str) -> None:
    await media.room.request(CloseProducer(**_owner(media), producer_id=producer_id))
    media.producers.pop(producer_id, None)
    await media.room.announcer.producer_closed(media.peer, producer_id, "closed")


@on("produce:pause", m.OneProducer, lane=LANE, limit=TOLD_TO_ALL)
async def pause_producer(session: RoomSession, message: m.OneProducer) -> None:
    """Acknowledged when no packet of it leaves the worker any more."""
    media = media_of(session)
    media.own_producer(message.producer_id)
    await media.room.request(PauseProducer(**_owner(media), producer_id=message.producer_id))
    await media.room.announcer.paused(message.producer_id, True)


@on("produce:resume", m.OneProducer, lane=LANE, limit=TOLD_TO_ALL)
async def resume_producer(session: RoomSession, message: m.OneProducer) -> None:
    """Forbidden under a lock. A host's mute without a lock is undone by this: a host can mute, and the muted unmute."""
    media = media_of(session)
    session.demand(SOURCE_NEEDS[media.own_producer(message.producer_id)])
    await media.room.request(ResumeProducer(**_owner(media), producer_id=message.producer_id))
    await media.room.announcer.paused(message.producer_id, False)


# --- consumers -------------------------------------------------------------------------------------------------------


@on("consume", m.Consume, lane=LANE)
async def consume(session: RoomSession, message: m.Consume) -> Data:
    """The consumer starts paused. Consuming a producer again replaces the consumer that was there."""
    media = media_of(session)
    capabilities = m.within(m.MAX_RTP_CAPABILITIES, "rtp_capabilities", message.rtp_capabilities)
    transport = media.own_transport(message.transport_id, "recv")
    for consumer_id, producer_id in list(media.consumers.items()):
        if producer_id == message.producer_id:
            del media.consumers[consumer_id]
            await media.room.try_request(CloseConsumer(**_owner(media), consumer_id=consumer_id))
    made: ConsumerMade = await media.room.request(
        CreateConsumer(
            **_owner(media), transport_id=transport, producer_id=message.producer_id, rtp_capabilities=capabilities
        )
    )
    media.consumers[made.consumer_id] = made.producer_id
    return {
        "consumer_id": made.consumer_id,
        "producer_id": made.producer_id,
        "kind": made.kind,
        "type": made.type,
        "rtp_parameters": made.rtp_parameters,
        "producer_paused": made.producer_paused,
    }


@on("consumer:resume", m.OneConsumer, lane=LANE)
async def resume_consumer(session: RoomSession, message: m.OneConsumer) -> None:
    media = media_of(session)
    consumer_id = media.own_consumer(message.consumer_id)
    await media.room.request(ResumeConsumer(**_owner(media), consumer_id=consumer_id))


@on("consumer:pause", m.OneConsumer, lane=LANE)
async def pause_consumer(session: RoomSession, message: m.OneConsumer) -> None:
    media = media_of(session)
    consumer_id = media.own_consumer(message.consumer_id)
    await media.room.request(PauseConsumer(**_owner(media), consumer_id=consumer_id))


@on("consumer:close", m.OneConsumer, lane=LANE)
async def close_consumer(session: RoomSession, message: m.OneConsumer) -> None:
    media = media_of(session)
    consumer_id = media.own_consumer(message.consumer_id)
    await media.room.request(CloseConsumer(**_owner(media), consumer_id=consumer_id))
    media.consumers.pop(consumer_id, None)


@on("consumer:prefer", m.ConsumerPrefer, lane=LANE)
async def prefer(session: RoomSession, message: m.ConsumerPrefer) -> None:
    """The worker forwards the layer that fits the tile."""
    media = media_of(session)
    await media.room.request(
        PreferLayers(
            **_owner(media),
            consumer_id=media.own_consumer(message.consumer_id),
            width=message.width,
            height=message.height,
            priority=message.priority or 1,
            spatial=message.spatial,
            temporal=message.temporal,
        )
    )


# --- looking ---------------------------------------------------------------------------------------------------------


@on("stats:get", Empty, lane=LANE, limit=REPORTS)
async def get_stats(session: RoomSession, message: Empty) -> Data:
    """What the worker counts of one's own transports, producers and consumers."""
    media = media_of(session)
    stats: Stats = await media.room.request(GetStats(**_owner(media)))
    return {"transports": stats.transports, "producers": stats.producers, "consumers": stats.consumers}
