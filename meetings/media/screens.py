"""Sharing one's screen. What others see of it is its producer: `screen:started` and `:stopped` follow from that."""

from __future__ import annotations

from meetings.media.handlers import LANE, close_own, media_of
from meetings.messages import Empty
from meetings.registry import on
from meetings.session import RoomSession
from sfu.protocol import Source

SCREEN_SOURCES: frozenset[Source] = frozenset({"screen", "screen_audio"})


@on("screen:start", Empty, needs="share", lane=LANE)
async def start_screen(session: RoomSession, message: Empty) -> None:
    """May I? Asked while the browser asks which screen. The room hears nothing yet: the person may say no there."""


@on("screen:stop", Empty, lane=LANE)
async def stop_screen(session: RoomSession, message: Empty) -> None:
    """Closes one's own screen and its sound. No screen: nothing to do, and no error."""
    media = media_of(session)
    for producer_id, source in list(media.producers.items()):
        if source in SCREEN_SOURCES:
            await close_own(media, producer_id)
