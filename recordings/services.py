"""Verbs and questions across recordings: finding them, and giving their files to those who may have them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from classroom.models import Enrolment
from recordings import states
from recordings.models import Composition, Recording, RecordingQuerySet

if TYPE_CHECKING:
    from accounts.models import User

LONGEST_TITLE = 150  # bytes in a file's name, of which file systems take 255


@dataclass(frozen=True)
class Wanted:
    """What a search asks for; what is empty asks for nothing."""

    text: str = ""
    course: str = ""  # slug
    teacher: str = ""  # username
    since: date | None = None
    until: date | None = None
    state: str = ""


def find(user: User, wanted: Wanted) -> RecordingQuerySet:
    """Recordings that the user may see, the latest first."""
    found = Recording.objects.filter(pk__in=Recording.objects.visible_to(user).values("pk"))
    if wanted.text:
        text = wanted.text
        titles = ("room__title", "room__lesson__title", "room__lesson__course__title")
        reasons = ("reason",) if user.is_site_staff else ()
        named = Q(public_id=text)
        for field in (*titles, *reasons):
            named |= Q(**{f"{field}__icontains": text})
        found = found.filter(named)
    if wanted.course:
        found = found.filter(room__lesson__course__slug=wanted.course)
    if wanted.teacher:
        taught = Enrolment.objects.filter(user__username=wanted.teacher, role=Enrolment.Role.TEACHER).values("course")
        found = found.filter(
            Q(room__lesson__course__in=taught) | Q(room__lesson=None, room__created_by__username=wanted.teacher)
        )
    if wanted.since:
        found = found.filter(started_at__date__gte=wanted.since)
    if wanted.until:
        found = found.filter(started_at__date__lte=wanted.until)
    if wanted.state == Recording.State.FAILED:
        # Others are told nothing of a file that is missing beside the film.
        mine = Recording.objects.managed_by(user).failed().values("pk")
        found = found.filter(Q(state=wanted.state) | Q(pk__in=mine))
    elif wanted.state:
        found = found.filter(state=wanted.state)
    return found.select_related("room__lesson__course", "room__created_by").prefetch_related("compositions")


def retry(recording: Recording) -> bool:
    return states.retry(recording.pk)


def expire(recording: Recording) -> bool:
    """Before its time: what is stored of it is deleted in the background."""
    from recordings.tasks import expire_recordings  # tasks know the services' parts, not the other way round

    expired = states.expire(recording.pk)
    if expired:
        transaction.on_commit(expire_recordings.delay, robust=True)
    return expired


def filename(composition: Composition) -> str:
    """A name that any file system takes, with the time as whoever asks for it reads it."""
    recording = composition.recording
    words = re.sub(r"[^\w .,()+-]", "_", recording.room.title).encode()[:LONGEST_TITLE].decode(errors="ignore")
    began = timezone.localtime(recording.started_at)
    return f"{words.strip(' .-') or 'class'} {began:%Y-%m-%d %H.%M} {composition.name.replace('/', ' ')}"
