"""Mail about a recording: that it is ready, or that it could not be made. One to each person, each a task of its own.

A row of `Notice` is the claim to send a mail: of two tasks one gets it. Where the mail server refuses, the claim is
given back and Celery tries again; a process that died with a claim loses it after CLAIM_LIVES.
"""

from __future__ import annotations

import logging
import smtplib
from datetime import timedelta

from celery import Task, shared_task
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
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
CLAIM_LIVES = timedelta(minutes=5)
SWEEP_EVERY = 600.0  # seconds
SWEPT = timedelta(days=1)  # what became ready longer ago is no news
TRIES = 10  # with waits that double: the last one some hours after the first


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
    told = readers(recording, kind).exclude(
        pk__in=Notice.objects.filter(recording=recording, kind=kind).exclude(sent_at=None).values("user")
    )
    people = list(told.values_list("pk", flat=True))
    for person in people:
        send_notice.delay(pk, person, kind)
    return len(people)


@shared_task(bind=True, max_retries=TRIES)
def send_notice(self: Task, pk: int, user_pk: int, kind: str) -> None:
    recording = Recording.objects.select_related("room__lesson__course__recording_policy").filter(pk=pk).first()
    if recording is None or KIND_OF_STATE.get(Recording.State(recording.state)) != kind:
        return  # it is no news any more
    user = readers(recording, kind).filter(pk=user_pk).first()
    notice = claim(recording, user, kind) if user is not None else None
    if user is None or notice is None:
        return
    try:
        message(recording, user, kind).send()
    except (smtplib.SMTPException, OSError) as error:
        notice.delete()
        log.warning("a mail about recording %s was not taken: %s", recording.public_id, type(error).__name__)
        raise self.retry(exc=error, countdown=60 * 2**self.request.retries) from error
    except BaseException:
        notice.delete()
        raise
    Notice.objects.filter(pk=notice.pk).update(sent_at=timezone.now())


def claim(recording: Recording, user: User, kind: str) -> Notice | None:
    """None: it is sent, or another one is sending it."""
    now = timezone.now()
    try:
        with transaction.atomic():
            return Notice.objects.create(recording=recording, user=user, kind=kind, claimed_at=now)
    except IntegrityError:
        pass
    died = Notice.objects.filter(
        recording=recording, user=user, kind=kind, sent_at=None, claimed_at__lt=now - CLAIM_LIVES
    )
    if died.update(claimed_at=now) != 1:
        return None
    return Notice.objects.get(recording=recording, user=user, kind=kind)


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
    """Recordings that became ready or failed while the queue was away: nobody at all has been told of them."""
    since = timezone.now() - SWEPT
    for state, kind in KIND_OF_STATE.items():
        fresh = Recording.objects.filter(state=state).filter(Q(ready_at__gte=since) | Q(stopped_at__gte=since))
        told = Notice.objects.filter(kind=kind).values("recording")
        for pk in fresh.exclude(pk__in=told).values_list("pk", flat=True):
            tell_of_recording.delay(pk)
