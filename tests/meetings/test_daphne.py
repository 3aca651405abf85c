"""The socket on the real server: close codes as a browser sees them, big frames, a client that never reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis

from benchmarks.websocket import CLOSE, TEXT, frame
from meetings.database import in_database
from meetings.live import LEASE, SHORT_LEASE
from meetings.models import ChatMessage, Participant
from meetings.redis_client import room_key
from tests.meetings.daphne import Browser, Daphne
from tests.meetings.world import World
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


async def closed_with(browser: Browser) -> int | None:
    await asyncio.wait_for(browser.socket.closed, 5)
    return browser.socket.close_code


async def test_a_message_goes_round(browse):
    one, two = await browse("One"), await browse("Two")
    assert (await one.ask("chat:send", {"message": "hello"}))["ok"]
    await until(lambda: two.said() == ["hello"] == one.said())


async def test_close_codes_reach_the_browser(browse):
    forged = await browse(token="forged", join=False)
    assert await closed_with(forged) == 4001
    assert forged.frames[0]["data"]["code"] == "unauthenticated"


async def test_a_browser_that_says_goodbye_is_waited_for_less_than_one_that_vanishes(browse, world, redis_settings):
    one, two = await browse("One"), await browse("Two")
    one.socket.transport.write(frame(CLOSE, (1001).to_bytes(2)))
    two.socket.transport.abort()
    ids = [browser.frames[0]["data"]["you"]["participant_id"] for browser in (one, two)]
    with redis.Redis.from_url(redis_settings) as connection:
        people = room_key(world.room.code, "people")
        await until(lambda: all(b'"connected":false' in connection.hget(people, pid) for pid in ids))
        leases = [connection.zscore(room_key(world.room.code, "leases"), pid) or 0 for pid in ids]
    assert leases[1] - leases[0] == pytest.approx(LEASE - SHORT_LEASE, abs=5)


async def test_three_megabytes_close_with_1009_before_they_fill_the_memory(browse, daphne):
    good, bad = await browse("Good"), await browse("Bad")
    before = daphne.memory()
    head, rest = frame(TEXT, b"x" * 3_000_000)[:100_000], b"x" * 2_900_000
    bad.socket.transport.write(head)
    await until(lambda: bad.socket.close_code)
    assert bad.socket.close_code == 1009
    bad.socket.transport.write(rest)
    bad.socket.transport.write(frame(CLOSE, b"\x03\xe8"))
    await asyncio.wait_for(bad.socket.closed, 5)
    assert (await good.ask("chat:send", {"message": "still here"}))["ok"]
    assert daphne.memory() - before < 5_000_000


async def test_a_frame_in_many_pieces_counts_as_one(browse):
    bad = await browse()
    piece = b"x" * 30_000
    first, more = frame(TEXT, piece), frame(0, piece)
    bad.socket.transport.write(bytes([first[0] & 0x7F]) + first[1:])  # FIN clear: to be continued
    for _ in range(200):
        bad.socket.transport.write(bytes([more[0] & 0x7F]) + more[1:])
    bad.socket.transport.write(frame(0, piece))
    assert await closed_with(bad) == 1009


async def test_a_client_that_never_reads_is_dropped_without_growth_and_others_get_all(browse, daphne, world):
    deaf, talkers = await browse("Deaf"), [await browse(f"Talker {n}") for n in range(16)]
    await in_database(fill_the_chat)(world)
    deaf.socket.transport.pause_reading()
    before = daphne.memory()
    for number in range(100, 130):  # half a megabyte of answer each: the kernel's buffers are full after a few
        deaf.socket.send({"id": number, "event": "chat:history", "data": {"limit": 100}})
    said = 0
    while connected(deaf, daphne) and said < 30:  # a burst that the chat's limit allows each
        answers = await asyncio.gather(*(talker.ask("chat:send", {"message": "x" * 5000}) for talker in talkers))
        assert all(answer["ok"] for answer in answers)
        said += 1
    assert not connected(deaf, daphne), "the deaf client is still connected"
    assert daphne.memory() - before < 20_000_000
    await until(lambda: len(talkers[0].said()) == said * len(talkers))


def fill_the_chat(world: World) -> None:
    author = Participant.objects.filter(room=world.room).first()
    assert author is not None
    ChatMessage.objects.bulk_create(
        ChatMessage(room=world.room, participant=author, public_id=f"old-{n}", message="x" * 5000) for n in range(100)
    )


def connected(browser: Browser, daphne: Daphne) -> bool:
    """Whether the server has a connection to that client's port."""
    ours = browser.socket.transport.get_extra_info("sockname")[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if local.endswith(f":{daphne.port:04X}") and remote.endswith(f":{ours:04X}") and state == "01":
            return True
    return False
