"""Sockets that come and go for a minute: the web process is as large afterwards as it was after the first of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections import Counter
from statistics import median
from typing import Any

import pytest
import redis

from benchmarks.websocket import CLOSE, frame
from meetings.database import in_database
from meetings.eventlog import EventLog
from meetings.hub import Hub, Hubs
from meetings.live import LiveRoom
from meetings.media.room_media import RoomMedia
from meetings.media.session_media import SessionMedia
from meetings.quality.monitor import Monitor
from meetings.session import RoomSession
from meetings.socket import RoomSocket
from tests.meetings.daphne import Daphne
from tests.meetings.world import World
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

PEOPLE = 16
PATIENCE = 30.0  # seconds for an answer: beside a fuzzer nothing is quick
WARM_UP = 6  # rounds
PLATEAU = 6  # rounds that a level is taken from
# Bytes: chat that is kept for those who come later, and an allocator's fragments. A socket has about 60 kB.
MAX_GROWTH = 8_000_000
MAX_GROWTH_OF_A_NIGHT = 16_000_000
POOLED = 30  # descriptors: connections to Redis and the database that a busy moment opened stay open


KEPT_BY_NOBODY = (Hub, RoomSession, RoomSocket, LiveRoom, EventLog, Monitor, SessionMedia, RoomMedia)


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in KEPT_BY_NOBODY)


async def test_of_a_room_that_everybody_left_nothing_is_kept(
    enter: Any, hubs: Hubs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "meetings.media.room_media")  # what pytest keeps of the log, it keeps alive
    before = alive()
    for _ in range(3):
        for name in ("sam", "sue"):
            client = await enter(name)
            await client.join()
            await client.ask("stats:report", {"rtt": 20, "jitter": 2, "packet_loss": 0.5})
            await client.ask("chat:send", {"message": "hello"})
            await client.close()
    del client
    await until(lambda: not hubs.hubs)
    # The listener of all rooms still has the one in hand that it heard of last.
    await until(lambda: max((alive() - before).values(), default=0) <= 1)


SAID: list[tuple[str, dict[str, Any]]] = [
    ("chat:send", {"message": "hello " * 20}),
    ("hand:raise", {}),
    ("hand:lower", {}),
    ("chat:history", {"limit": 20}),
    ("stats:report", {"rtt": 20, "jitter": 2, "packet_loss": 0.5}),
    ("participants:page", {"after": "x"}),
    ("nothing:such", {}),
]


async def visit(daphne: Daphne, code: str, token: str, chance: random.Random) -> None:
    await asyncio.sleep(chance.random() * 0.3)
    page = await daphne.open(code, token)
    page.patience = PATIENCE
    answer = await page.ask("room:join", {})
    assert answer["ok"], answer
    for _ in range(4):
        await page.ask(*chance.choice(SAID))
        await asyncio.sleep(chance.random() * 0.1)
    if chance.random() < 0.5:
        page.socket.transport.write(frame(CLOSE, (1001).to_bytes(2)))
    page.socket.transport.abort()


async def churned(daphne: Daphne, world: World, redis_url: str, seconds: float, *, may_grow: int = MAX_GROWTH) -> None:
    """The same people come again and again, as in a class whose network is bad."""
    tokens = [await in_database(world.guest_token)(f"Guest {number}", "attendee") for number in range(PEOPLE)]
    chance = random.Random(1)
    ends = time.monotonic() + seconds
    levels: list[tuple[int, int, int]] = []  # memory, descriptors, keys in Redis
    with redis.Redis.from_url(redis_url) as connection:
        while time.monotonic() < ends or len(levels) < WARM_UP + 2 * PLATEAU:
            await asyncio.gather(*[visit(daphne, world.room.code, token, chance) for token in tokens])
            await until(lambda: not daphne.connections(), within=PATIENCE)
            # What makes a message be sent once is kept for an hour, and goes by itself.
            keys = sum(b":once:" not in key for key in connection.scan_iter(count=1000))
            levels.append((daphne.memory(), daphne.descriptors(), keys))
    first, last = levels[WARM_UP : WARM_UP + PLATEAU], levels[-PLATEAU:]
    growth = median(level[0] for level in last) - median(level[0] for level in first)
    found = f"{len(levels)} rounds, {len(levels) * PEOPLE} joins, {growth / 1e6:.1f} MB more, {first} -> {last}"
    print(found)
    assert growth < may_grow, found
    assert max(level[1] for level in last) <= max(level[1] for level in first) + POOLED, found
    assert max(level[2] for level in last) <= max(level[2] for level in first) + 5, found


@pytest.mark.slow
async def test_a_minute_of_sockets(daphne: Daphne, world: World, redis_settings: str) -> None:
    await churned(daphne, world, redis_settings, 60)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600 + 600)
async def test_four_hours_of_sockets(daphne: Daphne, world: World, redis_settings: str) -> None:
    await churned(daphne, world, redis_settings, 4 * 3600, may_grow=MAX_GROWTH_OF_A_NIGHT)
