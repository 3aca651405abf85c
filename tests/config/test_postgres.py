"""A whole Lectern on PostgreSQL: it starts from an empty database, keeps few connections, and outlives an outage."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from benchmarks.websocket import WebSocket, connect
from tests.lectern import ROOT, Lectern, running_lectern, wait_until
from tests.postgres_server import PostgresServer, running_postgres
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def lectern(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lectern]:
    with running_lectern(tmp_path_factory.mktemp("on-postgres"), DATABASE_URL=postgres.url) as running:
        yield running


def connections(postgres: PostgresServer) -> int:
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return len(rows.fetchall()) - 1


def access_token(lectern: Lectern, username: str) -> str:
    return str(lectern.api("auth/token/", {"username": username, "password": "lectern-demo"})["access"])


class InClass:
    """Somebody's socket in the demo classroom."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.numbers = itertools.count(1)
        self.socket: WebSocket

    @classmethod
    async def enter(cls, lectern: Lectern, username: str) -> InClass:
        access = await asyncio.to_thread(access_token, lectern, username)
        token = (await asyncio.to_thread(lectern.api, "meetings/demo-class/token/", {}, token=access))["token"]
        person = cls()
        path = f"/ws/meetings/demo-class/?token={token}"
        person.socket = await connect("127.0.0.1", lectern.port, path, lambda t: person.frames.append(json.loads(t)))
        answer = await person.ask("room:join", {})
        assert answer["ok"], answer
        return person

    async def ask(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send({"id": number, "event": event, "data": data})
        await until(lambda: any(frame.get("ack") == number for frame in self.frames), within=20)
        return next(frame for frame in self.frames if frame.get("ack") == number)

    def heard(self) -> list[str]:
        return [frame["data"]["message"] for frame in self.frames if frame.get("event") == "chat:message"]


def test_its_migrations_lead_from_nothing_to_the_models(lectern: Lectern, postgres: PostgresServer) -> None:
    environ = {**os.environ, "DATABASE_URL": postgres.url, "LECTERN_DATA": str(lectern.data)}
    for command in (["migrate", "--check"], ["makemigrations", "--check", "--dry-run"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environ, check=True)


def test_pages_leave_no_connections_behind(lectern: Lectern, postgres: PostgresServer) -> None:
    access = access_token(lectern, "student1")

    def read(_: int) -> int:
        request = urllib.request.Request(lectern.url + "api/v1/courses/", headers={"Authorization": f"Bearer {access}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)

    with ThreadPoolExecutor(8) as readers:
        assert set(readers.map(read, range(200))) == {200}
    # PostgreSQL takes 100 by itself; a web process holds one a database thread, Celery one a child.
    wait_until(lambda: connections(postgres) <= 12, within=10, what="the pages' connections being closed")


async def test_a_class_goes_on_after_the_database_was_away(lectern: Lectern, postgres: PostgresServer) -> None:
    names = ["teacher", "assistant", "student1", "student2", "student3", "student4"]
    tina, *others = people = [await InClass.enter(lectern, name) for name in names]

    async def all_ask() -> list[bool]:
        """At once, so that every database thread of the web process has its part."""
        return [answer["ok"] for answer in await asyncio.gather(*(each.ask("chat:history", {}) for each in people))]

    assert all(await all_ask())
    assert (await tina.ask("chat:send", {"message": "before"}))["ok"]
    await asyncio.to_thread(postgres.stop)
    refused = await tina.ask("chat:send", {"message": "into the void"})
    assert refused["error"]["code"] == "internal"
    assert "Try again" in refused["error"]["message"]
    with pytest.raises(urllib.error.HTTPError) as unready:
        await asyncio.to_thread(urllib.request.urlopen, lectern.url + "readyz", None, 10)
    assert unready.value.code == 503
    await asyncio.to_thread(postgres.start)
    # Those who are in the class notice nothing but the refusal: all goes through again at the first try.
    assert all(await all_ask())
    assert (await tina.ask("chat:send", {"message": "after"}))["ok"]
    for person in others:
        await until(lambda person=person: person.heard() == ["before", "after"])
    await InClass.enter(lectern, "student5")
    assert await asyncio.to_thread(lectern.ready)
