"""A class of three hours and 30 people who come and go: how much memory each step of composing it takes at the most.

    planner_mb   a Celery process that reads all logs and plans all segments
    render_mb    a process that draws and mixes a segment, with its encoder; as many run as Celery has processes
    join_mb      a Celery process that joins all segments and reads the film once more
    web_mb       a web process, which does none of it
    plan_s, join_s
                 how long reading all logs takes, and joining

Memory is PSS, of a process with its children. One segment in --one-in is drawn; the film takes it in place of those
that follow: joining is the same work whatever is in them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.long_class import LongClass
from benchmarks.table import Benchmark, Table
from benchmarks.watched import watched
from recordings.composing.segments import Segments

QUALITY = "720p"
FIGURES = ["segments", "planner_mb", "render_mb", "join_mb", "web_mb", "plan_s", "join_s"]


class Bench(Benchmark):
    """A class of three hours and 30 people: the most memory that planning, drawing, joining and the web take."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--hours", type=float, default=3.0)
        parser.add_argument("--people", type=int, default=30)
        parser.add_argument("--cameras", type=int, default=4, help="that are on at a time")
        parser.add_argument("--one-in", type=int, default=20, help="segments is drawn")

    def run(self) -> Table:
        options = self.options
        table = Table(
            f"The most memory that composing {options.hours:g} hours of class takes", ["people", "hours", *FIGURES]
        )
        made = LongClass(options.hours * 3600, options.people, options.cameras)
        table.add(people=options.people, hours=options.hours, **measure(made, options.one_in))
        return table


def measure(made: LongClass, one_in: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as name:
        folder = Path(name) / "class"
        made.write(folder)
        planner = watched(_plan, folder)
        segments = Segments(folder)
        total = segments.planned()
        drawn = [0, *range(1, total - 1, one_in), total - 1]  # the first one's sound begins a frame earlier
        render = max(watched(_render, folder, number).memory for number in drawn)
        for number in set(range(total)) - set(drawn):
            _link(segments, (number - 1) // one_in * one_in + 1, number)
        join = watched(_join, folder, total, Path(name) / "film.mp4")
        return {
            "segments": total,
            "planner_mb": planner.memory / 1e6,
            "render_mb": render / 1e6,
            "join_mb": join.memory / 1e6,
            "web_mb": watched(_web).memory / 1e6,
            "plan_s": planner.seconds,
            "join_s": join.seconds,
        }


def _link(segments: Segments, drawn: int, number: int) -> None:
    segments.pictures_path(number, QUALITY).hardlink_to(segments.pictures_path(drawn, QUALITY))
    segments.sound_path(number).hardlink_to(segments.sound_path(drawn))


def _django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()


def _plan(folder: Path) -> None:
    _django()
    from recordings.composing.compose import plan

    plan(folder)


def _render(folder: Path, number: int) -> None:
    from recordings.composing.compose import run

    run(folder, number, QUALITY)


def _join(folder: Path, total: int, out: Path) -> None:
    _django()
    from recordings.composing.join import join

    join(folder, total, QUALITY, out)


def _web() -> None:
    import config.asgi  # noqa: F401
