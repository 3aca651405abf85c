"""Connections to Redis for what a room shares between processes: few, and quick to say that Redis is away."""

from __future__ import annotations

import functools
from typing import cast

import redis
from django.conf import settings
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

TIMEOUT = 3.0  # seconds: a Redis that has not answered by then counts as away
CONNECTIONS = 16  # a process: a thousand people who join at once wait for each other, not for a thousand connections


def connect(url: str | None = None) -> Redis:
    """One client belongs to one event loop."""
    pool = BlockingConnectionPool.from_url(
        url or settings.REDIS_URL,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        # Once more, at once: a pooled connection may be from before a restart of Redis.
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


ROOMS_WITH_QUALITY = "lectern:quality"  # set of codes: rooms whose people's connections are summed up


def room_key(code: str, name: str) -> str:
    return f"lectern:room:{code}:{name}"


def plain() -> redis.Redis:
    """For pages and tasks, which cannot wait long and have no event loop."""
    return _plain(settings.REDIS_URL)


@functools.cache
def _plain(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)


def people_in(code: str) -> set[str]:
    """The participant_ids of those who are in now, for pages and tasks; nobody, when Redis is away."""
    try:
        found = plain().hkeys(room_key(code, "people"))
    except redis.RedisError:
        return set()
    return {pid.decode() for pid in found if isinstance(pid, bytes)}


def leases_in(code: str) -> dict[str, float] | None:
    """participant_id -> when the lease runs out (seconds); None when Redis is away."""
    try:
        found = plain().zrange(room_key(code, "leases"), 0, -1, withscores=True)
    except redis.RedisError:
        return None
    return {pid.decode(): float(till) for pid, till in cast("list[tuple[bytes, float]]", found)}
