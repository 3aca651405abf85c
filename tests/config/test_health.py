"""`/healthz` and `/readyz` tell the truth, and nothing more."""

from __future__ import annotations

import pytest
import redis
from django.test import Client
from pytest_django import Settings

from sfu.protocol import HEARTBEAT_KEY

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


def test_metrics_are_prometheus_text(client: Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
