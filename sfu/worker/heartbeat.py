"""Tell Redis each second that this worker lives, where it listens and how busy it is.

The key expires by itself, so a worker that dies is gone from the registry without anybody's doing. Redis may be gone,
too: then the media go on and the next beats are tried until it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sfu.protocol import (
    HEARTBEAT_EVERY,
    HEARTBEAT_EXPIRES,
    HEARTBEAT_KEY,
    STARTS_EXPIRE,
    STARTS_KEY,
    Heartbeat,
)

log = structlog.get_logger("sfu.heartbeat")

ANSWER_WITHIN = 1.0  # seconds
LAST_RETRY = 2.0  # seconds between tries while Redis is gone: half of what readers allow us, so we are back in time
LOG_EVERY = 10.0  # seconds, while Redis stays away

_encoder = msgspec.json.Encoder()


class Heartbeats:
    """`beat` gives the heartbeat of this moment."""

    def __init__(self, redis_url: str, beat: Callable[[], Heartbeat], *, every: float = HEARTBEAT_EVERY) -> None:
        self._beat = beat
        self._every = every
        # The client's own retries would hide from us how long Redis is gone.
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=ANSWER_WITHIN,
            socket_connect_timeout=ANSWER_WITHIN,
            retry=Retry(NoBackoff(), 0),
        )
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failing_since: float | None = None
        self._logged_at = 0.0
        self._starts = 0  # of workers of this id, this one included; 0: Redis was not asked yet

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """The key is left to expire: its last word may be that we drain. Twice does no harm."""
        if self._task is not None:
            # Both: a cancellation that comes while the client takes its answer is lost in there (Python 3.11).
            self._stopping.set()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._redis.aclose()

    async def send(self) -> bool:
        """One beat now. False if Redis did not take it."""
        worker_id = self._beat().worker_id
        try:
            async with asyncio.timeout(ANSWER_WITHIN * 2):
                if not self._starts:
                    self._starts = await self._count_start(STARTS_KEY.format(worker_id=worker_id))
                beat = _encoder.encode(self._beat())
                await self._redis.set(HEARTBEAT_KEY.format(worker_id=worker_id), beat, ex=HEARTBEAT_EXPIRES)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return False
        if self._failing_since is not None:
            log.info("heartbeat_back", after=round(_now() - self._failing_since, 1))
            self._failing_since = None
        return True

    @property
    def restarts(self) -> int:
        """How often a worker of this id began anew, as far as Redis remembers."""
        return max(0, self._starts - 1)

    async def _count_start(self, key: str) -> int:
        async with self._redis.pipeline() as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, STARTS_EXPIRE)
            starts, _ = await pipeline.execute()
        return int(starts)

    async def _run(self) -> None:
        pause = self._every
        while not self._stopping.is_set():
            started = _now()
            try:
                taken = await self.send()
            except Exception:
                log.exception("heartbeat_failed")
                taken = False
            pause = self._every if taken else min(LAST_RETRY, pause * 1.5)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.1, pause - (_now() - started))):
                    await self._stopping.wait()

    def _failed(self, error: Exception) -> None:
        now = _now()
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._logged_at < LOG_EVERY:
            return
        self._logged_at = now
        # The kind alone: the message may hold the address, and that its password.
        log.warning("heartbeat_lost", error=type(error).__name__, since=round(now - self._failing_since, 1))


def _now() -> float:
    return asyncio.get_running_loop().time()
