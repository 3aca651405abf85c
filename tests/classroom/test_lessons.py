"""A lesson's page; creating, editing and deleting lessons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from classroom import services
from classroom.models import Lesson
from meetings.models import ChatMessage, Participant, Room

pytestmark = pytest.mark.django_db
NEW = "/courses/biology/lessons/new/"
GOOD = {
    "title": "Light", "starts_at": "2030-01-15T09:00", "minutes": "45", "description": "How leaves eat it.",
    "recorded": "all", "recording_layout": "grid",
}  # fmt: skip


@pytest.mark.parametrize(
    ("starts_in", "said"),
    [(-120, "The planned time is over"), (-30, "The lesson is on"), (90, "It begins in"), (None, "any time")],
)
def test_the_page_says_when(client_of, lesson, starts_in, said):
    lesson.starts_at = None if starts_in is None else timezone.now() + timedelta(minutes=starts_in)
    lesson.save()
    page = client_of("sam").get(lesson.get_absolute_url()).content.decode()
    assert said in page
    assert "What we are made of." in page


def test_the_page_leads_to_the_classroom_and_loads_the_recordings(client_of, lesson):
    page = client_of("sam").get(lesson.get_absolute_url()).content.decode()
    assert f'href="{reverse("meetings:lesson", args=[lesson.pk])}"' in page
    assert f'hx-get="{reverse("recordings:lesson", args=[lesson.pk])}"' in page


def test_a_lesson_is_created(client_of, course):
    client_of("tina").post(NEW, GOOD)
    light = Lesson.objects.get(title="Light")
    assert light.course == course
    assert light.starts_at == datetime(2030, 1, 15, 9, 0, tzinfo=UTC)
    assert light.planned_duration == timedelta(minutes=45)


def test_a_lesson_needs_no_time(client_of, course):
    client_of("tina").post(NEW, {**GOOD, "starts_at": ""})
    assert Lesson.objects.get(title="Light").starts_at is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"starts_at": "9999-12-31T23:59"}, "starts_at"),
        ({"starts_at": "0001-01-01T00:00"}, "starts_at"),
        ({"starts_at": "2030-02-30T09:00"}, "starts_at"),
        ({"minutes": ""}, "minutes"),
        ({"recorded": "nobody"}, "recorded"),
        ({"recording_layout": "cinema"}, "recording_layout"),
        ({"record_automatically": "on", "encrypted": "on"}, "record_automatically"),
        ({"minutes": "4"}, "minutes"),
        ({"minutes": "1441"}, "minutes"),
        ({"minutes": "-60"}, "minutes"),
        ({"minutes": "1e3"}, "minutes"),
        ({"minutes": "9" * 400}, "minutes"),
        ({"description": "x" * 10_001}, "description"),
    ],
)
@pytest.mark.parametrize("page", ["new", "edit"])
def test_a_bad_form_comes_back_with_the_fields_error(client_of, lesson, page, change, field):
    address = NEW if page == "new" else f"/courses/biology/lessons/{lesson.pk}/edit/"
    answer = client_of("tina").post(address, {**GOOD, **change})
    assert answer.status_code == 200
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert [found.title for found in Lesson.objects.all()] == ["Cells"]


def test_a_lesson_is_edited_and_stays_in_its_course(client_of, lesson, course, theo):
    other = services.create_course(by=theo, title="Other")
    client_of("tina").post(
        f"/courses/biology/lessons/{lesson.pk}/edit/",
        {**GOOD, "course": other.pk, "id": 77, "created_at": "2000-01-01"},
    )
    lesson.refresh_from_db()
    assert (lesson.title, lesson.course, lesson.planned_duration) == ("Light", course, timedelta(minutes=45))
    assert lesson.created_at.year > 2000


def test_the_form_shows_what_is_stored(client_of, lesson):
    lesson.starts_at, lesson.planned_duration = datetime(2030, 1, 15, 9, 0, tzinfo=UTC), timedelta(minutes=90)
    lesson.save()
    page = client_of("tina").get(f"/courses/biology/lessons/{lesson.pk}/edit/").content.decode()
    assert 'value="2030-01-15T09:00"' in page
    assert 'value="90"' in page


def test_deleting_is_asked_once_more_with_what_goes_with_it(client_of, lesson, tina):
    room = Room.objects.create(title="Cells", lesson=lesson, created_by=tina)
    person = Participant.objects.create(room=room, public_id="p1", user=tina, name="Tina", role="host")
    for number in range(2):
        ChatMessage.objects.create(room=room, participant=person, public_id=f"m{number}", message="Hello")
    assert dict(services.what_goes_with(lesson)) == {"room": 1, "participant": 1, "chat messages": 2}
    address = f"/courses/biology/lessons/{lesson.pk}/delete/"
    client = client_of("tina")
    assert "2 chat messages" in client.get(address).content.decode()
    assert Lesson.objects.filter(pk=lesson.pk).exists(), "asking deletes nothing"
    assert client.post(address)["Location"] == "/courses/biology/"
    assert not Lesson.objects.filter(pk=lesson.pk).exists()
    assert not Room.objects.exists()
