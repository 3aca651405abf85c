"""The pictures of one producer by time: the last one made at or before a moment, decoded only when asked for.

They come straight from the packet logs: what a loss has broken is left out, and the picture before it stands. Time only
goes forward. Decoding begins at the key frame before the first moment that is asked for; if that one is broken, at the
one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from recordings.composing.segments import Camera, Segment, Start
from recordings.composing.tracks import own
from recordings.logs.depayload import DEPAYLOADERS, video_frames
from recordings.logs.packets import PacketLog, in_order

DECODERS = {"video/vp8": "vp8", "video/vp9": "vp9", "video/av1": "libdav1d", "video/h264": "h264"}
OPTIONS = {"libdav1d": {"max_frame_delay": "1"}}  # a picture at once, not when the next ones have come
MICROSECOND = Fraction(1, 1_000_000)

Picture = tuple[float, av.VideoFrame]  # (when it was made, seconds after the recording's start; the picture)


class Pictures:
    def __init__(self, folder: Path, segment: Segment, cameras: Sequence[Camera]) -> None:
        self._folder = folder
        self._segment = segment
        self._coming = list(cameras)  # one after the other: a second worker went on with a log of its own
        self._frames: Iterator[Picture] | None = None
        self._next: Picture | None = None
        self._shown: Picture | None = None

    def at(self, seconds: float) -> Picture | None:
        if self._frames is None and self._coming:
            self._open(seconds)
        while self._next is not None and self._next[0] <= seconds:
            self._shown = self._next
            self._next = next(self._frames, None) if self._frames is not None else None
            if self._next is None and self._coming:
                self._open(seconds)
        return self._shown

    def _open(self, seconds: float) -> None:
        """Begin where there is a picture at that moment, or else as early as can be."""
        camera = self._coming.pop(0)
        for start in camera.starts:
            self._frames = self._decoded(camera, start)
            self._next = next(self._frames, None)
            if self._next is not None and self._next[0] <= seconds:
                return
        if self._next is None and self._coming:
            self._open(seconds)

    def _decoded(self, camera: Camera, start: Start) -> Iterator[Picture]:
        name = DECODERS[camera.mime_type]
        decoder = av.CodecContext.create(name, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.thread_count = 1  # several segments are drawn at once already
        decoder.options = OPTIONS.get(name, {})
        for packet in self._packets(camera, start):
            try:
                for frame in decoder.decode(packet):
                    yield float((frame.pts or 0) * MICROSECOND), frame
            except av.FFmpegError:
                continue  # what cannot be decoded leaves the picture before it standing

    def _packets(self, camera: Camera, start: Start) -> Iterator[Packet | None]:
        log = PacketLog(self._folder / camera.file, start.position)
        arrived = in_order(own(camera.payload_type, log.read(self._segment.until)), start.timestamp)
        for frame in video_frames(arrived, DEPAYLOADERS[camera.mime_type]()):
            packet = Packet(frame.data)
            made = self._segment.time.at(camera.clock(frame.timestamp, frame.arrival))
            packet.pts = packet.dts = round(made / MICROSECOND)
            packet.time_base = MICROSECOND
            yield packet
        yield None  # what the decoder still holds
