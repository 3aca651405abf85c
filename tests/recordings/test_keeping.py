"""How long recordings are kept: by the site, by the course, and under a legal hold whatever anybody does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db.models import ProtectedError
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from classroom.models import Course, Lesson
from meetings.models import Room
from recordings import keeping, states, tasks
from recordings.models import Composition, LegalHold, Recording, RecordingPolicy
from tests.world import ClientOf

State = Recording.State
POLICY, STORAGE = "recordings:course", "recordings:storage"


def ended(recording: Recording, days: float) -> None:
    Recording.objects.filter(pk=recording.pk).update(stopped_at=timezone.now() - timedelta(days=days))


def state_of(recording: Recording) -> str:
    recording.refresh_from_db()
    return recording.state


@pytest.mark.parametrize(
    ("site", "course_says", "days", "goes"),
    [
        (30, None, 31, True),
        (30, None, 29, False),
        (30, 90, 31, False),
        (30, 90, 91, True),
        (30, 7, 8, True),
        (30, 0, 4000, False),
        (0, None, 4000, False),
        (0, 7, 8, True),
    ],
)
def test_a_recording_goes_a_day_after_its_time(
    ready: Recording, course: Course, settings: LazySettings, site: int, course_says: int | None, days: int, goes: bool
) -> None:
    settings.RECORDING_RETENTION_DAYS = site
    RecordingPolicy.objects.create(course=course, keep_days=course_says)
    ended(ready, days)
    assert tasks.expire_recordings() == goes
    assert (state_of(ready) == State.EXPIRED) == goes
    assert Composition.objects.exists() != goes


def test_a_recording_of_no_course_goes_as_the_site_says(ready: Recording, room: Room, settings: LazySettings) -> None:
    Room.objects.filter(pk=room.pk).update(lesson=None)
    settings.RECORDING_RETENTION_DAYS = 30
    ended(ready, 31)
    assert tasks.expire_recordings() == 1


def test_the_page_tells_until_when(
    ready: Recording, course: Course, client_of: ClientOf, stella: User, settings: LazySettings
) -> None:
    settings.RECORDING_RETENTION_DAYS = 30
    sam, page = client_of("sam"), ready.get_absolute_url()
    Recording.objects.filter(pk=ready.pk).update(stopped_at="2026-01-01T12:00Z")
    assert "until 31 January 2026" in sam.get(page).content.decode()
    RecordingPolicy.objects.create(course=course, keep_days=0)
    assert "for ever" in sam.get(page).content.decode()
    keeping.hold(ready, stella, "A case.")
    assert "under legal hold" in sam.get(page).content.decode()


# --- the legal hold --------------------------------------------------------------------------------------------------


@pytest.fixture
def held(ready: Recording, stella: User) -> Recording:
    assert keeping.hold(ready, stella, "Case 12.")
    return ready


def test_a_held_recording_does_not_expire_until_the_hold_is_lifted(held: Recording, settings: LazySettings) -> None:
    settings.RECORDING_RETENTION_DAYS = 30
    ended(held, 400)
    assert tasks.expire_recordings() == 0
    assert not states.expire(held.pk)
    assert state_of(held) == State.READY
    assert keeping.release(held)
    assert tasks.expire_recordings() == 1


def test_neither_lesson_nor_course_takes_a_held_recording_along(
    held: Recording, lesson: Lesson, course: Course, client_of: ClientOf
) -> None:
    for doomed in (lesson, course, held.room, held):
        with pytest.raises(ProtectedError):
            doomed.delete()
    address = reverse("classroom:delete_lesson", args=[course.slug, lesson.pk])
    tina = client_of("tina")
    assert tina.get(address).status_code == 200
    told = tina.post(address, follow=True).content.decode()
    assert "cannot be deleted: a legal hold keeps" in told
    refused = tina.delete(f"/api/v1/lessons/{lesson.pk}/")
    assert (refused.status_code, "legal hold" in refused.json()["detail"]) == (409, True)
    assert Recording.objects.filter(pk=held.pk).exists()
    keeping.release(held)
    assert tina.delete(f"/api/v1/lessons/{lesson.pk}/").status_code == 204


def test_staff_place_and_lift_holds_and_teachers_do_not(ready: Recording, client_of: ClientOf) -> None:
    hold, release = (reverse(f"recordings:{name}", args=[ready.public_id]) for name in ("hold", "release"))
    for name in ("tina", "sam", "olga"):
        assert client_of(name).post(hold, {"reason": "x"}).status_code == 403
        assert client_of(name).post(release).status_code == 403
        assert "Legal hold" not in client_of(name).get(ready.get_absolute_url()).content.decode()
    stella = client_of("stella")
    assert "needs its reason" in stella.post(hold, {"reason": ""}, follow=True).content.decode()
    assert not LegalHold.objects.exists()
    page = stella.post(hold, {"reason": "Case <12>."}, follow=True).content.decode()
    assert "Case &lt;12&gt;." in page
    assert "is held already" in stella.post(hold, {"reason": "Another."}, follow=True).content.decode()
    assert LegalHold.objects.get().placed_by.username == "stella"
    assert stella.get(release).status_code == 405
    stella.post(release)
    assert not LegalHold.objects.exists()


def test_what_is_gone_cannot_be_held(ready: Recording, stella: User) -> None:
    states.expire(ready.pk)
    assert not keeping.hold(ready, stella, "Too late.")


def test_the_admin_says_what_it_left_alone(held: Recording, ada: User, client_of: ClientOf) -> None:
    ada.save()  # the flags of an admin
    asked = {"action": "delete_files", "_selected_action": [held.pk]}
    told = client_of("ada").post(reverse("admin:recordings_recording_changelist"), asked, follow=True)
    assert "1 left alone: they are under legal hold" in told.content.decode()
    assert state_of(held) == State.READY
    course = reverse("admin:classroom_course_delete", args=[held.room.lesson.course_id])
    assert "legal hold" in client_of("ada").get(course).content.decode().lower()


# --- what a course says, and what it takes ---------------------------------------------------------------------------


def test_teachers_choose_who_is_told_and_staff_how_long(course: Course, client_of: ClientOf) -> None:
    address = reverse(POLICY, args=[course.slug])
    statuses = {
        name: client_of(name).get(address).status_code for name in ("tina", "stella", "ada", "alex", "sam", "olga")
    }
    assert statuses == {"tina": 200, "stella": 200, "ada": 200, "alex": 403, "sam": 403, "olga": 404}
    assert client_of("tina").post(address, {"keep_days": "9999", "mail_students": "on"}).status_code == 302
    policy = RecordingPolicy.objects.get()
    assert (policy.keep_days, policy.mail_students) == (None, True)
    client_of("stella").post(address, {"keep_days": "90"})
    policy.refresh_from_db()
    assert (policy.keep_days, policy.mail_students) == (90, False)
    client_of("tina").post(address, {"keep_days": "1"})
    policy.refresh_from_db()
    assert policy.keep_days == 90
    for wrong in ("-1", "many", "99999999999"):
        assert client_of("stella").post(address, {"keep_days": wrong}).status_code == 200
    assert address in client_of("tina").get(course.get_absolute_url()).content.decode()


def test_staff_see_what_each_course_takes(ready: Recording, room: Room, client_of: ClientOf) -> None:
    loose = Room.objects.create(title="Loose", created_by=room.created_by)
    other = Recording.objects.create(room=loose, public_id="loose", state=State.READY)
    Composition.objects.create(recording=other, name="720p.mp4", key="loose/720p.mp4", size=5 * 1024**3)
    page = client_of("stella").get(reverse(STORAGE)).content.decode()
    assert "2 recordings, 5.0" in page
    assert page.index("Rooms of no course") < page.index("Biology")
    assert f'href="{reverse(STORAGE)}"' in client_of("stella").get(reverse("recordings:list")).content.decode()
    for name in ("tina", "sam", "olga"):
        assert client_of(name).get(reverse(STORAGE)).status_code == 403
