"""Mail about a recording: that it is ready, or that it could not be made. One to each person, each a task of its own.

A row of `Notice` says that somebody is to be told, and when somebody tried to: of two tasks one gets to. Nothing waits
in the queue: where the mail server refuses, where a process dies or a task gets lost, the sweeper asks again, the later
the older the news is, for a day.
"""

from __future__ import annotations

import logging
import smtplib
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import User
from classroom.models import Enrolment
from recordings import keeping
from recordings.models import Notice, Recording

log = logging.getLogger(__name__)

Kind = Notice.Kind
KIND_OF_STATE = {Recording.State.READY: Kind.READY, Recording.State.FAILED: Kind.FAILED}
AGAIN_AFTER = timedelta(minutes=5)  # at the least; who takes longer over a mail has died
AGAIN_SHARE = 3  # or a third of the news' age: some 15 tries in a day
SWEEP_EVERY = 300.0  # seconds
SWEPT = timedelta(days=1)  # what became ready longer ago is no news


def readers(recording: Recording, kind: str) -> QuerySet[User]:
    """Who is told. Of a failure those who can do something: teachers and staff."""
    lesson = recording.room.lesson
    told = Q(pk=recording.started_by_id) | Q(pk=recording.room.created_by_id)
    if lesson is not None:
        enrolled = Q(enrolments__course=lesson.course_id)
        told = Q(enrolments__role=Enrolment.Role.TEACHER) & enrolled
        policy = getattr(lesson.course, "recording_policy", None)
        if kind == Kind.READY and policy is not None and policy.mail_students:
            told |= Q(enrolments__role=Enrolment.Role.STUDENT) & enrolled
        told = Q(pk__in=User.objects.filter(told).values("pk")) | Q(pk=recording.started_by_id)
    if kind == Kind.FAILED:
        told |= Q(role__in=(User.Role.STAFF, User.Role.ADMIN))
    return User.objects.filter(told, is_active=True).exclude(email="").order_by("pk")


@shared_task
def tell_of_recording(pk: int) -> int:
    """A task for each who is to be told of what has become of it -> how many. Again does no harm."""
    found = Recording.objects.select_related("room__lesson__course__recording_policy")
    recording = found.filter(pk=pk, state__in=KIND_OF_STATE).first()
    if recording is None:
        return 0
    kind = KIND_OF_STATE[Recording.State(recording.state)]
    told = readers(recording, kind)
    Notice.objects.bulk_create(
        [Notice(recording=recording, user=user, kind=kind) for user in told], ignore_conflicts=True
    )
    waiting = Notice.objects.filter(tried_long_ago(recording), recording=recording, kind=kind, user__in=told)
    people = list(waiting.order_by("user").values_list("user", flat=True))
    for person in people:
        send_notice.delay(pk, person, kind)
    return len(people)


@shared_task
def send_notice(pk: int, user_pk: int, kind: str) -> None:
    recording = Recording.objects.select_related("room__lesson__course__recording_policy").filter(pk=pk).first()
    if recording is None or KIND_OF_STATE.get(Recording.State(recording.state)) != kind:
        return  # it is no news any more
    user = readers(recording, kind).filter(pk=user_pk).first()
    notice = Notice.objects.filter(recording=recording, user_id=user_pk, kind=kind)
    # Nothing is updated: it is sent, or another one is sending it, or it was tried a short while ago.
    if user is None or notice.filter(tried_long_ago(recording)).update(claimed_at=timezone.now()) != 1:
        return
    try:
        message(recording, user, kind).send()
    except (smtplib.SMTPException, OSError) as error:
        log.warning("a mail about recording %s was not taken: %s", recording.public_id, type(error).__name__)
    else:
        notice.update(sent_at=timezone.now())


def tried_long_ago(recording: Recording) -> Q:
    """Notices that were not sent and may be tried (again)."""
    now = timezone.now()
    age = now - (recording.ready_at or recording.stopped_at or recording.started_at)
    return Q(sent_at=None) & (Q(claimed_at=None) | Q(claimed_at__lt=now - max(AGAIN_AFTER, age / AGAIN_SHARE)))


def message(recording: Recording, user: User, kind: str) -> EmailMultiAlternatives:
    context = {
        "recording": recording,
        "user": user,
        "link": f"{settings.SITE_URL}{recording.get_absolute_url()}",
        "kept_until": keeping.kept_until(recording),
        "site": settings.SITE_URL,
    }
    # A title is whatever somebody typed; a subject is one line.
    subject = " ".join(render_to_string(f"recordings/mail/{kind}_subject.txt", context).split())
    text = render_to_string(f"recordings/mail/{kind}.txt", context)
    mail = EmailMultiAlternatives(subject, text, to=[user.email])
    mail.attach_alternative(render_to_string(f"recordings/mail/{kind}.html", context), "text/html")
    return mail


@shared_task
def sweep_notices() -> None:
    """Recordings that became ready or failed, of which nobody at all was told, or somebody could not be told yet."""
    since = timezone.now() - SWEPT
    for state, kind in KIND_OF_STATE.items():
        fresh = Recording.objects.filter(state=state).filter(Q(ready_at__gte=since) | Q(stopped_at__gte=since))
        noted = Notice.objects.filter(kind=kind)
        untold = ~Q(pk__in=noted.values("recording")) | Q(pk__in=noted.filter(sent_at=None).values("recording"))
        for pk in fresh.filter(untold).values_list("pk", flat=True):
            tell_of_recording.delay(pk)
