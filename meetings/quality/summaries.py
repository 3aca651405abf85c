"""The sums of people's connections, from Redis into the database: a row for each time that somebody was in a class.

Written once that time is over. Twice does no harm: the row of an interval of attendance is made by whoever comes first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec
import redis
from django.utils import timezone

from meetings.models import Attendance, ConnectionSummary
from meetings.quality.totals import Totals
from meetings.redis_client import ROOMS_WITH_QUALITY, plain, room_key

log = logging.getLogger(__name__)

# Seconds after somebody's end: the process that had the socket stores the last of its sums, and comes first.
SETTLED = 30.0
AT_ONCE = 500  # sessions in one query


def save_of(code: str, sessions: Iterable[str]) -> int:
    """Of these sessions of a room -> how many were saved. For the process that had their sockets."""
    return _save(code, set(sessions), over_for=0.0)


def save_settled() -> int:
    """Of all rooms, what nobody saved: the process was killed, or the person was waited for and never came back."""
    try:
        codes = [code.decode() for code in plain().smembers(ROOMS_WITH_QUALITY)]  # type: ignore[union-attr]
    except redis.RedisError:
        return 0
    return sum(_save(code, None, over_for=SETTLED) for code in codes)


def _save(code: str, sessions: set[str] | None, *, over_for: float) -> int:
    key = room_key(code, "quality")
    try:
        stored: dict[bytes, bytes] = plain().hgetall(key)  # type: ignore[assignment]
        if not stored and sessions is None:
            plain().srem(ROOMS_WITH_QUALITY, code)  # stored again, it is put in again
    except redis.RedisError:
        return 0
    fields: dict[str, list[bytes]] = {}
    for field in stored:
        session = field.decode().partition(":")[0]
        if sessions is None or session in sessions:
            fields.setdefault(session, []).append(field)
    until = timezone.now() - timedelta(seconds=over_for)
    saved = 0
    for some in _chunks(list(fields)):
        last = _last_intervals(code, some)
        ended = {s: interval for s, interval in last.items() if interval.left_at and interval.left_at <= until}
        rows = [_summary(interval, [stored[f] for f in fields[session]]) for session, interval in ended.items()]
        saved += len(ConnectionSummary.objects.bulk_create(rows, ignore_conflicts=True))
        # With those of people who were erased.
        done = [field for session in some if session in ended or session not in last for field in fields[session]]
        if done:
            try:
                plain().hdel(key, *done)
            except redis.RedisError:
                return saved  # seen again later, and found to be there
    return saved


def _chunks(sessions: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(sessions), AT_ONCE):
        yield sessions[start : start + AT_ONCE]


def _last_intervals(code: str, sessions: list[str]) -> dict[str, Attendance]:
    """By session."""
    intervals = Attendance.objects.filter(session__in=sessions, participant__room__code=code)
    return {interval.session: interval for interval in intervals.select_related("participant").order_by("joined_at")}


def _summary(attendance: Attendance, parts: list[bytes]) -> ConnectionSummary:
    totals = Totals()
    for part in parts:
        try:
            totals.join(msgspec.json.decode(part, type=Totals))
        except msgspec.DecodeError:
            log.warning("Sums of a connection cannot be read: another version wrote them")
    seconds = totals.seconds or 1.0
    return ConnectionSummary(
        attendance=attendance,
        room_id=attendance.participant.room_id,
        day=attendance.joined_at.date(),
        seconds=round(totals.seconds),
        rtt=totals.rtt.mean,
        worst_rtt=totals.rtt.worst,
        jitter=totals.jitter.mean,
        worst_jitter=totals.jitter.worst,
        loss=totals.loss.mean,
        worst_loss=totals.loss.worst,
        score=totals.score.mean,
        worst_score=totals.score.worst,
        warning_share=100 * totals.warning / seconds,
        danger_share=100 * totals.danger / seconds,
        bytes_received=min(totals.received, 2**63 - 1),
        bytes_sent=min(totals.sent, 2**63 - 1),
        freezes=min(totals.freezes, 2**31 - 1),
        used_tcp=totals.tcp,
        used_relay=totals.relay,
    )
