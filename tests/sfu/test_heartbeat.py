"""The heartbeat against a real Redis that comes and goes."""

import asyncio
import logging
import time

import msgspec
import pytest
import redis

from sfu.protocol import HEARTBEAT_EXPIRES, HEARTBEAT_KEY, STARTS_EXPIRE, STARTS_KEY, Heartbeat
from sfu.worker.heartbeat import Heartbeats
from tests.redis_server import RedisServer, free_port
from tests.waiting import until

BEAT = Heartbeat(
    worker_id="sfu-7", epoch="abc", control="127.0.0.1:1", announced=["192.0.2.1:40000"], region="local",
    load=0.25, peers=3, draining=False,
)  # fmt: skip
KEY = HEARTBEAT_KEY.format(worker_id="sfu-7")


@pytest.fixture
def redis_server(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def beating():
    started = []

    def start(url: str, **options) -> Heartbeats:
        heartbeats = Heartbeats(url, lambda: BEAT, **options)
        heartbeats.start()
        started.append(heartbeats)
        return heartbeats

    yield start
    for heartbeats in started:
        await heartbeats.stop()


def kept(url: str) -> Heartbeat | None:
    with redis.Redis.from_url(url) as client:
        value = client.get(KEY)
    return msgspec.json.decode(value, type=Heartbeat) if value else None


async def test_the_heartbeat_is_in_redis_and_expires(clean_redis_url, beating):
    beating(clean_redis_url)
    await until(lambda: kept(clean_redis_url) == BEAT)
    with redis.Redis.from_url(clean_redis_url) as client:
        assert 0 < client.ttl(KEY) <= HEARTBEAT_EXPIRES


async def test_it_is_renewed_each_second(clean_redis_url, beating):
    beating(clean_redis_url)
    await until(lambda: kept(clean_redis_url) is not None)
    with redis.Redis.from_url(clean_redis_url) as client:
        client.delete(KEY)
        began = time.monotonic()
        await until(lambda: client.exists(KEY))
    assert time.monotonic() - began < 1.5


async def test_each_start_but_the_first_is_counted_as_a_restart(clean_redis_url):
    told = []
    for _ in range(3):
        heartbeats = Heartbeats(clean_redis_url, lambda: BEAT)
        assert await heartbeats.send()
        assert await heartbeats.send()
        told.append(heartbeats.restarts)
        await heartbeats.stop()
    assert told == [0, 1, 2]
    with redis.Redis.from_url(clean_redis_url) as client:
        assert 0 < client.ttl(STARTS_KEY.format(worker_id="sfu-7")) <= STARTS_EXPIRE


async def test_it_comes_back_soon_after_redis_does_and_says_little_meanwhile(redis_server, beating, caplog):
    caplog.set_level(logging.INFO)
    beating(redis_server.url, every=0.2)
    await until(lambda: kept(redis_server.url) is not None)
    redis_server.stop()
    began = time.monotonic()
    await until(lambda: "heartbeat_lost" in caplog.text, within=3)
    await until(lambda: time.monotonic() - began > 3, within=4)
    redis_server.start()
    back = time.monotonic()
    await until(lambda: kept(redis_server.url) == BEAT)
    assert time.monotonic() - back < HEARTBEAT_EXPIRES - 1
    await until(lambda: "heartbeat_back" in caplog.text)
    assert caplog.text.count("heartbeat_lost") <= time.monotonic() - began + 1


async def test_a_redis_that_takes_the_connection_and_never_answers_is_given_up(beating):
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
    heartbeats = Heartbeats(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0", lambda: BEAT)
    began = time.monotonic()
    assert await heartbeats.send() is False
    assert time.monotonic() - began < 3
    await heartbeats.stop()
    silent.close()


async def test_the_password_of_redis_is_not_logged(beating, caplog):
    caplog.set_level(logging.DEBUG)
    heartbeats = Heartbeats(f"redis://:hunter2hunter2@127.0.0.1:{free_port()}/0", lambda: BEAT)
    assert await heartbeats.send() is False
    await heartbeats.stop()
    assert "heartbeat_lost" in caplog.text
    assert "hunter2" not in caplog.text


async def test_ending_leaves_the_last_word_in_redis(clean_redis_url):
    heartbeats = Heartbeats(clean_redis_url, lambda: msgspec.structs.replace(BEAT, draining=True))
    heartbeats.start()
    assert await heartbeats.send()
    await heartbeats.stop()
    await heartbeats.stop()
    last = kept(clean_redis_url)
    assert last is not None
    assert last.draining
