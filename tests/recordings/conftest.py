"""Recordings in the tests' small world: the room of Biology's lesson, and folders that belong to the test."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.files.storage import storages

from accounts.models import User
from classroom.models import Lesson
from meetings.models import Room
from recordings import states, storage
from recordings.models import Composition, Recording

Sent = list[tuple[int, float]]
SMALL = "360p"  # the first film of tests that take the fixture `small`
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def places(settings: LazySettings, tmp_path: Path) -> Path:
    """Recordings' folders and the storage, both below the test's own folder."""
    settings.RECORDINGS_DIR = tmp_path / "recordings"
    settings.STORAGES = {
        **settings.STORAGES,
        "recordings": {
            "BACKEND": "recordings.storage.WholeFiles",
            "OPTIONS": {"location": tmp_path / "storage", "allow_overwrite": True},
        },
    }
    assert storages["recordings"].path("x") == str(tmp_path / "storage" / "x")
    return tmp_path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What was sent to Celery to be composed: (recording, countdown). All else that is sent gets lost; the room's Redis
    is away."""
    from recordings import tasks as celery
    from recordings.mails import tell_of_recording

    tasks: Sent = []
    for task in (celery.help_compose, celery.compose_while_recording, celery.make_outputs):
        monkeypatch.setattr(task, "apply_async", lambda args, **options: None)
    monkeypatch.setattr(
        celery.compose_recording, "apply_async", lambda args, countdown=0: tasks.append((args[0], countdown))
    )
    monkeypatch.setattr(tell_of_recording, "delay", lambda pk: None)
    monkeypatch.setattr("recordings.announce.people_in", lambda code: set())
    return tasks


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first film has a quarter of the pixels to draw: for tests that ask when and where there is one."""
    monkeypatch.setattr("recordings.tasks.FIRST_QUALITY", SMALL)


@pytest.fixture
def room(lesson: Lesson, tina: User) -> Room:
    return Room.objects.create(title="Cells", created_by=tina, code="cells", lesson=lesson)


@pytest.fixture
def recording(room: Room, tina: User, places: Path, sent: Sent) -> Recording:
    return states.begin(room, tina)


@pytest.fixture
def ready(recording: Recording, places: Path) -> Recording:
    """A recording with a composition in the storage. Its content is no film: nobody decodes it here."""
    path = places / "made.mp4"
    path.write_bytes(CONTENT)
    stored = storage.store(path, storage.key(recording.public_id, "720p.mp4"))
    Composition.objects.note(recording.pk, "720p.mp4", stored)
    Recording.objects.filter(pk=recording.pk).update(state=Recording.State.READY)
    recording.refresh_from_db()
    return recording
