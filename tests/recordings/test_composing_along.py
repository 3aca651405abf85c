"""A class is composed while it goes on: by Celery, at low priority, and whatever dies."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import av
import pytest
from django.db import connection
from django.utils import timezone

from recordings import states, storage, tasks
from recordings.composing.compose import plan
from recordings.composing.segments import Segments
from recordings.models import FIRST_QUALITY, Composition, Recording
from sfu.manifest import MANIFEST
from tests.lectern import wait_until
from tests.recordings.conftest import Sent
from tests.recordings.growing import Growing
from tests.recordings.processes import drawing, task_running
from tests.recordings.synthetic import SyntheticClass, person

State = Recording.State
LENGTH = 52.0
# Composing waits for everything else on the machine, and a busy one takes long over it.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    person(world, "Tina", 0.0, LENGTH, size=(160, 90))
    return world.write()


@pytest.fixture
def growing(whole: Path, recording: Recording) -> Growing:
    growing = Growing(whole, recording.folder)
    growing.until(50.0)
    return growing


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def test_a_segment_is_composed_while_the_class_goes_on_and_the_rest_after_it(
    recording: Recording, growing: Growing, sent: Sent
) -> None:
    segments = Segments(recording.folder)
    tasks.compose_while_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done, recording.lease_until) == (State.RECORDING, 1, None)
    first = segments.pictures_path(0, FIRST_QUALITY)
    made = first.stat().st_mtime_ns
    tasks.compose_while_recording(recording.pk)
    assert seen(recording).segments_done == 1, "the class is not past the second"

    growing.stop()
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done, recording.segments_total) == (State.READY, 2, 2)
    assert first.stat().st_mtime_ns == made
    path = storage.local_path(Composition.objects.get(recording=recording).key)
    assert path is not None
    with av.open(str(path)) as film:
        assert film.duration == pytest.approx(LENGTH * 1_000_000, abs=40_000)


def test_a_class_that_stops_meanwhile_is_left_to_who_composes_the_rest(
    recording: Recording, growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        growing.stop()
        states.recorded(recording.pk)
        connection.close()

    def stops_meanwhile(*arguments: object) -> bool:
        thread = threading.Thread(target=stop)
        thread.start()
        thread.join()
        return True

    monkeypatch.setattr("recordings.composing.compose.compose_next", stops_meanwhile)
    tasks.compose_while_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done) == (State.QUEUED, 0)
    assert Segments(recording.folder).undone(FIRST_QUALITY) == [0], "planned is planned"
    assert states.claim(recording.pk) is not None


def test_one_at_a_time_composes_along(recording: Recording, growing: Growing) -> None:
    assert states.claim_along(recording.pk) is not None
    assert states.claim_along(recording.pk) is None
    tasks.compose_while_recording(recording.pk)
    assert not Segments(recording.folder).path.exists()


def test_a_lease_that_was_given_back_is_not_renewed(recording: Recording) -> None:
    lease = states.claim_along(recording.pk)
    assert lease is not None
    lease.release(0)
    with pytest.raises(states.LeaseLost):
        lease.renew()
    assert states.claim_along(recording.pk) is not None


def test_what_goes_wrong_along_the_class_costs_the_class_nothing(recording: Recording) -> None:
    tasks.compose_while_recording(recording.pk)  # nothing was written yet
    assert (seen(recording).state, recording.attempts) == (State.RECORDING, 0)
    assert states.claim_along(recording.pk) is None, "it is not tried at once again"
    states.recorded(recording.pk)
    assert states.claim(recording.pk) is not None


def test_classes_are_composed_along_that_are_long_enough_past_a_segment(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tasks.compose_while_recording, "apply_async", lambda args, **options: asked.append(args[0]))

    def after(seconds: float, **changes: object) -> bool:
        asked.clear()
        began = timezone.now() - timedelta(seconds=seconds)
        Recording.objects.filter(pk=recording.pk).update(started_at=began, **changes)
        tasks.compose_along()
        return asked == [recording.pk]

    assert not after(45)
    assert after(50)
    assert not after(50, seconds_paused=10.0)
    assert after(60)
    assert not after(60, segments_done=1)
    assert after(95)
    assert not after(95, lease_until=timezone.now() + timedelta(seconds=5))
    assert after(95, lease_until=timezone.now() - timedelta(seconds=5))
    assert not after(95, paused_at=timezone.now())
    assert not after(95, paused_at=None, state=State.QUEUED)


# --- and afterwards by whoever has time ------------------------------------------------------------------------------


def test_others_are_asked_to_help_with_what_is_left(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(tasks.help_compose, "apply_async", lambda args, **options: asked.append(options))
    world = SyntheticClass(recording.folder, 100.0)
    world.join(0.0, "Tina")
    world.write()
    total = plan(recording.folder).segments
    assert total == 4
    tasks._call_helpers(recording, total)
    assert [options["priority"] for options in asked] == [tasks.LOW] * 3


def test_a_helper_does_one_segment_and_then_lets_others_go_first(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[int] = []
    there = [True, True, False]
    monkeypatch.setattr(tasks.help_compose, "apply_async", lambda args, **options: again.append(args[0]))
    monkeypatch.setattr("recordings.composing.compose.compose_next", lambda folder, quality: there.pop(0))
    tasks.help_compose(recording.pk)
    assert len(there) == 3, "it is not composed yet"
    states.recorded(recording.pk)
    assert states.claim(recording.pk) is not None
    for _ in range(3):
        tasks.help_compose(recording.pk)
    assert again == [recording.pk] * 2


@pytest.fixture
def composer(recording: Recording, growing: Growing, places: Path) -> Iterator[subprocess.Popen[bytes]]:
    with task_running("compose_while_recording", recording, places) as process:
        yield process


def test_a_composer_killed_along_the_class_is_replaced_and_nothing_is_lost(
    recording: Recording, growing: Growing, composer: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: drawing(recording.folder), within=200, what="composing has begun")
    composer.send_signal(signal.SIGKILL)
    composer.wait()
    wait_until(lambda: not drawing(recording.folder), within=60, what="its helper has ended")
    assert states.claim_along(recording.pk) is None, "its lease still runs"
    assert states.LEASE + timedelta(seconds=tasks.ALONG_EVERY) < timedelta(seconds=60)
    Recording.objects.filter(pk=recording.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.compose_while_recording(recording.pk)
    assert seen(recording).segments_done == 1
    growing.stop()
    assert (recording.folder / MANIFEST).exists()
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.READY
    assert recording.duration == timedelta(seconds=LENGTH)
    assert Composition.objects.filter(recording=recording).count() == 1
