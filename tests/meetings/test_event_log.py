"""The room's numbered events in Redis."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from meetings.eventlog import EventLog, body_of, event_data, event_name, numbered


@pytest.fixture
async def redis(clean_redis_url: str):
    async with Redis.from_url(clean_redis_url) as connection:
        yield connection


@pytest.fixture
def log(redis: Redis) -> EventLog:
    return EventLog(redis, "room")


async def age(redis: Redis, seconds: int) -> None:
    """Write the kept events anew as if they were older."""
    key = "lectern:room:room:log"
    entries: Any = await redis.xrange(key)
    await redis.delete(key)
    for name, fields in entries:
        fields[b"t"] = str(int(fields[b"t"]) - seconds).encode()
        await redis.xadd(key, fields, id=name)


async def test_numbers_rise_by_one_and_the_events_come_back_in_order(log: EventLog):
    start = await log.ensure()
    for n in range(5):
        assert await log.append(body_of("x", {"n": n})) == (start + n + 1, True)
    missed = await log.since(start + 2)
    assert missed.complete
    assert [seq for seq, _ in missed.events] == [start + 3, start + 4, start + 5]
    assert [event_data(body)["n"] for _, body in missed.events] == [2, 3, 4]


async def test_who_has_missed_nothing_gets_nothing(log: EventLog):
    await log.append(body_of("x", {}))
    missed = await log.since(await log.ensure())
    assert missed.complete
    assert missed.events == []


async def test_a_number_from_a_log_that_was_lost_is_not_taken_for_one_of_this(log: EventLog, redis: Redis):
    last, _ = await log.append(body_of("x", {}))
    await redis.flushall()
    assert await log.current() is None
    assert not (await log.since(last)).complete
    assert await log.ensure() >= last
    assert (await log.append(body_of("x", {})))[0] > last


async def test_the_same_event_sent_again_keeps_its_number(log: EventLog):
    first = await log.append(body_of("chat:message", {"n": 1}), "message-1")
    await log.append(body_of("x", {}))
    assert first[1] is True
    assert await log.append(body_of("chat:message", {"n": 1}), "message-1") == (first[0], False)
    assert len((await log.since(first[0] - 1)).events) == 2


async def test_a_thousand_events_are_kept_however_old_they_are(log: EventLog, redis: Redis):
    start = await log.ensure()
    for n in range(1000):
        await log.append(body_of("x", {"n": n}))
    await age(redis, 400)
    for n in range(10):
        await log.append(body_of("x", {"n": 1000 + n}))
    assert await redis.xlen("lectern:room:room:log") == 1000
    assert not (await log.since(start + 5)).complete
    missed = await log.since(start + 10)
    assert missed.complete
    assert len(missed.events) == 1000


async def test_events_of_the_last_five_minutes_are_kept_however_many(log: EventLog, redis: Redis):
    start = await log.ensure()
    for n in range(1200):
        await log.append(body_of("x", {"n": n}))
    assert (await log.since(start)).complete
    assert await redis.xlen("lectern:room:room:log") == 1200


def test_a_body_becomes_a_frame_without_being_read_again():
    body = body_of("chat:message", {"message": 'a "quoted" word'})
    assert event_name(body) == "chat:message"
    assert event_data(body) == {"message": 'a "quoted" word'}
    assert numbered(7, body) == '{"seq":7,"event":"chat:message","data":{"message":"a \\"quoted\\" word"}}'
