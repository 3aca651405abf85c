"""Recordings in an S3 object store: a real one, and a proxy before it that breaks when a test says so."""

from __future__ import annotations

import io
import secrets
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.compat import get_current_datetime
from django.conf import LazySettings
from django.core.files.storage import storages
from django.urls import reverse
from django.utils import timezone

from recordings import states, storage, tasks
from recordings.models import Composition, Recording
from recordings.playback import links
from tests.breaking_proxy import BreakingProxy, breaking_proxy
from tests.object_store import ObjectStore, running_object_store
from tests.recordings.conftest import CONTENT, SMALL, Sent
from tests.recordings.processes import task_running
from tests.recordings.synthetic import SyntheticClass, person
from tests.redis_server import free_port
from tests.world import ClientOf

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# The composer's lease is renewed by a thread with a database connection of its own.
pytestmark = pytest.mark.django_db(transaction=True)
State, Outputs = Recording.State, Recording.Outputs
ALWAYS = ("poster.jpg", "thumbnails.vtt", "thumbnails-1.jpg")
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_object_store(tmp_path_factory.mktemp("swift")) as store:
        yield store


@dataclass
class Bucket:
    """An empty bucket, reached through the proxy, which `recordings.storage` is set to."""

    name: str
    client: S3Client
    proxy: BreakingProxy

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()


def use(settings: LazySettings, options: dict[str, Any]) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "recordings": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {**settings.S3_OPTIONS, **options},
        },
    }


@pytest.fixture
def bucket(
    object_store: ObjectStore, places: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")  # fewer than in life: between them the client waits for seconds
    name = f"school-{secrets.token_hex(4)}"
    with breaking_proxy(object_store.port) as proxy:
        use(settings, object_store.options(name, proxy.url))
        kept: Any = storages["recordings"]
        client: S3Client = kept.connection.meta.client
        client.create_bucket(Bucket=name)
        yield Bucket(name, client, proxy)


@pytest.fixture
def stored(bucket: Bucket, ready: Recording) -> Recording:
    """A recording whose composition (CONTENT) lies in the bucket."""
    assert bucket.keys() == [storage.key(ready.public_id, "720p.mp4")]
    return ready


def recorded(recording: Recording, length: float = 1.0) -> Path:
    """So many seconds of class have been recorded and wait to be composed -> the folder."""
    world = SyntheticClass(recording.folder, length)
    person(world, "Tina", 0.0, length)
    folder = world.write()
    states.recorded(recording.pk)
    return folder


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def get(link: str, **headers: str) -> tuple[int, bytes, Any]:
    """-> status, body, headers"""
    try:
        with urllib.request.urlopen(urllib.request.Request(link, headers=headers), timeout=20) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read(), refused.headers


# --- up --------------------------------------------------------------------------------------------------------------


def test_a_class_is_composed_goes_up_and_its_raw_tracks_go(bucket: Bucket, recording: Recording) -> None:
    folder = recorded(recording)
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.reason) == (State.READY, "")
    composition = Composition.objects.get(recording=recording)
    assert bucket.keys() == [composition.key] == [f"{recording.public_id}/720p.mp4"]
    film = bucket.read(composition.key)
    assert len(film) == composition.size
    assert film[4:8] == b"ftyp"
    assert bucket.client.head_object(Bucket=bucket.name, Key=composition.key)["ContentType"] == "video/mp4"
    tasks.make_outputs(recording.pk)
    assert seen(recording).outputs == Recording.Outputs.MADE
    assert not list(folder.glob("*.rtpdump"))
    assert not (folder / "720p.mp4").exists()


def test_a_large_file_goes_up_in_parts_and_is_read_back_whole(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(content := secrets.token_bytes(20 * MEGABYTE))
    stored = storage.store(path, "long/720p.mp4")
    assert stored.size == len(content)
    assert bucket.read("long/720p.mp4") == content
    etag = bucket.client.head_object(Bucket=bucket.name, Key="long/720p.mp4")["ETag"]
    assert etag.endswith('-3"')  # parts of 8 MB


def test_an_upload_that_is_repeated_replaces_the_first(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "class.mp4"
    for content in (b"the first", b"the second"):
        path.write_bytes(content)
        storage.store(path, "class/720p.mp4")
    assert bucket.keys() == ["class/720p.mp4"]
    assert bucket.read("class/720p.mp4") == b"the second"


# --- when the store is broken ----------------------------------------------------------------------------------------


def test_a_few_errors_of_the_store_are_tried_over(bucket: Bucket, recording: Recording, sent: Sent) -> None:
    recorded(recording)
    bucket.proxy.fail_next = 2
    tasks.compose_recording(recording.pk)
    assert bucket.proxy.failed == 2
    assert seen(recording).state == State.READY
    assert sent == [(recording.pk, 0)]


def test_a_connection_cut_in_the_middle_of_an_upload_is_tried_over(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(content := secrets.token_bytes(20 * MEGABYTE))
    bucket.proxy.cut_after = 3 * MEGABYTE
    storage.store(path, "long/720p.mp4")
    assert bucket.proxy.failed == 1
    assert bucket.read("long/720p.mp4") == content


def test_while_the_store_is_broken_the_composition_waits_here_and_goes_up_afterwards(
    bucket: Bucket, recording: Recording, sent: Sent
) -> None:
    folder = recorded(recording)
    bucket.proxy.failing = True
    made = set()
    for number in range(states.TRIES + 2):  # a broken store is nobody's failure, however long it takes
        tasks.compose_recording(recording.pk)
        assert (seen(recording).state, recording.attempts) == (State.QUEUED, 0)
        assert "object store" in recording.reason
        assert sent[-1] == (recording.pk, tasks.UPLOAD_AGAIN)
        made.add((folder / "720p.mp4").stat().st_mtime_ns)
        assert len(list(folder.glob("*.rtpdump"))) == 2, number
    assert len(made) == 1  # composed once
    assert tasks.UPLOAD_AGAIN <= 30  # seconds: the rest of the minute is for the upload
    bucket.proxy.failing = False
    tasks.compose_recording(recording.pk)
    assert (seen(recording).state, recording.reason) == (State.READY, "")
    assert recording.duration == timedelta(seconds=1)
    assert recording.tracks.count() == 2
    film = Composition.objects.get(recording=recording)
    assert bucket.keys() == [film.key]

    for good in (4, 9):  # requests; then it is broken again, while the rest is stored
        bucket.proxy.fail_after = good
        tasks.make_outputs(recording.pk)
        assert (seen(recording).state, recording.outputs, recording.attempts) == (State.READY, Outputs.WAITING, 0)
        bucket.proxy.failing = False
        assert {made.key for made in recording.compositions.all()} <= set(bucket.keys())
        assert len(list(folder.glob("*.rtpdump"))) == 2
    tasks.make_outputs(recording.pk)
    assert seen(recording).outputs == Outputs.MADE
    assert {made.name for made in recording.compositions.all()} == {*ALWAYS, "sound.m4a", film.name}
    assert set(bucket.keys()) == {f"{recording.public_id}/{made.name}" for made in recording.compositions.all()}
    assert Composition.objects.get(pk=film.pk).created_at == film.created_at, "the film is stored once"
    assert not list(folder.glob("*.rtpdump"))


def test_a_store_that_is_not_there_is_waited_for(bucket: Bucket, settings: LazySettings, tmp_path: Path) -> None:
    use(settings, {**settings.STORAGES["recordings"]["OPTIONS"], "endpoint_url": f"http://127.0.0.1:{free_port()}"})
    path = tmp_path / "class.mp4"
    path.write_bytes(CONTENT)
    with pytest.raises(storage.StorageAway, match="cannot be reached"):
        storage.store(path, "class/720p.mp4")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"secret_key": "not-it"}, "SignatureDoesNotMatch"), ({"bucket_name": "not-made"}, "NoSuchBucket")],
)
def test_a_store_that_refuses_is_a_failure_with_its_reason(
    bucket: Bucket, settings: LazySettings, recording: Recording, wrong: dict[str, str], says: str
) -> None:
    use(settings, {**settings.STORAGES["recordings"]["OPTIONS"], **wrong})
    folder = recorded(recording)
    for _ in range(states.TRIES):
        tasks.compose_recording(recording.pk)
    assert seen(recording).state == State.FAILED
    assert says in recording.reason
    assert "not-it" not in recording.reason
    assert len(list(folder.glob("*.rtpdump"))) == 2


@pytest.fixture
def environ(bucket: Bucket, object_store: ObjectStore) -> dict[str, str]:
    """The bucket's, for another process."""
    options = object_store.options(bucket.name, bucket.proxy.url)
    names = {"access_key": "ACCESS_KEY_ID", "secret_key": "SECRET_ACCESS_KEY", "bucket_name": "BUCKET",
             "endpoint_url": "ENDPOINT_URL", "region_name": "REGION"}  # fmt: skip
    return {f"S3_{names[option]}": value for option, value in options.items()}


def test_a_process_that_is_killed_while_it_stores_leaves_one_file_of_each_name(
    bucket: Bucket, recording: Recording, places: Path, environ: dict[str, str], small: None
) -> None:
    folder = recorded(recording)
    film = folder / f"{SMALL}.mp4"
    made = set()
    for task, held in (("compose_recording", State.UPLOADING), ("make_outputs", State.READY)):
        bucket.proxy.flowing.clear()
        bucket.proxy.waiting.clear()
        with task_running(task, recording, places, **environ) as process:
            assert bucket.proxy.waiting.wait(120), "it stores"
            process.kill()
            process.wait()
        bucket.proxy.flowing.set()  # what it had sent may arrive by now, and nobody has noted it
        assert seen(recording).state == held
        assert states.take_from_the_dead(timezone.now() + states.LEASE) == 1
        made.add(film.stat().st_mtime_ns)
        getattr(tasks, task)(recording.pk)
    assert (seen(recording).state, recording.outputs) == (State.READY, Outputs.MADE)
    assert (recording.duration, recording.tracks.count()) == (timedelta(seconds=1), 2)
    assert len(made) == 1, "composed once"
    names = {f"{SMALL}.mp4", "sound.m4a", *ALWAYS}
    assert {kept.name for kept in recording.compositions.all()} == names
    assert set(bucket.keys()) == {f"{recording.public_id}/{name}" for name in names}


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "disposition"), [("download", "attachment"), ("watch", "inline")])
def test_a_page_sends_on_to_a_link_that_gives_the_film(
    stored: Recording, client_of: ClientOf, page: str, disposition: str
) -> None:
    response = client_of("tina").get(reverse(f"recordings:{page}", args=[stored.public_id, "720p"]))
    assert response.status_code == 302
    status, body, headers = get(response["Location"])
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Disposition"].startswith(disposition)
    assert headers["Content-Type"] == "video/mp4"


def test_a_player_gets_the_part_that_it_asks_for(stored: Recording, client_of: ClientOf) -> None:
    response = client_of("sam").get(reverse("recordings:watch", args=[stored.public_id, "720p"]))
    status, body, headers = get(response["Location"], Range="bytes=100-199")
    assert (status, body) == (206, CONTENT[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(CONTENT)}"


def test_the_api_gives_the_stores_own_link(stored: Recording, client_of: ClientOf) -> None:
    answer = client_of("tina").get(f"/api/v1/recordings/{stored.public_id}/link/").json()
    assert answer["expires_in"] <= 300
    assert get(answer["url"])[:2] == (200, CONTENT)


@pytest.mark.parametrize(("age", "status"), [(280, 200), (310, 403)])
def test_a_link_opens_for_five_minutes(
    stored: Recording, monkeypatch: pytest.MonkeyPatch, age: int, status: int
) -> None:
    with monkeypatch.context() as earlier:
        then = get_current_datetime() - timedelta(seconds=age)
        earlier.setattr("botocore.auth.get_current_datetime", lambda: then)
        link = storage.signed_link(storage.key(stored.public_id, "720p.mp4"), "class.mp4", "video/mp4", download=True)
    assert get(link)[0] == status


def test_a_link_that_was_changed_does_not_open(bucket: Bucket, stored: Recording, object_store: ObjectStore) -> None:
    link = storage.signed_link(storage.key(stored.public_id, "720p.mp4"), "class.mp4", "video/mp4", download=True)
    assert object_store.secret_key not in link
    asked = parse_qs(urlsplit(link).query)
    assert asked["X-Amz-Expires"] == ["300"]
    assert get(link.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"))[0] == 403
    bucket.client.put_object(Bucket=bucket.name, Key="another/720p.mp4", Body=b"another's")
    assert get(link.replace(stored.public_id, "another"))[0] == 403
    assert get(link.partition("?")[0])[0] in {400, 403}


@pytest.mark.parametrize("name", ["olga", "nobody"])
def test_who_may_not_see_it_gets_no_link(bucket: Bucket, stored: Recording, client_of: ClientOf, name: str) -> None:
    response = client_of(name).get(reverse("recordings:watch", args=[stored.public_id, "720p"]))
    assert bucket.proxy.url not in response.get("Location", "")


def test_reading_goes_on_where_the_connection_broke(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(content := secrets.token_bytes(5 * MEGABYTE))
    storage.store(path, "long/720p.mp4")
    bucket.proxy.cut_answer_after = 3 * MEGABYTE
    assert b"".join(storage.blocks("long/720p.mp4")) == content
    assert bucket.proxy.failed == 1
    with pytest.raises(FileNotFoundError):
        next(storage.blocks("long/1080p.mp4"))


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_many_come_as_one_zip_without_a_temporary_file(
    bucket: Bucket, stored: Recording, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_file)
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", no_file)
    response: Any = client_of("tina").get(reverse("recordings:zip"), {"id": stored.public_id})
    with zipfile.ZipFile(io.BytesIO(b"".join(response))) as archive:
        [name] = archive.namelist()
        assert archive.read(name) == CONTENT


@pytest.fixture
def streamed(stored: Recording, tmp_path: Path) -> Recording:
    """With an HLS playlist and a text."""
    level = b'#EXTM3U\n#EXT-X-MAP:URI="720p.m4s",BYTERANGE="10@0"\n#EXTINF:4,\n#EXT-X-BYTERANGE:90@10\n720p.m4s\n'
    made = [("hls/720p.m3u8", level), ("hls/720p.m4s", CONTENT), ("chat.json", b'{"messages": []}')]
    for name, content in made:
        path = tmp_path / "made"
        path.write_bytes(content)
        kept = storage.store(path, storage.key(stored.public_id, name))
        Composition.objects.note(stored.pk, name, kept)
    return stored


def test_a_playlist_names_the_stores_own_links_and_texts_come_from_here(
    bucket: Bucket, streamed: Recording, client_of: ClientOf
) -> None:
    sam = client_of("sam")
    playlist = sam.get(links.address_of(streamed.public_id, "hls/720p.m3u8", **{"for": "player"})).content.decode()
    link = playlist.splitlines()[-1]
    assert link.startswith(bucket.proxy.url)
    assert f'URI="{link}"' in playlist
    assert get(link, Range="bytes=10-99")[:2] == (206, CONTENT[10:100])
    plain = sam.get(links.address_of(streamed.public_id, "hls/720p.m3u8")).content.decode().splitlines()[-1]
    assert plain == links.address_of(streamed.public_id, "hls/720p.m4s")
    assert sam.get(plain)["Location"].startswith(bucket.proxy.url)
    assert sam.get(links.address_of(streamed.public_id, "chat.json")).json() == {"messages": []}
    kinds = {name: bucket.client.head_object(Bucket=bucket.name, Key=f"{streamed.public_id}/{name}")["ContentType"]
             for name in ("hls/720p.m3u8", "hls/720p.m4s")}  # fmt: skip
    assert kinds == {"hls/720p.m3u8": "application/vnd.apple.mpegurl", "hls/720p.m4s": "video/mp4"}


# --- away ------------------------------------------------------------------------------------------------------------


def test_what_is_too_old_is_deleted_also_after_an_outage(
    bucket: Bucket, stored: Recording, settings: LazySettings
) -> None:
    settings.RECORDING_RETENTION_DAYS = 30
    key = storage.key(stored.public_id, "720p.mp4")
    link = storage.signed_link(key, "class.mp4", "video/mp4", download=True)
    Recording.objects.filter(pk=stored.pk).update(stopped_at=timezone.now() - timedelta(days=31))
    bucket.proxy.failing = True
    assert tasks.expire_recordings() == 1
    assert Composition.objects.exists()
    bucket.proxy.failing = False
    bucket.client.put_object(Bucket=bucket.name, Key=f"{stored.public_id}/hls/720p.m4s", Body=b"noted by nobody")
    bucket.client.put_object(Bucket=bucket.name, Key=f"{stored.public_id}9/720p.mp4", Body=b"another's")
    assert key in set(bucket.keys())
    tasks.expire_recordings()
    assert bucket.keys() == [f"{stored.public_id}9/720p.mp4"]
    assert not Composition.objects.exists()
    assert get(link)[0] == 404
    storage.remove(key)  # twice does no harm


def test_a_store_that_is_away_is_said_to_be(bucket: Bucket, streamed: Recording, client_of: ClientOf) -> None:
    bucket.proxy.failing = True
    for name in ("hls/720p.m3u8", "chat.json"):
        answer = client_of("sam").get(links.address_of(streamed.public_id, name))
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_a_store_that_refuses_a_text_is_no_error_of_ours(
    bucket: Bucket, streamed: Recording, client_of: ClientOf, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, {**settings.STORAGES["recordings"]["OPTIONS"], "secret_key": "not-it"})
    for name in ("hls/720p.m3u8", "chat.json"):
        assert client_of("sam").get(links.address_of(streamed.public_id, name)).status_code == 503
    assert "SignatureDoesNotMatch" in caplog.text or "403" in caplog.text
    assert "not-it" not in caplog.text


def test_captions_are_given_and_stay_whole_while_the_store_is_broken(
    bucket: Bucket, stored: Recording, client_of: ClientOf
) -> None:
    tina = client_of("tina")

    def post(name: str, *of: str, **data: Any) -> str:
        address = reverse(f"recordings:{name}", args=[stored.public_id, *of])
        return tina.post(address, data, follow=True).content.decode()

    def add() -> str:
        file = io.BytesIO(b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n")
        return post("captions", language="en", file=file)

    assert "Captions are there" in add()
    address = links.address_of(stored.public_id, "captions-en.vtt", download="1")
    assert tina.get(address)["Content-Disposition"].startswith('attachment; filename="Cells ')
    bucket.proxy.failing = True
    for page in (add(), post("remove_captions", "en")):
        assert "The storage does not answer. Try again in a moment." in page
        assert 'label="English"' in page
    bucket.proxy.failing = False
    assert "Captions are removed: English." in post("remove_captions", "en")
    assert bucket.keys() == [f"{stored.public_id}/720p.mp4"]
    assert stored.compositions.count() == 1
