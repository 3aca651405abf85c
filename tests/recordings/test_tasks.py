"""From a stopped recording to a stored file, and what happens when something dies or is away on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import av
import pytest
from django.conf import LazySettings
from django.core.files.storage import FileSystemStorage
from django.db import connection
from django.utils import timezone

from accounts.models import User
from meetings.models import Room
from recordings import erasure, finishing, states, storage, tasks
from recordings.composing import compose as composing
from recordings.composing.join import join
from recordings.composing.segments import Segments
from recordings.models import Composition, Erasure, Recording, Track
from sfu.manifest import LEASE, MANIFEST, read_manifest
from tests.lectern import wait_until
from tests.recordings.conftest import SMALL, Sent
from tests.recordings.processes import drawing, held_up, task_running
from tests.recordings.synthetic import SyntheticClass, person

State = Recording.State
# Leases are renewed by a thread with a connection of its own, which sees nothing inside of a test's transaction.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small")]


def synthetic(recording: Recording, length: float = 1.0, *, crashed: bool = False) -> Path:
    world = SyntheticClass(recording.folder, length)
    person(world, "Tina", 0.0, length, ended=not crashed)
    return world.write(crashed=crashed)


def away(public_id: str) -> None:
    raise storage.StorageAway("away")


def touched(folder: Path, ago: float) -> None:
    os.utime(folder / LEASE, (time.time() - ago, time.time() - ago))


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def test_a_stopped_recording_is_composed_stored_and_verified_and_its_raw_tracks_go(
    recording: Recording, sent: Sent
) -> None:
    folder = synthetic(recording)
    states.recorded(recording.pk)
    assert sent == [(recording.pk, 0)]
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.progress, recording.reason) == (State.READY, 100, "")
    assert recording.duration == timedelta(seconds=1)
    assert recording.ready_at is not None
    composition = Composition.objects.get(recording=recording)
    path = storage.local_path(composition.key)
    assert path is not None
    with path.open("rb") as file:
        assert storage.digest(file) == (composition.size, composition.sha256)
    with av.open(str(path)) as film:
        assert film.duration == pytest.approx(1_000_000, abs=40_000)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "its index stands in front: playback begins at once"
    assert {(track.name, track.kind) for track in Track.objects.filter(recording=recording)} == {
        ("Tina", "video"),
        ("Tina", "audio"),
    }
    assert len(list(folder.glob("*.rtpdump"))) == 2
    tasks.compose_recording(recording.pk)  # the task comes twice
    assert Composition.objects.get(recording=recording).created_at == composition.created_at
    tasks.make_outputs(recording.pk)
    assert seen(recording).outputs == Recording.Outputs.MADE
    assert sorted(path.name for path in folder.iterdir()) == [LEASE, MANIFEST, "timeline.jsonl"]


def test_a_failing_composition_is_tried_three_times_then_failed_and_its_tracks_are_kept(
    recording: Recording, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic(recording)
    states.recorded(recording.pk)
    with monkeypatch.context() as broken:
        broken.setattr(composing, "BASE_DIR", folder)  # where no module is found: the drawing processes cannot start
        for _ in range(3):
            assert seen(recording).state == State.QUEUED
            tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.FAILED
    assert "recordings" in recording.reason
    assert [countdown for _, countdown in sent] == [0, 15, 30]
    assert len(list(folder.glob("*.rtpdump"))) == 2
    assert states.retry(recording.pk)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.READY


def test_a_folder_with_nothing_in_it_fails_at_once(recording: Recording) -> None:
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.FAILED
    assert "never began" in recording.reason


class ForgetfulStorage(FileSystemStorage):
    """Loses the last byte."""

    def _save(self, name: str, content: object) -> str:
        saved = super()._save(name, content)
        with open(self.path(saved), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x00")
        return str(saved)


def test_raw_tracks_stay_when_the_storage_gives_back_other_bytes(
    recording: Recording, places: Path, settings: LazySettings
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "recordings": {
            "BACKEND": "tests.recordings.test_tasks.ForgetfulStorage",
            "OPTIONS": {"location": places / "forgetful", "allow_overwrite": True},
        },
    }
    folder = synthetic(recording)
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.QUEUED
    assert "other bytes" in recording.reason
    assert len(list(folder.glob("*.rtpdump"))) == 2
    assert not Composition.objects.exists()


def test_a_full_disk_is_waited_for_however_often_it_is_and_nothing_of_what_did_not_fit_stays_on_it(
    recording: Recording, sent: Sent
) -> None:
    """Each step of composing writes where there is no room (the kernel's /dev/full), until somebody has made some."""
    folder = synthetic(recording)
    states.recorded(recording.pk)
    steps = ["segment-0000.json.{pid}", "sound-0000.m4a.part", f"{SMALL}-0000.mp4.part", f"{SMALL}.mp4.joined"]
    full = [Segments(folder).path / f".{name.format(pid=os.getpid())}" for name in steps]
    full[0].parent.mkdir()
    for path in full:
        path.symlink_to("/dev/full")
    for path in full:
        tasks.compose_recording(recording.pk)
        assert (seen(recording).state, recording.attempts, recording.reason) == (State.QUEUED, 0, tasks.DISK_FULL)
        assert sent[-1] == (recording.pk, tasks.ROOM_AGAIN)
        assert not path.is_symlink()
        assert len(list(folder.glob("*.rtpdump"))) == 2
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.reason) == (State.READY, "")
    assert recording.duration == timedelta(seconds=1)

    full = [folder / "outputs" / name for name in ("poster.jpg", "sound.m4a")]
    full[0].parent.mkdir()
    for path in full:
        path.symlink_to("/dev/full")
    before = [f"{SMALL}.mp4", "poster.jpg", "thumbnails.vtt", "thumbnails-1.jpg"]
    for path, stored in zip(full, (before[:1], before), strict=True):
        tasks.make_outputs(recording.pk)
        assert (seen(recording).outputs, recording.attempts) == (Recording.Outputs.WAITING, 0)
        assert {composition.name for composition in recording.compositions.all()} == set(stored)
        assert len(list(folder.glob("*.rtpdump"))) == 2
        path.unlink()
    tasks.make_outputs(recording.pk)
    assert seen(recording).outputs == Recording.Outputs.MADE
    assert {composition.name for composition in recording.compositions.all()} == {*before, "sound.m4a"}


# --- what died -------------------------------------------------------------------------------------------------------


def test_a_recording_whose_worker_died_is_finished_by_the_sweeper(recording: Recording, sent: Sent) -> None:
    folder = synthetic(recording, crashed=True)
    touched(folder, ago=5)
    tasks.sweep_recordings()
    assert seen(recording).state == State.RECORDING  # another worker may still go on
    touched(folder, ago=finishing.RESUME_WITHIN + 5)
    tasks.sweep_recordings()
    assert seen(recording).state == State.QUEUED
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.READY
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.stopped_at - manifest.started_at == pytest.approx(1.0, abs=0.2)


def test_a_recording_that_a_worker_has_completed_is_queued_though_nobody_said_stop(recording: Recording) -> None:
    folder = synthetic(recording)
    touched(folder, ago=0)
    tasks.sweep_recordings()
    assert seen(recording).state == State.QUEUED


def test_a_recording_that_no_worker_ever_began_is_given_up_after_a_minute(recording: Recording) -> None:
    tasks.sweep_recordings()
    assert seen(recording).state == State.RECORDING
    Recording.objects.filter(pk=recording.pk).update(started_at=timezone.now() - timedelta(minutes=2))
    tasks.sweep_recordings()
    assert seen(recording).state == State.QUEUED


def test_a_folder_that_a_worker_writes_in_is_left_alone_and_the_try_does_not_count(
    recording: Recording, sent: Sent
) -> None:
    folder = synthetic(recording, crashed=True)
    touched(folder, ago=1)
    states.recorded(recording.pk)
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.attempts) == (State.QUEUED, 0)
    assert sent[-1] == (recording.pk, tasks.SWEEP_EVERY)
    assert not (folder / MANIFEST).exists()


@pytest.mark.timeout(400)
def test_a_composer_killed_in_the_middle_takes_its_helpers_along_and_another_finishes(
    recording: Recording, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = synthetic(recording)
    segments = Segments(folder)
    states.recorded(recording.pk)
    with held_up(segments, 0) as held, task_running("compose_recording", recording, places) as composer:
        wait_until(lambda: drawing(held), within=200, what="composing has begun")
        composer.send_signal(signal.SIGKILL)
        composer.wait()
    wait_until(lambda: not drawing(folder), within=60, what="the helpers have ended")
    assert (seen(recording).state, recording.segments_done, recording.segments_total) == (State.COMPOSING, 0, 1)
    assert states.take_from_the_dead(timezone.now()) == 0  # its lease still runs
    assert states.take_from_the_dead(timezone.now() + states.LEASE) == 1
    done = segments.sound_path(0).stat()  # which is made before the pictures
    kept: list[float] = []

    def looked_at(*arguments: object) -> None:
        kept.append(segments.sound_path(0).stat().st_mtime)
        join(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("recordings.composing.join.join", looked_at)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.READY
    assert recording.duration == timedelta(seconds=1)
    assert kept == [done.st_mtime], "what was done is kept"
    assert Composition.objects.filter(recording=recording).count() == 1


def test_a_composer_that_lost_its_lease_ends_without_a_trace(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic(recording)
    states.recorded(recording.pk)

    def steal() -> None:
        Recording.objects.filter(pk=recording.pk).update(lease_until=timezone.now() + timedelta(hours=1))
        connection.close()

    def joined_too_late(*arguments: object) -> None:
        thief = threading.Thread(target=steal)
        thief.start()
        thief.join()
        join(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("recordings.composing.join.join", joined_too_late)
    tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.COMPOSING  # the other's
    assert not Composition.objects.exists()
    assert len(list(recording.folder.glob("*.rtpdump"))) == 2


# --- retention -------------------------------------------------------------------------------------------------------


def test_recordings_expire_with_their_files(ready: Recording, settings: LazySettings) -> None:
    settings.RECORDING_RETENTION_DAYS = 30
    path = storage.local_path(Composition.objects.get(recording=ready).key)
    assert path is not None
    ready.folder.mkdir(parents=True)
    Recording.objects.filter(pk=ready.pk).update(stopped_at=timezone.now() - timedelta(days=29))
    assert tasks.expire_recordings() == 0
    assert path.exists()
    Recording.objects.filter(pk=ready.pk).update(stopped_at=timezone.now() - timedelta(days=31))
    assert tasks.expire_recordings() == 1
    assert seen(ready).state == State.EXPIRED
    assert not path.exists()
    assert not ready.folder.exists()
    assert not Composition.objects.exists()


def test_without_a_retention_recordings_stay(ready: Recording, settings: LazySettings) -> None:
    settings.RECORDING_RETENTION_DAYS = 0
    Recording.objects.filter(pk=ready.pk).update(stopped_at=timezone.now() - timedelta(days=3000))
    assert tasks.expire_recordings() == 0


def test_what_could_not_be_deleted_is_deleted_the_next_time(
    ready: Recording, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RECORDING_RETENTION_DAYS = 30
    Recording.objects.filter(pk=ready.pk).update(stopped_at=timezone.now() - timedelta(days=31))
    ready.folder.mkdir(parents=True)
    with monkeypatch.context() as broken:
        broken.setattr(storage, "erase", away)
        tasks.expire_recordings()
    assert seen(ready).state == State.EXPIRED
    assert Composition.objects.exists()
    assert ready.folder.exists()
    tasks.expire_recordings()
    assert not Composition.objects.exists()
    assert not ready.folder.exists()


def test_the_oldest_unfinished_recording_is_seen_in_seconds(recording: Recording, room: Room, tina: User) -> None:
    assert tasks.unfinished_since() == 0.0
    states.recorded(recording.pk, timezone.now() - timedelta(seconds=90))
    assert tasks.unfinished_since() == pytest.approx(90, abs=5)


def test_expiring_asks_no_more_the_more_recordings_have_expired(
    room: Room, places: Path, sent: Sent, django_assert_max_num_queries: Callable
) -> None:
    for number in range(20):
        Recording.objects.create(public_id=f"old-{number}", room=room, state=State.EXPIRED)
    with django_assert_max_num_queries(4):
        tasks.expire_recordings()


def test_a_folder_that_no_recording_claims_is_deleted_after_a_week(recording: Recording, places: Path) -> None:
    claimed, new, old = recording.folder, recording.folder.with_name("new"), recording.folder.with_name("old")
    for folder in (claimed, new, old):
        folder.mkdir(parents=True)
        (folder / LEASE).touch()
    long_ago = time.time() - tasks.UNCLAIMED_KEPT - 60
    for path in (old / LEASE, old, claimed / LEASE, claimed):
        os.utime(path, (long_ago, long_ago))
    tasks.expire_recordings()
    assert (claimed.exists(), new.exists(), old.exists()) == (True, True, False)


def test_packets_that_a_killed_process_could_not_let_go_go_later(ready: Recording) -> None:
    ready.folder.mkdir(parents=True)
    (ready.folder / "timeline.jsonl").touch()
    log = ready.folder / "p.e1.rtpdump"
    log.touch()
    tasks.expire_recordings()
    assert log.exists(), "not all is made yet"
    Recording.objects.filter(pk=ready.pk).update(outputs=Recording.Outputs.MADE)
    tasks.expire_recordings()
    assert [path.name for path in ready.folder.iterdir()] == ["timeline.jsonl"]


def test_a_deleted_lesson_takes_its_recordings_files_along_also_those_that_nobody_has_noted(
    ready: Recording, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was killed between storing a file and noting it."""
    kept = places / "storage"
    for key in (f"{ready.public_id}/hls/720p.m4s", f"{ready.public_id}9/720p.mp4"):
        storage.store(places / "made.mp4", key)
    monkeypatch.setattr(erasure.erase_recording, "delay", erasure.erase_recording)  # without a broker
    path = storage.local_path(Composition.objects.get(recording=ready).key)
    assert path is not None
    assert path.exists()
    ready.folder.mkdir(parents=True)
    (ready.folder / "timeline.jsonl").touch()
    lesson = ready.room.lesson
    assert lesson is not None
    lesson.delete()
    assert not Recording.objects.exists()
    assert [path.name for path in kept.iterdir()] == [f"{ready.public_id}9"], "another's"
    assert not ready.folder.exists()
    erasure.erase_recording(ready.public_id)  # twice does no harm
    with pytest.raises(ValueError, match="everybody"):
        storage.erase("")


def test_files_of_a_deleted_recording_are_due_until_they_are_gone(
    ready: Recording, places: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    """The broker lost the first task, the second found the storage away."""
    monkeypatch.setattr(erasure.erase_recording, "delay", lambda public_id: None)
    ready.delete()
    assert list((places / "storage").iterdir())
    monkeypatch.setattr(erasure.erase_recording, "delay", erasure.erase_recording)
    erasure.sweep_erasures()
    assert Erasure.objects.exists(), "its first task may still be at it"
    Erasure.objects.update(since=timezone.now() - 2 * erasure.AGAIN_AFTER)
    with monkeypatch.context() as broken:
        broken.setattr(storage, "erase", away)
        with pytest.raises(storage.StorageAway):
            erasure.sweep_erasures()
    erasure.sweep_erasures()
    assert not list((places / "storage").iterdir())
    assert not Erasure.objects.exists()


def test_two_may_delete_a_recording_at_once(ready: Recording, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure.erase_recording, "delay", lambda public_id: None)
    seen_by_the_second = Recording.objects.get(pk=ready.pk)
    ready.delete()
    seen_by_the_second.delete()
    assert Erasure.objects.count() == 1


def test_a_recording_deleted_while_it_is_composed_is_left_alone(recording: Recording, sent: Sent) -> None:
    states.recorded(recording.pk)
    lease = states.claim(recording.pk)
    assert lease is not None
    Recording.objects.all().delete()
    with pytest.raises(states.LeaseLost):
        lease.failed("It is no more.")


def test_a_film_that_is_stored_when_its_recording_is_deleted_does_not_stay_in_the_storage(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure.erase_recording, "delay", erasure.erase_recording)  # without a broker
    synthetic(recording)
    states.recorded(recording.pk)
    store, kept = storage.store, []

    def stored_too_late(path: Path, key: str) -> storage.Stored:
        kept.append(store(path, key))
        Recording.objects.all().delete()
        return kept[0]

    monkeypatch.setattr(storage, "store", stored_too_late)
    tasks.compose_recording(recording.pk)
    assert not storage.recordings_storage().exists(kept[0].key)


@pytest.mark.parametrize("error", [RuntimeError("broken"), storage.StorageAway("away")])
def test_a_recording_deleted_while_the_rest_of_it_is_made_is_left_alone(
    ready: Recording, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(erasure.erase_recording, "delay", erasure.erase_recording)  # without a broker
    Recording.objects.update(outputs=Recording.Outputs.WAITING)

    def deleted(*_: object) -> None:
        Recording.objects.all().delete()
        raise error

    monkeypatch.setattr("recordings.outputs.make", deleted)
    tasks.make_outputs(ready.pk)
