"""For the recordings' live streams: have the worker write a room's packets for a stream, or write them no more."""

from __future__ import annotations

import contextlib

from meetings.media.controller import media_holding
from meetings.media.room_media import refused
from sfu.protocol import InvalidRequest, StartStream, StopStream


async def start_stream(code: str, logs: str) -> None:
    """Raises Refused."""
    try:
        await media_holding(code).ask(code, StartStream(room=code, stream=logs))
    except InvalidRequest as error:
        raise refused(error) from error


async def stop_stream(code: str, logs: str) -> None:
    """A worker that cannot be asked ends it by itself when nobody asks for it any more."""
    with contextlib.suppress(InvalidRequest):
        await media_holding(code).ask(code, StopStream(room=code, stream=logs))
