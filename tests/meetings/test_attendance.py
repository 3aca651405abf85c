"""Intervals that no web process is left to close."""

from __future__ import annotations

import time
from datetime import timedelta

import msgspec
import pytest
import redis
from django.conf import settings
from django.utils import timezone

from meetings import services
from meetings.live import LEASE, SHORT_LEASE
from meetings.models import Attendance
from meetings.redis_client import room_key
from meetings.tasks import close_abandoned_attendance
from tests.meetings.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def interval(redis_settings: str) -> Attendance:
    world = World.make()
    sam = services.participant_for(services.get_room_for(world.users["sam"], world.room.code))
    return Attendance.objects.create(participant=sam, session="s", joined_at=timezone.now() - timedelta(hours=1))


def lease(interval: Attendance, till: float) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        key = room_key(interval.participant.room.code, "leases")
        connection.zadd(key, {interval.participant.public_id: till})


def test_an_interval_without_a_lease_is_closed(interval):
    assert close_abandoned_attendance() == 1
    interval.refresh_from_db()
    assert interval.reason == "lost"
    assert close_abandoned_attendance() == 0


def test_it_ends_when_the_person_was_last_seen(interval):
    expired = time.time() - 10 * LEASE
    lease(interval, expired)
    assert close_abandoned_attendance() == 1
    interval.refresh_from_db()
    assert abs(interval.left_at.timestamp() - (expired - LEASE)) < 2


def test_who_is_in_or_has_just_come_is_left_alone(interval):
    lease(interval, time.time() + LEASE)
    assert close_abandoned_attendance() == 0
    lease(interval, time.time() - 1)
    assert close_abandoned_attendance() == 0, "the room's own hubs come first"
    Attendance.objects.update(joined_at=timezone.now())
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.flushall()
    assert close_abandoned_attendance() == 0


def test_a_room_that_all_left_by_closing_their_tabs_is_emptied(interval):
    pid, code = interval.participant.public_id, interval.participant.room.code
    closed_at = time.time() - 3 * LEASE
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.hset(room_key(code, "people"), pid, msgspec.json.encode({"name": "Sam", "away_at": closed_at}))
        connection.hset(room_key(code, "sessions"), pid, "s")
        lease(interval, closed_at + SHORT_LEASE)
        assert close_abandoned_attendance() == 1
        assert connection.hgetall(room_key(code, "people")) == {}
    interval.refresh_from_db()
    assert abs(interval.left_at.timestamp() - closed_at) < 2


def test_with_redis_away_nobody_is_judged(interval, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert close_abandoned_attendance() == 0


def test_the_sweeper_is_scheduled():
    from config.celery import app

    entry = app.conf.beat_schedule["close abandoned attendance"]
    assert entry["task"] in app.tasks
