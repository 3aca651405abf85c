"""How long a recording is kept: as its course says, else as the site says, and never deleted under a legal hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, ExpressionWrapper, F, IntegerField, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from accounts.models import User
from recordings.models import LegalHold, Recording

State = Recording.State
FOR_EVER = 0  # days


def keep_days(recording: Recording) -> int:
    """FOR_EVER: 0."""
    lesson = recording.room.lesson
    policy = getattr(lesson.course, "recording_policy", None) if lesson else None
    own = policy.keep_days if policy else None
    return int(settings.RECORDING_RETENTION_DAYS if own is None else own)


def kept_until(recording: Recording) -> datetime | None:
    """None: for ever, or as long as somebody holds it."""
    days = keep_days(recording)
    if days == FOR_EVER or is_held(recording):
        return None
    return (recording.stopped_at or recording.started_at) + timedelta(days=days)


def is_held(recording: Recording) -> bool:
    return LegalHold.objects.filter(recording=recording).exists()


def too_old(now: datetime) -> QuerySet[Recording]:
    """Finished recordings whose time is over."""
    days = Coalesce(F("room__lesson__course__recording_policy__keep_days"), Value(settings.RECORDING_RETENTION_DAYS))
    finished = Recording.objects.filter(state__in=(State.READY, State.FAILED), hold=None)
    finished = finished.annotate(days=ExpressionWrapper(days, output_field=IntegerField())).exclude(days=FOR_EVER)
    by_days = finished.order_by().values_list("days", flat=True).distinct()
    old = Q(pk__in=[])
    for each in by_days:  # few courses differ from the site, and no database adds days to a time like another
        before = now - timedelta(days=each)
        ended = Q(stopped_at__lt=before) | Q(stopped_at=None, started_at__lt=before)
        old |= Q(days=each) & ended
    return finished.filter(old)


def hold(recording: Recording, by: User, reason: str) -> bool:
    """False: it is held already, or there is nothing left to hold."""
    with transaction.atomic():
        # The row is locked by writing to it: expiring asks for the hold in its own update.
        kept = Recording.objects.filter(pk=recording.pk).exclude(state=State.EXPIRED).update(state=F("state"))
        if not kept:
            return False
        try:
            with transaction.atomic():
                LegalHold.objects.create(recording=recording, reason=reason, placed_by=by)
        except IntegrityError:
            return False
    return True


def release(recording: Recording) -> bool:
    deleted, _ = LegalHold.objects.filter(recording=recording).delete()
    return deleted > 0


@dataclass(frozen=True)
class Taken:
    """What a course's recordings take. `title` and `slug` are empty for rooms of no course."""

    title: str
    slug: str
    number: int  # recordings
    size: int  # bytes


def stored_by_course() -> list[Taken]:
    """The most first."""
    rows = (
        Recording.objects.filter(compositions__isnull=False)
        .order_by()
        .values_list("room__lesson__course__title", "room__lesson__course__slug")
        .annotate(number=Count("pk", distinct=True), size=Sum("compositions__size"))
    )
    taken = [Taken(title or "", slug or "", number, size) for title, slug, number, size in rows]
    return sorted(taken, key=lambda one: (-one.size, one.title))
