"""One stream from its logs to its parts. Time goes on whatever happens: what did not come in time is left out.

    now - DELAY     the moment that is drawn and heard
    DELAY           the worker writes four times a second; then packets may be late

A process that is late draws every tenth picture until it is in time again, so parts and segments lie where they
should. One that is much too late ends, and is started again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from recordings.composing.composition import FPS, SIZES
from recordings.composing.segments import AAC_FRAME, RATE
from recordings.live.encode import PARTS, TICKS, Part, SoundEncoder, VideoEncoder
from recordings.live.job import Job
from recordings.live.playlist import SOUND
from recordings.live.scene import Scene
from recordings.live.shelf import Shelf
from recordings.live.sources import Camera, Source, Voice, source
from recordings.live.tail import TimelineTail
from recordings.logs.clocks import SenderClock
from sfu.manifest import ENTRIES, Started, TrackEnded, TrackStarted

log = logging.getLogger(__name__)

DELAY = 0.7  # seconds
CLOCKS_EVERY = 2.0  # seconds: in so long a packet came without delay
REPORTS_KEPT = 10.0  # seconds that sender reports are still of use
LATE = 0.4  # seconds: then not every picture is drawn
TOO_LATE = 10.0  # seconds: the machine slept, or cannot do it
KEPT_AFTER_END = 2.0  # seconds that a track which ended is still looked at
SOUND_PART = 1 / PARTS + AAC_FRAME / RATE  # seconds at the most: AAC frames do not end with a part


class TooLate(Exception):
    """The stream is so far behind that it must begin anew."""


class Show:
    def __init__(self, job: Job, now: Callable[[], float] = time.time) -> None:
        self._job = job
        self._now = now
        self._folder = Path(job.logs)
        self._timeline = TimelineTail(self._folder)
        self._coming: list[ENTRIES] = []  # read, and not yet due
        self._sources: dict[str, Source] = {}  # by log
        self._cameras: dict[str, Camera] = {}  # by producer id
        self._ended: dict[str, float] = {}  # log: when its source may go
        self._compared = self._now() - CLOCKS_EVERY
        self._epoch = ""
        self._people: dict[str, str] = {}  # log: whose it is, in which epoch
        self._senders: dict[str, SenderClock] = {}
        self.scene = Scene(SIZES[job.qualities[0]], self._cameras, job.began)
        self._shelf = Shelf(Path(job.out), job.began)
        self._pictures = {name: VideoEncoder(name, SIZES[name]) for name in job.qualities}
        second = int(self._now() - DELAY - job.began) + 1
        self._tick = second * FPS  # the next one to be drawn
        self._heard = second * RATE  # the next sample to be mixed
        self._sound = SoundEncoder(self._heard)
        for name, encoder in self._pictures.items():
            self._shelf.open(name, encoder.codec, encoder.bitrate, 1 / PARTS, encoder.init)
        self._shelf.open(SOUND, self._sound.codec, self._sound.bitrate, SOUND_PART, self._sound.init)
        self._encoding = ThreadPoolExecutor(len(self._pictures) + 1, thread_name_prefix="encoder")

    @property
    def second(self) -> float:
        """Of the stream's own time: what is drawn next."""
        return self._tick / FPS

    def due(self) -> float:
        """Seconds until the next picture is due; negative: we are late."""
        return self._job.began + self._tick / FPS + DELAY - self._now()

    def step(self) -> None:
        """Draw and encode the next picture, and the sound up to it. Raises TooLate."""
        late = -self.due()
        if late > TOO_LATE:
            raise TooLate(f"{late:.1f} s behind")
        now = self._now()
        self._read(now)
        tick = self._tick
        following = tick + 1 if late < LATE else (tick // TICKS + 1) * TICKS
        seconds = tick / FPS
        while self._coming and self._coming[0].at - self._job.began <= seconds:
            self.scene.apply(self._coming.pop(0))
        self.scene.paint(seconds)
        sound = self._encoding.submit(self._mix, following * RATE // FPS)
        made = {
            name: self._encoding.submit(encoder.encode, self.scene.canvas, tick, following)
            for name, encoder in self._pictures.items()
        }
        for name, future in (*made.items(), (SOUND, sound)):
            for part in future.result():
                self._shelf.put(name, part)
        self._tick = following

    def _mix(self, end: int) -> list[Part]:
        block = np.zeros((end - self._heard, 2), np.float32)
        for voice in self._sources.values():
            if isinstance(voice, Voice):
                voice.add_to(block, self._heard)
        self._heard = end
        return self._sound.encode(block)

    def _read(self, now: float) -> None:
        for entry in self._timeline.read():
            self._coming.append(entry)
            if isinstance(entry, Started):
                self._epoch = entry.epoch
                self._ended.update({file: now + KEPT_AFTER_END for file in self._sources if file not in self._ended})
            elif isinstance(entry, TrackStarted):
                self._open(entry)
            elif isinstance(entry, TrackEnded):
                for file, one in self._sources.items():
                    if one.started.producer_id == entry.producer_id:
                        self._ended[file] = now + KEPT_AFTER_END
        for file, until in list(self._ended.items()):
            if now > until:
                del self._ended[file]
                self._close(file)
        for one in self._sources.values():
            one.read(now)
        is_new = any(one.time is None and one.clock.best is not None for one in self._sources.values())
        if is_new or now - self._compared >= CLOCKS_EVERY:
            self._compare_clocks(now)
        for one in self._sources.values():
            one.use(now)

    def _open(self, entry: TrackStarted) -> None:
        made = source(entry, self._folder, self._job.began) if entry.file not in self._sources else None
        if made is None:
            return
        self._sources[entry.file] = made
        self._people[entry.file] = f"{self._epoch} {entry.peer}"
        if isinstance(made, Camera):
            self._cameras[entry.producer_id] = made

    def _close(self, file: str) -> None:
        one = self._sources.pop(file)
        self._people.pop(file)
        if self._cameras.get(one.started.producer_id) is one:
            del self._cameras[one.started.producer_id]

    def _compare_clocks(self, now: float) -> None:
        """Tracks with sender reports share their sender's clock, others have one of their own."""
        groups: dict[str, list[Source]] = {}
        for file, one in self._sources.items():
            groups.setdefault(self._people[file] if one.clock.reports else file, []).append(one)
        self._senders = {name: self._senders.get(name, SenderClock()) for name in groups}
        for name, tracks in groups.items():
            made = self._senders[name].advance([one.clock for one in tracks], self._compared, now)
            for one, clock in zip(tracks, made, strict=False):
                one.time = clock
                one.clock.next_segment(now - clock.last - REPORTS_KEPT)
        self._compared = now

    def end(self) -> None:
        self._shelf.end()
        self.close()

    def close(self) -> None:
        self._encoding.shutdown()
        self.scene.close()
