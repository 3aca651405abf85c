"""Who has not come back: leases that have run out are closed once, by whichever process finds them first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.utils import timezone

from meetings import registry
from meetings.database import in_database
from meetings.models import Attendance

if TYPE_CHECKING:
    from meetings.hub import Hub


def close_attendance(session: str, reason: str, ago: float = 0.0) -> bool:
    """Close the open interval of a session; twice does no harm. `ago`: seconds since the person was last seen."""
    return bool(
        Attendance.objects.filter(session=session, left_at=None).update(
            left_at=timezone.now() - timedelta(seconds=ago), reason=reason
        )
    )


async def reap(hub: Hub) -> None:
    """Take those out whose lease ran out: their row is closed, then all are told, and the media part frees its own."""
    lost = await hub.live.reap()
    for one in lost:
        try:
            await in_database(close_attendance)(one.session, "lost", one.ago)
        except DatabaseError as error:
            hub.hubs.complain(error)  # the sweeper closes it
    await hub.note()  # also what a process that is gone had gathered and not told
    for one in lost:
        await registry.on_lost.run(hub, one.participant_id)
