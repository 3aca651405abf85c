"""One picture that tells what a film is about: the shared screen, else the moment with the most people to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import numpy as np

from recordings.composing.composition import FPS, Scene
from recordings.errors import CompositionFailed
from recordings.files import POSTER
from recordings.outputs.media import film_input, open_own, produce

LONG_ENOUGH = 3 * FPS  # frames: cameras have begun to show something by the middle of such a scene
TRIED = 4  # moments
JPEG_QUALITY = 3  # of 2 (best) to 31
FLAT = 12.0  # standard deviation of luma: below it a picture shows nothing, as a screen just shared or a covered camera


def make(film: Path, scenes: Sequence[Scene], folder: Path) -> Path:
    made = folder / POSTER
    best: tuple[float, bytes] | None = None
    for moment in moments(scenes)[:TRIED]:
        picture = ffmpeg.output(
            film_input(film, ss=moment).video, made.name, f="image2", vframes=1, update=1, **{"q:v": JPEG_QUALITY}
        )
        produce(picture, folder=folder)
        contrast = _contrast(made)
        if best is None or contrast > best[0]:
            best = (contrast, made.read_bytes())
        if contrast >= FLAT:
            break
    if best is None:
        raise CompositionFailed("There is no scene to take a poster from.")
    made.write_bytes(best[1])
    return made


def moments(scenes: Sequence[Scene]) -> list[float]:
    """Seconds, the most telling first: the middles of scenes."""

    def telling(scene: Scene) -> tuple[bool, bool, int, int]:
        seen = [tile.source for tile in scene.tiles if tile.producer_id is not None]
        length = scene.end - scene.begin
        return length >= LONG_ENOUGH, "screen" in seen, len(seen), length

    return [(scene.begin + scene.end) // 2 / FPS for scene in sorted(scenes, key=telling, reverse=True)]


def _contrast(picture: Path) -> float:
    with open_own(picture, "jpeg_pipe") as container:
        frame = next(container.decode(video=0))
        return float(np.std(frame.to_ndarray(format="gray")))
