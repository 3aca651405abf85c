"""`stream:start` and `stream:stop` on the classroom's socket."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from django.conf import settings
from msgspec import Meta

from meetings.database import in_database
from meetings.errors import Refused
from meetings.media import p2p
from meetings.media import stream as media
from meetings.messages import Empty, Message
from meetings.models import Room
from meetings.registry import on, on_join, on_room_end
from meetings.session import RoomSession
from recordings.live import address, services
from recordings.live.models import Stream

log = logging.getLogger(__name__)


class StreamStart(Message, frozen=True):
    target: Literal["hls", "rtmp"]
    url: Annotated[str, Meta(max_length=address.LONGEST)] = ""  # of `rtmp` alone; its last part is the stream key
    access: Literal["public", "course"] = "course"
    qualities: Annotated[tuple[Literal["1080p", "720p", "360p"], ...], Meta(min_length=1, max_length=3)] = (
        "720p",
        "360p",
    )


@on("stream:start", StreamStart, needs="stream", lane="stream")
async def start(session: RoomSession, message: StreamStart) -> dict[str, Any]:
    if (message.target == "rtmp") != bool(message.url):
        raise Refused("bad_request", "An RTMP stream has a url, another has none.")
    if message.url:
        try:
            await in_database(address.resolve)(message.url, private=settings.STREAM_TO_PRIVATE)
        except address.BadAddress as error:
            raise Refused("bad_request", str(error)) from None
    try:
        stream = await in_database(services.begin)(
            session.room,
            session.participant.user,
            target=message.target,
            access=message.access,
            qualities=sorted(set(message.qualities), key=lambda quality: -int(quality[:-1])),
            push_url=message.url,
        )
    except services.AlreadyStreaming:
        raise Refused("wrong_state", "This class is being streamed already.") from None
    shown = services.about(stream)
    await session.hub.live.set_info("stream", shown)
    try:
        await p2p.review(session.hub)  # what two people send each other directly nobody else can see
        await media.start_stream(session.room.code, stream.logs_id)
    except BaseException:
        await services.hide(session.hub.live, stream.public_id)
        await in_database(services.discard)(stream.pk)
        raise
    await session.hub.publish("stream:started", {**shown, "by": session.participant_id})
    return shown


@on("stream:stop", Empty, needs="stream", lane="stream")
async def stop(session: RoomSession, message: Empty) -> dict[str, Any]:
    stream = await in_database(services.running_in)(session.room.pk)
    if stream is None:
        raise Refused("wrong_state", "This class is not being streamed.")
    ended = await finish(stream, session.room.code)
    await services.hide(session.hub.live, stream.public_id)
    await session.hub.publish("stream:stopped", {**ended, "by": session.participant_id}, once=stream.public_id)
    return ended


@on_join
async def tell_who_returns(session: RoomSession, answer: dict[str, Any]) -> None:
    """`stream:status` has no number: it is not among the missed events."""
    if session.returning:
        answer["stream"] = await session.hub.live.info("stream")


async def finish(stream: Stream, code: str) -> dict[str, Any]:
    """The keeper sees it and ends the process. Twice does no harm."""
    await in_database(services.end)(stream.pk)
    await media.stop_stream(code, stream.logs_id)
    return services.about_end(stream)


@on_room_end
async def class_ended(room: Room) -> None:
    stream = await in_database(services.running_in)(room.pk)
    if stream is not None:
        await finish(stream, room.code)
