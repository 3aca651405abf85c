"""Times are shown in the zone that the browser told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accounts.time_zone import zone_named
from classroom.models import Lesson

pytestmark = pytest.mark.django_db


@pytest.fixture
def at_noon(lesson):
    lesson.starts_at = datetime(2030, 7, 1, 12, 0, tzinfo=UTC)
    lesson.save()
    return lesson


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("Europe/Berlin", "14:00"), ("Asia%2FTokyo", "21:00"), ("America/St_Johns", "09:30"), ("UTC", "12:00")],
)
def test_a_lesson_begins_in_the_visitors_time(client_of, at_noon, zone, shown):
    client = client_of("sam")
    client.cookies["time_zone"] = zone
    page = client.get(at_noon.get_absolute_url()).content.decode()
    assert f"1 July 2030, {shown}" in page


@pytest.mark.parametrize("zone", ["", "Nowhere/At_all", "../../etc/passwd", "/etc/passwd", "a" * 3000, "%00", "UTC%0d"])
def test_a_zone_that_is_none_means_the_servers(client_of, at_noon, zone):
    client = client_of("sam")
    client.cookies["time_zone"] = zone
    assert "1 July 2030, 12:00" in client.get(at_noon.get_absolute_url()).content.decode()
    assert zone_named(zone) is None


def test_one_visitors_zone_is_not_the_next_ones(client_of, at_noon):
    tokyo, nowhere = client_of("sam"), client_of("tina")
    tokyo.cookies["time_zone"] = "Asia/Tokyo"
    assert "21:00" in tokyo.get(at_noon.get_absolute_url()).content.decode()
    assert "12:00" in nowhere.get(at_noon.get_absolute_url()).content.decode()


def test_a_teacher_types_the_time_of_where_the_teacher_is(client_of, course):
    client = client_of("tina")
    client.cookies["time_zone"] = "Europe/Berlin"
    client.post("/courses/biology/lessons/new/", {"title": "Light", "starts_at": "2030-01-15T09:00", "minutes": "45"})
    assert Lesson.objects.get(title="Light").starts_at == datetime(2030, 1, 15, 8, 0, tzinfo=UTC)
    edit = client.get(f"/courses/biology/lessons/{Lesson.objects.get(title='Light').pk}/edit/").content.decode()
    assert 'value="2030-01-15T09:00"' in edit


def test_an_hour_that_the_clocks_jump_over_is_a_bad_time(client_of, course):
    client = client_of("tina")
    client.cookies["time_zone"] = "Europe/Berlin"
    answer = client.post(
        "/courses/biology/lessons/new/", {"title": "Light", "starts_at": "2030-03-31T02:30", "minutes": "45"}
    )
    assert answer.context["form"].errors["starts_at"]
