"""When peers come, go, are muted or lose a permission: the media part's hooks into the life of a room."""

from __future__ import annotations

import logging
from typing import Any

from meetings import permissions
from meetings.errors import Refused
from meetings.hub import Hub
from meetings.media.controller import media_beside, media_holding
from meetings.media.handlers import ice_servers_for
from meetings.media.room_media import RoomMedia
from meetings.media.screens import SCREEN_SOURCES
from meetings.media.session_media import SessionMedia, alive
from meetings.models import Participant, Room
from meetings.registry import (
    on_disconnect,
    on_event,
    on_hub_close,
    on_hub_open,
    on_join,
    on_leave,
    on_lost,
    on_mute,
    on_remove,
    on_role_changed,
    on_room_end,
)
from meetings.session import RoomSession
from sfu.protocol import CloseProducer, CloseRoom, InvalidRequest, PauseProducer, Request, Source

log = logging.getLogger(__name__)

MUTED_BY: dict[str, frozenset[Source]] = {
    "audio": frozenset({"microphone"}),
    "video": frozenset({"camera"}),
    "screen": SCREEN_SOURCES,
}


def room_media(hub: Hub) -> RoomMedia:
    return media_beside(hub.hubs).open(hub)


# --- coming and going ------------------------------------------------------------------------------------------------


@on_hub_open
async def opened(hub: Hub) -> None:
    room_media(hub)


@on_hub_close
async def closed(hub: Hub) -> None:
    await media_beside(hub.hubs).close(hub.code)


@on_join
async def joined(session: RoomSession, answer: dict[str, Any]) -> None:
    room = room_media(session.hub)
    session.media = SessionMedia(room, session)
    state = await room.join(session.media)
    answer["ice_servers"] = ice_servers_for(session)
    if state is None or room.client is None:
        answer["rtp_capabilities"], answer["media"] = None, alive(None, None)
    else:
        answer["rtp_capabilities"] = room.client.welcome.rtp_capabilities
        answer["media"] = alive(room.epoch, state)
    session.after_answer(lambda: room.tell_speakers_to(session))


@on_leave
async def left(session: RoomSession, reason: str) -> None:
    if session.media is not None:
        await session.media.room.leave(session.media, reason)


@on_disconnect
async def disconnected(session: RoomSession) -> None:
    if session.media is not None:
        await session.media.room.disconnect(session.media)


@on_lost
async def lost(hub: Hub, participant_id: str) -> None:
    room = room_media(hub)
    if participant_id not in room.peers:
        await room.close_peer(participant_id, "lost")


@on_remove
async def removed(session: RoomSession, participant: Participant) -> None:
    await room_media(session.hub).close_peer(participant.public_id, "removed")


@on_event("room:closed")
def room_closed(hub: Hub, data: dict[str, Any]) -> None:
    room_media(hub).reset()


@on_room_end
async def room_ended(room: Room) -> None:
    """The worker closes all of it; a recording that runs is made complete before it answers."""
    media = media_holding(room.code)
    try:
        await media.ask(room.code, CloseRoom(room=room.code))
    except InvalidRequest as error:
        log.info("Room %s had no media when it ended: %s", room.code, error)
    await media.placements.forget(room.code)
    await media.seats.forget(room.code)


# --- what a host takes away ------------------------------------------------------------------------------------------


@on_mute
async def muted(session: RoomSession, participant_ids: list[str], kind: str) -> None:
    """Done when no packet leaves the worker any more: only then the host's request is acknowledged."""
    room = room_media(session.hub)
    await _stop(room, dict.fromkeys(participant_ids, MUTED_BY[kind]), close=kind == "screen")


@on_role_changed
async def role_changed(session: RoomSession, participant: Participant, old_role: str, new_role: str) -> None:
    """Tracks that the new role forbids are closed before the host's request is acknowledged."""
    allow = session.settings.allowed()
    forbidden = {
        source
        for source, needed in permissions.SOURCE_NEEDS.items()
        if not permissions.may(new_role, needed, allow, participant.locks)
    }
    await _stop(room_media(session.hub), {participant.public_id: frozenset(forbidden)}, close=True)


@on_event("participant:role:changed")
def role_taken(hub: Hub, data: dict[str, Any]) -> None:
    """Where the person's socket is: a track that was being made while the role changed is not forgotten."""
    media = room_media(hub).peers.get(data["participant_id"])
    if media is not None:
        hub.hubs.spawn(enforce(media), "taking tracks away")


async def enforce(media: SessionMedia) -> None:
    """Close whatever of this session's is not allowed (any more)."""
    forbidden = {
        source for source in media.producers.values() if not media.session.may(permissions.SOURCE_NEEDS[source])
    }
    if forbidden:
        await _stop(media.room, {media.peer: frozenset(forbidden)}, close=True)


async def _stop(room: RoomMedia, sources: dict[str, frozenset[Any]], *, close: bool) -> None:
    """Pause or close these participants' producers of these sources, wherever their sockets are. Raises Refused."""
    for participant_id, producers in (await room.hub.live.producers()).items():
        for producer in producers:
            if producer["source"] in sources.get(participant_id, ()):
                await _stop_one(room, participant_id, producer["producer_id"], close=close)


async def _stop_one(room: RoomMedia, peer: str, producer_id: str, *, close: bool) -> None:
    verb = CloseProducer if close else PauseProducer
    request: Request = verb(room=room.code, peer=peer, producer_id=producer_id)
    try:
        await room.request(request)
    except Refused as refused:
        if refused.code != "not_found":  # it is gone: nothing of it can be heard
            raise
    if close:
        await room.announcer.producer_closed(peer, producer_id, "host")
    else:
        await room.announcer.paused(producer_id, True)
