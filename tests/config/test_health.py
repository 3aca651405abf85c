"""`/healthz` and `/readyz` tell the truth, and nothing more."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import redis
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import Settings

from accounts.models import User
from classroom.models import Lesson
from meetings.models import Room
from recordings.models import Recording
from sfu.protocol import HEARTBEAT_KEY, Heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture
def room(lesson: Lesson, tina: User) -> Room:
    return Room.objects.create(title="Cells", created_by=tina, lesson=lesson)


def test_the_process_is_healthy_without_any_service(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert client.get("/healthz").status_code == 200


def test_without_redis_it_is_not_ready_and_names_no_address(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://:secret@127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["redis"].startswith("failed")
    assert answer.json()["database"] == "ok"
    assert b"secret" not in answer.content


def test_it_is_ready_once_a_media_worker_beats(client: Client, settings: Settings, clean_redis_url: str) -> None:
    settings.REDIS_URL = clean_redis_url
    assert client.get("/readyz").json()["media_worker"] == "missing"
    with redis.Redis.from_url(clean_redis_url) as connection:
        connection.set(HEARTBEAT_KEY.format(worker_id="sfu-0"), "{}", ex=4)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True


def test_metrics_tell_what_the_workers_beats_say(client: Client, settings: Settings, clean_redis_url: str) -> None:
    settings.REDIS_URL = clean_redis_url
    counters = {"packets_forwarded": 7, "bytes_forwarded": 700, "packets_dropped": {"forged": 3}}
    beat = Heartbeat("sfu-0", "e", "127.0.0.1:1", [], "local", 0.25, 2, False, counters)
    with redis.Redis.from_url(clean_redis_url) as connection:
        connection.set(HEARTBEAT_KEY.format(worker_id="sfu-0"), msgspec.json.encode(beat), ex=4)
        connection.set(HEARTBEAT_KEY.format(worker_id="sfu-1"), "no heartbeat", ex=4)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    lines = answer.content.decode().splitlines()
    assert 'lectern_packet_total{worker="sfu-0"} 7.0' in lines
    assert 'lectern_sfu_packets_dropped_total{reason="forged",worker="sfu-0"} 3.0' in lines
    assert 'lectern_sfu_load{worker="sfu-0"} 0.25' in lines
    assert "lectern_sfu_workers 1.0" in lines
    assert "lectern_participant_total 0.0" in lines


def test_metrics_tell_of_recordings(client: Client, settings: Settings, room: Room) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    now = timezone.now()
    for name, state, ago, gap in (
        ("old", "ready", timedelta(days=2), 50.0),
        ("gap", "ready", timedelta(hours=2), 3.5),
        ("queued", "queued", timedelta(seconds=90), 0.0),
    ):
        Recording.objects.create(public_id=name, room=room, state=state, stopped_at=now - ago, gap=gap)
    found = samples(client)
    assert found["lectern_recording_gap_seconds"] == 3.5
    assert found["lectern_recording_oldest_unfinished_seconds"] == pytest.approx(90, abs=30)
    assert found["lectern_recording_unfinished"] == 1


def test_metrics_are_there_without_the_database(client: Client, settings: Settings, monkeypatch) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    def away(*args: object, **options: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Recording.objects, "filter", away)
    assert "lectern_sfu_workers" in samples(client)


def test_a_page_that_is_refused_is_counted_by_the_name_of_its_view(client_of, room: Room, olga: User) -> None:
    def denied() -> float:
        labels = {"action": "meetings:room"}
        return REGISTRY.get_sample_value("lectern_authz_denied_total", labels) or 0.0

    before = denied()
    assert client_of("olga").get(room.get_absolute_url()).status_code == 403
    assert denied() == before + 1


def samples(client: Client) -> dict[str, float]:
    """Those without labels."""
    lines = client.get("/metrics").content.decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in pairs}


def test_metrics_are_there_without_redis(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "lectern_sfu_workers 0.0" in answer.content.decode()
