"""Who watched which recording when, and how far: for its teachers a number, for staff the names, for 90 days."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django import forms
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.models import User
from recordings.models import Recording, Viewing

DAILY = 86400.0
LONGEST_FILM = 7 * 86400  # seconds
AT_ONCE = 600  # seconds of film that one report may tell of: a page reports every 15 s, at up to double speed


class WatchedForm(forms.Form):
    """What the player tells while it plays."""

    position = forms.IntegerField(min_value=0, max_value=LONGEST_FILM)
    seconds = forms.IntegerField(min_value=0, max_value=AT_ONCE)


def note(recording: Recording, user: User, *, position: int, seconds: int) -> None:
    today = timezone.now().date()
    viewing, _ = Viewing.objects.get_or_create(recording=recording, user=user, day=today)
    Viewing.objects.filter(pk=viewing.pk).update(
        seconds=F("seconds") + seconds, furthest=Greatest(F("furthest"), position), last_at=timezone.now()
    )


@shared_task
def forget_who_watched() -> int:
    """Viewings older than ANALYTICS_RETENTION_DAYS (0: keep for ever) are told of nobody any more -> how many."""
    days = settings.ANALYTICS_RETENTION_DAYS
    if not days:
        return 0
    old = Viewing.objects.filter(day__lt=timezone.now().date() - timedelta(days=days))
    return old.exclude(user=None).update(user=None)
