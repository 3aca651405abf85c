"""The film as VP9 and Opus, for those who may not play H.264. The dearest of all outputs: only made when asked for."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from recordings.composing.composition import FPS, SIZES
from recordings.files import film as film_name
from recordings.outputs.media import check, film_input, produce

KEY_EVERY = 4 * FPS  # frames
BIT_RATE = 1_200_000  # at 720p, which suffices for slides and faces
SPEED = 8  # the fastest of libvpx's: a film is made in less than its length, on one core


def make(film: Path, quality: str, seconds: float, folder: Path) -> Path:
    made = folder / film_name(quality, ".webm")
    source = film_input(film)
    encoded = ffmpeg.output(
        source.video,
        source.audio,
        made.name,
        f="webm",
        vcodec="libvpx-vp9",
        deadline="realtime",
        **{"cpu-used": SPEED, "row-mt": 1, "tile-columns": 2, "b:v": BIT_RATE * SIZES[quality].height // 720},
        g=KEY_EVERY,
        threads=2,
        acodec="libopus",
        audio_bitrate="96k",
    )
    produce(encoded, folder=folder, seconds=seconds)
    check(made, "webm", seconds, {"vp9", "opus"})
    return made
