"""Who hears by mail that a recording is ready or has failed: once each, whatever breaks in between."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from accounts.models import User
from classroom.models import Course, Enrolment
from meetings.models import Room
from recordings import announce, mails
from recordings.models import Notice, Recording, RecordingPolicy

State, Kind = Recording.State, Notice.Kind
Asked = list[tuple[int, int, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What `tell_of_recording` gave to Celery: (recording, person, kind)."""
    tasks: Asked = []
    monkeypatch.setattr(mails.send_notice, "delay", lambda *args: tasks.append(args))
    return tasks


@pytest.fixture
def tell(asked: Asked, everybody: dict[str, User], settings: LazySettings) -> Callable[[Recording], list[str]]:
    """Tell of a recording and do what was asked of Celery -> the addresses that got mail."""
    settings.SITE_URL = "https://school.example"

    def run(recording: Recording) -> list[str]:
        mail.outbox.clear()
        asked.clear()
        mails.tell_of_recording(recording.pk)
        for each in list(asked):
            mails.send_notice(*each)
        return sorted(message.to[0].partition("@")[0] for message in mail.outbox)

    return run


def fail(recording: Recording) -> Recording:
    Recording.objects.filter(pk=recording.pk).update(state=State.FAILED, reason="The disk <b>was</b> full.")
    recording.refresh_from_db()
    return recording


def test_teachers_hear_that_it_is_ready_and_students_where_the_course_says_so(
    ready: Recording, course: Course, theo: User, tell: Callable[[Recording], list[str]]
) -> None:
    Enrolment.objects.create(course=course, user=theo, role=Enrolment.Role.TEACHER)
    assert tell(ready) == ["theo", "tina"]
    RecordingPolicy.objects.create(course=course, mail_students=True)
    assert tell(ready) == ["sam"]  # the others have heard of it


def test_of_a_failure_hear_teachers_and_staff_and_no_student(
    ready: Recording, course: Course, tell: Callable[[Recording], list[str]]
) -> None:
    RecordingPolicy.objects.create(course=course, mail_students=True)
    assert tell(fail(ready)) == ["ada", "stella", "tina"]
    [text] = {message.body.split("\n\n")[2] for message in mail.outbox}
    assert text == "The disk <b>was</b> full."
    html = str(mail.outbox[0].alternatives[0][0])
    assert "The disk &lt;b&gt;was&lt;/b&gt; full." in html


def test_a_room_of_no_course_is_its_creators(
    ready: Recording, room: Room, theo: User, tell: Callable[[Recording], list[str]]
) -> None:
    Room.objects.filter(pk=room.pk).update(lesson=None, created_by=theo)
    assert tell(ready) == ["theo", "tina"]  # Tina started it


def test_who_has_no_address_or_account_any_more_gets_no_mail(
    ready: Recording, tina: User, tell: Callable[[Recording], list[str]]
) -> None:
    User.objects.filter(pk=tina.pk).update(email="")
    assert tell(ready) == []
    User.objects.filter(pk=tina.pk).update(email="tina@example.com", is_active=False)
    assert tell(ready) == []


def test_the_mail_has_a_link_and_a_title_cannot_write_its_headers(
    ready: Recording, room: Room, tell: Callable[[Recording], list[str]]
) -> None:
    Room.objects.filter(pk=room.pk).update(title="Cells\r\nBcc: olga@example.com <script>")
    tell(ready)
    [message] = mail.outbox
    assert message.subject == "Recording ready: Cells Bcc: olga@example.com <script>"
    assert message.recipients() == ["tina@example.com"]
    link = f"https://school.example/recordings/{ready.public_id}/"
    assert isinstance(message, EmailMultiAlternatives)
    [(html, kind)] = message.alternatives
    assert (kind, link in str(html), link in message.body) == ("text/html", True, True)
    assert "<script>" not in str(html)
    assert message.message()  # it can be written


def test_each_hears_once_however_often_it_is_told(ready: Recording, tell: Callable[[Recording], list[str]]) -> None:
    assert tell(ready) == ["tina"]
    assert tell(ready) == []
    person = Notice.objects.get().user_id
    mails.send_notice(ready.pk, person, Kind.READY)
    assert mail.outbox == []


def tried(ago: timedelta) -> None:
    Notice.objects.update(claimed_at=timezone.now() - ago)


def test_a_mail_server_that_refuses_is_asked_again_later_and_later(
    ready: Recording, tell: Callable[[Recording], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: EmailMultiAlternatives) -> None:
        raise smtplib.SMTPServerDisconnected

    Recording.objects.update(ready_at=timezone.now())
    with monkeypatch.context() as broken:
        broken.setattr(EmailMultiAlternatives, "send", refuse)
        assert tell(ready) == []
        assert tell(ready) == []
    assert Notice.objects.get().sent_at is None
    assert tell(ready) == [], "it was tried a moment ago"
    tried(timedelta(minutes=6))
    Recording.objects.update(ready_at=timezone.now() - timedelta(hours=3))
    ready.refresh_from_db()
    assert tell(ready) == [], "it is tried each hour by now"
    tried(timedelta(minutes=61))
    assert tell(ready) == ["tina"]
    tried(timedelta(minutes=61))
    assert tell(ready) == []


def test_of_two_tasks_and_a_process_that_died_with_one_one_sends(
    ready: Recording, tina: User, tell: Callable[[Recording], list[str]]
) -> None:
    young = Notice.objects.create(recording=ready, user=tina, kind=Kind.READY, claimed_at=timezone.now())
    Recording.objects.update(ready_at=timezone.now())
    mails.send_notice(ready.pk, tina.pk, Kind.READY)
    assert tell(ready) == []
    tried(timedelta(minutes=6))
    assert tell(ready) == ["tina"]
    assert Notice.objects.get().pk == young.pk


def test_news_that_is_none_any_more_is_not_sent(ready: Recording, tina: User, everybody: dict[str, User]) -> None:
    mails.send_notice(fail(ready).pk, tina.pk, Kind.READY)
    Enrolment.objects.filter(user__username="sam").delete()
    mails.send_notice(ready.pk, everybody["sam"].pk, Kind.FAILED)
    mails.send_notice(999_999, tina.pk, Kind.READY)
    assert mail.outbox == []


def test_only_the_end_of_composing_is_told_by_mail(ready: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(mails.tell_of_recording, "delay", told.append)
    for state in State:
        Recording.objects.filter(pk=ready.pk).update(state=state)
        announce.state(ready.pk)
    assert told == [ready.pk, ready.pk]


def test_what_nobody_was_told_of_is_swept_up(ready: Recording, tina: User, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(mails.tell_of_recording, "delay", told.append)
    Recording.objects.filter(pk=ready.pk).update(ready_at=timezone.now() - timedelta(days=2))
    mails.sweep_notices()
    assert told == []  # no news
    Recording.objects.filter(pk=ready.pk).update(ready_at=timezone.now())
    mails.sweep_notices()
    assert told == [ready.pk]
    Notice.objects.create(recording=ready, user=tina, kind=Kind.READY)  # whose task got lost
    mails.sweep_notices()
    assert told == [ready.pk] * 2
    Notice.objects.update(sent_at=timezone.now())
    mails.sweep_notices()
    assert told == [ready.pk] * 2
