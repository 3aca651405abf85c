"""The live state of a room in Redis, and the atomic steps of presence."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis

from meetings.eventlog import event_data, event_name
from meetings.live import LEASE, SHORT_LEASE, LiveRoom


@pytest.fixture
async def redis(clean_redis_url: str):
    async with Redis.from_url(clean_redis_url) as connection:
        yield connection


@pytest.fixture
def live(redis: Redis) -> LiveRoom:
    return LiveRoom(redis, "room")


def person(pid: str, at: int = 0, role: str = "attendee") -> dict[str, object]:
    return {"participant_id": pid, "name": pid.title(), "role": role, "joined_at": at}


async def enter(live: LiveRoom, pid: str, *, wanted: str = "", new: str = "new", socket: str = "s", capacity: int = 0):
    return await live.enter(person(pid), wanted_session=wanted, new_session=new, socket=socket, capacity=capacity)


async def test_the_last_place_goes_to_one_of_those_who_ask_at_once(live: LiveRoom):
    await enter(live, "tina", capacity=3)
    outcomes = await asyncio.gather(*(enter(live, f"s{n}", capacity=3) for n in range(10)))
    assert sorted(outcome.outcome for outcome in outcomes) == ["full"] * 8 + ["joined"] * 2
    assert len(await live.people()) == 3


async def test_who_is_in_already_returns_to_a_full_room(live: LiveRoom):
    await enter(live, "sam", new="one", capacity=1)
    again = await enter(live, "sam", wanted="one", new="two", socket="t", capacity=1)
    assert (again.outcome, again.session) == ("returned", "one")


async def test_those_whose_lease_ran_out_take_no_place_though_nobody_has_taken_them_out(live: LiveRoom, redis: Redis):
    """All left without a word, or their web process was killed: no hub is there to notice."""
    for pid in ("sam", "sue"):
        await enter(live, pid, new=pid, capacity=2)
    assert (await enter(live, "pia", capacity=2)).outcome == "full"
    await redis.zadd("lectern:room:room:leases", {"sam": 1, "sue": 1})
    assert (await enter(live, "pia", capacity=2)).outcome == "joined"


async def test_what_is_known_of_a_room_goes_a_day_after_the_last_sign_of_anybody(live: LiveRoom, redis: Redis):
    await enter(live, "sam")
    await live.set_info("recording", {"recording_id": "r"})
    await live.renew(["sam"])
    keys = [key async for key in redis.scan_iter("lectern:room:room:*")]
    assert keys
    for key in keys:
        assert 0 < await redis.ttl(key) <= 86400, key


async def test_the_short_lease_of_a_closed_tab_counts_from_when_it_was_closed(live: LiveRoom, redis: Redis):
    for pid, lease in (("closed", SHORT_LEASE), ("lost", LEASE)):
        await enter(live, pid, new=pid, socket=pid)
        assert await live.disconnect(pid, pid, lease)
    now = (await redis.time())[0]
    for pid, lease in (("closed", SHORT_LEASE), ("lost", LEASE)):
        till = await redis.zscore("lectern:room:room:leases", pid) or 0
        assert till - now == pytest.approx(lease, abs=2)
    await redis.zadd("lectern:room:room:leases", {"closed": now - 1})
    [lost] = await live.reap()
    assert lost.participant_id == "closed"
    assert lost.ago == pytest.approx(0, abs=2)


async def test_who_comes_back_keeps_the_place_in_the_list(live: LiveRoom):
    for pid, at in (("sam", 1), ("sue", 2)):
        await live.enter(person(pid, at=at), wanted_session="", new_session=pid, socket=pid, capacity=0)
    await live.enter(person("sam", at=3), wanted_session="sam", new_session="x", socket="t", capacity=0)
    assert [p["participant_id"] for p in (await live.snapshot()).people] == ["sam", "sue"]


async def test_another_tab_of_the_same_person_takes_the_place(live: LiveRoom):
    await enter(live, "sam", new="one", socket="s")
    other = await enter(live, "sam", new="two", socket="t")
    assert (other.outcome, other.session, other.old_socket) == ("replaced", "two", "s")
    assert not await live.disconnect("sam", "s"), "the old tab's socket counts no more"
    found = await live.person("sam")
    assert found is not None
    assert found["connected"] is True
    assert await live.disconnect("sam", "t")


async def test_a_guessed_session_is_not_a_return(live: LiveRoom):
    await enter(live, "sam", new="one")
    assert (await enter(live, "olga", wanted="one", new="two")).outcome == "joined"


async def test_intents_survive_a_return_but_not_a_new_tab(live: LiveRoom):
    await enter(live, "sam", new="one")
    await live.update_person("sam", audio=True)
    await enter(live, "sam", wanted="one", new="two")
    assert (await live.person("sam") or {})["audio"] is True
    await enter(live, "sam", new="three")
    assert (await live.person("sam") or {})["audio"] is False


async def test_a_lease_that_ran_out_is_told_to_one_process_alone(live: LiveRoom, redis: Redis):
    await enter(live, "sam", new="one")
    await live.raise_hand("sam")
    await live.set_producer("sam", {"producer_id": "p1", "kind": "audio", "source": "microphone", "paused": False})
    assert await live.reap() == []
    await redis.zadd("lectern:room:room:leases", {"sam": 1})
    reaped = await asyncio.gather(*(live.reap() for _ in range(5)))
    [[lost]] = [found for found in reaped if found]
    assert (lost.participant_id, lost.session) == ("sam", "one")
    snapshot = await live.snapshot()
    assert snapshot.people == []
    assert await live.producers() == {}
    gathered = await live.gather()
    assert [event_name(body) for _, body in gathered.events] == ["participant:left"]
    assert event_data(gathered.events[0][1]) == {"participants": [{"participant_id": "sam", "reason": "lost"}]}


async def test_a_renewal_brings_nobody_back(live: LiveRoom):
    await enter(live, "sam", new="one")
    assert await live.leave("sam", "left", "one")
    await live.renew(["sam"])
    assert await live.redis.zcard("lectern:room:room:leases") == 0


async def test_news_come_in_at_most_four_frames_a_second(live: LiveRoom):
    first = await live.gather(("joined", "p0", {"name": "P0", "hand": None, "producers": []}))
    assert len(first.events) == 1
    frames, waited = 0, 0
    for n in range(1, 101):
        gathered = await live.gather(("joined", f"p{n}", {"name": f"P{n}", "hand": None, "producers": []}))
        frames += len(gathered.events)
        waited = gathered.wait or waited
    assert frames <= 1, "a hundred who join at once are one frame, or two when 250 ms went by meanwhile"
    assert 0 < waited <= 250
    people = []
    while not people or len(people) < 100 - 100 * frames:
        gathered = await live.gather()
        if gathered.wait:
            await asyncio.sleep(gathered.wait / 1000)
        for _, body in gathered.events:
            people += event_data(body)["participants"]
    assert people[-1]["producers"] == []
    assert people[-1]["hand"] is None


async def test_the_last_word_about_a_person_counts(live: LiveRoom):
    await live.gather(("joined", "opens-the-gate", {}))
    await live.gather(("joined", "sam", {"name": "Sam", "connected": True, "producers": []}))
    await live.gather(("updated", "sam", {"connected": False}))
    await live.gather(("joined", "olga", {"name": "Olga"}), ("left", "olga", {"reason": "left"}))
    gathered = await live.gather()
    while gathered.wait:
        await asyncio.sleep(gathered.wait / 1000)
        gathered = await live.gather()
    told = {event_name(body): event_data(body)["participants"] for _, body in gathered.events}
    assert told == {
        "participant:joined": [{"participant_id": "sam", "name": "Sam", "connected": False, "producers": []}],
        "participant:left": [{"participant_id": "olga", "reason": "left"}],
    }


async def test_hands_stand_in_the_order_of_the_servers_time(live: LiveRoom):
    for pid in ("a", "b", "c"):
        await enter(live, pid, new=pid)
        await live.raise_hand(pid)
    assert (await live.raise_hand("a"))[0] == 1, "raising it again keeps the place"
    await live.lower_hand("a")
    assert (await live.raise_hand("a"))[0] == 3
    hands = {p["participant_id"]: p["hand"] for p in (await live.snapshot()).people}
    assert hands == {"b": 1, "c": 2, "a": 3}
    assert (await live.raise_hand("stranger"))[0] == 0


async def test_a_snapshot_has_all_at_one_moment(live: LiveRoom):
    for place, name in enumerate(("zoe", "adam")):
        await live.enter(person(name, at=place), wanted_session="", new_session=name, socket=name, capacity=0)
    producer = {"producer_id": "p1", "kind": "video", "source": "camera", "paused": False}
    await live.set_producer("zoe", producer)
    await live.update_producer("p1", paused=True)
    await live.set_recording({"recording_id": "r", "status": "recording"})
    snapshot = await live.snapshot()
    assert [p["participant_id"] for p in snapshot.people] == ["zoe", "adam"], "in the order of joining"
    assert snapshot.people[0]["producers"] == [{**producer, "paused": True}]
    assert snapshot.people[1]["producers"] == []
    assert snapshot.info == {"recording": {"recording_id": "r", "status": "recording"}}


async def test_names_with_any_character_come_back_as_they_were(live: LiveRoom):
    name = 'Ünï "quoted" \\ "producers":{} 日本 🎓'
    await live.enter(
        {"participant_id": "x", "name": name, "joined_at": 0},
        wanted_session="",
        new_session="s",
        socket="s",
        capacity=0,
    )
    assert (await live.snapshot()).people[0]["name"] == name
    gathered = await live.gather(("joined", "x", {"name": name, "producers": []}))
    told = msgspec.json.decode("{" + gathered.events[0][1])
    assert told["data"]["participants"][0]["name"] == name


async def test_the_end_of_a_class_leaves_nobody_but_goes_on_counting(live: LiveRoom, redis: Redis):
    await enter(live, "sam")
    await live.gather(("joined", "sam", {}))
    before = (await live.snapshot()).seq
    await live.clear()
    after = await live.snapshot()
    assert (after.people, after.seq) == ([], before)
