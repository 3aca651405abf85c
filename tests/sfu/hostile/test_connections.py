"""Connections that waste time and memory: to the media port, where ICE-TCP is spoken, and to the control port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable

import pytest

from sfu import protocol as p
from tests.sfu.hostile.bystanders import ROOM
from tests.sfu.hostile.siege import Siege
from tests.sfu.senders import OpusSender
from tests.sfu.worker import SECRET, RawClient
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def descriptors(siege: Siege) -> int:
    assert siege.worker.process is not None
    return len(os.listdir(f"/proc/{siege.worker.process.pid}/fd"))


async def opened(count: int, host: str, port: int) -> list[Streams]:
    found: list[Streams] = []
    for start in range(0, count, 50):
        some = [asyncio.open_connection(host, port) for _ in range(min(50, count - start))]
        found += [pair for pair in await asyncio.gather(*some, return_exceptions=True) if isinstance(pair, tuple)]
    return found


def write(pair: Streams, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        pair[1].write(data)


async def hung_up(pairs: list[Streams]) -> None:
    for _, writer in pairs:
        writer.transport.abort()
    await asyncio.sleep(0)


async def a_thousand(siege: Siege) -> None:
    pairs = await opened(1000, *siege.media)
    assert len(pairs) >= 900
    await asyncio.sleep(0.5)
    await hung_up(pairs)


async def slowly(siege: Siege) -> None:
    """A byte at a time of a frame that never ends."""
    pairs = await opened(50, *siege.media)
    for _ in range(30):
        for pair in pairs:
            write(pair, b"\x05")
        await asyncio.sleep(0.02)
    await hung_up(pairs)


async def huge_lengths(siege: Siege) -> None:
    pairs = await opened(50, *siege.media)
    for pair in pairs:
        write(pair, b"\xff\xff" + bytes(30_000))
    for reader, _ in pairs:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    await hung_up(pairs)


async def half_frames(siege: Siege) -> None:
    pairs = await opened(50, *siege.media)
    for pair in pairs:
        write(pair, b"\x07\xd0" + bytes(1000))
    await asyncio.sleep(0.5)
    await hung_up(pairs)


async def frames_of_junk(siege: Siege) -> None:
    pairs = await opened(20, *siege.media)
    voice = OpusSender(2222)
    for _ in range(40):
        for pair in pairs:
            for frame in (b"", b"\x80", voice.packet(), secrets.token_bytes(60), b"\x16\xfe\xfd" + bytes(30)):
                write(pair, len(frame).to_bytes(2, "big") + frame)
        await asyncio.sleep(0.01)
    await hung_up(pairs)


@pytest.mark.parametrize("attack", [a_thousand, slowly, huge_lengths, half_frames, frames_of_junk])
async def test_on_the_media_port(siege: Siege, attack: Callable[[Siege], Awaitable[None]]) -> None:
    before = descriptors(siege)
    await siege.withstands(lambda: attack(siege))
    await until(lambda: descriptors(siege) <= before + 2)


async def test_one_who_is_invited_comes_in_by_tcp_past_a_crowd(siege: Siege) -> None:
    async def attack() -> None:
        pairs = await opened(600, *siege.media)
        mallory = await siege.mallory()
        down = await mallory.receiver("tcp")
        await down.check()
        await hung_up(pairs)
        await down.close()
        await mallory.leave()

    await siege.withstands(attack, lines=6)


async def test_one_who_does_not_read_what_comes_by_tcp(siege: Siege) -> None:
    """The class is sent to him, and he takes nothing of it: dropped for him, kept for nobody."""
    mallory = await siege.mallory()
    mallory.down = await mallory.receiver("tcp")
    for producer in (await siege.client.request(p.OpenRoom(room=ROOM))).producers:
        if producer.peer == "tina":
            mallory.consumers[producer.kind] = await mallory.consume(producer.producer_id)
    await mallory.down.until(lambda: mallory.down.rtp)
    assert mallory.down._reading is not None
    mallory.down._reading.cancel()

    await siege.withstands(lambda: asyncio.sleep(1.5))
    await mallory.leave()


# --- the control port ---


async def silent(siege: Siege) -> None:
    pairs = await opened(600, *siege.control_address)
    await asyncio.sleep(0.3)
    await hung_up(pairs)


async def wrong_secrets(siege: Siege) -> None:
    for _ in range(20):
        clients = [await siege.raw_control() for _ in range(10)]
        for client in clients:
            await client.say({"id": 1, "request": {"method": "hello", "secret": secrets.token_hex(8), "client": "x"}})
        for client in clients:
            assert "error" in await client.hear()
            assert await client.is_closed()
            client.close()


async def junk_for_a_hello(siege: Siege) -> None:
    for _ in range(20):
        clients = [await siege.raw_control() for _ in range(10)]
        for client in clients:
            await client.write(secrets.token_bytes(2000) + b"\n" + b"{" * 2000 + b"\n")
        for client in clients:
            assert await client.is_closed()
            client.close()


async def lines_without_end(siege: Siege) -> None:
    clients = [await siege.raw_control() for _ in range(20)]
    for client in clients:
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                await client.write(b"x" * 60_000)
    for client in clients:
        assert await client.is_closed()
        client.close()


async def nonsense_of_a_friend(siege: Siege) -> None:
    """Who knows the secret may be mad all the same: each line is answered, deep and broken ones too."""
    client = await RawClient.connect(siege.control_address[1], secret=SECRET)
    deep = b'{"id":1,"request":{"method":"recording.mark","room":"a","recording":"b","mark":' + b'{"a":' * 20_000
    lines = [
        b"{}",
        b"[]",
        b"NaN",
        b'{"id":1e400}',
        b'{"id":5,"request":{"method":"x"}}',
        deep,
        b"\xff\xfe",
        b"[" * 50_000,
    ]
    for line in lines * 10:
        await client.write(line + b"\n")
    for _ in lines * 10:
        assert "error" in await client.hear()
    client.close()


@pytest.mark.parametrize("attack", [silent, wrong_secrets, junk_for_a_hello, lines_without_end, nonsense_of_a_friend])
async def test_on_the_control_port(siege: Siege, attack: Callable[[Siege], Awaitable[None]]) -> None:
    before = descriptors(siege)
    await siege.withstands(lambda: attack(siege), lines=3)
    await until(lambda: descriptors(siege) <= before + 2)
