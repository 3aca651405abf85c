"""A class is stopped, composed and stored on one small disk, with the database on it, which is full time and again.

    unshare --mount python -m tests.recordings.full_disk FOLDER

A process of its own: what it mounts on the folder is seen by nobody else, and goes with it. It ends with an error where
something else happens than it expects.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = "16m"  # for a new database, and a second of film with all that is made of it


class Disk(logging.Handler):
    """Once `fill` is called nothing more fits, however much is deleted, until the log says that the database waits."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._ballast = folder / "ballast"
        self._filling: threading.Thread | None = None
        self._enough = threading.Event()
        self.waited = 0  # times
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "lectern", str(folder)], check=True)

    def fill(self) -> None:
        self._enough.clear()
        self._filling = threading.Thread(target=self._fill, daemon=True)
        self._filling.start()
        while self._free():
            self._enough.wait(0.001)

    def make_room(self) -> None:
        assert self._filling is not None
        self._enough.set()
        self._filling.join()
        self._ballast.unlink()

    def _free(self) -> int:
        found = os.statvfs(self._ballast.parent)
        return found.f_bavail * found.f_frsize

    def _fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            while not self._enough.wait(0.001):
                if left := self._free():
                    try:
                        ballast.write(bytes(left))
                    except OSError:
                        continue  # somebody else was faster

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("the database waits for room on its disk"):
            self.waited += 1
            self.make_room()

    def fill_before(self, module: Any, name: str) -> None:
        """The next time that this function is called."""
        real: Callable[..., Any] = getattr(module, name)

        def when_full(*arguments: Any, **options: Any) -> Any:
            setattr(module, name, real)
            self.fill()
            return real(*arguments, **options)

        setattr(module, name, when_full)


def main(folder: Path) -> None:
    disk = Disk(folder)
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from accounts.models import User
    from meetings.models import Room
    from recordings import announce, mails, outputs, states, tasks
    from recordings.composing import compose
    from recordings.models import Recording
    from tests.recordings.conftest import SMALL
    from tests.recordings.film import Film
    from tests.recordings.synthetic import SyntheticClass, person

    State, Outputs = Recording.State, Recording.Outputs
    call_command("migrate", verbosity=0)
    # Celery is this process: it is told nothing and does what it is called for. The room's Redis is away.
    for task in (tasks.compose_recording, tasks.make_outputs, tasks.help_compose, mails.tell_of_recording):
        vars(task)["apply_async"] = lambda *arguments, **options: None
    vars(announce)["people_in"] = lambda code: set()
    vars(tasks)["FIRST_QUALITY"] = SMALL
    logging.getLogger(tasks.__name__).addHandler(disk)

    room = Room.objects.create(title="Cells", created_by=User.objects.create(username="tina"))
    recording = states.begin(room, None)
    world = SyntheticClass(recording.folder, 1.0)
    person(world, "Tina", 0.0, 1.0)
    world.write()

    def seen() -> tuple[Any, ...]:
        recording.refresh_from_db()
        return recording.state, recording.outputs, recording.attempts, recording.reason

    # The class is over, and nobody can note it.
    connection.close()
    disk.fill()
    tasks.sweep_recordings()
    disk.make_room()
    assert seen() == (State.RECORDING, Outputs.NONE, 0, ""), seen()
    tasks.sweep_recordings()
    assert seen() == (State.QUEUED, Outputs.NONE, 0, ""), seen()

    disk.fill_before(compose, "compose_all")
    tasks.compose_recording(recording.pk)
    assert (disk.waited, seen()) == (1, (State.QUEUED, Outputs.NONE, 0, tasks.DISK_FULL)), seen()
    tasks.compose_recording(recording.pk)
    assert seen() == (State.READY, Outputs.WAITING, 0, ""), seen()

    disk.fill_before(outputs, "make")
    tasks.make_outputs(recording.pk)
    assert (disk.waited, seen()) == (2, (State.READY, Outputs.WAITING, 0, "")), seen()
    tasks.make_outputs(recording.pk)
    assert seen() == (State.READY, Outputs.MADE, 0, ""), seen()

    kept = folder / "storage"
    names = {path.relative_to(kept).as_posix() for path in kept.rglob("*.*")}
    expected = (f"{SMALL}.mp4", "sound.m4a", "poster.jpg", "thumbnails.vtt", "thumbnails-1.jpg")
    assert names == {f"{recording.public_id}/{name}" for name in expected}, names
    assert Film(kept / recording.public_id / f"{SMALL}.mp4").duration == 1.0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
