"""`recording:start` and `:stop` on the classroom's socket, with a real media worker, up to the composed file."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings

from meetings.media.hooks import on_recording_failed
from recordings import tasks
from recordings.finishing import RESUME_WITHIN
from recordings.models import Recording
from sfu.client import WorkerClient
from sfu.manifest import LEASE, MANIFEST, TIMELINE, Joined, read_manifest, read_timeline
from sfu.protocol import InvalidRequest, Request, StartRecording
from tests.meetings.conftest import enter, hubs, join, make_hubs, redis_settings, world
from tests.meetings.media.conftest import NAMES, come, make_worker, media, start_worker, worker
from tests.waiting import until

__all__ = ["come", "enter", "hubs", "join", "make_hubs", "make_worker", "media", "redis_settings", "start_worker",
           "worker", "world"]  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was sent to Celery: nobody takes it but the test."""
    queue: list[int] = []
    monkeypatch.setattr(tasks.compose_recording, "apply_async", lambda args, countdown=0: queue.append(args[0]))
    monkeypatch.setattr(tasks.make_outputs, "apply_async", lambda args, countdown=0: None)
    return queue


@pytest.fixture(autouse=True)
def layer(redis_settings: str, settings: LazySettings) -> None:
    """The channel layer that tasks tell rooms by."""
    layers: Any = copy.deepcopy(settings.CHANNEL_LAYERS)
    layers["default"]["CONFIG"]["hosts"][0]["address"] = redis_settings
    settings.CHANNEL_LAYERS = layers


def folder_of(recording_id: str, places: Path) -> Path:
    return places / "recordings" / recording_id


@sync_to_async
def stored() -> list[tuple[str, str]]:
    return [(recording.public_id, recording.state) for recording in Recording.objects.order_by("pk")]


async def test_a_host_records_the_class_and_all_are_told(worker, come, places, sent):
    tina, sam = await come("tina"), await come("sam")
    started = await tina.client.do("recording:start", {"options": {"layout": "grid", "qualities": ["720p"]}})
    recording_id = started["recording_id"]
    told = await sam.client.event("recording:started")
    assert (told["recording_id"], told["by"]) == (recording_id, tina.id)
    await sam.client.do("recording:consent", {"recording_id": recording_id, "accepted": True})
    late = await come("sue")
    assert late.answer["recording"]["recording_id"] == recording_id
    folder = folder_of(recording_id, places)
    await until(lambda: (folder / TIMELINE).exists() and len(read_timeline(folder)) >= 3)
    stopped = await tina.client.do("recording:stop")
    assert stopped["recording_id"] == recording_id
    assert (await sam.client.event("recording:stopped"))["duration"] == stopped["duration"]
    assert (folder / MANIFEST).exists()
    assert {entry.name for entry in read_timeline(folder) if isinstance(entry, Joined)} >= {"Tina", "Sam"}
    assert await stored() == [(recording_id, "queued")]
    assert len(sent) == 1


async def test_the_room_sees_its_recording_become_ready(worker, come, places, sent):
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    folder = folder_of(started["recording_id"], places)
    await until(lambda: (folder / TIMELINE).exists() and len(read_timeline(folder)) >= 2)
    await tina.client.do("recording:stop")
    await tina.client.event("recording:status", status="queued")
    await sync_to_async(tasks.compose_recording, thread_sensitive=False)(sent[0])
    for status in ("composing", "uploading", "ready"):
        told = await tina.client.event("recording:status", status=status)
        assert told["recording_id"] == started["recording_id"]
    assert await stored() == [(started["recording_id"], "ready")]


@pytest.mark.parametrize("role", NAMES)
async def test_hosts_and_co_hosts_record_and_nobody_else(worker, come, world, places, role):
    host = await come("tina")
    person = host if role == "host" else await come(NAMES[role])
    if role == "presenter":
        await host.client.do("participant:role:update", {"participant_id": person.id, "role": "presenter"})
    expected = "ok" if role in ("host", "co-host") else "forbidden"
    assert await person.ask("recording:start") == expected
    assert len(await stored()) == (1 if expected == "ok" else 0)
    if expected == "forbidden":
        await host.client.do("recording:start")
    assert await person.ask("recording:stop") == expected


async def test_a_class_is_recorded_once_at_a_time(worker, come, places):
    tina = await come("tina")
    assert await tina.client.refused("recording:stop") == "wrong_state"
    await tina.client.do("recording:start")
    assert await tina.client.refused("recording:start") == "wrong_state"
    await tina.client.do("recording:stop")
    assert await tina.client.refused("recording:stop") == "wrong_state"
    again = await tina.client.do("recording:start")
    assert await stored() == [((await stored())[0][0], "queued"), (again["recording_id"], "recording")]


@pytest.mark.parametrize(
    "options", [{"layout": "cinema"}, {"qualities": ["8k"]}, {"qualities": []}, {"who": "me"}, {"more": 1}, 5]
)
async def test_options_that_do_not_exist_are_refused(worker, come, places, options):
    tina = await come("tina")
    assert await tina.client.refused("recording:start", {"options": options}) == "bad_request"
    assert await stored() == []


async def test_without_a_worker_nothing_is_left_behind(come, places):
    tina = await come("tina")
    assert await tina.client.refused("recording:start") == "media_unavailable"
    assert await stored() == []


async def test_the_end_of_the_class_ends_its_recording(worker, come, places, sent):
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    await tina.client.do("room:end")
    assert await stored() == [(started["recording_id"], "queued")]
    assert len(sent) == 1
    assert read_manifest(folder_of(started["recording_id"], places)) is not None


async def test_a_worker_that_cannot_write_ends_the_recording_once(worker, come, world, places, sent):
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    for _ in range(2):  # every process of the room is told
        await on_recording_failed.run(world.room.code, started["recording_id"], "disk_full")
    assert await stored() == [(started["recording_id"], "queued")]
    assert len(sent) == 1
    assert (await tina.client.event("recording:stopped"))["recording_id"] == started["recording_id"]
    assert await tina.client.quiet("recording:stopped")
    late = await come("sam")
    assert late.answer["recording"] is None


async def test_the_room_is_told_when_the_sweeper_ends_its_recording(worker, come, places, sent):
    """The only worker died and stayed away."""
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    folder = folder_of(started["recording_id"], places)
    await until(lambda: (folder / LEASE).exists())
    worker.kill()
    long_ago = time.time() - RESUME_WITHIN - 5
    os.utime(folder / LEASE, (long_ago, long_ago))
    await sync_to_async(tasks.sweep_recordings, thread_sensitive=False)()
    assert (await tina.client.event("recording:stopped"))["recording_id"] == started["recording_id"]
    assert (await come("sam")).answer["recording"] is None
    assert await stored() == [(started["recording_id"], "queued")]


async def test_a_recording_that_nobody_knows_of_is_stopped(worker, come, world, places, hubs, media):
    tina = await come("tina")
    await media.rooms[world.room.code].request(StartRecording(room=world.room.code, recording="unknown"))
    await hubs.redis.flushall()
    assert await tina.client.until_closed() == 1012
    await tina.client.close()
    await worker.up()
    again = await come("tina")
    assert again.answer["recording"] is None
    assert (folder_of("unknown", places) / MANIFEST).exists()


async def test_a_start_that_is_answered_too_late_records_nothing(worker, come, places, monkeypatch):
    tina = await come("tina")
    real = WorkerClient.request

    async def late(client: WorkerClient, request: Request, **options: float) -> object:
        answer = await real(client, request, **options)
        if isinstance(request, StartRecording):
            raise InvalidRequest("media_unavailable", "no answer within 5 s")
        return answer

    with monkeypatch.context() as slow:
        slow.setattr(WorkerClient, "request", late)
        assert await tina.client.refused("recording:start") == "media_unavailable"
    assert await stored() == []
    started = await tina.client.do("recording:start")
    assert await stored() == [(started["recording_id"], "recording")]
