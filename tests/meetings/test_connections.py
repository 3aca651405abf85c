"""Whom a report of one's connection reaches, and what of it is remembered."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from meetings.media import controller
from meetings.media.placement import Placement
from meetings.models import Attendance, ConnectionSummary, Participant
from meetings.quality import monitor, summaries
from meetings.quality.monitor import monitor_of
from meetings.quality.totals import Totals
from meetings.redis_client import plain, room_key
from meetings.services import give_role
from meetings.tasks import close_abandoned_attendance, forget_whose_connections, save_connection_summaries
from sfu.protocol import Heartbeat
from tests.meetings.world import Client
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = {"rtt": 40, "jitter": 5, "packet_loss": 0.0, "voice_loss": 0.0, "bitrate": 800_000, "path": "udp"}
POOR = {"rtt": 300, "jitter": 40, "packet_loss": 12.0, "voice_loss": 12.0, "bitrate": 90_000, "path": "tcp"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(monitor, "TELL_EVERY", 0.05)
    monkeypatch.setattr(summaries, "SETTLED", 0.0)


def updates(client: Client) -> list[list[dict]]:
    return [frame["data"]["participants"] for frame in client.order if frame.get("event") == "stats:update"]


async def told_of(client: Client, other: Client) -> dict:
    pid = other.answer["you"]["participant_id"]

    def found() -> list[dict]:
        return [person for people in updates(client) for person in people if person["participant_id"] == pid]

    await client.until(found)
    return found()[-1]


@sync_to_async
def rows() -> list[ConnectionSummary]:
    return list(ConnectionSummary.objects.select_related("attendance__participant").order_by("pk"))


async def row() -> Any:
    async with asyncio.timeout(5):
        while not (found := await rows()):
            await asyncio.sleep(0.02)
    [only] = found
    return only


# --- who is told -----------------------------------------------------------------------------------------------------


async def test_teachers_in_every_process_are_told_and_nobody_else(join, make_hubs):
    tina, sam, sue, guest = await join("tina"), await join("sam"), await join("sue"), await join("guest")
    asa, pia = await join("asa", by=make_hubs()), await join("pia")
    await tina.do(
        "participant:role:update", {"participant_id": pia.answer["you"]["participant_id"], "role": "presenter"}
    )
    await sam.do("stats:report", POOR)
    await sue.do("stats:report", GOOD)
    for teacher in (tina, asa):
        about = await told_of(teacher, sam)
        assert (about["quality"], about["packet_loss"], about["path"]) == ("danger", 12.0, "tcp")
        assert 1 < about["score"] < 3.5
        assert (await told_of(teacher, sue))["score"] > 4.3
    for other in (sam, sue, guest, pia):
        await other.ask("chat:history", {"limit": 1})
        assert updates(other) == [], "a student never gets another's figures, nor a presenter"
    assert all("seq" not in frame for frame in tina.order if frame.get("event") == "stats:update")


async def test_who_is_a_teacher_no_more_is_told_no_more(join, world):
    tina, asa, sam = await join("tina"), await join("asa"), await join("sam")
    await sam.do("stats:report", GOOD)
    await told_of(asa, sam)
    change = {"participant_id": asa.answer["you"]["participant_id"], "role": "attendee"}
    await tina.do("participant:role:update", change)
    await asa.event("participant:role:changed")
    before = len(updates(asa))
    await sam.do("stats:report", POOR)
    await tina.until(lambda: updates(tina)[-1][0]["quality"] == "danger")
    await asa.ask("chat:history", {"limit": 1})
    assert len(updates(asa)) == before


async def test_many_reports_are_one_frame_the_worst_first_and_everybodys_turn_comes(join, hubs, world, monkeypatch):
    monkeypatch.setattr(monitor, "TELL_EVERY", 3600.0)
    monkeypatch.setattr(monitor, "TOLD_AT_ONCE", 2)
    tina = await join("tina")
    people = [await join(name) for name in ("sam", "sue", "pia")]
    for client, report in zip(people, (GOOD, POOR, GOOD), strict=True):
        await client.do("stats:report", report)
    ids = [client.answer["you"]["participant_id"] for client in people]
    connections = monitor_of(hubs.hubs[world.room.code])
    now = asyncio.get_running_loop().time
    await connections.tick(now())
    await people[1].do("stats:report", POOR)
    await connections.tick(now())
    await connections.tick(now())
    await tina.until(lambda: len(updates(tina)) == 2)
    assert [[person["participant_id"] for person in frame] for frame in updates(tina)] == [
        [ids[1], ids[0]],
        [ids[1], ids[2]],
    ]


async def test_whose_reports_become_poor_is_warned_once(join):
    await join("tina")
    sam = await join("sam")
    for report in (POOR, POOR, GOOD, GOOD, POOR):
        await sam.do("stats:report", report)
    assert await sam.event("quality:warning") == {"issue": "network"}
    assert await sam.quiet("quality:warning"), "not twice within a minute"


async def test_a_report_with_fields_or_values_of_its_own_is_refused(join):
    sam = await join("sam")
    for wrong in (
        {"rtt": "40"},
        {"packet_loss": 101},
        {"path": "pigeon"},
        {"participant_id": "tina"},
        {"bytes_sent": 10**13},
    ):
        assert await sam.refused("stats:report", wrong) == "bad_request"
    for _ in range(10):
        await sam.do("stats:report", {})
    assert await sam.refused("stats:report", {}) == "rate_limited"


async def test_the_people_of_a_worker_that_is_short_of_cpu_are_told_once_a_minute(join, hubs, world):
    sam = await join("sam")
    media = controller.media_beside(hubs)
    media.rooms[world.room.code].placement = Placement("sfu-0", "epoch")
    beat = lambda load: {"sfu-0": Heartbeat("sfu-0", "epoch", "", [], "local", load, 1, draining=False)}  # noqa: E731
    for look, load in enumerate([0.99, 0.99, 0.99, 0.99, 0.5, 0.99, 0.99, 0.99, 0.99]):
        await media._tell_busy(beat(load), float(look))
    assert await sam.quiet("quality:warning"), "busy for a moment is not short of CPU"
    for look in range(10, 20):
        await media._tell_busy(beat(0.99), float(look))
    assert await sam.event("quality:warning") == {"issue": "cpu"}
    assert await sam.quiet("quality:warning")


# --- what is remembered ----------------------------------------------------------------------------------------------


async def test_who_leaves_leaves_a_summary(join, world):
    sam = await join("sam")
    await sam.do("stats:report", {**GOOD, "bytes_received": 500_000, "bytes_sent": 100_000, "freeze_count": 2})
    await sam.do("stats:report", POOR)
    await sam.do("room:leave")
    summary = await row()
    assert summary.attendance.participant.name == "Sam"
    assert summary.room_id == summary.attendance.participant.room_id
    assert 5 <= summary.seconds <= 10
    assert (summary.worst_loss, summary.worst_rtt) == (12.0, 300)
    assert 40 <= summary.rtt <= 300
    assert summary.score > summary.worst_score > 1
    assert summary.danger_share > 0
    assert (summary.bytes_received, summary.bytes_sent, summary.freezes) == (500_000, 100_000, 2)
    assert (summary.used_tcp, summary.used_relay) == (True, False)
    async with asyncio.timeout(5):
        while await sync_to_async(plain().hgetall)(room_key(world.room.code, "quality")):
            await asyncio.sleep(0.02)


async def test_the_end_of_the_class_leaves_one_of_each_who_reported(join, make_hubs):
    tina, sam, sue = await join("tina"), await join("sam"), await join("sue", by=make_hubs())
    for client in (tina, sam):
        await client.do("stats:report", GOOD)
    await sue.do("stats:report", {})
    await tina.do("room:end")
    for client in (tina, sam, sue):
        await client.until_closed()
        await client.close()
    async with asyncio.timeout(5):
        while len(await rows()) < 2:
            await asyncio.sleep(0.02)
    await sync_to_async(save_connection_summaries)()
    assert {summary.attendance.participant.name for summary in await rows()} == {"Tina", "Sam"}


async def test_who_comes_back_by_another_process_has_one_summary_of_all(join, make_hubs, hubs, world):
    tina = await join("tina")
    sam = await join("sam")
    await sam.do("stats:report", {**GOOD, "bytes_sent": 10})
    await sam.close()
    assert await rows() == [], "who may come back is not summed up"
    again = await join("sam", by=make_hubs(), join={"session": sam.answer["session"]})
    assert again.answer["session"] == sam.answer["session"]
    await again.do("stats:report", {**POOR, "bytes_sent": 32})
    await again.do("room:leave")
    summary = await row()
    assert (summary.bytes_sent, summary.worst_rtt, summary.seconds) == (42, 300, 10)
    await tina.do("room:leave")


async def test_a_line_that_breaks_again_and_again_leaves_one_sum_of_all(join, make_hubs, hubs, world):
    tina = await join("tina")
    others, session = make_hubs(), None
    for turn in range(6):
        again = {"session": session} if session else {}
        sam = await join("sam", by=(hubs, others)[turn % 2], join=again)
        session = sam.answer["session"]
        await sam.do("stats:report", {**GOOD, "bytes_sent": 7})
        await sam.close()
    stored = await sync_to_async(plain().hgetall)(room_key(world.room.code, "quality"))
    [only] = stored.values()
    assert msgspec.json.decode(only, type=Totals).sent == 42
    sam = await join("sam", join={"session": session})
    await sam.do("room:leave")
    await sync_to_async(save_connection_summaries)()
    assert (await row()).bytes_sent == 42
    await tina.do("room:leave")


async def test_what_a_killed_process_had_stored_is_saved_by_the_sweeper_when_the_person_counts_as_lost(
    join, hubs, world, monkeypatch
):
    sam = await join("sam")
    await sam.do("stats:report", POOR)
    connections = monitor_of(hubs.hubs[world.room.code])
    await until(lambda: all(line.stored for line in connections.lines.values()))
    connections.lines.clear()  # the process is gone: it says nothing any more

    def sweep() -> tuple[int, int]:
        before = save_connection_summaries()
        Attendance.objects.update(joined_at=timezone.now() - timedelta(hours=1))
        plain().zadd(room_key(world.room.code, "leases"), {sam.answer["you"]["participant_id"]: time.time() - 1000})
        assert close_abandoned_attendance() == 1
        return before, save_connection_summaries() + save_connection_summaries()

    assert await sync_to_async(sweep)() == (0, 1)
    assert (await row()).worst_loss == 12.0


async def test_sums_that_nobody_can_read_and_sessions_that_nobody_knows_do_no_harm(join, world):
    sam = await join("sam")
    await sam.do("stats:report", GOOD)
    key = room_key(world.room.code, "quality")
    redis = plain()
    await sync_to_async(redis.hset)(key, "nobody:socket", msgspec.json.encode(Totals()))
    await sync_to_async(redis.hset)(key, f"{sam.answer['session']}:other", b"{")
    await sam.do("room:leave")
    assert (await row()).worst_rtt == 40
    await sync_to_async(save_connection_summaries)()
    assert len(await rows()) == 1
    assert await sync_to_async(plain().hgetall)(key) == {}


async def test_without_redis_reporting_goes_on_and_the_sweeper_waits(join, hubs, world, settings):
    sam = await join("sam")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert await sync_to_async(save_connection_summaries)() == 0
    await sam.do("stats:report", GOOD)


def test_after_the_retention_it_is_told_of_nobody(world_of_summaries, settings):
    settings.ANALYTICS_RETENTION_DAYS = 90
    assert forget_whose_connections() == 1
    assert forget_whose_connections() == 0
    old, new = ConnectionSummary.objects.order_by("day")
    assert (old.attendance, old.room, old.rtt) == (None, None, 40)
    assert new.attendance is not None
    settings.ANALYTICS_RETENTION_DAYS = 0
    ConnectionSummary.objects.update(day=timezone.now().date() - timedelta(days=4000))
    assert forget_whose_connections() == 0


def test_a_person_who_is_erased_leaves_figures_without_a_name(world_of_summaries):
    Participant.objects.all().delete()
    assert [summary.attendance for summary in ConnectionSummary.objects.all()] == [None, None]


def test_the_api_tells_it_with_the_attendance_to_those_who_see_that(world_of_summaries, client):
    def seen(name: str) -> dict[str, float | None]:
        client.force_login(world_of_summaries.users[name])
        results = client.get("/api/v1/attendance/").json()["results"]
        return {row["name"]: row["connection"] and row["connection"]["worst_rtt"] for row in results}

    assert seen("tina") == {"Sam": 80, "Sue": 80}
    assert seen("sam") == {"Sam": 80}
    ConnectionSummary.objects.all().delete()
    assert seen("sue") == {"Sue": None}


def test_an_admin_reads_them_and_changes_none(world_of_summaries, client):
    client.force_login(User.objects.create_superuser("root", password="x"))
    listed = client.get(reverse("admin:meetings_connectionsummary_changelist"))
    assert "40 ms, worst 80 ms" in listed.content.decode()
    one = reverse("admin:meetings_connectionsummary_change", args=[ConnectionSummary.objects.first().pk])
    assert client.get(one).status_code == 200
    assert client.post(one, {"rtt": "1"}).status_code == 403
    assert client.get(reverse("admin:meetings_connectionsummary_add")).status_code == 403


@pytest.fixture
def world_of_summaries(transactional_db, redis_settings):
    from meetings import services
    from tests.meetings.world import World

    world = World.make()
    for name, age in (("sam", 91), ("sue", 89)):
        participant = services.participant_for(services.get_room_for(world.users[name], world.room.code))
        give_role(participant, "attendee")
        attendance = Attendance.objects.create(participant=participant, session=name, left_at=timezone.now())
        ConnectionSummary.objects.create(
            attendance=attendance, room=world.room, day=timezone.now().date() - timedelta(days=age), seconds=60, rtt=40,
            worst_rtt=80, warning_share=0, danger_share=0, bytes_received=1, bytes_sent=1, freezes=0, used_tcp=False,
            used_relay=False,
        )  # fmt: skip
    return world


def test_the_sweepers_are_scheduled():
    from config.celery import app

    for name in ("save connection summaries", "forget whose connections"):
        assert app.conf.beat_schedule[name]["task"] in app.tasks
