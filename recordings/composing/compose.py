"""Compose a recording: its segments one by one, each in a process of its own, then all of them joined by copy.

    30 frames a second, H.264 and AAC, its index in front (faststart) so that playback begins at once.

Whoever finds a segment that is planned and not composed may compose it: any number of processes, on any machine that
has the folder. What one has done no other does again. The processes that draw end with the one that started them: they
hold the other end of a pipe that it never writes to.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recordings.composing.composition import LAYOUTS
from recordings.composing.join import join
from recordings.composing.planner import Planner
from recordings.composing.segments import SEGMENTS, Segments
from recordings.composing.tracks import TrackFile
from recordings.errors import NO_SPACE, CompositionFailed
from recordings.programs import BASE_DIR, NICENESS, last_words

FIRST = "720p"  # what is made first
STALLED = 300.0  # seconds without a sign of life
LOOK_EVERY = 0.5  # seconds between two looks at segments that others compose

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]  # segments done, of how many


@dataclass(frozen=True)
class Plan:
    """Of a class that is over."""

    segments: int
    duration: float  # seconds
    tracks: list[TrackFile]
    gap: float  # seconds


def plan(folder: Path, layout: str = LAYOUTS[0]) -> Plan:
    """Plan all that is not planned yet. Raises NothingRecorded."""
    with Segments(folder).claimed("planner", wait=True):
        planner = Planner(folder, layout)
        count = planner.advance(over=True)
        return Plan(count, planner.duration(), planner.tracks(), planner.gap())


def plan_along(folder: Path, layout: str = LAYOUTS[0]) -> int:
    """Plan what can be planned while the class goes on -> segments so far. Raises NothingRecorded."""
    with Segments(folder).claimed("planner") as mine:
        if mine:
            return Planner(folder, layout).advance()
    return Segments(folder).planned()


def compose(
    folder: Path,
    out: Path,
    *,
    layout: str = LAYOUTS[0],
    quality: str = FIRST,
    niceness: int = NICENESS,
    on_progress: OnProgress = lambda done, of: None,
) -> Plan:
    """Compose the recording in `folder`, whose class is over, into `out`. If `on_progress` raises, composing ends."""
    planned = plan(folder, layout)
    compose_all(folder, planned.segments, quality, on_progress, niceness)
    join(folder, planned.segments, quality, out)
    return planned


def compose_all(
    folder: Path,
    total: int,
    quality: str,
    on_progress: OnProgress = lambda done, of: None,
    niceness: int = NICENESS,
) -> None:
    """Until all segments are composed, here or elsewhere."""
    segments = Segments(folder)
    while undone := [number for number in segments.undone(quality) if number < total]:
        on_progress(total - len(undone), total)
        if not compose_next(folder, quality, niceness):
            time.sleep(LOOK_EVERY)
    on_progress(total, total)


def left(folder: Path, total: int, quality: str) -> int:
    """How many of so many segments are not composed yet."""
    return sum(number < total for number in Segments(folder).undone(quality))


def compose_next(
    folder: Path, quality: str, niceness: int = NICENESS, wanted: Callable[[], bool] = lambda: True
) -> bool:
    """Compose a segment that nobody composes -> whether there was one. When it is not wanted any more it is let go."""
    segments = Segments(folder)
    for number in segments.undone(quality):
        with segments.claimed(f"{quality}-{number:04}") as mine:
            if mine and number in segments.undone(quality):
                run(folder, number, quality, niceness, wanted)
                return True
    return False


def run(
    folder: Path, number: int, quality: str, niceness: int = NICENESS, wanted: Callable[[], bool] = lambda: True
) -> None:
    """Draw and mix a segment in a process of its own, while that is wanted. Raises CompositionFailed."""
    with tempfile.TemporaryFile() as errors:
        program = subprocess.Popen(
            [sys.executable, "-m", "recordings.composing.render", str(folder), str(number), quality, str(niceness)],
            cwd=BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            if _listen(program, wanted) and program.wait() != 0:
                errors.seek(0)
                said = errors.read()
                words = last_words(said, program.returncode)
                log.warning("composing segment %d failed: %s", number, words)
                # The reason; what follows from it (a pipe that broke) comes last.
                raise CompositionFailed(NO_SPACE if NO_SPACE.encode() in said else words.splitlines()[-1])
        finally:
            program.kill()
            program.wait()
            for pipe in (program.stdin, program.stdout):
                if pipe is not None:
                    pipe.close()


def _listen(program: subprocess.Popen[bytes], wanted: Callable[[], bool]) -> bool:
    """Until it has said all -> True, or is not wanted any more -> False."""
    assert program.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(program.stdout, selectors.EVENT_READ)
        heard = time.monotonic()
        while wanted():
            if selector.select(timeout=LOOK_EVERY):
                if not os.read(program.stdout.fileno(), 65536):
                    return True
                heard = time.monotonic()
            elif time.monotonic() - heard > STALLED:
                raise CompositionFailed("The drawing process gave no sign of life for five minutes.")
    return False


def clear(folder: Path) -> None:
    """All that was made on the way."""
    shutil.rmtree(folder / SEGMENTS, ignore_errors=True)
