"""What people send, as it comes: a camera's pictures and a microphone's sound, each at its time.

Times are seconds after the stream's beginning, on the media worker's clock.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from recordings.composing.mix import Samples
from recordings.composing.pictures import DECODERS, OPTIONS
from recordings.composing.segments import RATE
from recordings.live.frames import Frames, Order
from recordings.live.tail import PacketTail
from recordings.logs.clocks import Clock, TrackClock
from recordings.logs.depayload import DEPAYLOADERS, Frame, opus_frames
from recordings.logs.packets import RtpPacket
from sfu.manifest import TrackStarted

SLIP = RATE // 50  # samples: 20 ms, a packet. More is a gap, or a clock that drifted
MOST_PICTURES = 90  # decoded and not shown yet
MOST_SOUND = 4 * RATE  # samples that may wait to be heard


class Source:
    """One producer's log and its clock."""

    def __init__(self, started: TrackStarted, folder: Path, began: float) -> None:
        self.started = started
        self.clock = TrackClock(started.clock_rate)
        self.time: Clock | None = None  # set when there is one for all tracks of this person
        self._tail = PacketTail(folder / Path(started.file).name)  # a name in this folder, whatever it says
        self._began = began
        self._order = Order()

    def read(self, now: float) -> None:
        """`now`: seconds since the Unix epoch. Takes in what was written since the last time."""
        items = [
            item
            for item in self._tail.read()
            if not isinstance(item, RtpPacket) or item.payload_type == self.started.payload_type
        ]
        for item in items:
            if isinstance(item, RtpPacket):
                self.clock.packet(item)
                self._order.push(item)
            else:
                self.clock.report(item)

    def use(self, now: float) -> None:
        """Decode what is in order. After `read`, and after the clocks were compared."""
        raise NotImplementedError

    def made(self, frame: Frame) -> float:
        seconds = self.time(frame.timestamp, frame.arrival) if self.time is not None else frame.arrival
        return seconds - self._began


class Camera(Source):
    """Pictures by time: `at` is the last one made at or before a moment, as `composing.pictures.Pictures` does."""

    def __init__(self, started: TrackStarted, folder: Path, began: float) -> None:
        super().__init__(started, folder, began)
        mime_type = started.mime_type.lower()
        self._decoder = cast(VideoCodecContext, av.CodecContext.create(DECODERS[mime_type], "r"))
        self._decoder.thread_count = 1
        self._decoder.options = OPTIONS.get(DECODERS[mime_type], {})
        self._frames = Frames(DEPAYLOADERS[mime_type]())
        self._coming: deque[tuple[float, av.VideoFrame]] = deque(maxlen=MOST_PICTURES)
        self._shown: tuple[float, av.VideoFrame] | None = None

    def use(self, now: float) -> None:
        for numbered in self._order.pop(now):
            frame = self._frames.push(numbered)
            if frame is None:
                continue
            try:
                pictures = self._decoder.decode(Packet(frame.data))
            except av.FFmpegError:
                continue  # one that cannot be decoded leaves the picture before it standing
            if pictures:
                self._coming.append((self.made(frame), pictures[-1]))

    def at(self, seconds: float) -> tuple[float, av.VideoFrame] | None:
        while self._coming and self._coming[0][0] <= seconds:
            self._shown = self._coming.popleft()
        return self._shown


class Voice(Source):
    """Sound by time, exact to a sample, laid as `recordings.composing.mix` lays it."""

    def __init__(self, started: TrackStarted, folder: Path, began: float) -> None:
        super().__init__(started, folder, began)
        self._decoder = av.CodecContext.create("opus", "r")
        self._decoder.sample_rate, self._decoder.layout = RATE, "stereo"
        self._pieces: deque[tuple[int, Samples]] = deque()
        self._position: int | None = None

    def use(self, now: float) -> None:
        for frame in opus_frames(self._order.pop(now)):
            try:
                decoded = self._decoder.decode(Packet(frame.data))
            except av.FFmpegError:
                continue
            target = round(self.made(frame) * RATE)
            for sound in decoded:
                samples = sound.to_ndarray().astype(np.float32, copy=False)
                if sound.format.is_packed or sound.sample_rate != RATE:
                    continue
                if self._position is None or target > self._position + SLIP:
                    self._position = target
                elif target < self._position - SLIP:
                    samples = samples[:, self._position - target :]
                if samples.shape[0] == 1:
                    samples = np.repeat(samples, 2, axis=0)
                if samples.shape[1]:
                    self._pieces.append((self._position, samples[:2].T))
                    self._position += samples.shape[1]
                target = self._position
        while self._pieces and self._pieces[-1][0] - self._pieces[0][0] > MOST_SOUND:
            self._pieces.popleft()

    def add_to(self, block: Samples, start: int) -> None:
        """Add the sound of [start, start + len(block)); what lies before it is forgotten."""
        end = start + len(block)
        while self._pieces and self._pieces[0][0] < end:
            position, samples = self._pieces[0]
            skip, count = max(0, start - position), min(len(samples), end - position)
            if count > skip:
                block[position + skip - start : position + count - start] += samples[skip:count]
            if count < len(samples):
                return
            self._pieces.popleft()


def source(started: TrackStarted, folder: Path, began: float) -> Source | None:
    """None: of a codec that nothing here decodes."""
    mime_type = started.mime_type.lower()
    if not 0 < started.clock_rate <= 1_000_000:
        return None
    if mime_type in DECODERS:
        return Camera(started, folder, began)
    return Voice(started, folder, began) if mime_type == "audio/opus" else None
