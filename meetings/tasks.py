"""Sweepers: what a web process that was killed left open."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from meetings.live import LEASE, reap_abandoned
from meetings.models import Attendance, ConnectionSummary
from meetings.presence import close_attendance
from meetings.quality.summaries import save_settled
from meetings.redis_client import leases_in

EVERY = 60.0  # seconds; the schedule stands in apps.py
DAILY = 86400.0


@shared_task
def close_abandoned_attendance() -> int:
    """Close intervals of people whose lease has run out with no web process there to notice -> how many.

    A live room's hubs do this within seconds; this is for rooms that the last one left without a word, for those of
    processes that died, and for a Redis that lost its leases. With Redis away nobody is judged.
    """
    young = timezone.now() - timedelta(seconds=2 * LEASE)
    rows = Attendance.objects.filter(left_at=None, joined_at__lt=young).select_related("participant__room")
    rooms: dict[str, list[Attendance]] = defaultdict(list)
    for interval in rows:
        rooms[interval.participant.room.code].append(interval)
    return sum(_close_abandoned(code, intervals) for code, intervals in rooms.items())


@shared_task
def save_connection_summaries() -> int:
    """What nobody saved of the connections of people who are gone -> how many rows."""
    return save_settled()


@shared_task
def forget_whose_connections() -> int:
    """Summaries older than ANALYTICS_RETENTION_DAYS (0: keep for ever) are told of nobody any more -> how many."""
    days = settings.ANALYTICS_RETENTION_DAYS
    if not days:
        return 0
    old = ConnectionSummary.objects.filter(day__lt=timezone.now().date() - timedelta(days=days))
    return old.exclude(attendance=None, room=None).update(attendance=None, room=None)


def _close_abandoned(code: str, intervals: list[Attendance]) -> int:
    lost, leases = reap_abandoned(code), leases_in(code)
    if lost is None or leases is None:
        return 0
    closed = sum(close_attendance(one.session, "lost", one.ago) for one in lost)
    ago = {one.participant_id: one.ago for one in lost}
    for interval in intervals:
        person = interval.participant.public_id
        if person not in leases:
            closed += close_attendance(interval.session, "lost", ago.get(person, 0.0))
    return closed
