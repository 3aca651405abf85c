"""The home page: a welcome for strangers, the next lessons for people who are signed in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from classroom.models import Lesson

pytestmark = pytest.mark.django_db


def test_somebody_new_is_shown_where_to_begin(client):
    page = client.get("/").content.decode()
    assert "/accounts/login/" in page
    assert "/accounts/signup/" in page


def test_the_next_lessons_come_first_and_those_that_are_over_do_not(client_of, course, lesson):
    now = timezone.now()
    for title, after, length in [("Over", -120, 60), ("On", -30, 60), ("Next week", 7 * 24 * 60, 60)]:
        Lesson.objects.create(
            course=course,
            title=title,
            starts_at=now + timedelta(minutes=after),
            planned_duration=timedelta(minutes=length),
        )
    Lesson.objects.create(course=course, title="No time yet")
    answer = client_of("sam").get("/")
    assert [found.title for found in answer.context["soon"]] == ["On", "Cells", "Next week"]
    assert answer.content.decode().count("badge-now") == 1


@pytest.mark.parametrize("name", ["olga", "stella", "theo"])
def test_others_courses_are_not_on_it(client_of, lesson, name):
    answer = client_of(name).get("/")
    assert list(answer.context["soon"]) == []
    assert list(answer.context["courses"]) == []
    assert "No courses yet" in answer.content.decode()


def test_staff_are_shown_to_the_courses_that_they_see(client_of, course):
    page = client_of("stella").get("/").content.decode()
    assert "Once a teacher has enrolled you" not in page
    assert "As staff you see every course" in page
