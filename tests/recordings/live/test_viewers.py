"""What those who only watch get from the web process: by whom, when, and what they may write."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.core import signing
from django.test import Client

from accounts.models import User
from meetings.models import ChatMessage, Room
from recordings.live import services
from recordings.live.keeper import Keeper
from recordings.live.models import Stream
from recordings.live.serve import PASS, LiveFiles, give_pass
from recordings.live.shelf import Shelf
from tests.recordings.live.test_playlist import part, put, shelf

FILES = "720p.m3u8"


@pytest.fixture
def folders(tmp_path: Path, settings: LazySettings) -> Path:
    settings.LIVE_DIR = tmp_path / "live"
    return tmp_path


@pytest.fixture
def room(lesson: Any, tina: User) -> Room:
    return Room.objects.create(title="Cells", created_by=tina, code="cells", lesson=lesson)


@pytest.fixture
def stream(room: Room, tina: User, folders: Path) -> Stream:
    return services.begin(room, tina, target="hls", access="course", qualities=["720p"])


async def ask(
    path: str, *, method: str = "GET", query: str = "", cookie: str = ""
) -> tuple[int, bytes, dict[str, str]]:
    """The web process's answer; what is no file of a stream goes to the pages, which say 418 here."""
    got: dict[str, Any] = {"body": b""}

    async def send(message: Any) -> None:
        got.update(message) if "status" in message else got.update(body=got["body"] + message["body"])

    async def pages(scope: Any, receive: Any, send: Any) -> None:
        await send({"status": 418, "headers": []})

    headers = [(b"cookie", f"{PASS}={cookie}".encode())] if cookie else []
    scope = {"type": "http", "path": path, "method": method, "query_string": query.encode(), "headers": headers}
    await LiveFiles(pages)(scope, None, send)
    return got["status"], got["body"], {name.decode(): value.decode() for name, value in got["headers"]}


STREAM = "0123456789abcdef01234567"


@pytest.fixture
def live(folders: Path) -> Shelf:
    """A public stream with a segment and two parts."""
    folder = folders / "live" / STREAM
    folder.mkdir(parents=True)
    (folder / "public").touch()
    made = shelf(folder)
    put(made, 0)
    put(made, 1, parts=2)
    return made


async def test_segments_may_be_kept_and_playlists_not(live: Shelf) -> None:
    status, body, headers = await ask(f"/live/{STREAM}/720p-0.m4s")
    assert (status, body, headers["cache-control"]) == (200, b"xxx", "public, max-age=60, immutable")
    status, body, headers = await ask(f"/live/{STREAM}/{FILES}")
    assert (status, headers["cache-control"]) == (200, "public, no-cache")
    assert headers["content-type"] == "application/vnd.apple.mpegurl"
    assert (await ask(f"/live/{STREAM}/{FILES}", method="HEAD"))[:2] == (200, b"")
    assert (await ask(f"/live/{STREAM}/{FILES}", method="POST"))[0] == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/live/{STREAM}/job.json", 404),  # it has the stream key
        (f"/live/{STREAM}/shelf.json", 404),
        (f"/live/{STREAM}/720p-9.m4s", 404),
        (f"/live/{STREAM}/../{STREAM}/720p-0.m4s", 418),
        (f"/live/{STREAM}/..%2f720p-0.m4s", 418),
        (f"/live/{STREAM}/.720p.m3u8", 418),
        (f"/live/{STREAM}/..m3u8", 418),
        (f"/live/{STREAM}/", 418),
        (f"/live/{'f' * 24}/720p.m3u8", 404),
        ("/live/../recordings/720p.m3u8", 418),
    ],
)
async def test_nothing_else_is_given(live: Shelf, path: str, status: int) -> None:
    assert (await ask(path))[0] == status


async def test_a_stream_of_a_course_opens_with_its_pass_alone(live: Shelf, folders: Path) -> None:
    (folders / "live" / STREAM / "public").unlink()
    path = f"/live/{STREAM}/720p-0.m4s"
    assert (await ask(path))[0] == 404
    assert (await ask(path, cookie=give_pass(STREAM)))[0] == 200
    assert (await ask(path, cookie=give_pass(STREAM)))[2]["cache-control"].startswith("private")
    for wrong in (give_pass("f" * 24), STREAM, give_pass(STREAM)[:-1], "", '"'):
        assert (await ask(path, cookie=wrong))[0] == 404
    old = signing.TimestampSigner(salt="recordings.live")
    old.timestamp = lambda: signing.b62_encode(1_000_000)  # type: ignore[method-assign]
    assert (await ask(path, cookie=old.sign(STREAM)))[0] == 404


# --- waiting for what comes (RFC 8216bis, section 6.2.5.2) ---


async def waiting(query: str = "", name: str = FILES) -> asyncio.Task[Any]:
    task = asyncio.create_task(ask(f"/live/{STREAM}/{name}", query=query))
    await asyncio.sleep(0.05)
    return task


async def test_a_playlist_is_given_when_it_has_what_was_asked_for(live: Shelf) -> None:
    assert (await ask(f"/live/{STREAM}/{FILES}", query="_HLS_msn=1&_HLS_part=1"))[0] == 200
    part_comes = await waiting("_HLS_msn=1&_HLS_part=2")
    segment_comes = await waiting("_HLS_msn=1")
    assert not part_comes.done()
    assert not segment_comes.done()
    live.put("720p", part(1, 2))
    status, body, _ = await part_comes
    assert (status, b"720p-1.2.m4s" in body) == (200, True)
    assert (await segment_comes)[0] == 200
    next_comes = await waiting("_HLS_msn=2&_HLS_part=0")
    live.put("720p", part(2, 0))
    assert (await next_comes)[0] == 200


@pytest.mark.parametrize("query", ["_HLS_msn=9", "_HLS_msn=3&_HLS_part=0", "_HLS_msn=x", "_HLS_msn=1&_HLS_part=y"])
async def test_what_lies_too_far_ahead_or_is_no_number_is_refused_at_once(live: Shelf, query: str) -> None:
    assert (await asyncio.wait_for(ask(f"/live/{STREAM}/{FILES}", query=query), 1))[0] == 400


async def test_the_part_that_was_hinted_at_is_waited_for_and_no_other(live: Shelf) -> None:
    assert (await asyncio.wait_for(ask(f"/live/{STREAM}/720p-2.1.m4s"), 1))[0] == 404
    hinted = await waiting(name="720p-1.2.m4s")
    assert not hinted.done()
    live.put("720p", part(1, 2, b"third"))
    assert (await hinted)[:2] == (200, b"third")


async def test_nobody_waits_for_a_stream_that_is_over(live: Shelf) -> None:
    asked = await waiting("_HLS_msn=1&_HLS_part=2")
    live.end()
    status, body, _ = await asked
    assert (status, b"ENDLIST" in body) == (200, True)


@pytest.mark.usefixtures("transactional_db")
async def test_viewers_of_a_stream_that_was_stopped_while_no_keeper_was_there_are_told_by_the_next_one(
    tina: User, folders: Path
) -> None:
    open_rooms = [await Room.objects.acreate(title="Cells", created_by=tina, code=code) for code in ("on", "over")]
    for room in open_rooms:
        await sync_to_async(services.begin)(room, tina, target="hls", access="public", qualities=["720p"])
    on, over = [one async for one in Stream.objects.order_by("pk")]
    for one in (on, over):
        one.folder.mkdir(parents=True)
        (one.folder / "public").touch()
        (one.folder / "job.json").write_text("with the stream key")
        (one.folder / "state.json").write_text('{"state": "live"}')
        put(shelf(one.folder), 0)
    await sync_to_async(services.end)(over.pk)
    await sync_to_async(Keeper()._close_left)()
    status, body, _ = await ask(f"/live/{over.public_id}/{FILES}", query="_HLS_msn=1")
    assert (status, body.splitlines()[-1]) == (200, b"#EXT-X-ENDLIST")
    assert json.loads((over.folder / "state.json").read_bytes()) == {"state": "ended", "viewers": 0, "chat": []}
    assert not (over.folder / "job.json").exists()
    assert json.loads((on.folder / "state.json").read_bytes()) == {"state": "live"}
    assert "ENDLIST" not in (on.folder / FILES).read_text()


# --- the page ---


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture
def world(tina: User, sam: User, olga: User) -> dict[str, User]:
    return {"tina": tina, "sam": sam, "olga": olga}


def test_a_course_s_page_is_for_the_course(stream: Stream, world: dict[str, User]) -> None:
    address = stream.get_absolute_url()
    for name in ("tina", "sam"):
        answer = client_of(world[name]).get(address)
        assert answer.status_code == 200
        assert PASS in answer.cookies
        given = answer.cookies[PASS]
        assert (given["httponly"], given["samesite"], given["path"]) == (True, "Lax", address)
    assert client_of(world["olga"]).get(address).status_code == 404
    assert client_of(world["olga"]).get(address + "pass/").status_code == 404
    assert client_of(None).get(address).status_code == 302
    assert client_of(None).get(address + "pass/").status_code == 404


@pytest.mark.parametrize("https", [True, False])
def test_where_the_session_goes_by_https_alone_so_does_what_opens_a_stream(
    stream: Stream, world: dict[str, User], settings: LazySettings, https: bool
) -> None:
    settings.SESSION_COOKIE_SECURE = https
    client = client_of(world["sam"])
    for address in ("", "pass/"):
        given = client.get(stream.get_absolute_url() + address, secure=True).cookies[PASS]
        assert bool(given["secure"]) is https


def test_a_public_page_is_for_everybody(stream: Stream) -> None:
    Stream.objects.update(access="public")
    answer = client_of(None).get(stream.get_absolute_url())
    assert answer.status_code == 200
    assert b"live-input" not in answer.content


def test_after_its_end_the_page_says_so(stream: Stream, world: dict[str, User]) -> None:
    services.end(stream.pk)
    answer = client_of(world["sam"]).get(stream.get_absolute_url())
    assert b"This stream has ended" in answer.content
    assert PASS not in answer.cookies


def say(user: User | None, stream: Stream, body: Any) -> int:
    answer = client_of(user).post(
        stream.get_absolute_url() + "say/", body if isinstance(body, str) else json.dumps(body), "application/json"
    )
    return int(answer.status_code)


@pytest.mark.service
def test_members_write_into_the_class_s_chat(
    stream: Stream, world: dict[str, User], clean_redis_url: str, settings: LazySettings
) -> None:
    settings.REDIS_URL = clean_redis_url
    layers: Any = copy.deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["hosts"][0]["address"] = clean_redis_url
    settings.CHANNEL_LAYERS = layers
    Stream.objects.update(access="public")
    hello = {"message": "Hello", "client_id": "k1"}
    assert say(world["sam"], stream, hello) == 200
    assert say(world["sam"], stream, hello) == 200  # the same message once more
    assert [(one.message, one.participant.user) for one in ChatMessage.objects.all()] == [("Hello", world["sam"])]
    assert say(world["olga"], stream, hello) == 403
    assert say(None, stream, hello) == 403
    for wrong in ("", "[]", "{", {"message": "x"}, {"message": "", "client_id": "k"}, {**hello, "more": 1},
                  {"message": "x" * 6000, "client_id": "k"}, "[" * 5000):  # fmt: skip
        assert say(world["sam"], stream, wrong) == 400
    assert say(world["sam"], stream, {"message": "x" * 30_000, "client_id": "k"}) == 413
    Room.objects.update(settings={"allow": {"chat": False}})
    assert say(world["sam"], stream, {"message": "Hush", "client_id": "k2"}) == 403
    services.end(stream.pk)
    assert say(world["tina"], stream, {"message": "Late", "client_id": "k3"}) == 409
    assert ChatMessage.objects.count() == 1


async def test_a_room_has_one_stream_at_a_time(transactional_db: None, lesson: Any, tina: User) -> None:
    room = await Room.objects.acreate(title="Cells", created_by=tina, code="cells", lesson=lesson)
    begin = sync_to_async(services.begin)
    await begin(room, tina, target="hls", access="course", qualities=["720p"])
    with pytest.raises(services.AlreadyStreaming):
        await begin(room, tina, target="hls", access="course", qualities=["720p"])


def test_the_admin_shows_no_stream_key_and_ends_a_stream(
    stream: Stream, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Stream] = []
    monkeypatch.setattr(services, "tell_end", told.append)
    Stream.objects.update(push_url="rtmp://live.example.com/app/very-secret")
    page = "/admin/recordings/stream/"
    for path in (page, f"{page}{stream.pk}/change/"):
        answer = admin_client.get(path)
        assert answer.status_code == 200
        assert b"very-secret" not in answer.content
    admin_client.post(page, {"action": "end", "_selected_action": [stream.pk]})
    stream.refresh_from_db()
    assert (stream.state, stream.push_url) == ("ended", "")
    assert told == [stream]
