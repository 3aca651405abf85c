"""Connections to Redis for what a room shares between processes: few, and quick to say that Redis is away."""

from __future__ import annotations

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


def room_key(code: str, name: str) -> str:
    return f"lectern:room:{code}:{name}"
