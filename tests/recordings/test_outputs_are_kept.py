"""What is made besides the first film is stored, noted and made once, whatever dies or is away meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import pytest

from accounts.models import User
from meetings.models import ChatMessage, Participant, Room
from recordings import files, outputs, states, storage
from recordings.composing.compose import compose
from recordings.composing.composition import FPS, SIZES, Size
from recordings.models import Recording
from recordings.outputs import maker
from sfu.manifest import Mark
from tests.recordings.film import shoot
from tests.recordings.synthetic import BEGAN, SyntheticClass, person
from tests.recordings.test_outputs import cues_of

LENGTH = 12.0
ALWAYS = {"poster.jpg", "thumbnails.vtt", "thumbnails-1.jpg"}
CHAPTERS = {"chapters.vtt", "chapters.json"}
CHAT = {"chat.vtt", "chat.json"}
HLS = {"hls/master.m3u8", "hls/720p.m3u8", "hls/720p.m4s", "hls/sound.m3u8", "hls/sound.m4s"}


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shoot(tmp_path_factory.mktemp("film") / "720p.mp4", "Tina", LENGTH, (320, 180))


@pytest.fixture
def film(shot: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(shot, tmp_path / "720p.mp4"))


@pytest.fixture
def recorded(ready: Recording) -> Recording:
    """In its folder is what composing leaves: a timeline."""
    world = SyntheticClass(ready.folder, LENGTH)
    world.join(0.0, "Tina")
    world.note(Mark(at=6.0, mark={"kind": "chapter", "title": "Cells"}))
    world.write()
    return ready


@pytest.fixture
def writes(room: Room, tina: User) -> Callable[..., ChatMessage]:
    author = Participant.objects.create(room=room, user=tina, name="Tina", role="host", public_id="p-Tina")

    def write(seconds: float, message: str = "hello", **fields: Any) -> ChatMessage:
        return ChatMessage.objects.create(
            room=room,
            participant=fields.pop("participant", author),
            public_id=f"m{ChatMessage.objects.count()}",
            message=message,
            sent_at=datetime.fromtimestamp(BEGAN, UTC) + timedelta(seconds=seconds),
            **fields,
        )

    return write


def noted(recording: Recording) -> set[str]:
    return set(recording.compositions.values_list("name", flat=True)) - {"720p.mp4"}


def content(recording: Recording, name: str) -> str:
    with storage.recordings_storage().open(storage.key(recording.public_id, name), "rb") as file:
        return bytes(file.read()).decode()


def wanted(recording: Recording, *formats: str) -> Recording:
    recording.formats = ["mp4", *formats]
    recording.save()
    return recording


def test_all_that_was_asked_for_is_stored_and_noted_with_what_it_is(
    recorded: Recording, film: Path, writes: Callable[..., ChatMessage]
) -> None:
    writes(3.0)
    outputs.make(wanted(recorded, "m4a", "hls", "webm"), recorded.folder, film)
    assert noted(recorded) == ALWAYS | CHAPTERS | CHAT | HLS | {"sound.m4a", "720p.webm"}
    for made in recorded.compositions.all():
        assert made.key == f"{recorded.public_id}/{made.name}"
        assert storage.recordings_storage().size(made.key) == made.size
        assert made.content_type == files.content_type_of(made.name)
        assert made.quality == ("720p" if made.name in ("720p.mp4", "720p.webm") else "")
    assert [made.name for made in recorded.films] == ["720p.mp4", "720p.webm"]
    assert not (recorded.folder / maker.OUTPUTS).exists()
    assert film.exists(), "it is its owner's to delete"


def test_other_sizes_are_composed_and_hls_has_them_all_for_a_player_to_choose(ready: Recording) -> None:
    world = SyntheticClass(ready.folder, 1.0)
    person(world, "Tina", 0.0, 1.0)
    film = ready.folder / "720p.mp4"
    compose(world.write(), film, layout="speaker")
    ready.qualities, ready.layout = ["1080p", "720p", "360p"], "speaker"
    outputs.make(wanted(ready), ready.folder, film)
    sizes = {f"{quality}.mp4" for quality in ("360p", "1080p")}
    streams = {f"hls/{quality}.{end}" for quality in ("360p", "1080p") for end in ("m3u8", "m4s")}
    assert noted(ready) == ALWAYS | HLS | sizes | streams
    master = content(ready, "hls/master.m3u8").splitlines()
    assert [line for line in master if not line.startswith("#")] == ["360p.m3u8", "720p.m3u8", "1080p.m3u8"]
    stored = list(ready.compositions.values_list("name", "sha256", "created_at"))
    outputs.make(ready, ready.folder, film)  # whoever made them died before he could say so
    assert list(ready.compositions.values_list("name", "sha256", "created_at")) == stored
    for quality in ("360p", "1080p"):
        with av.open(str(storage.local_path(storage.key(ready.public_id, f"{quality}.mp4")))) as made:
            pictures = made.streams.video[0]
            assert Size(pictures.width, pictures.height) == SIZES[quality]
            assert pictures.frames == FPS


def test_what_nobody_asked_for_and_what_there_is_nothing_of_is_not_made(
    ready: Recording, film: Path, writes: Callable[..., ChatMessage]
) -> None:
    SyntheticClass(ready.folder, LENGTH).write()
    outputs.make(wanted(ready), ready.folder, film)
    assert noted(ready) == ALWAYS


def test_made_again_nothing_is_stored_twice(recorded: Recording, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs.make(wanted(recorded, "m4a", "hls"), recorded.folder, film)
    before = list(recorded.compositions.values_list("name", "sha256", "created_at"))
    monkeypatch.setattr(storage, "store", lambda path, key: pytest.fail(f"{key} is stored again"))
    outputs.make(recorded, recorded.folder, film)
    assert list(recorded.compositions.values_list("name", "sha256", "created_at")) == before


def test_a_storage_that_is_away_is_asked_again_and_nothing_is_missing_then(
    recorded: Recording, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its files it fails at, and each time a little later: no file is noted that is not stored."""
    recorded = wanted(recorded, "m4a", "hls")
    store, calls = storage.store, 0
    complete = ALWAYS | CHAPTERS | HLS | {"sound.m4a"}

    def unsteady(path: Path, key: str) -> storage.Stored:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise storage.StorageAway("not now")
        return store(path, key)

    monkeypatch.setattr(storage, "store", unsteady)
    for _ in range(20):
        try:
            outputs.make(recorded, recorded.folder, film)
            break
        except storage.StorageAway:
            names = noted(recorded)
            assert names < complete
            assert all(storage.recordings_storage().exists(storage.key(recorded.public_id, name)) for name in names)
    assert noted(recorded) == complete


def test_one_that_cannot_be_made_keeps_no_other_from_being_made(
    recorded: Recording, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recordings.outputs.poster.moments", lambda scenes: [])
    with pytest.raises(Exception, match="no scene"):
        outputs.make(wanted(recorded, "m4a"), recorded.folder, film)
    assert noted(recorded) == ALWAYS - {"poster.jpg"} | CHAPTERS | {"sound.m4a"}


def test_of_a_recording_that_expires_meanwhile_nothing_more_is_stored(recorded: Recording, film: Path) -> None:
    states.expire(recorded.pk)
    outputs.make(recorded, recorded.folder, film)
    assert noted(recorded) == set()


def test_of_a_recording_that_is_deleted_meanwhile_no_file_is_left(
    recorded: Recording, film: Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = storage.store

    def deleted(path: Path, key: str) -> storage.Stored:
        stored = store(path, key)
        Recording.objects.filter(pk=recorded.pk).delete()
        return stored

    monkeypatch.setattr(storage, "store", deleted)
    before = {path for path in (places / "storage").rglob("*") if path.is_file()}
    outputs.make(recorded, recorded.folder, film)
    assert {path for path in (places / "storage").rglob("*") if path.is_file()} == before


# --- chat ------------------------------------------------------------------------------------------------------------


def test_the_chat_stands_at_its_place_in_the_film_without_what_was_deleted(
    recorded: Recording, film: Path, writes: Callable[..., ChatMessage]
) -> None:
    writes(-5.0, "before the recording")
    asked = writes(2.5, "Why?")
    writes(4.0, "deleted", deleted_at=datetime.now(UTC))
    writes(7.25, "Because.", reply_to=asked)
    writes(LENGTH + 1, "after the recording")
    outputs.make(recorded, recorded.folder, film)
    told = json.loads(content(recorded, "chat.json"))["messages"]
    assert [(one["seconds"], one["message"], one["reply_to"]) for one in told] == [
        (2.5, "Why?", None),
        (7.25, "Because.", asked.public_id),
    ]
    assert told[0]["name"] == "Tina"
    assert "client_id" not in told[0]
    assert cues_of(content(recorded, "chat.vtt")) == [
        (2.5, 8.5, "<v Tina>Why?</v>"),
        (7.25, LENGTH, "<v Tina>Because.</v>"),
    ]


def test_who_is_not_in_the_recording_is_not_in_its_chat(
    recorded: Recording, film: Path, writes: Callable[..., ChatMessage], sam: User
) -> None:
    """He did not agree to it, or only teachers are recorded: then the timeline does not know of him."""
    writes(2.0, "hello")
    left_out = Participant.objects.create(room=recorded.room, user=sam, name="Sam", public_id="p-Sam")
    writes(3.0, "I am not here", participant=left_out)
    outputs.make(recorded, recorded.folder, film)
    assert [one["message"] for one in json.loads(content(recorded, "chat.json"))["messages"]] == ["hello"]


def test_what_was_written_during_a_pause_is_left_out(
    ready: Recording, film: Path, writes: Callable[..., ChatMessage]
) -> None:
    from sfu.manifest import Paused, Resumed

    world = SyntheticClass(ready.folder, LENGTH + 30)
    world.join(0.0, "Tina")
    world.note(Paused(at=4.0))
    world.note(Resumed(at=34.0))
    world.write()
    for seconds in (3.0, 20.0, 36.0):
        writes(seconds, f"at {seconds}")
    outputs.make(ready, ready.folder, film)
    told = json.loads(content(ready, "chat.json"))["messages"]
    assert [(one["seconds"], one["message"]) for one in told] == [(3.0, "at 3.0"), (6.0, "at 36.0")]


@pytest.mark.parametrize(
    "message",
    [
        "one\n\n00:00:00.000 --> 00:00:09.000\nforged",
        "</v><v Ada>I am Ada",
        "<script>alert(1)</script>",
        "\r\nNOTE x\r\n\r\n",
        "-->",
        "\u202egnp.exe\u2028x",
    ],
)
def test_no_message_and_no_name_makes_a_cue_or_a_voice_of_its_own(
    recorded: Recording, film: Path, writes: Callable[..., ChatMessage], message: str
) -> None:
    Participant.objects.filter(pk=writes(1.0, message).participant_id).update(name=f"T{message}"[:30])
    outputs.make(recorded, recorded.folder, film)
    [(begin, end, text)] = cues_of(content(recorded, "chat.vtt"))
    assert (begin, end) == (1.0, 7.0)
    assert text.startswith("<v T")
    assert text.count("<") == text.count(">") == 2
    assert "\u202e" not in text
    assert json.loads(content(recorded, "chat.json"))["messages"][0]["message"] == message
