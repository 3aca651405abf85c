"""Join segments into one MP4 by copy: pictures after pictures, sound after sound, each packet at its own time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.packet import Packet

from recordings.composing.composition import FPS
from recordings.composing.render import TIMESCALE
from recordings.composing.segments import RATE, SECONDS, Segments, becoming
from recordings.errors import CompositionFailed
from recordings.outputs import chapters
from sfu.manifest import read_timeline

if TYPE_CHECKING:
    from av.container.core import Chapter

MILLISECOND = Fraction(1, 1000)
WHITELIST = {"protocol_whitelist": "file"}


def join(folder: Path, count: int, quality: str, out: Path) -> None:
    """The first `count` segments. Raises CompositionFailed where the film is not what was drawn."""
    segments = Segments(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with becoming(out, segments.path / f".{quality}.mp4.joined") as unfinished:
            frames = _join(segments, count, quality, unfinished)
            _check(unfinished, frames)
    except av.FFmpegError as error:
        raise CompositionFailed(f"The segments could not be joined: {error}") from error


def _join(segments: Segments, count: int, quality: str, out: Path) -> int:
    frames = 0
    streams: list[Any] = []
    shape: list[bytes] = []
    with av.open(str(out), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        film.set_chapters(_chapters(segments, count, quality))
        for number in range(count):
            segment = segments.read(number)
            with (
                av.open(str(segments.pictures_path(number, quality)), options=WHITELIST) as pictures,
                av.open(str(segments.sound_path(number)), options=WHITELIST) as sound,
            ):
                sources = (pictures.streams.video[0], sound.streams.audio[0])
                if not streams:
                    streams = [film.add_stream_from_template(source) for source in sources]
                    streams[0].time_base = sources[0].time_base
                    shape = [_shape(source) for source in sources]
                if [_shape(source) for source in sources] != shape:
                    raise CompositionFailed(f"Segment {number} was encoded in another way than the first.")
                shifts = (number * SECONDS * TIMESCALE, number * SECONDS * RATE)
                packets = [
                    *_shifted(pictures.demux(sources[0]), streams[0], shifts[0]),
                    *_shifted(sound.demux(sources[1]), streams[1], shifts[1]),
                ]
            drawn = sum(packet.stream is streams[0] for packet in packets)
            if drawn != segment.end - segment.begin:
                raise CompositionFailed(f"Segment {number} has {drawn} pictures where other ones were drawn.")
            frames += drawn
            film.mux(sorted(packets, key=lambda packet: (packet.dts or 0) * (packet.time_base or 0)))
    return frames


def _chapters(segments: Segments, count: int, quality: str) -> list[Chapter]:
    """As players of files show them; those on the recording's page come from a file of their own."""
    scenes = (scene for number in range(count) for scene in segments.read(number).scenes[quality])
    last = segments.read(count - 1)
    found = chapters.find(scenes, read_timeline(segments.recording), last.time, last.end / FPS)
    return [
        {
            "id": number,
            "start": round(chapter.begin * 1000),
            "end": round(chapter.end * 1000),
            "time_base": MILLISECOND,
            "metadata": {"title": chapter.title},
        }
        for number, chapter in enumerate(found)
    ]


def _shifted(packets: Iterator[Packet], stream: Any, ticks: int) -> Iterator[Packet]:
    for packet in packets:
        if packet.pts is None or packet.dts is None:
            continue  # the end
        packet.pts += ticks
        packet.dts += ticks
        packet.stream = stream
        yield packet


def _shape(stream: Any) -> bytes:
    return bytes(stream.codec_context.extradata or b"")


def _check(path: Path, frames: int) -> None:
    """Read it once, to see that it is whole."""
    with av.open(str(path), options=WHITELIST) as film:
        pictures = sum(1 for packet in film.demux(video=0) if packet.pts is not None)
    if pictures != frames:
        raise CompositionFailed(f"The composition has {pictures} pictures where {frames} were drawn.")
