"""The connections of a room's people in one web process: what they report is judged, summed up, told to teachers.

Teachers get one frame in five seconds, from whichever process their students' sockets are in: the worst first, and at
most a hundred people, so that in a large class everybody's turn comes round. The sums go to Redis every twenty seconds;
when a socket closes, its sums become part of its session's: a line that breaks every minute leaves no more there than a
good one. What a process that is killed had not stored yet is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, proxy

import msgspec
from redis.exceptions import RedisError

from meetings import metrics, scripts
from meetings.messages import StatsReport
from meetings.quality.judgement import Quality, Steady, is_poor, quality_of, severity
from meetings.quality.score import voice_score
from meetings.quality.totals import Totals
from meetings.redis_client import ROOMS_WITH_QUALITY, room_key

if TYPE_CHECKING:
    from meetings.hub import Hub
    from meetings.session import RoomSession

log = logging.getLogger(__name__)

TELL_EVERY = 5.0  # seconds
STORE_EVERY = 4  # times as seldom
KEPT = 7 * 86400  # seconds in Redis: a database that is away must come back within them
TOLD_AT_ONCE = 100  # people in a frame: some 15 kB
FIRST = 5.0  # seconds that a first report tells of
LONGEST = 10.0  # seconds that any report does; after a longer pause nothing flowed in between
WARN_AGAIN_AFTER = 60.0  # seconds
AWAY = 2000  # sessions: the sweeper saves the others
FOLD_TRIES = 3  # then the closed socket's sums stay by themselves

Data = dict[str, Any]
# What of a report teachers see.
SHOWN = ("rtt", "jitter", "packet_loss", "bitrate", "frame_width", "frame_height", "freeze_count", "limited_by", "path")


class Line:
    """One socket's connection."""

    __slots__ = (
        "_reported_at", "_steady", "_warned_at", "field", "participant_id", "report", "score",
        "session_id", "stored", "told_at", "totals",
    )  # fmt: skip

    def __init__(self, session: RoomSession) -> None:
        self.participant_id = session.participant_id
        self.session_id = session.session_id
        self.field = f"{session.session_id}:{session.socket_id}"
        self.totals = Totals()
        self.report = StatsReport()
        self.score: float | None = None
        self.told_at = 0.0  # when teachers were told last; newer reports are news
        self.stored = True
        self._steady = Steady()
        self._reported_at: float | None = None
        self._warned_at: float | None = None

    @property
    def quality(self) -> Quality:
        return self._steady.now

    @property
    def is_news(self) -> bool:
        return self._reported_at is not None and self._reported_at > self.told_at

    def take(self, report: StatsReport, now: float) -> bool:
        """Whether its owner is to be warned: it has become poor."""
        seconds = FIRST if self._reported_at is None else min(LONGEST, now - self._reported_at)
        self._reported_at = now
        if report.path is not None and report.path != self.report.path:
            metrics.PATHS.labels(report.path).inc()
        self.report, self.score = report, score_of(report)
        if self.score is not None:
            metrics.QUALITY_SCORE.observe(self.score)
        before = self.quality
        quality = self._steady.update(quality_of(report))
        self.totals.add(report, quality, self.score, seconds)
        self.stored = False
        if is_poor(before) or not is_poor(quality):
            return False
        warn = self._warned_at is None or now - self._warned_at >= WARN_AGAIN_AFTER
        if warn:
            self._warned_at = now
        return warn

    def shown(self) -> Data:
        found = {name: value for name in SHOWN if (value := getattr(self.report, name)) is not None}
        if self.score is not None:
            found["score"] = round(self.score, 2)
        return {"participant_id": self.participant_id, "quality": self.quality, **found}


def score_of(report: StatsReport) -> float | None:
    """None: no voice was heard, or it is not known how it came."""
    if report.voice_loss is None or report.rtt is None:
        return None
    rtt = report.rtt / 2 if report.path == "direct" else report.rtt  # there is no second half behind a server
    return voice_score(rtt=rtt, jitter=report.jitter or 0.0, loss=report.voice_loss, buffer=report.voice_buffer)


class Monitor:
    def __init__(self, hub: Hub) -> None:
        self.hub: Hub = proxy(hub)  # not the hub: what `_monitors` holds would keep its own key alive
        self.lines: dict[str, Line] = {}  # by socket id
        self.away: deque[str] = deque(maxlen=AWAY)  # sessions whose sockets have closed here
        self._elsewhere: dict[str, Data] = {}  # by participant id: told by other processes, not yet passed on
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    # --- what is heard ---

    def take(self, session: RoomSession, report: StatsReport, now: float) -> bool:
        """Whether this person is to be warned."""
        if report == StatsReport(meeting_id=report.meeting_id):
            return False  # nothing flows: the browser only asked whether we are there
        line = self.lines.get(session.socket_id)
        if line is None:
            line = self.lines[session.socket_id] = Line(session)
        self._wake()
        return line.take(report, now)

    def heard(self, people: list[Data]) -> None:
        """What another process tells of those who are there."""
        for person in people:
            self._elsewhere[person["participant_id"]] = person
        self._wake()

    async def end(self, session: RoomSession) -> str | None:
        """The socket closed, or its owner left -> the session, if it reported anything."""
        line = self.lines.pop(session.socket_id, None)
        if line is None:
            return None
        await self._store([line])
        await self._fold(line)
        return line.session_id

    # --- what is told and stored ---

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_EVERY, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.lines:
            self._wake()
        self.hub.hubs.spawn(self.tick(asyncio.get_running_loop().time()), f"connections of {self.hub.code}")

    async def tick(self, now: float) -> None:
        news = sorted((line for line in self.lines.values() if line.is_news), key=_worst_first)[:TOLD_AT_ONCE]
        people = [line.shown() for line in news]
        for line in news:
            line.told_at = now
        others = sorted(self._elsewhere.values(), key=lambda person: -severity(person["quality"]))
        self._elsewhere = {}
        if people or others:
            frame = {"participants": [*people, *others][:TOLD_AT_ONCE]}
            self.hub.send_here("stats:update", frame, needs="quality")
        if people:
            await self.hub.hubs.tell(self.hub.code, kind="quality", people=people)
        self._ticks += 1
        if self._ticks % STORE_EVERY == 0:
            await self._store([line for line in self.lines.values() if not line.stored])

    async def _store(self, lines: list[Line]) -> None:
        if not lines:
            return
        key = room_key(self.hub.code, "quality")
        mapping = {line.field: msgspec.json.encode(line.totals) for line in lines}
        for line in lines:
            line.stored = True
        try:
            async with self.hub.hubs.redis.pipeline() as pipeline:
                pipeline.hset(key, mapping=mapping)  # type: ignore[arg-type]
                pipeline.expire(key, KEPT)
                pipeline.sadd(ROOMS_WITH_QUALITY, self.hub.code)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self.hub.hubs.complain(error)
            for line in lines:
                line.stored = False

    async def _fold(self, line: Line) -> None:
        """Into the sums of the session's sockets that closed before, wherever they were."""
        if not line.stored:
            return
        redis, key, field = self.hub.hubs.redis, room_key(self.hub.code, "quality"), f"{line.session_id}:"
        fold = redis.register_script(scripts.FOLD)
        try:
            for _ in range(FOLD_TRIES):
                before = await redis.hget(key, field) or b""
                totals = msgspec.json.decode(before, type=Totals) if before else Totals()
                totals.join(line.totals)
                if await fold(keys=[key], args=[line.field, field, before, msgspec.json.encode(totals)]):
                    return
        except (RedisError, OSError) as error:
            self.hub.hubs.complain(error)
        except msgspec.DecodeError:
            log.warning("Sums of a connection cannot be read: another version wrote them")

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._store(list(self.lines.values()))


def _worst_first(line: Line) -> tuple[int, float]:
    """Among equals the one that teachers have heard of longest ago."""
    return -severity(line.quality), line.told_at


_monitors: WeakKeyDictionary[Hub, Monitor] = WeakKeyDictionary()


def monitor_of(hub: Hub) -> Monitor:
    if hub not in _monitors:
        _monitors[hub] = Monitor(hub)
    return _monitors[hub]
