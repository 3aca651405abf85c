"""What the browsers report, and the moments at which it is stored: the quality part's hooks into the life of a room."""

from __future__ import annotations

import asyncio
from typing import Any

from django.db import DatabaseError

from meetings.database import in_database
from meetings.hub import Hub
from meetings.limits import REPORTS
from meetings.messages import StatsReport
from meetings.quality.monitor import monitor_of
from meetings.quality.summaries import save_of
from meetings.registry import on, on_disconnect, on_hub_close, on_leave, on_told
from meetings.session import RoomSession


@on("stats:report", StatsReport, limit=REPORTS)
async def report(session: RoomSession, message: StatsReport) -> None:
    if monitor_of(session.hub).take(session, message, asyncio.get_running_loop().time()):
        await session.send("quality:warning", {"issue": "network"})


@on_told("quality")
def told(hub: Hub, message: dict[str, Any]) -> None:
    """By another process, of the people whose sockets are there."""
    monitor_of(hub).heard(message["people"])


@on_leave
async def left(session: RoomSession, reason: str) -> None:
    ended = await monitor_of(session.hub).end(session)
    if ended is not None:
        _save_soon(session.hub, [ended])


@on_disconnect
async def disconnected(session: RoomSession) -> None:
    """This person may come back: what is summed up so far waits in Redis."""
    monitor = monitor_of(session.hub)
    ended = await monitor.end(session)
    if ended is not None:
        monitor.away.append(ended)


@on_hub_close
async def closed(hub: Hub) -> None:
    """Often the class has ended. Who may still come back is found to be in, and left to the sweeper."""
    monitor = monitor_of(hub)
    await monitor.close()
    if monitor.away:
        _save_soon(hub, list(monitor.away))


def _save_soon(hub: Hub, sessions: list[str]) -> None:
    """Beside the leaving, which does not wait for it."""

    async def save() -> None:
        try:
            await in_database(save_of)(hub.code, sessions)
        except DatabaseError as error:
            hub.hubs.complain(error)  # the sweeper saves it

    hub.hubs.spawn(save(), f"saving the connections of {hub.code}")
