"""What all tests share. A test that needs Redis takes `redis_url` (one server a test run, never emptied),
`clean_redis_url` (the same, emptied before the test) or `redis_server` (its own), and is thereby marked `service`.

A test that touches the database is marked `database`: `./test` runs those on SQLite and then on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.cache import cache
from django.db import connections
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from tests.database import quickly_emptied
from tests.redis_server import RedisServer, running_redis

# How long an example takes tells of the machine's other work, not of the code.
hypothesis_settings.register_profile("lectern", deadline=None)
hypothesis_settings.load_profile("lectern")

# A password's hash is meant to be dear: a quarter of a second each, of which the tests need hundreds.
Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost, Argon2PasswordHasher.parallelism = 1, 8, 1

pytest_plugins = ["tests.world"]
SERVICE_FIXTURES = {"redis_url", "clean_redis_url", "redis_server", "worker_process", "postgres", "object_store"}
DATABASE_FIXTURES = {"db", "transactional_db"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if SERVICE_FIXTURES & fixtures:
            item.add_marker(pytest.mark.service)
        if DATABASE_FIXTURES & fixtures or item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.database)


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """A library that makes the process a real-time one takes the machine from all that is tested beside it."""
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Redis that lives as long as the test run."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def clean_redis_url(redis_url: str) -> str:
    """The same Redis with nothing in it."""
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    return redis_url


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of the test's own, to stop and start."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_cache(settings: Settings) -> None:
    """Failed sign-ins are counted in the cache: here one of the process's own, empty for each test."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    with quickly_emptied():
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file: the sockets' database threads see what a test has written, as they do in life."""
    default = connections.databases["default"]
    if default["ENGINE"].endswith("sqlite3"):
        default["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
