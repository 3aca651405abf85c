"""Who has not come back: leases that have run out are closed once, by whichever process finds them first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from meetings import registry
from meetings.database import in_database
from meetings.live import LEASE
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
    for participant_id, session in await hub.live.reap():
        await in_database(close_attendance)(session, "lost", LEASE)
        await registry.on_lost.run(hub, participant_id)
    await hub.note()
