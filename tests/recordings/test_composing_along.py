"""A class is composed while it goes on: by Celery, at low priority, and whatever dies."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from recordings import states, storage, tasks
from recordings.composing.compose import plan
from recordings.composing.composition import SIZES, grid
from recordings.composing.segments import Segments
from recordings.models import Composition, Recording
from tests.lectern import wait_until
from tests.recordings.conftest import SMALL, Sent
from tests.recordings.film import Film
from tests.recordings.growing import Growing
from tests.recordings.processes import drawing, held_up, task_running
from tests.recordings.synthetic import SyntheticClass

State = Recording.State
LENGTH = 52.0
DEATHS = [(20.0, 23.0), (48.0, 50.0)]  # seconds: a media worker is killed, another one is there
# Composing waits for everything else on the machine, and a busy one takes long over it.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400), pytest.mark.usefixtures("small")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tina's class, in which media workers die without a word, and others go on in the same folder."""
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    borders = [0.0, *(moment for death in DEATHS for moment in death), LENGTH]
    for number, (begin, end) in enumerate(zip(borders[::2], borders[1::2], strict=True)):
        if number:
            world.begin(begin, epoch=f"e{number + 1}")
        world.join(begin, "Tina")
        world.camera("Tina", begin, end, size=(160, 90), fps=5, ended=end == LENGTH)
        world.microphone("Tina", begin, end, ended=end == LENGTH)
    return world.write()


@pytest.fixture
def growing(whole: Path, recording: Recording) -> Growing:
    growing = Growing(whole, recording.folder)
    growing.until(47.5)
    return growing


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def test_a_class_is_composed_while_it_goes_on_though_its_media_worker_and_its_composer_die(
    recording: Recording, growing: Growing, places: Path, sent: Sent
) -> None:
    segments = Segments(recording.folder)
    with held_up(segments, 0) as held, task_running("compose_while_recording", recording, places) as composer:
        wait_until(lambda: drawing(held), within=200, what="composing has begun")
        composer.send_signal(signal.SIGKILL)
        composer.wait()
    wait_until(lambda: not drawing(recording.folder), within=60, what="its helper has ended")
    assert states.claim_along(recording.pk) is None, "its lease still runs"
    assert states.LEASE + timedelta(seconds=tasks.ALONG_EVERY) < timedelta(seconds=60)
    Recording.objects.filter(pk=recording.pk).update(lease_until=timezone.now() - timedelta(seconds=1))

    tasks.compose_while_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done, recording.lease_until) == (State.RECORDING, 1, None)
    made = [segments.plan_path(0), segments.pictures_path(0, SMALL), segments.sound_path(0)]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in made]
    growing.until(DEATHS[1][1] + 0.5)  # the second worker dies, too, and a third one goes on
    tasks.compose_while_recording(recording.pk)
    assert seen(recording).segments_done == 1, "the class is not past the second"

    growing.stop()
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done, recording.segments_total) == (State.READY, 2, 2)
    assert (recording.duration, recording.gap) == (timedelta(seconds=LENGTH), pytest.approx(3.0, abs=0.2))
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in made] == before
    composition = Composition.objects.get(recording=recording)
    assert composition.key == f"{recording.public_id}/{SMALL}.mp4"
    path = storage.local_path(composition.key)
    assert path is not None
    film = Film(path)
    assert film.duration == LENGTH
    everybody = grid(1, SIZES[SMALL])[0]
    for seconds in (1.0, 19.5, 24.5, 31.9, 32.1, 47.5, LENGTH - 0.2):
        assert film.at(seconds).shows(everybody) == "Tina", seconds
    for begin, end in ((1.0, 19.5), (23.5, 47.5), (50.5, LENGTH - 0.2)):
        assert film.heard(begin, end) == {"Tina"}
    for died, another in DEATHS:
        assert film.heard(died + 0.3, another - 0.1) == set(), "nobody recorded then"


def test_a_class_that_stops_meanwhile_is_left_to_who_composes_the_rest(
    recording: Recording, growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        growing.stop()
        states.recorded(recording.pk)
        connection.close()

    def stops_meanwhile(*arguments: object, **options: object) -> bool:
        thread = threading.Thread(target=stop)
        thread.start()
        thread.join()
        return True

    monkeypatch.setattr("recordings.composing.compose.compose_next", stops_meanwhile)
    tasks.compose_while_recording(recording.pk)
    assert (seen(recording).state, recording.segments_done) == (State.QUEUED, 0)
    assert Segments(recording.folder).undone(SMALL) == [0], "planned is planned"
    assert states.claim(recording.pk) is not None


def test_a_segment_that_is_not_done_soon_after_the_class_is_let_go(
    recording: Recording, growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun behind everybody else on the machine: whoever composes the rest begins it anew."""
    monkeypatch.setattr(states, "RENEW_EVERY", 0.2)
    segments = Segments(recording.folder)

    def along() -> None:
        tasks.compose_while_recording(recording.pk)
        connection.close()

    thread = threading.Thread(target=along)
    with held_up(segments, 0) as held:
        thread.start()
        wait_until(lambda: drawing(held), within=200, what="composing has begun")
        assert thread.is_alive()
        growing.stop()
        states.recorded(recording.pk)
        thread.join(60)
        assert not thread.is_alive()
        wait_until(lambda: not drawing(recording.folder), within=60, what="who drew was ended")
    with segments.claimed(f"{SMALL}-0000") as mine:
        assert mine
    assert (seen(recording).state, segments.undone(SMALL)) == (State.QUEUED, [0])


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
