"""A recording's files are given to those who may see it, by links that open for five minutes, and to nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import logging
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.conf import LazySettings
from django.core import signing
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from classroom.models import Course
from meetings.models import Room
from recordings import states, storage
from recordings.models import Composition, Recording
from recordings.playback import cdn, links, playlists, zips
from recordings.playback.links import ALL, Pass
from tests.recordings.conftest import CONTENT
from tests.world import ClientOf

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="Sound",URI="sound.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO="sound"
720p.m3u8
"""
LEVEL = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-MAP:URI="720p.m4s",BYTERANGE="800@0"
#EXTINF:4.0,
#EXT-X-BYTERANGE:5000@800
720p.m4s
#EXT-X-ENDLIST
"""


def body(response: Any) -> bytes:
    return b"".join(response)


def add(recording: Recording, folder: Path, name: str, content: bytes) -> Composition:
    path = folder / "made"
    path.write_bytes(content)
    return Composition.objects.note(recording.pk, name, storage.store(path, storage.key(recording.public_id, name)))


@pytest.fixture
def streamed(ready: Recording, places: Path) -> Recording:
    """With HLS."""
    for name, text in [("master.m3u8", MASTER), ("720p.m3u8", LEVEL), ("sound.m3u8", LEVEL.replace("720p", "sound"))]:
        add(ready, places, f"hls/{name}", text.encode())
    for name in ("720p.m4s", "sound.m4s"):
        add(ready, places, f"hls/{name}", CONTENT)
    return ready


def address(recording: Recording, name: str, **query: str) -> str:
    return links.address_of(recording.public_id, name, **query)


def entries(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# --- playlists -------------------------------------------------------------------------------------------------------


def test_a_playlist_for_our_player_has_links_that_open_without_a_session(
    streamed: Recording, client_of: ClientOf
) -> None:
    sam, nobody = client_of("sam"), client_of("nobody")
    master = sam.get(address(streamed, "hls/master.m3u8"), {"for": "player"})
    assert master["Content-Type"] == "application/vnd.apple.mpegurl"
    assert master["Cache-Control"] == "private, no-store"
    [level] = entries(master.content.decode())
    playlist = sam.get(level).content.decode()
    [segment] = entries(playlist)
    assert segment.startswith(address(streamed, "hls/720p.m4s", token=""))
    part = nobody.get(segment, headers={"Range": "bytes=100-199"})
    assert (part.status_code, body(part)) == (206, CONTENT[100:200])
    assert f'URI="{segment}"' in playlist  # the map's, too
    assert nobody.get(level).status_code == 302  # who has no session gets no new links


def test_links_in_a_playlist_die_after_five_minutes_and_the_playlist_gives_new_ones(
    streamed: Recording, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film that was paused for an hour goes on: the player asks for its playlist anew."""
    sam, nobody = client_of("sam"), client_of("nobody")
    playlist = address(streamed, "hls/720p.m3u8", **{"for": "player"})
    [old] = entries(sam.get(playlist).content.decode())
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert nobody.get(old).status_code == 404
    [new] = entries(sam.get(playlist).content.decode())
    assert nobody.get(new).status_code == 200


def test_a_link_does_not_renew_itself(
    streamed: Recording, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Pass(streamed.public_id, ALL).token()
    nobody = client_of("nobody")
    later = time.time() + 200
    monkeypatch.setattr(time, "time", lambda: later)
    [segment] = entries(nobody.get(address(streamed, "hls/720p.m3u8", token=token)).content.decode())
    later += 200
    assert nobody.get(segment).status_code == 404


def test_a_browser_that_plays_hls_by_itself_asks_with_its_session(streamed: Recording, client_of: ClientOf) -> None:
    sam = client_of("sam")
    [level] = entries(sam.get(address(streamed, "hls/master.m3u8")).content.decode())
    [segment] = entries(sam.get(level).content.decode())
    assert "token" not in segment
    assert sam.get(segment).status_code == 200
    assert client_of("olga").get(segment).status_code == 404
    assert client_of("nobody").get(segment).status_code == 302


@pytest.mark.parametrize(
    "entry",
    [
        "../another/720p.m4s",
        "..%2fanother%2f720p.m4s",
        "/etc/passwd",
        "https://evil.example/720p.m4s",
        "//evil.example/720p.m4s",
        "file:///etc/passwd",
        "720p.m4s?x=y",
        ".hidden.m4s",
        "a/../../b.m4s",
        "not-stored.m4s",
        "-i",
    ],
)
@pytest.mark.parametrize("attribute", [False, True])
def test_a_playlist_that_names_what_it_should_not_is_not_given_out(
    ready: Recording, places: Path, client_of: ClientOf, entry: str, attribute: bool
) -> None:
    text = f'#EXT-X-MAP:URI="{entry}"' if attribute else entry
    add(ready, places, "hls/720p.m3u8", f"#EXTM3U\n{text}\n".encode())
    response = client_of("sam").get(address(ready, "hls/720p.m3u8", **{"for": "player"}))
    assert response.status_code == 404
    assert "evil" not in response.content.decode()


def test_what_is_no_playlist_is_not_given_out_as_one(ready: Recording, places: Path, client_of: ClientOf) -> None:
    for content in (b"<script>", b"\xff\xfe", b"", b"#EXTM3U\n" + b"#" * playlists.LONGEST):
        add(ready, places, "hls/720p.m3u8", content)
        assert client_of("sam").get(address(ready, "hls/720p.m3u8")).status_code == 404


# --- paths, tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../lectern.sqlite3",
        "..%2f..%2flectern.sqlite3",
        "%2e%2e/%2e%2e/secret_key",
        "hls/../../secret_key",
        "/etc/passwd",
        "720p.mp4%00.jpg",
        "720p.mp4%0d%0aSet-Cookie:%20a=b",
        "timeline.jsonl",
        "",
    ],
)
def test_no_path_leads_out_of_a_recordings_files(ready: Recording, client_of: ClientOf, name: str) -> None:
    base = reverse("recordings:detail", args=[ready.public_id])
    for client in (client_of("tina"), client_of("stella")):
        for path in (f"{base}files/{name}", f"{base}download/{name}/", f"{base}watch/{name}/"):
            response = client.get(path)
            assert response.status_code in {301, 404}, path
            assert "Set-Cookie" not in str(response.headers)


def test_a_link_to_one_recording_opens_no_other(
    streamed: Recording, room: Room, places: Path, client_of: ClientOf
) -> None:
    other = Recording.objects.create(room=room, public_id="another", state=Recording.State.READY)
    add(other, places, "hls/720p.m4s", b"another's")
    token = Pass(streamed.public_id, ALL).token()
    nobody = client_of("nobody")
    assert nobody.get(address(streamed, "hls/720p.m4s", token=token)).status_code == 200
    assert nobody.get(address(other, "hls/720p.m4s", token=token)).status_code == 404
    one_file = Pass(streamed.public_id, "720p.mp4").token()
    assert nobody.get(address(streamed, "hls/720p.m4s", token=one_file)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"), lambda token: "x" + token, lambda token: token * 2,
     lambda token: token.replace(":", ".", 1), lambda token: "\0", lambda token: "é"],
)  # fmt: skip
def test_a_link_that_was_tampered_with_opens_nothing(streamed: Recording, client_of: ClientOf, change: Any) -> None:
    token = change(Pass(streamed.public_id, ALL).token())
    assert client_of("nobody").get(address(streamed, "720p.mp4", token=token)).status_code == 404


def test_a_link_signed_for_something_else_opens_nothing(ready: Recording, client_of: ClientOf) -> None:
    for value in ([ready.public_id, ALL, False], {"a": 1}, "x", 7):
        token = signing.dumps(value, salt="another")
        assert client_of("nobody").get(address(ready, "720p.mp4", token=token)).status_code == 404
    for odd in ({"a": 1}, [1], 7, "abcd"):
        token = signing.dumps(odd, salt=links.SALT)
        assert client_of("nobody").get(address(ready, "720p.mp4", token=token)).status_code == 404


def test_a_token_stands_in_no_log(
    streamed: Recording, client_of: ClientOf, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("nobody")
    client.raise_request_exception = False
    token = Pass(streamed.public_id, ALL).token()
    monkeypatch.setattr("recordings.playback.giving.give", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.DEBUG):
        assert client.get(address(streamed, "720p.mp4", token=token)).status_code == 500
        client.get(address(streamed, "not-there.mp4", token=token))
    told = [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    assert any("/files/720p.mp4" in line for line in told)
    assert not any(token in line for line in told)


def test_somebody_without_a_session_is_asked_to_sign_in_on_this_site(ready: Recording, client_of: ClientOf) -> None:
    response = client_of("nobody").get(address(ready, "720p.mp4"), {"next": "https://evil.example/"})
    assert response["Location"].startswith("/accounts/login/?next=/recordings/")


def test_who_lost_the_course_lost_its_files(streamed: Recording, course: Course, client_of: ClientOf) -> None:
    sam = client_of("sam")
    assert sam.get(address(streamed, "hls/720p.m4s")).status_code == 200
    course.enrolments.filter(user__username="sam").delete()
    assert sam.get(address(streamed, "hls/720p.m4s")).status_code == 404


def test_the_api_gives_a_link_to_each_file_and_the_playlists_one_opens_all_that_plays(
    streamed: Recording, client_of: ClientOf
) -> None:
    tina, nobody = client_of("tina"), client_of("nobody")
    asked = f"/api/v1/recordings/{streamed.public_id}/link/"
    segment = tina.get(asked, {"name": "hls/720p.m4s"}).json()["url"]
    assert body(nobody.get(segment)) == CONTENT
    master = tina.get(asked, {"name": "hls/master.m3u8"}).json()["url"]
    [level] = entries(nobody.get(master).content.decode())
    [plays] = entries(nobody.get(level).content.decode())
    assert body(nobody.get(plays)) == CONTENT
    for name in ("../720p.mp4", "made-up.mp4", "\0"):
        assert tina.get(asked, {"name": name}).status_code == 404


def test_a_link_to_one_quality_plays_it_and_opens_nothing_beside_its_folder(
    streamed: Recording, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    tina, nobody = client_of("tina"), client_of("nobody")
    level = tina.get(f"/api/v1/recordings/{streamed.public_id}/link/", {"name": "hls/720p.m3u8"}).json()["url"]
    [plays] = entries(nobody.get(level).content.decode())
    assert body(nobody.get(plays)) == CONTENT
    token = level.partition("?token=")[2]
    base = f"{reverse('recordings:detail', args=[streamed.public_id])}files/"
    for name in ("720p.mp4", "hls/../720p.mp4", "hls/%2e%2e/720p.mp4", "hls//720p.m4s", "hlsx/720p.m4s", "hls/", "hls"):
        assert nobody.get(f"{base}{name}?token={token}").status_code == 404, name
    later = time.time() + storage.LINK_LIVES + 1
    monkeypatch.setattr(time, "time", lambda: later)
    for link in (level, plays):
        assert nobody.get(link).status_code == 404


def test_teachers_download_the_other_files_and_students_do_not(
    ready: Recording, places: Path, client_of: ClientOf
) -> None:
    for name in ("sound.m4a", "720p.webm"):
        add(ready, places, name, CONTENT)
        link = address(ready, name, download="1")
        response = client_of("tina").get(link)
        assert response["Content-Disposition"].startswith("attachment")
        assert link in client_of("tina").get(ready.get_absolute_url()).content.decode()
        assert client_of("sam").get(link).status_code == 403
        assert link not in client_of("sam").get(ready.get_absolute_url()).content.decode()


# --- delivery networks -----------------------------------------------------------------------------------------------


@pytest.fixture
def networks(settings: LazySettings, own_cache: None) -> None:
    settings.CDN_BASE_URLS = {"eu": "https://eu.example.net", "us": "https://us.example.net/films"}
    settings.CDN_SECRET, settings.CDN_REGION_HEADER, settings.SFU_REGION = "shared", "X-Region", "local"
    cache.set(cdn.HEALTHY, ["eu", "us"])


def test_a_viewer_gets_the_network_of_their_region_by_a_link_that_it_can_check(
    streamed: Recording, client_of: ClientOf, networks: None
) -> None:
    sam = client_of("sam")
    link = sam.get(address(streamed, "hls/720p.m4s"), headers={"X-Region": "US"})["Location"]
    path, _, proof = link.removeprefix("https://us.example.net").partition("?verify=")
    assert path == f"/films/{streamed.public_id}/hls/720p.m4s"
    issued, _, mac = unquote(proof).partition("-")
    wanted = hmac.new(b"shared", f"{path}{issued}".encode(), hashlib.sha256).digest()
    assert base64.b64decode(mac) == wanted
    assert abs(time.time() - int(issued)) < 60
    playlist = sam.get(address(streamed, "hls/720p.m3u8"), {"for": "player"}, headers={"X-Region": "us"})
    assert entries(playlist.content.decode())[0].startswith(f"https://us.example.net{path}?verify=")


def test_without_a_healthy_network_files_come_from_here(
    streamed: Recording, client_of: ClientOf, networks: None
) -> None:
    sam = client_of("sam")
    cache.set(cdn.HEALTHY, ["eu"])
    assert sam.get(address(streamed, "720p.mp4"), headers={"X-Region": "us"})["Location"].startswith("https://eu.")
    for remembered in ([], ["mars"], None):
        cache.set(cdn.HEALTHY, remembered)
        assert sam.get(address(streamed, "720p.mp4")).status_code == 200


def test_downloads_never_go_by_a_network(streamed: Recording, client_of: ClientOf, networks: None) -> None:
    response = client_of("tina").get(reverse("recordings:download", args=[streamed.public_id, "720p"]))
    assert body(response) == CONTENT


def test_a_region_is_taken_from_no_header_that_was_not_agreed_on(
    streamed: Recording, client_of: ClientOf, networks: None, settings: LazySettings
) -> None:
    settings.CDN_REGION_HEADER = ""
    link = client_of("sam").get(address(streamed, "720p.mp4"), headers={"X-Region": "us"})["Location"]
    assert link.startswith("https://eu.")


# --- many at once ----------------------------------------------------------------------------------------------------


def test_many_are_downloaded_as_one_zip_with_names_of_their_own(
    ready: Recording, room: Room, places: Path, client_of: ClientOf
) -> None:
    Room.objects.filter(pk=room.pk).update(title='../../etc/pass"wd\r\nX-Evil: 1')
    for number in range(3):
        other = Recording.objects.create(room=room, public_id=f"more{number}", state=Recording.State.READY)
        Recording.objects.filter(pk=other.pk).update(started_at=ready.started_at)
        add(other, places, "720p.mp4", CONTENT[: number * 1000])
    response = client_of("stella").get(reverse("recordings:zip"), {"id": [ready.public_id, "more0", "more1", "more2"]})
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"].startswith('attachment; filename="Recordings ')
    with zipfile.ZipFile(io.BytesIO(body(response))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len({name.casefold() for name in names}) == 4
        for name in names:
            assert not set(name) & set('/\\\r\n":'), name
            assert not name.startswith("."), name
        assert sorted(len(archive.read(name)) for name in names) == [0, 1000, 2000, len(CONTENT)]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_zip_holds_nothing_that_is_not_yours(ready: Recording, client_of: ClientOf) -> None:
    for name, status in [("sam", 404), ("alex", 404), ("olga", 404), ("nobody", 302), ("tina", 200)]:
        client = client_of(name)
        assert client.get(reverse("recordings:zip"), {"id": ready.public_id}).status_code == status, name
    tina = client_of("tina")
    for asked in ([], ["x\0y"], [str(number) for number in range(zips.MOST + 1)]):
        assert tina.get(reverse("recordings:zip"), {"id": asked}).status_code == 302
    assert tina.get(reverse("recordings:zip"), {"id": [ready.public_id, "made-up"]}).status_code == 404
    states.expire(ready.pk)
    assert tina.get(reverse("recordings:zip"), {"id": ready.public_id}).status_code == 302


def test_names_in_a_zip_differ_also_where_capitals_do_not_count() -> None:
    assert zips.unique(["a.mp4", "A.mp4", "a.mp4", "a (2).mp4"]) == ["a.mp4", "A (2).mp4", "a (3).mp4", "a (2) (2).mp4"]


def test_a_zip_is_made_while_it_is_read() -> None:
    """A gigabyte passes through, and never more than some pieces of it are in memory."""
    given = 0

    def content() -> Any:
        nonlocal given
        for _ in range(64):
            given += zips.PIECE
            yield bytes(zips.PIECE)

    taken = 0
    for piece in zips.zipped([("a.mp4", content()), ("b.mp4", content())], timezone.now()):
        taken += len(piece)
        assert given - taken <= 2 * zips.PIECE
    assert taken > 128 * zips.PIECE
