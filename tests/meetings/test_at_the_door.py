"""What happens to somebody who has opened a socket and not joined yet, or whose join does not come to its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, OperationalError

from meetings import chat, registry, services
from meetings.models import Attendance, ChatMessage, Participant
from tests.meetings.world import Client
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


class Door:
    """Joins wait here, having entered, until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()

    async def wait(self, session: object, answer: object) -> None:
        self.waiting += 1
        await self.open.wait()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr(registry.on_join, "functions", [door.wait])
    return door


async def demote(host: Client, person: Client) -> None:
    pid = person.answer["you"]["participant_id"]
    await host.do("participant:role:update", {"participant_id": pid, "role": "attendee"})


async def test_a_role_that_was_taken_away_is_gone_also_for_a_socket_that_was_open_already(join, enter, hubs, world):
    tina, asa = await join("tina"), await join("asa")
    spare = await enter("asa")
    await until(lambda: hubs.hubs[world.room.code].holders == 3)  # by then the server knows who it is
    await demote(tina, asa)
    answer = await spare.join()
    assert answer["you"]["role"] == "attendee"
    assert "mute" not in answer["you"]["can"]
    assert await spare.refused("participant:mute", {"participant_id": "all"}) == "forbidden"
    late = await join("sue")
    assert {p["name"]: p["role"] for p in late.answer["participants"]}["Asa"] == "attendee"


async def test_a_role_that_is_taken_away_while_its_owner_joins_is_gone(join, enter, door):
    door.open.set()
    tina, asa = await join("tina"), await join("asa")
    again = await enter("asa")
    door.open.clear()
    request = await again.send("room:join")
    await until(lambda: door.waiting == 3)
    await demote(tina, asa)
    door.open.set()
    await again.until(lambda: request in again.acks)
    assert await again.refused("participant:mute", {"participant_id": "all"}) == "forbidden"


async def test_who_is_removed_while_joining_does_not_get_in(join, enter, door, world):
    door.open.set()
    tina, sam = await join("tina"), await enter("sam")
    door.open.clear()
    await sam.send("room:join")
    await until(lambda: door.waiting == 2)
    pid = (await Participant.objects.aget(user=world.users["sam"])).public_id
    await tina.do("participant:remove", {"participant_id": pid})
    assert await sam.until_closed() == 4003
    door.open.set()
    await sam.close()
    late = await join("sue")
    assert {p["name"] for p in late.answer["participants"]} == {"Tina", "Sue"}


async def test_a_class_that_ends_while_somebody_joins_lets_nobody_stay(join, enter, door):
    door.open.set()
    tina, sam = await join("tina"), await enter("sam")
    door.open.clear()
    await sam.send("room:join")
    await until(lambda: door.waiting == 2)
    await tina.do("room:end")
    assert await sam.until_closed() == 4004


async def test_of_two_tabs_that_come_in_at_once_one_stays(join, enter, door):
    door.open.set()
    first = await join("sam")
    tabs = [await enter("sam"), await enter("sam")]
    door.open.clear()
    requests = [await tab.send("room:join") for tab in tabs]
    await until(lambda: door.waiting == 3)
    door.open.set()
    assert await first.until_closed() == 4009

    async def fate(tab: Client, request: int) -> str:
        try:
            await tab.until(lambda: request in tab.acks)
            await tab.do("chat:send", {"message": "I am here"})
        except AssertionError:
            assert tab.closed == 4009
            return "replaced"
        return "in"

    assert sorted([await fate(*pair) for pair in zip(tabs, requests, strict=True)]) == ["in", "replaced"]


async def test_a_join_that_failed_half_way_leaves_nobody_connected(join, enter, monkeypatch):
    left: list[Any] = []

    async def told(session: Any) -> None:
        left.append(session.participant_id)

    def away(*args: object, **options: object) -> None:
        raise OperationalError("the database is away")

    tina, sam = await join("tina"), await enter("sam")
    monkeypatch.setattr(registry.on_disconnect, "functions", [told])
    with monkeypatch.context() as broken:
        broken.setattr(chat, "history", away)
        assert await sam.refused("room:join") == "internal"
    pid = (await tina.meets("Sam"))["participant_id"]
    await sam.close()
    assert left == [pid]
    late = await join("sue")
    assert {p["name"]: p["connected"] for p in late.answer["participants"]}["Sam"] is False


async def test_what_the_removed_had_still_waiting_is_not_done(join, hubs, world):
    sam = await join("sam")
    session = hubs.hubs[world.room.code].sessions[sam.answer["you"]["participant_id"]]
    await sam.do("chat:send", {"message": "before"})
    session.close(4003)
    for _ in range(3):
        await sam.send("chat:send", {"message": "after"})
    await sam.close()
    assert [m.message async for m in ChatMessage.objects.all()] == ["before"]


async def test_a_redis_that_came_back_empty_makes_nobody_present_twice(join, enter, world, hubs):
    sam = await join("sam")
    await sam.close()
    await hubs.redis.flushall()
    again = await enter("sam")
    await again.join(session=sam.answer["session"])
    rows = [(reason, left is None) async for reason, left in Attendance.objects.values_list("reason", "left_at")]
    assert rows == [("replaced", False), ("", True)]


async def test_a_fault_of_ours_in_the_database_is_logged_as_one(join, monkeypatch, caplog):
    sam = await join("sam")

    def wrong(*args: object, **options: object) -> None:
        raise IntegrityError("a constraint that we forgot")

    monkeypatch.setattr(chat, "history", wrong)
    assert await sam.refused("chat:history") == "internal"
    assert "chat:history failed" in caplog.text
    assert "a constraint that we forgot" in caplog.text


async def test_a_role_given_in_class_is_read_when_one_is_admitted(world):
    entry = await sync_to_async(services.get_room_for)(world.users["sam"], world.room.code)
    sam = await sync_to_async(services.participant_for)(entry)
    await sync_to_async(services.give_role)(sam, "presenter")
    admission = await sync_to_async(services.admit)(sam.pk, display_name="Sam", session="s")
    assert admission.role == "presenter"
