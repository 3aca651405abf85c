"""Processes that work on a recording: which there are, and one of the test's own, to be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from recordings.composing.segments import Segments
from recordings.models import Recording
from tests.database import database_url
from tests.recordings.conftest import SMALL


def drawing(folder: Path) -> list[int]:
    """Processes that draw or mix in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words):
            found.append(int(process.name))
    return found


@contextlib.contextmanager
def held_up(segments: Segments, number: int, quality: str = SMALL) -> Iterator[Path]:
    """Who draws that segment comes no further than to open its file, a pipe that nobody reads -> the file."""
    path = segments.pictures_path(number, quality)
    unfinished = path.with_name(f".{path.name}.part")
    segments.path.mkdir(exist_ok=True)
    unfinished.unlink(missing_ok=True)  # of one that was killed
    os.mkfifo(unfinished)
    try:
        yield unfinished
    finally:
        os.close(os.open(unfinished, os.O_RDONLY | os.O_NONBLOCK))
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def task_running(task: str, recording: Recording, data: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does one of `recordings.tasks` for this recording, as a Celery child does; `small`."""
    code = (
        "import django; django.setup()\nfrom recordings import tasks\n"
        f"tasks.FIRST_QUALITY = {SMALL!r}\ntasks.{task}({recording.pk})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url(),
            "LECTERN_DATA": str(data),
            "REDIS_URL": "redis://127.0.0.1:1/0",
            **environ,
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
