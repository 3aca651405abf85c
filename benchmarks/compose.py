"""A recorded class is composed into a 720p MP4: how much faster than it lasted, with how much memory, how soon.

Composed on two cores, as two Celery workers do: each takes the next segment and draws it in a process of its own.

    times        the class's length by the time that composing all of it takes, once it is over
    cores        CPU seconds for a second of the class, both processes together: what a busy machine leaves unchanged
    memory_mb    the most that all composing processes together held (PSS: what they share is counted once)
    ready_s      from the end of the class to the joined MP4, when it is composed while the class goes on. All segments
                 are there that a single process had time for until then; the rest is composed and all is joined
    behind_s     the time that one process needs for a segment of 32 s: less than 32, or composing does not keep up
    ffmpeg_times, ffmpeg_cores, ffmpeg_mb
                 one plain FFmpeg over the same media as WebM files, in the same layout by a filter graph, with as many
                 threads as it likes and with our priority. It draws no names

`others_percent` is the share of all cores that other processes had meanwhile.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ffmpeg

from benchmarks.machine import OtherWork
from benchmarks.recorded_class import CAMERA, LAYERS, RecordedClass
from benchmarks.table import Benchmark, Table
from benchmarks.watched import watched
from recordings.composing.compose import compose, compose_next, plan
from recordings.composing.composition import FPS, HD, Rect, grid, presentation
from recordings.composing.planner import READY_AFTER
from recordings.composing.render import KEY_EVERY, PEAK_RATE, PRESET
from recordings.composing.segments import SECONDS, Segments
from recordings.programs import NICENESS, command

WORKERS = 2
FIGURES = [
    "times", "cores", "memory_mb", "behind_s", "ready_s", "ffmpeg_times", "ffmpeg_cores", "ffmpeg_mb", "others_percent",
]  # fmt: skip


class Bench(Benchmark):
    """A class is composed to 720p: times real time, memory, seconds until it is ready; beside a plain FFmpeg."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--minutes", type=float, default=60.0, help="that the class lasts; a camera takes 12 MB a minute"
        )
        parser.add_argument("--cameras", type=int, nargs="+", default=[1, 5, 25])
        parser.add_argument("--screen", action="store_true", help="one of them shares a screen, too")
        parser.add_argument(
            "--one-layer", action="store_true", help="no camera knows simulcast: all are recorded in 1280x720"
        )
        parser.add_argument("--no-ffmpeg", action="store_true")

    def run(self) -> Table:
        table = Table(
            f"Composing {self.options.minutes:g} minutes of class to 720p on {os.cpu_count()} cores",
            ["cameras", "of_them_720p", "screen", "minutes", *FIGURES],
        )
        for cameras in self.options.cameras:
            layers = 1 if self.options.one_layer else len(LAYERS)
            made = RecordedClass(cameras, self.options.screen, self.options.minutes * 60, layers)
            figures = measure(made, plain=not self.options.no_ffmpeg)
            table.add(
                cameras=cameras,
                of_them_720p=sum(made.look(person) is CAMERA for person in range(cameras)),
                screen="yes" if made.screen else "no",
                minutes=self.options.minutes,
                **figures,
            )
        return table


def measure(made: RecordedClass, *, plain: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as name:
        folder = Path(name)
        made.write(folder / "class")
        other, used = OtherWork(), sum(os.times()[:4])
        ours = watched(_compose, folder / "class", folder / "afterwards.mp4")
        one, ready = _ready(made, folder / "class", folder / "along.mp4")
        figures = {
            "times": made.seconds / ours.seconds,
            "cores": ours.cpu / made.seconds,
            "memory_mb": ours.memory / 1e6,
            "behind_s": one,
            "ready_s": ready,
            "others_percent": other.percent(sum(os.times()[:4]) - used),
        }
        if plain:
            tracks = made.write_tracks(folder / "tracks")
            its = watched(_plain, made, tracks, folder / "plain.mp4")
            figures["ffmpeg_times"], figures["ffmpeg_mb"] = made.seconds / its.seconds, its.memory / 1e6
            figures["ffmpeg_cores"] = its.cpu / made.seconds
    return figures


def _compose(folder: Path, out: Path) -> None:
    def help_compose() -> None:
        while compose_next(folder, "720p"):
            pass

    planned = plan(folder)
    helpers = [threading.Thread(target=help_compose) for _ in range(WORKERS - 1)]
    for helper in helpers:
        helper.start()
    made = compose(folder, out)
    for helper in helpers:
        helper.join()
    assert made.segments == planned.segments


def _ready(made: RecordedClass, folder: Path, out: Path) -> tuple[float, float]:
    """Seconds that one process needs for a segment, and from the end of the class to the film.

    Segments are taken away again that could not be there at the end: the class was not READY_AFTER past them, or the
    process that composes along was not done with them.
    """
    segments = Segments(folder)
    middle = max(0, int(made.seconds / SECONDS) // 2)
    take_away(segments, middle)
    began = time.monotonic()
    compose_next(folder, "720p")
    one = time.monotonic() - began
    total = math.ceil(made.seconds / SECONDS)
    there = max(0, math.floor((made.seconds - READY_AFTER - one) / SECONDS))
    for number in range(there, total):
        take_away(segments, number)
    began = time.monotonic()
    _compose(folder, out)
    return one, time.monotonic() - began


def take_away(segments: Segments, number: int) -> None:
    segments.pictures_path(number, "720p").unlink()
    segments.sound_path(number).unlink()


# --- the plain FFmpeg ------------------------------------------------------------------------------------------------


def _plain(made: RecordedClass, tracks: dict[str, Path], out: Path) -> None:
    os.nice(NICENESS)
    subprocess.run(command(_graph(made, tracks, out)), check=True)


def _graph(made: RecordedClass, tracks: dict[str, Path], out: Path) -> Any:
    cameras = [f"p{person}-camera" for person in range(made.cameras)]
    if made.screen:
        large, column = presentation(len(cameras))
        places = [("p0-screen", large), *zip(cameras, column, strict=False)]
    else:
        places = list(zip(cameras, grid(len(cameras)), strict=True))
    picture = ffmpeg.input(f"color=c=0x141414:s={HD.width}x{HD.height}:r={FPS}:d={made.seconds}", f="lavfi")
    for name, rect in places:
        picture = picture.overlay(_scaled(tracks[name], rect), x=rect.x, y=rect.y)
    voices = [ffmpeg.input(str(path)).audio for name, path in tracks.items() if name.endswith("microphone")]
    sound = ffmpeg.filter(voices, "amix", inputs=len(voices), normalize=0).filter("alimiter", limit=0.95, level=0)
    return ffmpeg.output(
        picture,
        sound,
        str(out),
        vcodec="libx264",
        preset=PRESET,
        crf=24,
        maxrate=PEAK_RATE,
        bufsize=2 * PEAK_RATE,
        g=KEY_EVERY * FPS,
        pix_fmt="yuv420p",
        acodec="aac",
        audio_bitrate="128k",
        movflags="+faststart",
        t=made.seconds,
    )


def _scaled(path: Path, rect: Rect) -> Any:
    return ffmpeg.input(str(path)).video.filter("fps", FPS).filter("scale", rect.width, rect.height, flags="bilinear")
