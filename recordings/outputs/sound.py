"""A film's sound alone, by copy: for whoever listens on the way."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from recordings.files import SOUND
from recordings.outputs.media import check, film_input, produce


def make(film: Path, seconds: float, folder: Path) -> Path:
    made = folder / SOUND
    produce(
        ffmpeg.output(film_input(film).audio, made.name, f="ipod", c="copy", movflags="+faststart"),
        folder=folder,
        seconds=seconds,
    )
    check(made, "mp4", seconds, {"aac"})
    return made
