"""A real Celery composes a class while it goes on and afterwards. It and its Redis are killed, and it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import av
import pytest
from django.utils import timezone
from kombu import Connection

from config.celery import app as celery_app
from recordings import states, storage, tasks
from recordings.composing.segments import Segments
from recordings.models import FIRST_QUALITY, Composition, Recording
from tests.database import database_url
from tests.lectern import wait_until
from tests.recordings.growing import Growing
from tests.recordings.processes import drawing, held_up
from tests.recordings.synthetic import SyntheticClass, person
from tests.redis_server import RedisServer

LENGTH = 80.0
State = Recording.State
RUNS = [0, *(pytest.param(number, marks=pytest.mark.nightly) for number in range(1, 20))]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture
def environment(places: Path, redis_server: RedisServer) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": database_url(),
        "LECTERN_DATA": str(places),
        "REDIS_URL": redis_server.url,
    }


class Celery:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def go_on(self) -> None:
        """As the supervisor does: start it where it does not run."""
        if self.process is not None and self.process.poll() is None:
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config", "worker", "--loglevel", "WARNING", "--concurrency", "2"],
            env=self._environment,
            start_new_session=True,
        )

    def kill_child(self, folder: Path) -> None:
        """The one that composes there."""
        assert self.process is not None
        [child] = {parent_of(pid) for pid in drawing(folder)} & children_of(self.process.pid)
        os.kill(child, signal.SIGKILL)

    def has_ended(self) -> bool:
        """With its children."""
        assert self.process is not None
        if self.process.poll() is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 0)
            return False
        return True

    def kill(self) -> None:
        """With its children. Twice does no harm."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture
def celery(environment: dict[str, str]) -> Iterator[Celery]:
    celery = Celery(environment)
    celery.go_on()
    yield celery
    celery.kill()


@pytest.fixture
def do(environment: dict[str, str]) -> Callable[[str], None]:
    def run(line: str) -> None:
        script = f"import django; django.setup()\nfrom recordings import states, tasks\n{line}"
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)

    return run


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def sweep(recording: Recording, redis_server: RedisServer) -> None:
    """As each 10 s, once the time is over after which a task, or who had it, is taken for lost."""
    Recording.objects.filter(pk=recording.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    with Connection(redis_server.url) as broker:
        celery_app.send_task(tasks.sweep_recordings.name, connection=broker)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", RUNS)
def test_celerys_child_then_celery_then_redis_are_killed_and_there_is_one_film(
    run: int, recording: Recording, celery: Celery, redis_server: RedisServer, places: Path
) -> None:
    world = SyntheticClass(recording.folder, 1.0)
    person(world, "Tina", 0.0, 1.0)
    world.write()
    segments = Segments(recording.folder)
    states.recorded(recording.pk)  # its task is lost
    for kill in (lambda: celery.kill_child(recording.folder), celery.kill):
        with held_up(segments, 0, FIRST_QUALITY) as held:
            sweep(recording, redis_server)
            wait_until(lambda held=held: drawing(held), within=120, what="it is being composed")
            assert seen(recording).state == State.COMPOSING
            kill()
        wait_until(lambda: not drawing(recording.folder), within=60, what="who drew has ended")
    celery.go_on()
    with segments.claimed(f"{FIRST_QUALITY}-0000"):
        sweep(recording, redis_server)
        wait_until(lambda: seen(recording).attempts == states.TRIES, within=120, what="it is composed again")
        assert recording.state == State.COMPOSING
        Recording.objects.filter(pk=recording.pk).update(attempts=1)  # of a recording that no other fault has met
        redis_server.stop()
    # Celery that loses its broker while it is at work ends (kombu), with what it composes or after that.
    wait_until(lambda: celery.has_ended() or seen(recording).state == State.READY, within=120, what="Celery has ended")
    celery.kill()
    assert seen(recording).outputs in (Recording.Outputs.NONE, Recording.Outputs.WAITING)
    redis_server.start()
    celery.go_on()
    sweep(recording, redis_server)
    wait_until(lambda: seen(recording).outputs == Recording.Outputs.MADE, within=120, what="all is made")
    assert (recording.duration, recording.tracks.count()) == (timedelta(seconds=1), 2)
    kept = {path.relative_to(places / "storage").as_posix() for path in (places / "storage").rglob("*.*")}
    names = (f"{FIRST_QUALITY}.mp4", "sound.m4a", "poster.jpg", "thumbnails.vtt", "thumbnails-1.jpg")
    assert kept == {f"{recording.public_id}/{name}" for name in names}
    assert sorted(recording.compositions.values_list("key", flat=True)) == sorted(kept)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_celery_that_is_killed_composes_nothing_twice_and_loses_nothing(
    recording: Recording, celery: Celery, do: Callable[[str], None], tmp_path: Path
) -> None:
    world = SyntheticClass(tmp_path / "whole", LENGTH)
    person(world, "Tina", 0.0, LENGTH, size=(160, 90))
    growing = Growing(world.write(), recording.folder)
    segments = Segments(recording.folder)
    growing.until(50.0)
    Recording.objects.filter(pk=recording.pk).update(started_at=timezone.now() - timedelta(seconds=50))
    do("tasks.compose_along.delay()")
    wait_until(lambda: seen(recording).segments_done == 1, within=300, what="a segment is composed along the class")
    assert recording.state == State.RECORDING
    first = segments.pictures_path(0, FIRST_QUALITY).stat().st_mtime_ns

    growing.stop()
    do(f"states.recorded({recording.pk})")
    wait_until(lambda: drawing(recording.folder), within=300, what="the rest is being composed")
    celery.kill()
    wait_until(lambda: not drawing(recording.folder), within=10, what="the helpers have ended")
    assert seen(recording).state == State.COMPOSING
    assert segments.pictures_path(0, FIRST_QUALITY).stat().st_mtime_ns == first

    celery.go_on()
    over = timezone.now() - timedelta(seconds=1)
    Recording.objects.filter(pk=recording.pk).update(lease_until=over)  # 40 s are over
    do("tasks.sweep_recordings.delay()")
    wait_until(lambda: seen(recording).outputs == Recording.Outputs.MADE, within=300, what="all is made")
    assert (recording.state, recording.segments_done, recording.segments_total) == (State.READY, 3, 3)
    assert recording.duration == timedelta(seconds=LENGTH)
    film = Composition.objects.get(recording=recording, name=f"{FIRST_QUALITY}.mp4")
    assert film.key == f"{recording.public_id}/{FIRST_QUALITY}.mp4"
    path = storage.local_path(film.key)
    assert path is not None
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(LENGTH * 1_000_000, abs=40_000)
    assert states.LEASE.total_seconds() + tasks.SWEEP_EVERY <= 60
