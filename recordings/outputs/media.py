"""What is common to all that FFmpeg makes of a film: how it is run, and how its work is looked at before it counts."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg

from recordings.composing.composition import FPS
from recordings.errors import CompositionFailed
from recordings.programs import FfmpegFailed, run

NICENESS = 15  # classes, and the composing of what nobody can watch yet, come before
WHITELIST = "file"
TOLERATED = 1.5 / FPS  # seconds: one frame of pictures, or one of sound, and what rounding adds
SLOWEST = 20.0  # times a film's length: what takes longer hangs
AT_LEAST = 600.0  # seconds


def film_input(film: Path, **options: Any) -> Any:
    """Our own MP4 and nothing else: whatever its content were, it is not taken for a playlist."""
    return ffmpeg.input(str(film.resolve()), f="mp4", protocol_whitelist=WHITELIST, **options)


def produce(stream: Any, *, folder: Path, seconds: float = 0.0) -> None:
    """Raises CompositionFailed. `seconds`: the film's length. What the stream names lies in `folder`."""
    try:
        run(stream, timeout=AT_LEAST + SLOWEST * seconds, cwd=folder, niceness=NICENESS)
    except FfmpegFailed as error:
        raise CompositionFailed(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise CompositionFailed(f"FFmpeg was not done after {error.timeout:.0f} seconds.") from error


def open_own(path: Path, format: str) -> av.container.InputContainer:
    return av.open(str(path), format=format, options={"protocol_whitelist": WHITELIST})


def seconds_of(film: Path) -> float:
    """How long its pictures last."""
    with open_own(film, "mp4") as container:
        pictures = container.streams.video[0]
        return float((pictures.duration or 0) * (pictures.time_base or Fraction()))


def check(path: Path, format: str, seconds: float, codecs: set[str]) -> None:
    """Raises CompositionFailed: it cannot be read to its end, a stream is of another length, or is none that was made.

    Read to its end, since the index in front also tells of what is not there.
    """
    try:
        with open_own(path, format) as container:
            streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
            ends = {stream.codec_context.name: Fraction() for stream in streams}
            for packet in container.demux(streams):
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    ends[packet.stream.codec_context.name] = max(ends[packet.stream.codec_context.name], end)
    except av.FFmpegError as error:
        raise CompositionFailed(f"{path.name} cannot be read: {error}") from error
    if set(ends) != codecs:
        raise CompositionFailed(f"{path.name} holds {sorted(ends)} where {sorted(codecs)} were made.")
    for codec, end in ends.items():
        if abs(float(end) - seconds) > TOLERATED:
            raise CompositionFailed(
                f"{path.name} lasts {float(end):.3f} s ({codec}) where the film lasts {seconds:.3f} s."
            )
