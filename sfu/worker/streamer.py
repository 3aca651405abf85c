"""Write rooms down for their live streams: a recorder whose logs are read at once and thrown away (recordings.live).

There is no manifest: a stream is over when nobody asks for it any more, and its folder is the reader's. A room may be
recorded and streamed at the same time, each by its own writer.
"""

from __future__ import annotations

import time
from pathlib import Path

from sfu.protocol import STREAM_EXPIRES, Json
from sfu.worker.media import MediaServer
from sfu.worker.recorder import Recorder
from sfu.worker.recording import Recording


class Streamer(Recorder):
    """All streams of a worker; at most one a room. Who reads them hears nothing of us: he sees what is written."""

    def __init__(self, *, media: MediaServer, folder: Path, epoch: str) -> None:
        super().__init__(media=media, folder=folder, epoch=epoch, on_event=lambda event: None)
        self._asked: dict[str, float] = {}  # room: when it was asked for last, by the steady clock

    async def keep(self, room: str, stream: str) -> None:
        """Begin, or go on. Raises InvalidRequest, as `start` does."""
        if self.running(room) not in (None, stream):
            self.abandon(room)
        self._asked[room] = time.monotonic()
        await self.start(room, stream)

    def abandon(self, room: str) -> None:
        self._asked.pop(room, None)
        super().abandon(room)

    def _hand_over(self, recording: Recording, *, tend: bool) -> None:
        if time.monotonic() - self._asked.get(recording.room, 0.0) > STREAM_EXPIRES:
            self.abandon(recording.room)
        else:
            super()._hand_over(recording, tend=tend)

    def counters(self) -> Json:
        return {}
