"""Whose media are recorded: of those who have agreed, and where only teachers are recorded, of teachers.

The database has the answers; the media worker is told of whom to write, and writes nothing of anybody else (`control`).
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from meetings.models import Participant
from recordings.models import Consent, Recording

TEACHERS = (Participant.Role.HOST, Participant.Role.CO_HOST)
COUNTS_FOR = timedelta(days=1)  # who said yes is not asked again in the same class; a room may be open for years

Who = Recording.Who


def answer(recording: Recording, participant: Participant, *, accepted: bool) -> None:
    Consent.objects.create(recording=recording, participant=participant, accepted=accepted)


def agreed(room_id: int, who: str) -> QuerySet[Participant]:
    """Those of the room who said yes to a recording of `who`, and have not said no since.

    Whoever was told that only teachers are recorded has not agreed to a recording of everybody.
    """
    answers = Consent.objects.filter(participant=OuterRef("pk"), at__gte=timezone.now() - COUNTS_FOR)
    if who == Who.ALL:
        answers = answers.filter(Q(recording__who=Who.ALL) | Q(accepted=False))
    latest = Subquery(answers.order_by("-at", "-pk").values("accepted")[:1], output_field=BooleanField())
    return Participant.objects.filter(room_id=room_id).alias(accepted=latest).filter(accepted=True)


def has_agreed(participant: Participant, who: str) -> bool:
    return agreed(participant.room_id, who).filter(pk=participant.pk).exists()


def who_agreed(room_id: int, who: str) -> set[str]:
    """-> participant_ids"""
    return set(agreed(room_id, who).values_list("public_id", flat=True))


def who_is_recorded(recording: Recording) -> set[str]:
    """-> participant_ids, present or not"""
    return set(_recorded(recording).values_list("public_id", flat=True))


def is_recorded(recording: Recording, participant_id: str) -> bool:
    return _recorded(recording).filter(public_id=participant_id).exists()


def _recorded(recording: Recording) -> QuerySet[Participant]:
    found = agreed(recording.room_id, recording.who)
    if recording.who == Who.TEACHERS:
        found = found.filter(Q(given_role__in=TEACHERS) | Q(given_role="", role__in=TEACHERS))
    return found
