"""Pause, resume, consent, who is recorded, beginning by itself: sockets, a real media worker, what is on the disk."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import msgspec
import pytest
from asgiref.sync import sync_to_async

from classroom.models import Lesson
from meetings.errors import Refused
from meetings.media import recording as at_worker
from meetings.media.hooks import on_recording_failed
from meetings.models import Participant
from recordings.handlers import RecordingStart
from recordings.models import Consent, Recording
from recordings.timeline import RecordedTime
from sfu.manifest import Joined, Left, Mark, Paused, Resumed, Started, TrackStarted, read_timeline
from sfu.protocol import DiskLow
from tests.lectern import ROOT
from tests.meetings.conftest import enter, hubs, join, make_hubs, redis_settings, world
from tests.meetings.media.conftest import NAMES, come, make_worker, media, start_worker, worker
from tests.recordings.test_recording_a_class import layer, sent
from tests.waiting import until

__all__ = ["come", "enter", "hubs", "join", "layer", "make_hubs", "make_worker", "media", "redis_settings", "sent",
           "start_worker", "worker", "world"]  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)


def yes(recording_id: str) -> dict[str, object]:
    return {"recording_id": recording_id, "accepted": True}


@pytest.fixture
def timeline(places: Path):
    def read(recording_id: str, *kinds: type):
        path = places / "recordings" / recording_id
        try:
            return [entry for entry in read_timeline(path) if not kinds or isinstance(entry, kinds)]
        except FileNotFoundError:
            return []

    return read


@sync_to_async
def stored() -> Recording:
    return Recording.objects.get()


@sync_to_async
def lesson_says(**what: object) -> None:
    Lesson.objects.update(**what)


def test_whatever_the_page_offers_the_socket_takes() -> None:
    page = (ROOT / "templates" / "meetings" / "room.html").read_text()

    def offered(name: str) -> list[str]:
        select = page.partition(f'<select id="recording-{name}"')[2].partition("</select>")[0]
        return re.findall(r'value="([^"]+)"', select)

    choices = {name: offered(name) for name in ("who", "layout", "quality", "formats")}
    assert min(map(len, choices.values())) > 1
    for who, layout, quality, formats in itertools.product(*choices.values()):
        options = {"who": who, "layout": layout, "qualities": [quality], "formats": formats.split()}
        msgspec.convert({"options": options}, RecordingStart)
    assert {each for formats in choices["formats"] for each in formats.split()} == {"mp4", "m4a", "hls", "webm"}


# --- pause and resume ------------------------------------------------------------------------------------------------


async def test_a_pause_is_told_to_all_and_counts_for_nothing(worker, come, timeline, sent):
    tina, sam = await come("tina"), await come("sam")
    started = await tina.client.do(
        "recording:start", {"options": {"layout": "speaker", "qualities": ["360p", "1080p"]}}
    )
    told = await sam.client.event("recording:started")
    assert (told["layout"], told["who"], told["elapsed"]) == ("speaker", "all", 0)
    paused = await tina.client.do("recording:pause")
    told = await sam.client.event("recording:paused")
    assert told == {**paused, "by": tina.id}
    late = (await come("sue")).answer["recording"]
    assert (late["status"], late["elapsed"]) == ("paused", paused["elapsed"])
    assert "as_of" not in late
    assert await tina.client.refused("recording:pause") == "wrong_state"
    resumed = await tina.client.do("recording:resume")
    assert resumed["elapsed"] >= paused["elapsed"]
    assert (await sam.client.event("recording:resumed"))["by"] == tina.id
    assert await tina.client.refused("recording:resume") == "wrong_state"
    late = (await come("asa")).answer["recording"]
    assert late["status"] == "recording"
    assert late["elapsed"] >= resumed["elapsed"]
    stopped = await tina.client.do("recording:stop")
    recording = await stored()
    assert (recording.layout, recording.qualities) == ("speaker", ["360p", "1080p"])
    assert recording.seconds_paused > 0
    assert recording.duration is not None
    assert recording.stopped_at is not None
    assert stopped["duration"] == pytest.approx(recording.duration.total_seconds(), abs=0.001)
    whole = (recording.stopped_at - recording.started_at).total_seconds()
    assert stopped["duration"] + recording.seconds_paused == pytest.approx(whole, abs=0.01)
    entries = timeline(started["recording_id"])
    assert [type(entry) for entry in entries if isinstance(entry, Paused | Resumed)] == [Paused, Resumed]
    assert RecordedTime.of(entries).at(entries[-1].at) < entries[-1].at - entries[0].at


async def test_of_two_hosts_who_decide_at_once_the_worker_hears_last_what_holds(worker, come, timeline, monkeypatch):
    tina, asa = await come("tina"), await come("asa")
    started = await tina.client.do("recording:start")
    pause = at_worker.pause_recording

    async def late(code: str, recording_id: str) -> bool:
        await asa.client.do("recording:resume")
        return await pause(code, recording_id)

    monkeypatch.setattr(at_worker, "pause_recording", late)
    assert await tina.client.refused("recording:pause") == "wrong_state"
    assert (await stored()).paused_at is None
    await tina.client.do("recording:stop")
    assert isinstance(timeline(started["recording_id"], Paused, Resumed)[-1], Resumed)


async def test_a_worker_that_is_killed_in_a_pause_is_followed_by_one_that_is_paused(
    start_worker, come, media, timeline
):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    await tina.client.do("recording:pause")
    await until(lambda: timeline(started["recording_id"], Paused))
    workers[media.rooms[tina.code].placement.worker_id].kill()
    await tina.client.event("media:restart")
    await until(lambda: len(timeline(started["recording_id"], Paused)) == 2)
    _, again = timeline(started["recording_id"], Started)
    assert timeline(started["recording_id"], Paused)[1].at == again.at
    assert (await come("sam")).answer["recording"]["status"] == "paused"
    await tina.client.do("recording:resume")
    await until(lambda: timeline(started["recording_id"], Resumed))
    [(since, till)] = RecordedTime.of(timeline(started["recording_id"])).pauses
    assert since < again.at < till


@pytest.mark.parametrize("event", ["recording:pause", "recording:resume", "recording:mark"])
async def test_only_hosts_and_co_hosts_of_this_class_pause_resume_and_mark(worker, come, event):
    tina, sam, asa = await come("tina"), await come("sam"), await come("asa")
    assert await tina.ask(event) == "wrong_state"  # nothing is recorded
    await tina.client.do("recording:start")
    if event == "recording:resume":
        await tina.client.do("recording:pause")
    assert await sam.ask(event) == "forbidden"
    assert await sam.ask(event, recording_id=(await stored()).public_id) == "bad_request"
    assert await asa.ask(event) == "ok"


async def test_a_mark_is_a_chapter_in_the_timeline(worker, come, timeline):
    tina = await come("tina")
    started = await tina.client.do("recording:start")
    marked = await tina.client.do("recording:mark", {"title": " Refraction "})
    assert marked["elapsed"] >= 0
    await tina.client.do("recording:mark")
    await until(lambda: len(timeline(started["recording_id"], Mark)) == 2)
    titles = [entry.mark for entry in timeline(started["recording_id"], Mark)]
    assert titles == [{"kind": "chapter", "title": "Refraction"}, {"kind": "chapter", "title": ""}]
    for title in ("x" * 101, "two\nlines", 5, None):
        assert await tina.ask("recording:mark", title=title) == "bad_request"


async def test_a_layout_for_all_is_told_to_all_and_followed_by_the_recording(worker, come, timeline):
    tina, sam = await come("tina"), await come("sam")
    await tina.client.do("layout:change", {"layout": "grid", "for_all": True})  # nothing is recorded
    await sam.client.event("layout:changed", layout="grid")
    recording_id = (await tina.client.do("recording:start"))["recording_id"]
    await tina.client.do("layout:change", {"layout": "speaker", "for_all": True})
    assert (await sam.client.event("layout:changed", layout="speaker"))["by"] == tina.id
    await until(lambda: timeline(recording_id, Mark))
    assert [one.mark for one in timeline(recording_id, Mark)] == [{"kind": "layout", "layout": "speaker"}]
    assert await sam.ask("layout:change", layout="grid", for_all=True) == "forbidden"
    assert await sam.ask("layout:change", layout="cinema") == "bad_request"
    await sam.client.do("layout:change", {"layout": "speaker"})  # one's own
    assert await sam.client.quiet("layout:changed")


# --- consent ---------------------------------------------------------------------------------------------------------


async def test_everybody_is_asked_and_nothing_is_recorded_of_whoever_has_not_agreed(worker, come, timeline, places):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    started = await tina.client.do("recording:start")
    recording_id = started["recording_id"]
    assert (await sam.client.event("recording:consent_asked"))["recording_id"] == recording_id
    assert await tina.client.quiet("recording:consent_asked")  # who presses Record has agreed
    sue, gus = await come("sue"), await come("guest")
    assert sue.answer["consent_asked"] == gus.answer["consent_asked"] == recording_id
    await sue.produce("camera")
    await until(lambda: timeline(recording_id, Joined))
    assert {one.name for one in timeline(recording_id, Joined)} == {"Tina"}

    await sam.client.do("recording:consent", yes(recording_id))
    [track] = await until(lambda: timeline(recording_id, TrackStarted))
    assert (track.producer_id, track.peer) == (microphone, sam.id)
    people = (await come("asa")).answer["participants"]
    assert {one["name"]: one["consent"] for one in people} == {
        "Tina": True, "Sam": True, "Sue": None, "Gus": None, "Asa": None,
    }  # fmt: skip
    await gus.client.do("recording:consent", yes(recording_id))
    await until(lambda: "Gus" in {one.name for one in timeline(recording_id, Joined)})
    await sam.client.do("recording:consent", {**yes(recording_id), "accepted": False})
    await until(lambda: [one.peer for one in timeline(recording_id, Left)] == [sam.id])
    kept = await sync_to_async(lambda: list(Consent.objects.values_list("participant__name", "accepted")))()
    assert kept == [("Tina", True), ("Sam", True), ("Gus", True), ("Sam", False)]
    assert {path.name.split(".")[0] for path in (places / "recordings" / recording_id).glob("*.rtpdump")} <= {
        microphone
    }


async def test_who_has_agreed_is_not_asked_again_in_this_class(worker, come, timeline, sent):
    tina, sam = await come("tina"), await come("sam")
    recording_id = (await tina.client.do("recording:start"))["recording_id"]
    await sam.client.event("recording:consent_asked")
    await sam.client.do("recording:consent", yes(recording_id))
    await tina.client.do("recording:stop")
    assert await sam.client.refused("recording:consent", yes(recording_id)) == "wrong_state"
    again = await tina.client.do("recording:start")
    await sam.client.event("recording:started", recording_id=again["recording_id"])
    assert await sam.client.quiet("recording:consent_asked")
    await until(lambda: {one.name for one in timeline(again["recording_id"], Joined)} == {"Tina", "Sam"})
    await sam.client.close()
    assert (await come("sam")).answer["consent_asked"] is None


@pytest.mark.parametrize(
    "answer",
    [{"accepted": True}, yes(""), yes("../x"), {**yes("x"), "accepted": "yes"}, {**yes("x"), "participant_id": "x"},
     {**yes("x"), "accepted": 1}],
)  # fmt: skip
async def test_an_answer_that_is_none_is_refused(worker, come, answer):
    tina = await come("tina")
    await tina.client.do("recording:start")
    assert await tina.client.refused("recording:consent", answer) == "bad_request"


# --- who -------------------------------------------------------------------------------------------------------------


async def test_teachers_only_leaves_students_out_on_the_disk_until_they_are_promoted(worker, come, timeline, places):
    tina, sam = await come("tina"), await come("sam")
    microphones = [await one.produce("microphone") for one in (tina, sam)]
    started = await tina.client.do("recording:start", {"options": {"who": "teachers"}})
    recording_id = started["recording_id"]
    await sam.client.do("recording:consent", yes(recording_id))
    asa = await come("asa")
    await asa.client.do("recording:consent", yes(recording_id))
    await until(lambda: {one.name for one in timeline(recording_id, Joined)} == {"Tina", "Asa"})
    assert [track.producer_id for track in timeline(recording_id, TrackStarted)] == microphones[:1]

    await tina.client.do("participant:role:update", {"participant_id": sam.id, "role": "co-host"})
    await until(lambda: [track.producer_id for track in timeline(recording_id, TrackStarted)] == microphones)
    await tina.client.do("participant:role:update", {"participant_id": sam.id, "role": "attendee"})
    await until(lambda: [one.peer for one in timeline(recording_id, Left)] == [sam.id])
    folder = places / "recordings" / recording_id
    assert {path.name.split(".")[0] for path in folder.glob("*.rtpdump")} <= set(microphones)


async def test_who_agreed_to_a_recording_of_teachers_is_asked_before_one_of_everybody(worker, come, timeline, sent):
    tina, sam = await come("tina"), await come("sam")
    first = (await tina.client.do("recording:start", {"options": {"who": "teachers"}}))["recording_id"]
    await sam.client.event("recording:consent_asked")
    await sam.client.do("recording:consent", yes(first))
    await tina.client.do("recording:stop")
    recording_id = (await tina.client.do("recording:start"))["recording_id"]
    assert (await sam.client.event("recording:consent_asked"))["recording_id"] == recording_id
    assert await sam.client.refused("recording:consent", yes(first)) == "wrong_state"  # it was late on its way
    sue = await come("sue")
    assert {one["name"]: one["consent"] for one in sue.answer["participants"]}["Sam"] is False
    await sam.client.close()
    sam = await come("sam")
    assert sam.answer["consent_asked"] == recording_id
    await sue.client.do("recording:consent", yes(recording_id))
    await until(lambda: {one.name for one in timeline(recording_id, Joined)} == {"Tina", "Sue"})
    await sam.client.do("recording:consent", yes(recording_id))
    await until(lambda: {one.name for one in timeline(recording_id, Joined)} == {"Tina", "Sue", "Sam"})
    await tina.client.do("recording:stop")
    await tina.client.do("recording:start", {"options": {"who": "teachers"}})
    assert await sam.client.quiet("recording:consent_asked")  # it is less than what he agreed to


async def test_after_a_workers_death_the_next_one_records_the_same_people(start_worker, come, media, timeline):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    tina, sam = await come("tina"), await come("sam")
    recording_id = (await tina.client.do("recording:start"))["recording_id"]
    await sam.client.do("recording:consent", yes(recording_id))
    await come("sue")
    workers[media.rooms[tina.code].placement.worker_id].kill()
    await tina.client.event("media:restart")
    sam.transports = {}
    microphone = await sam.produce("microphone")
    await until(lambda: [one.producer_id for one in timeline(recording_id, TrackStarted)] == [microphone])
    assert "Sue" not in {one.name for one in timeline(recording_id, Joined)}


# --- by itself -------------------------------------------------------------------------------------------------------


async def test_a_lesson_that_says_so_is_recorded_when_its_host_enters_and_once(worker, come, sent):
    await lesson_says(record_automatically=True, recorded="teachers", recording_layout="presentation")
    sam = await come("sam")
    assert await sam.client.quiet("recording:started")
    tina = await come("tina")
    told = await sam.client.event("recording:started")
    assert (told["who"], told["layout"], told["by"]) == ("teachers", "presentation", None)
    assert (await tina.client.event("recording:consent_asked"))["recording_id"] == told["recording_id"]
    await tina.client.do("recording:stop")
    await tina.client.close()
    again = await come("tina")
    assert again.answer["recording"] is None
    assert await again.client.quiet("recording:started")


async def test_it_begins_when_there_is_a_media_worker(start_worker, come, monkeypatch):
    monkeypatch.setattr("recordings.handlers.TRY_AGAIN", 0.05)
    await lesson_says(record_automatically=True)
    tina = await come("tina")
    assert await tina.client.quiet("recording:started")
    await start_worker()
    await tina.client.event("recording:started")


async def test_an_encrypted_class_is_not_recorded_by_itself(worker, come, world):
    """A lesson cannot say both; a room that was encrypted when its class began stays so."""
    await sync_to_async(type(world.room).objects.update)(encrypted=True)
    await lesson_says(record_automatically=True, encrypted=True)
    tina = await come("tina")
    assert await tina.client.quiet("recording:started")
    refused = await tina.client.ask("recording:start")
    assert refused["error"]["code"] == "wrong_state"
    assert "end-to-end encrypted" in refused["error"]["message"]
    assert not await sync_to_async(Recording.objects.exists)()


# --- on a host's own device ------------------------------------------------------------------------------------------


async def test_that_somebody_records_on_his_own_device_is_seen_by_all(come, world):
    tina, sam = await come("tina"), await come("sam")
    assert await sam.ask("recording:local", active=True) == "forbidden"
    assert await tina.ask("recording:local", active="now") == "bad_request"
    await tina.client.do("recording:local", {"active": True})
    people = (await come("sue")).answer["participants"]
    assert {one["name"]: one["records_here"] for one in people} == {"Tina": True, "Sam": None, "Sue": None}
    again = await come("tina")  # the page was loaded anew, and records no more
    people = (await come("asa")).answer["participants"]
    assert {one["name"]: one["records_here"] for one in people if one["name"] == "Tina"} == {"Tina": False}
    world.room.settings = {"allow": {"record_here": False}}
    await sync_to_async(world.room.save)()
    await again.client.close()
    assert "record_here" not in (await come("tina")).answer["you"]["can"]


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_the_room_is_told_why_its_recording_ended(worker, come, world, sent):
    tina, sam = await come("tina"), await come("sam")
    started = await tina.client.do("recording:start")
    await on_recording_failed.run(world.room.code, started["recording_id"], "disk_full")
    assert (await sam.client.event("recording:stopped"))["reason"] == "disk_full"


async def test_hosts_are_told_before_the_disk_is_full(worker, come, world, media):
    tina, sam = await come("tina"), await come("sam")
    started = await tina.client.do("recording:start")
    low = DiskLow(room=world.room.code, recording=started["recording_id"], free=1_500_000_000)
    media.rooms[world.room.code].heard(low)
    assert (await tina.client.event("recording:disk"))["free"] == 1_500_000_000
    assert await sam.client.quiet("recording:disk")


async def test_a_full_disk_refuses_a_recording_in_words(worker, come, monkeypatch):
    async def full(*_, **__):
        raise Refused("media_unavailable", "disk_full: 12 MB are free")

    tina = await come("tina")
    monkeypatch.setattr("meetings.media.recording.start_recording", full)
    refused = await tina.client.ask("recording:start")
    assert "disk is nearly full" in refused["error"]["message"]
    assert not await sync_to_async(Recording.objects.exists)()


@pytest.mark.parametrize("role", NAMES)
async def test_roles_of_the_table_are_those_that_count_as_teachers(role):
    from meetings.permissions import may
    from recordings.consents import TEACHERS

    assert (Participant.Role(role) in TEACHERS) == may(role, "record", {}, {})
