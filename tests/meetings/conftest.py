"""A room with a real Redis and a real database: `enter("sam")` opens a socket, `join("sam")` is in the class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels_redis.core import RedisChannelLayer

from meetings.hub import Hubs
from meetings.redis_client import connect
from tests.meetings.daphne import Browser, Daphne, running_daphne
from tests.meetings.world import Client, World


@pytest.fixture
def redis_settings(clean_redis_url: str, settings: Any) -> str:
    settings.REDIS_URL = clean_redis_url
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": clean_redis_url}
    }
    return clean_redis_url


@pytest.fixture
async def make_hubs(redis_settings: str, settings: Any) -> AsyncIterator[Callable[[], Hubs]]:
    """Each call is another web process: its own channel layer, its own connections."""
    made: list[Hubs] = []

    def make() -> Hubs:
        config = dict(settings.CHANNEL_LAYERS["default"]["CONFIG"])
        config["hosts"] = [{**config["hosts"][0], "address": redis_settings}]
        layer = RedisChannelLayer(**config)
        made.append(Hubs(layer, connect(redis_settings)))
        return made[-1]

    yield make
    for hubs in made:
        await hubs.stop()
        await hubs.layer.close_pools()


@pytest.fixture
async def hubs(make_hubs: Callable[[], Hubs]) -> Hubs:
    return make_hubs()


@pytest.fixture
async def world(transactional_db: None, redis_settings: str) -> World:
    return await sync_to_async(World.make)()


Enter = Callable[..., Awaitable[Client]]


@pytest.fixture
async def enter(world: World, hubs: Hubs) -> AsyncIterator[Enter]:
    """Open a socket as somebody: `enter("sam")`, `enter("guest")`, `enter(token=...)`."""
    clients: list[Client] = []

    async def open_as(
        name: str = "", *, token: str = "", by: Hubs | None = None, code: str = "", **other: Any
    ) -> Client:
        if name == "guest" and not token:
            token = world.guest_token()
        cookie = "" if token else world.cookies[name]
        client = Client(code or world.room.code, cookie=cookie, token=token, hubs=by or hubs, **other)
        clients.append(client)
        assert await client.open()
        return client

    yield open_as
    for client in clients:
        await client.close()


@pytest.fixture
async def join(enter: Enter) -> Enter:
    """`join("sam")`: in the class."""

    async def join_as(name: str = "", *, join: dict[str, Any] | None = None, **options: Any) -> Client:
        client = await enter(name, **options)
        client.answer = await client.join(**(join or {}))
        return client

    return join_as


@pytest.fixture
def daphne(world: World, redis_settings: str, tmp_path: Path) -> Iterator[Daphne]:
    with running_daphne(redis_settings, tmp_path) as server:
        yield server


@pytest.fixture
async def browse(daphne: Daphne, world: World) -> AsyncIterator[Any]:
    opened: list[Browser] = []

    async def open_page(name: str = "Gus", *, role: str = "attendee", token: str = "", join: bool = True) -> Browser:
        browser = await daphne.open(world.room.code, token or world.guest_token(name, role))
        opened.append(browser)
        if join:
            answer = await browser.ask("room:join", {})
            assert answer["ok"], answer
        return browser

    yield open_page
    for browser in opened:
        browser.socket.transport.abort()
