"""The demo: people, a course and a lesson whose classroom is always open, to try Lectern within a minute.

Everybody knows its passwords, so it is made by itself only where nobody else can reach it (`is_wanted`).
"""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson
from meetings.models import Room

PASSWORD = "lectern-demo"  # noqa: S105  known to everybody by design
COURSE_SLUG = "demo-course"
ROOM_CODE = "demo-class"
ROOM_CAPACITY = 2000

STUDENTS = [f"student{number}" for number in range(1, 6)]
ROLES = {
    "teacher": User.Role.TEACHER,
    "assistant": User.Role.STUDENT,  # of the site; of the course they are its assistant
    **dict.fromkeys(STUDENTS, User.Role.STUDENT),
    "staff": User.Role.STAFF,
    "admin": User.Role.ADMIN,
}
USERNAMES = list(ROLES)
ENROLMENTS = {
    "teacher": Enrolment.Role.TEACHER,
    "assistant": Enrolment.Role.ASSISTANT,
    **dict.fromkeys(STUDENTS, Enrolment.Role.STUDENT),
}


def is_wanted(*, on_loopback: bool) -> bool:
    """Whether a start of Lectern makes the demo: LECTERN_DEMO decides, else an empty database on loopback."""
    asked_for = settings.LECTERN_DEMO
    if asked_for is not None:
        return bool(asked_for)
    return on_loopback and not User.objects.exists()


def is_there() -> bool:
    return Room.objects.filter(code=ROOM_CODE).exists()


@transaction.atomic
def make() -> Room:
    """Make what is missing of the demo, and put its course and classroom right again.

    People who exist keep their password, role and names: an installation may have an `admin` of its own, and the
    password that everybody knows must never become theirs.
    """
    people = {username: _person(username) for username in USERNAMES}
    course, _ = Course.objects.get_or_create(
        slug=COURSE_SLUG,
        defaults={
            "title": "Demo course",
            "description": "A course to try things in. Everybody of the demo is enrolled.",
            "created_by": people["teacher"],
        },
    )
    for username, role in ENROLMENTS.items():
        Enrolment.objects.update_or_create(course=course, user=people[username], defaults={"role": role})
    room = Room.objects.filter(code=ROOM_CODE).select_related("lesson").first()
    lesson = room.lesson if room and room.lesson else _lesson(course)
    facts = {"lesson": lesson, "capacity": ROOM_CAPACITY, "guests_allowed": True, "always_open": True}
    room, _ = Room.objects.update_or_create(
        code=ROOM_CODE,
        defaults={**facts, "ended_at": None},
        create_defaults={**facts, "title": "Demo class", "created_by": people["teacher"]},
    )
    return room


def _person(username: str) -> User:
    person = User.objects.filter(username=username).first()
    if person is None:
        person = User(username=username, email=f"{username}@demo.example", role=ROLES[username])
        person.password = _hashed_password()
        person.save()
    return person


@cache
def _hashed_password() -> str:
    """One hash for all: it is meant to be dear, and there is no secret in it."""
    return make_password(PASSWORD)


def _lesson(course: Course) -> Lesson:
    """A lesson of the course that has no other classroom."""
    lesson = Lesson.objects.filter(course=course, title="Demo class", rooms__isnull=True).first()
    return lesson or Lesson.objects.create(
        course=course,
        title="Demo class",
        description="The classroom of this lesson is always open. Two browsers are enough to try it.",
    )
