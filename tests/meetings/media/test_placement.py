"""All web processes agree where a room is, and move it when its worker is gone."""

import asyncio

import msgspec
import pytest
import redis.asyncio

from meetings.media.placement import KEPT, PLACEMENT_KEY, Placement, Placements
from sfu.protocol import HEARTBEAT_KEY, Heartbeat


@pytest.fixture
async def connection(clean_redis_url):
    async with redis.asyncio.Redis.from_url(clean_redis_url) as connection:
        yield connection


async def heartbeat(connection, worker_id, epoch="1", **fields):
    beat = Heartbeat(
        worker_id=worker_id, epoch=epoch, control="127.0.0.1:1", announced=[],
        **{"region": "", "load": 0.0, "peers": 0, "draining": False, **fields},
    )  # fmt: skip
    await connection.set(HEARTBEAT_KEY.format(worker_id=worker_id), msgspec.json.encode(beat), ex=4)


async def placed_by(placements, room, unreachable=()):
    placed = await placements.place(room, unreachable)
    assert placed is not None
    return placed.placement


async def ordered(placements):
    order = await placements.order("algebra")
    assert order is not None
    return order


async def test_twenty_processes_place_a_room_on_the_same_worker(connection):
    for number in range(8):
        await heartbeat(connection, f"w{number}")
    placed = await asyncio.gather(*[placed_by(Placements(connection), "algebra") for _ in range(20)])
    assert len(set(placed)) == 1


async def test_processes_that_see_different_loads_still_agree(connection):
    await heartbeat(connection, "a", peers=500)
    await heartbeat(connection, "b")
    first = await placed_by(Placements(connection), "algebra")
    assert first.worker_id == "b"
    await heartbeat(connection, "a")
    await heartbeat(connection, "b", peers=500)
    assert await placed_by(Placements(connection), "algebra") == first


async def test_without_a_worker_there_is_no_place(connection):
    assert await Placements(connection).place("algebra") is None


async def test_a_draining_worker_keeps_its_rooms_and_gets_no_new_ones(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    await placements.place("algebra")
    await heartbeat(connection, "a", draining=True)
    assert (await placed_by(placements, "algebra")).worker_id == "a"
    assert await placements.place("biology") is None


async def test_a_room_moves_when_its_workers_heartbeat_is_gone(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    await placements.place("algebra")
    await connection.delete(HEARTBEAT_KEY.format(worker_id="a"))
    await heartbeat(connection, "b")
    assert (await placed_by(placements, "algebra")).worker_id == "b"
    assert (await ordered(placements)).reason == "worker_lost"


async def test_a_worker_that_started_anew_is_another_worker(connection):
    await heartbeat(connection, "a", epoch="1")
    placements = Placements(connection)
    await placements.place("algebra")
    await heartbeat(connection, "a", epoch="2")
    assert await placed_by(placements, "algebra") == Placement("a", "2")
    assert await placements.order("algebra")


async def test_a_room_moves_off_a_worker_that_cannot_be_reached_although_its_heartbeat_is_there(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    gone = await placed_by(placements, "algebra")
    await heartbeat(connection, "b")
    assert (await placed_by(placements, "algebra", {gone})).worker_id == "b"


async def test_of_many_processes_that_see_a_worker_go_one_gives_up_and_all_know_of_the_order(connection):
    await heartbeat(connection, "a")
    processes = [Placements(connection) for _ in range(10)]
    gone = await placed_by(processes[0], "algebra")
    await connection.delete(HEARTBEAT_KEY.format(worker_id="a"))
    given_up = await asyncio.gather(*[process.give_up("algebra", gone, "worker_lost") for process in processes])
    assert given_up.count(True) == 1
    await heartbeat(connection, "b")
    placed = await asyncio.gather(*[placed_by(process, "algebra") for process in processes])
    assert {one.worker_id for one in placed} == {"b"}
    orders = await asyncio.gather(*[ordered(process) for process in processes])
    assert len(set(orders)) == 1
    await processes[5].fulfilled("algebra", orders[5])
    assert await processes[0].order("algebra") is None
    # One that notices late finds the room placed already, and orders nothing.
    assert not await processes[3].give_up("algebra", gone, "worker_lost")
    assert not await processes[3].order("algebra")


async def test_who_joins_without_a_worker_is_told_later_but_not_when_there_is_one(connection):
    placements = Placements(connection)
    assert await placements.order_restart("algebra", "no_worker")
    order = await ordered(placements)
    assert order.reason == "no_worker"
    assert await placements.order_restart("algebra", "no_worker")
    assert await placements.order("algebra") == order  # a second one who waits waits for the same
    await placements.fulfilled("algebra", order)
    await heartbeat(connection, "a")
    await placements.place("algebra")
    assert not await placements.order_restart("algebra", "no_worker")


async def test_an_order_that_is_fulfilled_late_takes_no_newer_one_away(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    await placements.give_up("algebra", await placed_by(placements, "algebra"), "worker_lost")
    old = await ordered(placements)
    await heartbeat(connection, "a", epoch="2")
    await placements.give_up("algebra", await placed_by(placements, "algebra"), "worker_lost")
    await placements.fulfilled("algebra", old)
    assert (await ordered(placements)).token == "2"


async def test_a_placement_that_redis_lost_is_put_back_unless_another_stands_there(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    mine = await placed_by(placements, "algebra")
    await connection.flushall()
    await placements.keep("algebra", mine)
    assert await placements.current("algebra") == mine
    await connection.expire(PLACEMENT_KEY.format(room="algebra"), 5)
    await placements.keep("algebra", Placement("b", "9"))
    assert await placements.current_of(["algebra", "biology"]) == {"algebra": mine, "biology": None}
    assert await connection.ttl(PLACEMENT_KEY.format(room="algebra")) > KEPT - 5


async def test_a_heartbeat_that_is_not_ours_is_passed_over(connection):
    await connection.set(HEARTBEAT_KEY.format(worker_id="x"), b"{not json")
    await heartbeat(connection, "a")
    assert set(await Placements(connection).workers()) == {"a"}


async def test_a_room_that_ended_leaves_nothing_behind(connection):
    await heartbeat(connection, "a")
    placements = Placements(connection)
    gone = await placed_by(placements, "algebra")
    await placements.give_up("algebra", gone, "worker_lost")
    await placements.place("algebra")
    await placements.forget("algebra")
    assert await connection.keys("lectern:room:*") == []
