"""The demo data of the contract."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from accounts.models import User
from classroom.models import Course, Lesson
from config import demo
from meetings.models import Room

pytestmark = pytest.mark.django_db


def test_the_command_makes_the_people_the_course_and_the_classroom(capsys):
    call_command("demo")
    roles = dict(User.objects.values_list("username", "role"))
    assert roles == {
        "teacher": "teacher",
        "assistant": "student",
        "student1": "student",
        "student2": "student",
        "student3": "student",
        "student4": "student",
        "student5": "student",
        "staff": "staff",
        "admin": "admin",
    }
    assert all(user.check_password("lectern-demo") for user in User.objects.all())
    course = Course.objects.get(slug="demo-course")
    enrolled = dict(course.enrolments.values_list("user__username", "role"))
    assert enrolled == {
        "teacher": "teacher",
        "assistant": "assistant",
        **{f"student{number}": "student" for number in range(1, 6)},
    }
    room = Room.objects.get(code="demo-class")
    assert room.lesson is not None
    assert room.lesson.course == course
    assert (room.always_open, room.capacity, room.guests_allowed) == (True, 2000, True)
    assert "/meetings/demo-class/" in capsys.readouterr().out


def test_the_admin_of_the_demo_may_use_the_django_admin(client):
    demo.make()
    assert client.login(username="admin", password="lectern-demo")
    assert client.get("/admin/").status_code == 200


def test_made_twice_it_is_there_once():
    first = demo.make()
    assert demo.make() == first
    assert User.objects.count() == len(demo.USERNAMES)
    assert (Course.objects.count(), Lesson.objects.count(), Room.objects.count()) == (1, 1, 1)


def test_made_again_it_mends_what_was_broken():
    room = demo.make()
    Room.objects.filter(pk=room.pk).update(always_open=False, capacity=1, title="Ours")
    User.objects.get(username="student3").delete()
    demo.make()
    room.refresh_from_db()
    assert (room.always_open, room.capacity, room.title) == (True, 2000, "Ours")
    assert Course.objects.get().enrolments.filter(user__username="student3").exists()


def test_an_account_of_the_same_name_keeps_its_password_and_its_role():
    theirs = User.objects.create_user("admin", password="known to its owner")
    demo.make()
    theirs.refresh_from_db()
    assert theirs.check_password("known to its owner")
    assert theirs.role == "student"


@pytest.mark.parametrize(
    ("setting", "on_loopback", "people", "wanted"),
    [
        (None, True, False, True),
        (None, True, True, False),
        (None, False, False, False),
        (True, False, True, True),
        (False, True, False, False),
    ],
)
def test_it_is_made_on_an_empty_database_on_loopback_or_when_asked_for(settings, setting, on_loopback, people, wanted):
    settings.LECTERN_DEMO = setting
    if people:
        User.objects.create_user("somebody")
    assert demo.is_wanted(on_loopback=on_loopback) is wanted


def test_it_is_there_once_it_was_made():
    assert not demo.is_there()
    demo.make()
    assert demo.is_there()
