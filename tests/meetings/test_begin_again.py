"""A class that has ended is begun again from its lesson's page, and keeps what happened in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from meetings import services
from meetings.models import ChatMessage, Room
from tests.meetings.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(redis_settings: str) -> World:
    return World.make(capacity=7)


@pytest.fixture
def ended(world: World) -> Room:
    services.end(world.room)
    world.room.refresh_from_db()
    return world.room


def browser(world: World, name: str) -> Client:
    client = Client()
    client.force_login(world.users[name])
    return client


def url(world: World, name: str) -> str:
    return reverse(f"meetings:{name}", args=[world.room.lesson_id])


def entrance(world: World, name: str) -> str:
    return browser(world, name).get(url(world, "entrance")).content.decode()


def test_before_and_during_a_class_the_lesson_leads_into_it(world):
    for name in ("tina", "sam", "staff"):
        assert "Enter the classroom" in entrance(world, name)
        assert "Begin the class again" not in entrance(world, name)
    Room.objects.all().delete()
    assert "Enter the classroom" in entrance(world, "sam")
    assert not Room.objects.exists(), "looking at the page makes no room"


def test_after_it_a_teacher_may_begin_again_and_a_student_is_told(world, ended):
    for name in ("tina", "staff"):
        assert "Begin the class again" in entrance(world, name)
    for name in ("sam", "asa"):
        assert "Begin the class again" not in entrance(world, name)
        assert "The class ended" in entrance(world, name)
    assert browser(world, "olga").get(url(world, "entrance")).status_code == 404


def test_the_lessons_page_asks_for_its_entrance(world):
    page = browser(world, "tina").get(world.room.lesson.get_absolute_url()).content.decode()
    assert f'hx-get="{url(world, "entrance")}"' in page


def test_a_class_begun_again_is_a_new_room_with_the_old_ones_rules_and_the_old_one_keeps_its_chat(world, ended):
    sam = services.participant_for(services.Entry(ended, "attendee", "Sam", world.users["sam"]))
    ChatMessage.objects.create(room=ended, participant=sam, public_id="m", message="of the first hour")
    answer = browser(world, "tina").post(url(world, "begin_again"))
    room = Room.objects.get(ended_at=None)
    assert answer["Location"] == room.get_absolute_url()
    assert (room.lesson_id, room.capacity, room.guests_allowed) == (ended.lesson_id, 7, True)
    assert room.code != ended.code
    assert ended.messages.count() == 1
    assert room.messages.count() == 0
    assert browser(world, "sam").get(url(world, "lesson"))["Location"] == room.get_absolute_url()
    assert browser(world, "sam").get(room.get_absolute_url()).status_code == 200


def test_a_link_to_the_ended_class_leads_those_of_the_course_to_the_new_one(world, ended):
    old = ended.get_absolute_url()
    assert browser(world, "sam").get(old).status_code == 410
    browser(world, "tina").post(url(world, "begin_again"))
    room = Room.objects.get(ended_at=None)
    assert browser(world, "sam").get(old)["Location"] == room.get_absolute_url()
    assert browser(world, "olga").get(old).status_code == 403
    assert Client().get(f"{old}?token={world.guest_token()}").status_code == 410, "a guest's link is for one class"


def test_beginning_twice_makes_one_class(world, ended):
    tina = browser(world, "tina")
    first = tina.post(url(world, "begin_again"))["Location"]
    assert tina.post(url(world, "begin_again"))["Location"] == first
    assert Room.objects.count() == 2


def test_only_teachers_and_staff_begin_a_class_again(world, ended):
    for name, status in (("sam", 403), ("asa", 403), ("olga", 404)):
        assert browser(world, name).post(url(world, "begin_again")).status_code == status
    assert browser(world, "tina").get(url(world, "begin_again")).status_code == 405
    assert Client().post(url(world, "begin_again")).status_code == 302
    assert Room.objects.count() == 1
    assert browser(world, "staff").post(url(world, "begin_again")).status_code == 302
    assert Room.objects.count() == 2


def test_a_lesson_has_one_open_room(world):
    with pytest.raises(IntegrityError), transaction.atomic():
        Room.objects.create(lesson=world.room.lesson, created_by=world.users["tina"], title="Another")


def test_the_api_opens_a_lesson_again(world, ended):
    tina = APIClient()
    tina.force_authenticate(world.users["tina"])
    made = tina.post("/api/v1/meetings/", {"lesson": ended.lesson_id}, format="json")
    again = tina.post("/api/v1/meetings/", {"lesson": ended.lesson_id}, format="json")
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.data["code"] == again.data["code"] != ended.code


@pytest.mark.django_db(transaction=True)
def test_of_teachers_who_begin_at_once_all_come_into_one_class(world, ended):
    def begin(name: str) -> str:
        try:
            return services.begin_again(ended.lesson, by=world.users[name]).code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        codes = set(threads.map(begin, ["tina", "staff"] * 4))
    assert len(codes) == 1
    assert Room.objects.count() == 2
