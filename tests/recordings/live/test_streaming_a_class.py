"""`stream:start` and `:stop` on the classroom's socket, with a real media worker, keeper and process."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.utils import timezone

from meetings.media.controller import MediaController
from meetings.models import ChatMessage
from meetings.permissions import NOT_ENCRYPTED
from meetings.redis_client import connect
from recordings.live import services
from recordings.live.job import Job, write_job
from recordings.live.keeper import LEASE, Keeper, Running, clear
from recordings.live.models import Stream
from sfu.manifest import TIMELINE, Joined, Started, read_timeline
from tests.lectern import ROOT
from tests.meetings.conftest import enter, hubs, join, make_hubs, redis_settings, world
from tests.meetings.media.conftest import NAMES, come, make_worker, media, start_worker, worker
from tests.waiting import until

__all__ = ["come", "enter", "hubs", "join", "make_hubs", "make_worker", "media", "redis_settings", "start_worker",
           "worker", "world"]  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)

PUSH = "rtmp://127.0.0.1:9/class/a-secret-key"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings: LazySettings) -> Path:
    settings.STREAMS_DIR, settings.LIVE_DIR = tmp_path / "streams", tmp_path / "live"
    return tmp_path


@pytest.fixture(autouse=True)
def layer(redis_settings: str, settings: LazySettings) -> None:
    """The channel layer that the keeper tells rooms by."""
    layers: Any = copy.deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["hosts"][0]["address"] = redis_settings
    settings.CHANNEL_LAYERS = layers


@sync_to_async
def stored() -> list[Stream]:
    return list(Stream.objects.select_related("room").order_by("pk"))


async def test_all_are_told_that_they_are_seen_outside(worker, come, folders):
    tina, sam = await come("tina"), await come("sam")
    started = await tina.client.do("stream:start", {"target": "hls", "access": "public"})
    (stream,) = await stored()
    assert started["url"] == f"/live/{stream.public_id}/"
    told = await sam.client.event("stream:started")
    assert (told["stream_id"], told["access"], told["by"]) == (stream.public_id, "public", tina.id)
    assert (await come("sue")).answer["stream"]["stream_id"] == stream.public_id
    await until(lambda: (stream.logs / TIMELINE).exists() and len(read_timeline(stream.logs)) >= 3)
    assert {entry.name for entry in read_timeline(stream.logs) if isinstance(entry, Joined)} >= {"Tina", "Sam"}
    stopped = await tina.client.do("stream:stop")
    assert (await sam.client.event("stream:stopped"))["duration"] == stopped["duration"]
    assert [one.state for one in await stored()] == ["ended"]
    assert (await come("pia")).answer["stream"] is None


async def test_a_host_streams_and_nobody_else(worker, come):
    host = await come("tina")
    for role, name in NAMES.items():
        person = host if role == "host" else await come(name)
        if role == "presenter":
            await host.client.do("participant:role:update", {"participant_id": person.id, "role": "presenter"})
        expected = "ok" if role == "host" else "forbidden"
        assert await person.ask("stream:start", target="hls") == expected
        assert await person.ask("stream:stop") == expected
    assert len(await stored()) == 1


async def test_a_class_is_streamed_once_at_a_time(worker, come):
    tina = await come("tina")
    assert await tina.client.refused("stream:stop") == "wrong_state"
    await tina.client.do("stream:start", {"target": "hls"})
    assert await tina.client.refused("stream:start", {"target": "hls"}) == "wrong_state"


NO_STREAMS: list[dict[str, Any]] = [
    {},
    {"target": "youtube"},
    {"target": "hls", "url": PUSH},
    {"target": "rtmp"},
    {"target": "rtmp", "url": "http://example.com/a/b"},
    {"target": "rtmp", "url": PUSH},  # this machine: no setting allows it
    {"target": "rtmp", "url": "rtmp://169.254.169.254/latest/key"},
    {"target": "hls", "access": "nobody"},
    {"target": "hls", "qualities": []},
    {"target": "hls", "qualities": ["8k"]},
    {"target": "hls", "more": 1},
]


async def test_what_cannot_be_streamed_is_refused(worker, come):
    tina = await come("tina")
    for wish in NO_STREAMS:
        assert await tina.client.refused("stream:start", wish) == "bad_request", wish
    assert await stored() == []


async def test_an_encrypted_class_cannot_be_streamed(worker, come, world):
    await sync_to_async(lambda: type(world.room.lesson).objects.update(encrypted=True))()
    tina = await come("tina")
    ack = await tina.client.ask("stream:start", {"target": "hls"})
    assert ack["error"] == {"code": "wrong_state", "message": NOT_ENCRYPTED["stream"]}


async def test_without_a_worker_nothing_is_left_behind(come):
    tina = await come("tina")
    assert await tina.client.refused("stream:start", {"target": "hls"}) == "media_unavailable"
    assert await stored() == []
    assert (await come("sam")).answer["stream"] is None


async def test_the_stream_key_is_told_to_nobody_and_forgotten(worker, come, settings: LazySettings):
    settings.STREAM_TO_PRIVATE = True
    tina, sam = await come("tina"), await come("sam")
    said = [await tina.client.do("stream:start", {"target": "rtmp", "url": PUSH})]
    (stream,) = await stored()
    assert stream.push_url == PUSH
    said += [await sam.client.event("stream:started"), (await come("sue")).answer["stream"]]
    assert b"a-secret-key" not in msgspec.json.encode(said)
    await tina.client.do("room:end")  # the class takes its stream along
    (stream,) = await stored()
    assert (stream.state, stream.push_url) == ("ended", "")


# --- the keeper ------------------------------------------------------------------------------------------------------


class Kept:
    """A keeper that looks as often as the test wants."""

    def __init__(self, url: str) -> None:
        self.keeper = Keeper()
        self.media = MediaController(connect(url), name="streams")

    async def look(self) -> bool:
        await self.keeper.look(self.media, time.monotonic())
        return True

    async def close(self) -> None:
        for one in self.keeper.running.values():
            if one.process is not None:
                one.process.kill()
                one.process.wait()
        await self.media.pool.close()
        await self.media.placements.redis.aclose()


@pytest.fixture
async def kept(redis_settings: str) -> AsyncIterator[Kept]:
    one = Kept(redis_settings)
    yield one
    await one.close()


async def looked_until(kept: Kept, condition: Any, within: float = 60) -> None:
    """Look, and look again, until it is so."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        await kept.look()
        await until(lambda: True)


@pytest.mark.timeout(180)
async def test_a_killed_process_is_started_again_and_viewers_go_on(worker, come, kept: Kept, folders: Path):
    tina = await come("tina")
    await tina.client.do("stream:start", {"target": "hls"})
    (stream,) = await stored()
    playlist, state = stream.folder / "720p.m3u8", stream.folder / "state.json"
    await looked_until(kept, lambda: playlist.exists() and "720p-1.m4s" in playlist.read_text())
    await looked_until(kept, lambda: state.exists() and msgspec.json.decode(state.read_bytes())["state"] == "live")
    assert (await tina.client.event("stream:status"))["status"] == "live"

    (one,) = kept.keeper.running.values()
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGKILL)
    killed = time.monotonic()
    await looked_until(kept, lambda: "#EXT-X-DISCONTINUITY\n" in playlist.read_text())
    print(f"viewers had the next part {time.monotonic() - killed:.1f} s after the kill")
    (stream,) = await stored()
    assert stream.starts == 1
    assert [entry for entry in read_timeline(stream.logs) if isinstance(entry, Started)]

    await tina.client.do("stream:stop")
    await looked_until(kept, lambda: "#EXT-X-ENDLIST" in playlist.read_text())
    await looked_until(kept, lambda: msgspec.json.decode(state.read_bytes())["state"] == "ended")
    await looked_until(kept, lambda: not stream.logs.exists())
    assert kept.keeper.running == {}
    assert not (stream.folder / "job.json").exists()  # it had the stream key


async def test_who_comes_back_is_told_what_the_stream_does_now(worker, come):
    """Each `stream:status` that came meanwhile is lost: it has no number."""
    tina, sam = await come("tina"), await come("sam")
    await tina.client.do("stream:start", {"target": "hls"})
    await sam.client.event("stream:started")
    (stream,) = await stored()
    await sam.client.close()
    await sync_to_async(services.tell_status)(stream, "live")
    mine = {"session": sam.answer["session"], "last_seq": sam.answer["last_seq"]}
    again = (await come("sam", join=mine)).answer
    assert again["resumed"] is True
    assert (again["stream"]["stream_id"], again["stream"]["status"]) == (stream.public_id, "live")


async def test_a_stream_that_was_stopped_is_not_shown_again_by_who_did_not_know_it_yet(worker, come):
    tina, sam = await come("tina"), await come("sam")
    await tina.client.do("stream:start", {"target": "hls"})
    (stream,) = await stored()
    await tina.client.do("stream:stop")
    await sync_to_async(services.tell_status)(stream, "push_sending")
    assert (await come("sue")).answer["stream"] is None
    assert await sam.client.quiet("stream:status")


async def test_viewers_read_what_was_written_since_the_class_was_live_and_nothing_that_is_not_shown(worker, come):
    tina, sam = await come("tina"), await come("sam")
    await sam.client.do("chat:send", {"message": "among us"})
    await tina.client.do("stream:start", {"target": "hls", "access": "public"})
    await sam.client.do("chat:send", {"message": "to all"})
    (stream,) = await stored()
    stream.folder.mkdir(parents=True)
    await sync_to_async(Keeper()._tell)(Running(stream))
    (message,) = msgspec.json.decode((stream.folder / "state.json").read_bytes())["chat"]
    assert (message["name"], message["message"]) == ("Sam", "to all")
    assert set(message) == {"message_id", "name", "role", "message", "sent_at"}
    await sync_to_async(ChatMessage.objects.update)(deleted_at=timezone.now())
    await sync_to_async(Keeper()._tell)(Running(stream))
    assert msgspec.json.decode((stream.folder / "state.json").read_bytes())["chat"] == []


async def test_a_keeper_whose_lease_ran_out_ends_its_process_and_not_the_stream(worker, come, kept: Kept):
    tina = await come("tina")
    await tina.client.do("stream:start", {"target": "hls"})
    (stream,) = await stored()
    state = stream.folder / "state.json"
    await looked_until(kept, state.exists)
    (one,) = kept.keeper.running.values()
    assert one.process is not None
    later = timezone.now() + LEASE
    await sync_to_async(Stream.objects.update)(keeper="another", lease_until=later + LEASE)
    await kept.look()
    assert kept.keeper.running == {}
    assert one.process.returncode == -signal.SIGKILL  # it may not tell viewers that the stream is over
    assert msgspec.json.decode(state.read_bytes())["state"] != "ended"
    assert stream.logs.exists()


def test_a_process_whose_keeper_died_before_it_could_look_ends(folders: Path):
    folders.joinpath("out").mkdir()
    job = write_job(Job(str(folders / "logs"), str(folders / "out"), time.time(), ["360p"]))
    for module in ("recordings.live", "recordings.live.push"):
        dead = subprocess.Popen(["true"])
        dead.wait()
        process = subprocess.Popen([sys.executable, "-m", module, str(job), str(dead.pid)], cwd=ROOT)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()


async def test_what_is_left_of_streams_that_are_over_goes(worker, come, folders: Path):
    tina = await come("tina")
    await tina.client.do("stream:start", {"target": "hls"})
    (stream,) = await stored()
    long_ago = time.time() - 7200
    left = [folders / "live" / ("0" * 24), folders / "streams" / f"{'0' * 24}-3"]
    used = [stream.folder, stream.logs]
    for folder in (*left, *used):
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder, (long_ago, long_ago))
    await sync_to_async(clear)(time.time())
    assert [folder.exists() for folder in (*left, *used)] == [False, False, True, True]


@pytest.mark.timeout(180)
async def test_a_worker_that_takes_the_room_over_goes_on_with_its_stream(worker, come, kept: Kept):
    tina = await come("tina")
    await tina.client.do("stream:start", {"target": "hls"})
    (stream,) = await stored()
    await until(lambda: (stream.logs / TIMELINE).exists() and read_timeline(stream.logs))
    worker.kill()
    worker.start()
    await tina.client.event("media:restart")

    def goes_on() -> bool:
        return len([entry for entry in read_timeline(stream.logs) if isinstance(entry, Started)]) == 2

    await looked_until(kept, goes_on)
    assert [one.starts for one in await stored()] == [0]  # its process need not begin anew


async def test_redis_that_came_back_empty_hides_no_stream_that_runs(worker, come, kept: Kept, hubs):
    tina = await come("tina")
    started = await tina.client.do("stream:start", {"target": "hls"})
    await hubs.redis.flushall()
    assert await tina.client.until_closed() == 1012
    await tina.client.close()
    await worker.up()
    again = await come("tina")

    await kept.look()
    shown = await hubs.hubs[again.code].live.info("stream")
    assert shown["stream_id"] == started["stream_id"]
