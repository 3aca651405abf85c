"""FFmpeg's encoders, one a quality and one for the sound: pictures and samples in, parts of a segment out.

A segment is a second, and begins with a key frame. A part is a third of it. Both lie at the same places of the
stream's own time in every quality, so that a player may change between them anywhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.filter import Graph
from av.video.frame import PictureType

from recordings.composing.composition import FPS, Size
from recordings.composing.mix import LIMIT, Samples
from recordings.composing.render import Canvas
from recordings.composing.segments import AAC_FRAME, RATE
from recordings.live.fmp4 import Sample, fragment, h264_name, length_prefixed

PARTS = 3  # a segment
TICKS = FPS // PARTS  # frames of a part at most; a process that is late makes fewer
VIDEO_TIMESCALE = 90000
FRAME = VIDEO_TIMESCALE // FPS
BITRATES = {"1080p": 4_500_000, "720p": 2_200_000, "360p": 600_000}  # at the most
SOUND_BITRATE = 128_000


class Part(NamedTuple):
    segment: int  # the second of the stream's own time that it belongs to
    number: int  # in its segment
    time: float  # seconds of the stream's own time, exact
    duration: float  # seconds
    independent: bool  # begins with a key frame
    data: bytes


class Encoder:
    """What both kinds have in common: samples gathered until their part is full."""

    codec: str
    init: bytes  # the header, as a file of its own

    def __init__(self, timescale: int) -> None:
        self._timescale = timescale
        self._samples: list[Sample] = []
        self._sequence = 0

    def _gather(self, sample: Sample) -> Iterator[Part]:
        if self._samples and self._place(self._samples[0].time) != self._place(sample.time):
            yield self._part(sample.time)
        self._samples.append(sample)

    def _place(self, time: int) -> tuple[int, int]:
        """(segment, part) that a sample belongs to."""
        return divmod(time * PARTS // self._timescale, PARTS)

    def _part(self, end: int) -> Part:
        """What was gathered. The last sample lasts until `end`."""
        samples, self._samples = self._samples, []
        samples[-1] = samples[-1]._replace(duration=end - samples[-1].time)
        self._sequence += 1
        segment, number = self._place(samples[0].time)
        begin = samples[0].time / self._timescale
        duration = end / self._timescale - begin
        return Part(segment, number, begin, duration, samples[0].key, fragment(self._sequence, samples))


class VideoEncoder(Encoder):
    def __init__(self, quality: str, size: Size) -> None:
        super().__init__(VIDEO_TIMESCALE)
        self.size = size
        self.bitrate = BITRATES[quality]
        file = io.BytesIO()
        container = av.open(file, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"})
        options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "main",
            "crf": "24",
            "maxrate": str(self.bitrate),
            "bufsize": str(self.bitrate // 2),
            "g": "100000",  # key frames come when they are asked for
            "sc_threshold": "0",
            "forced-idr": "1",
            "threads": "1",
        }
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, VIDEO_TIMESCALE)
        # BT.601, as of the cameras' codecs.
        stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1
        stream.codec_context.color_primaries = stream.codec_context.color_trc = 6
        container.start_encoding()
        self.init = file.getvalue()
        self._container = container  # closed, it would take the encoder with it
        self._encoder = stream.codec_context
        self.codec = h264_name(self._encoder.extradata or b"")
        self._segment = -1

    def encode(self, canvas: Canvas, tick: int, following: int) -> list[Part]:
        """The canvas as the picture from `tick` until `following` (frames of the stream's own time)."""
        picture = np.frombuffer(canvas.buffer, np.uint8).reshape(canvas.size.height * 3 // 2, canvas.size.width)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        if canvas.size != self.size:
            frame = frame.reformat(self.size.width, self.size.height)
        frame.pts, frame.time_base = tick * FRAME, Fraction(1, VIDEO_TIMESCALE)
        frame.pict_type = PictureType.NONE
        if tick // FPS != self._segment:
            self._segment = tick // FPS
            frame.pict_type = PictureType.I
        parts: list[Part] = []
        for packet in self._encoder.encode(frame):
            data = length_prefixed(bytes(packet))
            parts += self._gather(Sample(packet.pts or 0, (following - tick) * FRAME, data, packet.is_keyframe))
        if following % TICKS == 0 and self._samples:  # the next picture is of another part: this one is full
            parts.append(self._part(following * FRAME))
        return parts

    def close(self) -> None:
        self._container.close()


class SoundEncoder(Encoder):
    """Blocks of samples, limited and encoded. What lies before the stream's first second is left out."""

    codec = "mp4a.40.2"
    bitrate = SOUND_BITRATE

    def __init__(self, begin: int) -> None:
        """`begin`: the first sample's place in the stream's own time."""
        super().__init__(RATE)
        file = io.BytesIO()
        container = av.open(file, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof"})
        stream = container.add_stream("aac", rate=RATE)
        stream.bit_rate, stream.layout, stream.format = SOUND_BITRATE, "stereo", "fltp"
        container.start_encoding()
        self.init = file.getvalue()
        self._container = container
        self._encoder = stream.codec_context
        self._begin = begin
        self._made = begin
        self._limiter, self._in, self._out = _limiter()

    def encode(self, block: Samples) -> list[Part]:
        """Samples by two channels."""
        sound = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.T.astype(np.float32)), format="fltp", layout="stereo"
        )
        sound.sample_rate, sound.pts, sound.time_base = RATE, self._made, Fraction(1, RATE)
        self._made += len(block)
        self._in.push(sound)
        parts: list[Part] = []
        while True:
            try:
                limited = self._out.pull()
            except (av.BlockingIOError, av.EOFError):
                return parts
            for packet in self._encoder.encode(limited):
                if (packet.pts or 0) >= self._begin:
                    parts += self._gather(Sample(packet.pts or 0, AAC_FRAME, bytes(packet), True))

    def close(self) -> None:
        self._container.close()


def _limiter() -> tuple[Graph, Any, Any]:
    """The limiter of `recordings.composing.mix`; it gives frames of the size that AAC takes."""
    graph = Graph()
    source = graph.add_abuffer(format="fltp", sample_rate=RATE, layout="stereo", time_base=Fraction(1, RATE))
    limiter = graph.add("alimiter", f"limit={LIMIT}:level=0:attack=5:release=50:latency=1")
    shape = graph.add("aformat", "sample_fmts=fltp:sample_rates=48000:channel_layouts=stereo")
    frames = graph.add("asetnsamples", f"n={AAC_FRAME}:p=0")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, limiter, shape, frames, sink).configure()
    return graph, source, sink
