"""Verbs and questions across recordings: finding them, and giving their files to those who may have them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from classroom.models import Enrolment
from recordings import states, storage
from recordings.models import Composition, Recording, RecordingQuerySet

if TYPE_CHECKING:
    from accounts.models import User

SALT = "recordings.file"


@dataclass(frozen=True)
class Wanted:
    """What a search asks for; what is empty asks for nothing."""

    text: str = ""
    course: str = ""  # slug
    teacher: str = ""  # username
    since: date | None = None
    until: date | None = None


def find(user: User, wanted: Wanted) -> RecordingQuerySet:
    """Recordings that the user may see, the latest first."""
    found = Recording.objects.filter(pk__in=Recording.objects.visible_to(user).values("pk"))
    if wanted.text:
        text = wanted.text
        found = found.filter(
            Q(room__title__icontains=text)
            | Q(room__lesson__title__icontains=text)
            | Q(room__lesson__course__title__icontains=text)
            | Q(public_id=text)
        )
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
    """A name that any file system takes."""
    recording = composition.recording
    words = re.sub(r"[^\w .,()+-]", "_", recording.room.title).strip(" .")[:80] or "class"
    return f"{words} {recording.started_at:%Y-%m-%d %H.%M} {composition.name.replace('/', ' ')}"


def short_link(composition: Composition, *, absolute: Any, download: bool) -> str:
    """A link that needs no sign-in and opens for LINK_LIVES: the store's own, or one of ours for local files."""
    name = filename(composition)
    if storage.local_path(composition.key) is None:
        return storage.signed_link(composition.key, name, composition.content_type, download=download)
    token = signing.dumps({"composition": composition.pk, "download": download}, salt=SALT)
    return str(absolute(reverse("recordings:file", args=[token])))


def composition_of_link(token: str) -> tuple[Composition, bool] | None:
    """None: forged, too old, or the recording is no more."""
    try:
        said = signing.loads(token, salt=SALT, max_age=storage.LINK_LIVES)
    except signing.BadSignature:
        return None
    composition = Composition.objects.select_related("recording__room").filter(pk=said["composition"]).first()
    if composition is None or composition.recording.state != Recording.State.READY:
        return None
    return composition, bool(said["download"])
