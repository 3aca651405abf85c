"""Which of a large room's workers somebody is on: home first, then few others, and the same for all web processes."""

import asyncio

import pytest
import redis.asyncio

from meetings.media.placement import Placement, Placements
from meetings.media.ring import ALONE, BUSY, Candidate, shares
from meetings.media.seats import SEATS_KEY, Seats
from tests.meetings.media.test_placement import heartbeat

ROOM = "lecture"
HOME = Placement("w0", "1")


@pytest.fixture
async def connection(clean_redis_url):
    async with redis.asyncio.Redis.from_url(clean_redis_url) as connection:
        yield connection


@pytest.fixture
async def seats(connection):
    for worker_id in ("w0", "w1", "w2"):
        await heartbeat(connection, worker_id)
    return Seats(Placements(connection), most=3)


async def sit(seats, *people, unreachable=()):
    return [(await seats.take(ROOM, person, HOME, unreachable)).worker_id for person in people]


async def test_home_is_filled_first_then_one_worker_after_the_other(seats):
    taken = await sit(seats, *(f"p{number}" for number in range(9)))
    assert taken[:3] == ["w0"] * 3
    assert taken[3:6] == [taken[3]] * 3
    assert taken[6:] == [taken[6]] * 3
    assert {*taken} == {"w0", "w1", "w2"}
    # All are full: the emptiest takes more.
    await seats.leave(ROOM, "p4")
    assert await sit(seats, "p9", "p10", "p11") == [taken[4], "w0", taken[3]]


async def test_many_processes_together_take_no_more_than_there_are(seats, connection):
    others = [Seats(Placements(connection), most=3) for _ in range(9)]
    await asyncio.gather(*[other.take(ROOM, f"p{number}", HOME) for number, other in enumerate(others)])
    assert set((await seats.counts(ROOM)).values()) == {3}


async def test_who_has_a_seat_keeps_it_as_long_as_its_worker_lives(seats, connection):
    taken = await sit(seats, *(f"p{number}" for number in range(5)))
    edge = taken[4]
    await seats.leave(ROOM, "p0")
    assert await sit(seats, "p4") == [edge]
    await heartbeat(connection, edge, load=0.99, draining=True)
    assert await sit(seats, "p4") == [edge]
    assert await sit(seats, "p4", unreachable=[Placement(edge, "1")]) == ["w0"]
    await heartbeat(connection, taken[3], epoch="2")  # it began anew: another worker
    assert (await seats.take(ROOM, "p3", HOME)) != Placement(taken[3], "1")


async def test_a_busy_worker_takes_nobody_more_but_home_a_class(seats, connection):
    seats = Seats(Placements(connection), most=1000)
    await heartbeat(connection, "w0", load=BUSY)
    await heartbeat(connection, "w1", load=BUSY)
    taken = await sit(seats, *(f"p{number}" for number in range(ALONE + 2)))
    assert taken == ["w0"] * ALONE + ["w2"] * 2


async def test_without_others_home_takes_everybody(seats, connection):
    for worker_id in ("w1", "w2"):
        await heartbeat(connection, worker_id, draining=True)
    assert await sit(seats, *(f"p{number}" for number in range(6))) == ["w0"] * 6


async def test_seats_that_redis_lost_are_put_back_and_new_ones_stay(seats, connection):
    await seats.keep(ROOM, {"p1": Placement("w2", "1"), "p2": HOME})
    await seats.keep(ROOM, {"p1": HOME})
    assert await sit(seats, "p1", "p2") == ["w2", "w0"]
    assert 0 < await connection.ttl(SEATS_KEY.format(room=ROOM)) <= 300
    await seats.forget(ROOM)
    assert await sit(seats, "p1") == ["w0"]


def test_a_room_is_on_few_workers_of_its_homes_region():
    candidates = [
        Candidate("home", peers=900, region="eu"),
        Candidate("here", region="eu", peers=10),
        Candidate("far", region="us"),
        Candidate("full", region="eu", peers=5000),
        Candidate("present", region="eu", peers=5000),
    ]
    offered = shares("room", "home", candidates, present={"present"}, most=500)
    assert [worker for worker, most in offered if most] == ["home", "present", "here", "full"]
    assert ("far", 0) in offered
