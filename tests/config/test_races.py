"""Two do the same at the same moment, each on a database connection of their own: the rules hold all the same.

SQLite lets one write at a time and hides what PostgreSQL, where these run too, shows: transactions side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import User
from classroom import services as classroom
from classroom.models import Course, Enrolment, Lesson
from meetings import chat
from meetings import services as meetings
from meetings.models import Attendance, Participant, Room
from recordings import states
from recordings.models import Recording

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 8


def all_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Each call in a thread and connection of its own, begun together -> what each returned or raised."""
    begin = threading.Barrier(len(calls))

    def called(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            begin.wait(timeout=10)
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(called, calls))


@contextmanager
def meanwhile(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """`call` runs beside the block, which is a transaction; it has ended, or waits for its lock, before the commit.

    The list has what it returned or raised, once the block is left.
    """
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.extend(all_at_once(call)))
    with transaction.atomic():
        yield outcome
        thread.start()
        thread.join(timeout=0.5)  # who waits for the lock, waits for the commit below
    thread.join(timeout=30)


@pytest.fixture
def room(course: Course, tina: User) -> Room:
    return Room.objects.create(title="Cells", created_by=tina, code="cells")


@pytest.fixture
def no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room's Redis and the task queue are away."""
    monkeypatch.setattr("recordings.announce.people_in", lambda code: set())


def test_a_room_has_one_running_recording(room: Room, tina: User, no_word: None) -> None:
    begun = all_at_once(*[lambda: states.begin(room, tina)] * AT_ONCE)
    assert sum(isinstance(each, Recording) for each in begun) == 1
    assert sum(isinstance(each, states.AlreadyRecording) for each in begun) == AT_ONCE - 1


def test_a_recording_is_claimed_by_one_composer(room: Room, tina: User, no_word: None) -> None:
    recording = states.begin(room, tina)
    Recording.objects.update(state=Recording.State.QUEUED)
    leases = all_at_once(*[lambda: states.claim(recording.pk)] * AT_ONCE)
    assert sum(isinstance(lease, states.Lease) for lease in leases) == 1
    assert leases.count(None) == AT_ONCE - 1


def test_a_class_begun_again_by_many_is_begun_once(lesson: Lesson, tina: User) -> None:
    meetings.end(meetings.room_of_lesson(lesson))
    rooms = all_at_once(*[lambda: meetings.begin_again(lesson, by=tina)] * AT_ONCE)
    assert {room.pk for room in rooms} == {Room.objects.get(lesson=lesson, ended_at=None).pk}


def test_one_person_in_many_tabs_is_one_participant(room: Room, tina: User) -> None:
    entry = meetings.get_room_for(tina, room.code)
    rows = all_at_once(*[lambda: meetings.participant_for(entry)] * AT_ONCE)
    assert {row.pk for row in rows} == {Participant.objects.get(room=room, user=tina).pk}


def test_a_message_sent_over_many_connections_is_one(room: Room, tina: User) -> None:
    participant = Participant.objects.create(room=room, public_id="tina", user=tina, name="Tina", role="host")

    def send() -> Any:
        return chat.store(participant, message="hello", type="text", reply_to=None, metadata={}, client_id="one").pk

    assert len(set(all_at_once(*[send] * AT_ONCE))) == 1


def test_one_person_in_many_tabs_is_present_once(room: Room, tina: User) -> None:
    participant = Participant.objects.create(room=room, public_id="tina", user=tina, name="Tina", role="host")

    def admit(session: str) -> Callable[[], Any]:
        return lambda: meetings.admit(participant.pk, display_name="Tina", session=session)

    all_at_once(*[admit(f"tab-{number}") for number in range(AT_ONCE)])
    assert Attendance.objects.filter(participant=participant).count() == AT_ONCE
    assert Attendance.objects.filter(participant=participant, left_at=None).count() == 1


def test_somebody_is_enrolled_once(course: Course, olga: User) -> None:
    enrolled = all_at_once(*[lambda: classroom.enrol(course, olga, Enrolment.Role.STUDENT)] * AT_ONCE)
    assert sum(isinstance(each, Enrolment) for each in enrolled) == 1
    assert sum(isinstance(each, classroom.Refused) for each in enrolled) == AT_ONCE - 1


def test_two_teachers_who_remove_each_other_leave_one(course: Course, tina: User, theo: User) -> None:
    other = Enrolment.objects.create(course=course, user=theo, role=Enrolment.Role.TEACHER)
    own = Enrolment.objects.get(course=course, user=tina)
    all_at_once(lambda: classroom.remove(own), lambda: classroom.remove(other))
    assert course.enrolments.filter(role=Enrolment.Role.TEACHER).count() == 1


def test_who_is_removed_while_joining_is_not_in(room: Room, olga: User) -> None:
    participant = Participant.objects.create(room=room, public_id="olga", user=olga, name="Olga", role="attendee")
    with meanwhile(lambda: meetings.admit(participant.pk, display_name="Olga", session="tab")) as outcome:
        meetings.bar(participant)
    assert isinstance(outcome[0], meetings.NotAllowed)
    assert not Attendance.objects.filter(left_at=None).exists()


def test_who_joins_while_the_class_is_ended_is_not_in(room: Room, olga: User) -> None:
    participant = Participant.objects.create(room=room, public_id="olga", user=olga, name="Olga", role="attendee")
    with meanwhile(lambda: meetings.admit(participant.pk, display_name="Olga", session="tab")) as outcome:
        meetings.end(room)
    assert isinstance(outcome[0], meetings.NotAllowed)
    assert not Attendance.objects.filter(left_at=None).exists()
