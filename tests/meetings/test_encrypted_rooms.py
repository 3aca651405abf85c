"""An end-to-end encrypted room: who says that it is one, from when on it stays, and what the server cannot do in it."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse

from classroom.forms import LessonForm
from classroom.models import Lesson
from meetings import services
from meetings.models import ENCRYPTED_PLACES, Room
from meetings.permissions import NOT_ENCRYPTED, TABLE
from recordings.models import Recording
from tests.meetings.conftest import Enter
from tests.meetings.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def encrypted(world: World) -> World:
    lesson = world.room.lesson
    assert lesson is not None
    lesson.encrypted = True
    await lesson.asave()
    return world


@pytest.fixture
def still(redis_settings: str) -> World:
    return World.make()


async def test_all_are_told_and_the_frames_go_by_the_sfu(encrypted: World, join: Enter):
    await Room.objects.aupdate(settings={"encrypted": False}, mode="auto")
    sam = await join("sam")
    assert sam.answer["settings"]["encrypted"] is True
    assert sam.answer["settings"]["mode"] == "sfu"


async def test_another_room_is_as_it_was_whatever_its_settings_say(world: World, join: Enter):
    await Room.objects.aupdate(settings={"encrypted": True}, mode="auto")
    sam = await join("sam")
    assert sam.answer["settings"]["encrypted"] is False
    assert sam.answer["settings"]["mode"] == "auto"


async def test_two_who_are_alone_in_it_are_no_pair(encrypted: World, join: Enter):
    tina = await join("tina")
    sam = await join("sam")
    await sam.do("chat:send", {"message": "Are we a pair?"})
    await tina.event("chat:message")
    assert not [event for event in tina.events if event["event"] == "p2p:changed"]
    assert (await tina.ask("room:settings", {"mode": "p2p"}))["error"]["code"] == "wrong_state"
    await tina.do("room:settings", {"mode": "sfu"})


@pytest.mark.parametrize("host", ["tina", "asa", "staff"])
async def test_no_host_can_record_it_and_is_told_why(encrypted: World, join: Enter, host: str):
    client = await join(host)
    ack = await client.ask("recording:start", {})
    assert ack["error"] == {"code": "wrong_state", "message": NOT_ENCRYPTED["record"]}
    assert "end-to-end encrypted" in ack["error"]["message"]
    assert not await Recording.objects.aexists()


async def test_who_may_not_record_anyway_is_told_that(encrypted: World, join: Enter):
    sam = await join("sam")
    assert (await sam.ask("recording:start", {}))["error"]["code"] == "forbidden"


async def test_once_somebody_has_joined_it_stays(encrypted: World, join: Enter):
    await join("sam")
    await Lesson.objects.aupdate(encrypted=False)
    sue = await join("sue")
    assert sue.answer["settings"]["encrypted"] is True


async def test_nor_does_a_class_that_runs_become_encrypted(world: World, join: Enter):
    await join("sam")
    await Lesson.objects.aupdate(encrypted=True)
    sue = await join("sue")
    assert sue.answer["settings"]["encrypted"] is False


async def test_what_was_changed_between_the_socket_and_the_join_counts(world: World, enter: Enter):
    sam = await enter("sam")
    await Lesson.objects.aupdate(encrypted=True)
    assert (await sam.join())["settings"]["encrypted"] is True
    assert (await Room.objects.aget()).encrypted is True


async def test_it_takes_fewer_people_and_always_its_hosts(encrypted: World, join: Enter, enter: Enter, monkeypatch):
    monkeypatch.setattr("meetings.models.ENCRYPTED_PLACES", 1)
    await join("sam")
    sue = await enter("sue")
    assert (await sue.ask("room:join", {}))["error"]["code"] == "meeting_full"
    await join("tina")
    assert await sync_to_async(lambda: Room.objects.get().capacity)() == 50


def test_a_class_begun_again_follows_its_lesson(still: World):
    lesson, tina = still.room.lesson, still.users["tina"]
    assert lesson is not None
    Room.objects.update(encrypted=True, started_at="2026-01-01T00:00Z", ended_at="2026-01-01T01:00Z")
    assert services.begin_again(lesson, by=tina).is_encrypted is False
    Room.objects.filter(ended_at=None).delete()
    lesson.encrypted = True
    lesson.save()
    assert services.begin_again(lesson, by=tina).is_encrypted is True


def test_its_page_says_so_and_why_there_is_no_recording(still: World, client):
    Lesson.objects.update(encrypted=True)
    client.force_login(still.users["tina"])
    boot = client.get(still.room.get_absolute_url()).context["boot"]
    assert boot["encrypted"] is True
    assert boot["unavailable"]["record"] == NOT_ENCRYPTED["record"]
    assert boot["limits"]["capacity"] == ENCRYPTED_PLACES


def test_what_cannot_be_done_in_it_are_permissions_of_the_table():
    assert set(NOT_ENCRYPTED) <= set(TABLE)


def test_a_teacher_chooses_it_on_the_lessons_form(still: World, client):
    lesson = still.room.lesson
    assert lesson is not None
    form = LessonForm({"title": "Waves", "minutes": "60", "encrypted": "on"}, instance=lesson)
    assert form.is_valid(), form.errors
    assert form.save().encrypted is True
    client.force_login(still.users["sam"])
    assert "End-to-end encrypted" in client.get(lesson.get_absolute_url()).content.decode()


def post(client, **body):
    return client.post("/api/v1/meetings/", json.dumps(body), content_type="application/json")


def test_a_room_without_a_lesson_is_encrypted_when_its_maker_says_so(still: World, client):
    client.force_login(still.users["tina"])
    made = post(client, title="Talk", encrypted=True)
    assert made.status_code == 201
    assert made.json()["encrypted"] is True
    assert made.json()["capacity"] == ENCRYPTED_PLACES
    assert post(client, title="Talk").json()["encrypted"] is False
    refused = post(client, title="Talk", encrypted=True, capacity=ENCRYPTED_PLACES + 1)
    assert refused.status_code == 400
    assert str(ENCRYPTED_PLACES) in refused.json()["capacity"][0]


def test_for_a_lessons_room_the_lesson_says_it(still: World, client):
    client.force_login(still.users["tina"])
    lesson = still.room.lesson
    assert lesson is not None
    refused = post(client, lesson=lesson.pk, encrypted=True)
    assert refused.status_code == 400
    assert "encrypted" in refused.json()
    answer = client.patch(f"/api/v1/lessons/{lesson.pk}/", {"encrypted": True}, content_type="application/json")
    assert answer.json()["encrypted"] is True
    found = post(client, lesson=lesson.pk)
    assert found.status_code == 200
    assert found.json()["encrypted"] is True


def test_the_admin_cannot_change_it_once_it_is_settled(still: World, admin_client):
    free = Room.objects.create(title="Free", created_by=still.users["tina"])
    address = reverse("admin:meetings_room_change", args=[free.pk])
    assert 'type="checkbox" name="encrypted"' in admin_client.get(address).content.decode()
    services.admit(services.participant_for(services.get_room_for(still.users["tina"], free.code)).pk,
                   display_name="Tina", session="s")  # fmt: skip
    assert 'name="encrypted"' not in admin_client.get(address).content.decode()
