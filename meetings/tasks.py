"""Sweepers: what a web process that was killed left open."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from celery import shared_task
from django.utils import timezone

from meetings.live import LEASE
from meetings.models import Attendance
from meetings.presence import close_attendance
from meetings.redis_client import leases_in

EVERY = 60.0  # seconds; the schedule stands in apps.py


@shared_task
def close_abandoned_attendance() -> int:
    """Close intervals of people whose lease has run out with no web process there to notice -> how many.

    A live room's hubs do this within seconds; this is for the rooms of processes that died, and for a Redis that
    lost its leases. With Redis away nobody is judged.
    """
    closed = 0
    young = timezone.now() - timedelta(seconds=2 * LEASE)
    rows = Attendance.objects.filter(left_at=None, joined_at__lt=young).select_related("participant__room")
    leases: dict[str, dict[str, float] | None] = {}
    for interval in rows.iterator():
        code = interval.participant.room.code
        if code not in leases:
            leases[code] = leases_in(code)
        of_room = leases[code]
        if of_room is None:
            continue
        till = of_room.get(interval.participant.public_id)
        if till is None:
            closed += close_attendance(interval.session, "lost")
        elif till + LEASE < time.time():  # a hub would have found it by now
            seen = datetime.fromtimestamp(till - LEASE, UTC)
            closed += close_attendance(interval.session, "lost", (timezone.now() - seen).total_seconds())
    return closed
