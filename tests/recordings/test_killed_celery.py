"""A real Celery composes a class while it goes on and afterwards, is killed on the way, and goes on where it was."""

from __future__ import annotations

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

from recordings import states, storage, tasks
from recordings.composing.segments import Segments
from recordings.models import FIRST_QUALITY, Composition, Recording
from tests.database import database_url
from tests.lectern import wait_until
from tests.recordings.growing import Growing
from tests.recordings.processes import drawing
from tests.recordings.synthetic import SyntheticClass, person
from tests.redis_server import running_redis

LENGTH = 80.0
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service, pytest.mark.nightly]


@pytest.fixture
def environment(places: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_redis(folder) as redis:
        yield {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url(),
            "LECTERN_DATA": str(places),
            "REDIS_URL": redis.url,
        }


class Celery:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config", "worker", "--loglevel", "WARNING", "--concurrency", "2"],
            env=self._environment,
            start_new_session=True,
        )

    def kill(self) -> None:
        """With its children. Twice does no harm."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def celery(environment: dict[str, str]) -> Iterator[Celery]:
    celery = Celery(environment)
    celery.start()
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
    assert recording.state == Recording.State.RECORDING
    first = segments.pictures_path(0, FIRST_QUALITY).stat().st_mtime_ns

    growing.stop()
    do(f"states.recorded({recording.pk})")
    wait_until(lambda: drawing(recording.folder), within=300, what="the rest is being composed")
    celery.kill()
    wait_until(lambda: not drawing(recording.folder), within=10, what="the helpers have ended")
    assert seen(recording).state == Recording.State.COMPOSING
    assert segments.pictures_path(0, FIRST_QUALITY).stat().st_mtime_ns == first

    celery.start()
    over = timezone.now() - timedelta(seconds=1)
    Recording.objects.filter(pk=recording.pk).update(lease_until=over)  # 40 s are over
    do("tasks.sweep_recordings.delay()")
    wait_until(lambda: seen(recording).outputs == Recording.Outputs.MADE, within=300, what="all is made")
    assert (recording.state, recording.segments_done, recording.segments_total) == (Recording.State.READY, 3, 3)
    assert recording.duration == timedelta(seconds=LENGTH)
    film = Composition.objects.get(recording=recording, name=f"{FIRST_QUALITY}.mp4")
    assert film.key == f"{recording.public_id}/{FIRST_QUALITY}.mp4"
    path = storage.local_path(film.key)
    assert path is not None
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(LENGTH * 1_000_000, abs=40_000)
    assert states.LEASE.total_seconds() + tasks.SWEEP_EVERY <= 60
