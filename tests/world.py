"""The small world of the tests: Tina teaches, Alex assists, Sam is enrolled, Olga is a stranger.

Theo teaches too, but another course; Stella is of the staff, Ada is the admin. Loaded by tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson

PASSWORD = "a-long-enough-password"
ClientOf = Callable[[str], Client]


def person(username: str, role: str = User.Role.STUDENT, **fields: object) -> User:
    user = User(username=username, email=f"{username}@example.com", role=role, **fields)
    # An MD5 hash would need a hasher of its own in the settings; most tests sign in without the password.
    user.set_unusable_password()
    user.save()
    return user


@pytest.fixture
def tina(db: None) -> User:
    return person("tina", User.Role.TEACHER, first_name="Tina", last_name="Teacher")


@pytest.fixture
def theo(db: None) -> User:
    return person("theo", User.Role.TEACHER)


@pytest.fixture
def alex(db: None) -> User:
    return person("alex")


@pytest.fixture
def sam(db: None) -> User:
    return person("sam", first_name="Sam", last_name="Student")


@pytest.fixture
def olga(db: None) -> User:
    return person("olga")


@pytest.fixture
def stella(db: None) -> User:
    return person("stella", User.Role.STAFF)


@pytest.fixture
def ada(db: None) -> User:
    return person("ada", User.Role.ADMIN)


@pytest.fixture
def course(tina: User, alex: User, sam: User) -> Course:
    """Biology: Tina teaches, Alex assists, Sam is enrolled."""
    course = Course.objects.create(slug="biology", title="Biology", description="All that lives.", created_by=tina)
    for user, role in [
        (tina, Enrolment.Role.TEACHER),
        (alex, Enrolment.Role.ASSISTANT),
        (sam, Enrolment.Role.STUDENT),
    ]:
        Enrolment.objects.create(course=course, user=user, role=role)
    return course


@pytest.fixture
def lesson(course: Course) -> Lesson:
    """Of Biology, tomorrow."""
    return Lesson.objects.create(
        course=course,
        title="Cells",
        description="What we are made of.",
        starts_at=timezone.now() + timedelta(days=1),
    )


@pytest.fixture
def everybody(
    course: Course, tina: User, theo: User, alex: User, sam: User, olga: User, stella: User, ada: User
) -> dict[str, User]:
    """All of the world by name."""
    return {user.username: user for user in [tina, theo, alex, sam, olga, stella, ada]}


@pytest.fixture
def client_of(everybody: dict[str, User]) -> ClientOf:
    """`client_of("sam")` is a browser in which Sam is signed in, `client_of("nobody")` one without a sign-in."""

    def signed_in(name: str) -> Client:
        client = Client()
        if name != "nobody":
            client.force_login(everybody[name])
        return client

    return signed_in
