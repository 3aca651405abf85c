"""`/healthz` and `/readyz` tell the truth, and nothing more."""

from __future__ import annotations

import msgspec
import pytest
import redis
from django.test import Client
from pytest_django import Settings

from sfu.protocol import HEARTBEAT_KEY, Heartbeat

pytestmark = pytest.mark.django_db


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


def test_metrics_are_there_without_redis(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "lectern_sfu_workers 0.0" in answer.content.decode()
