"""Coming in, coming back, leaving, ending."""

from __future__ import annotations

import asyncio

import pytest

from meetings.live import LEASE, SHORT_LEASE, LiveRoom
from meetings.models import Attendance, Participant, Room
from tests.meetings.world import Client

pytestmark = pytest.mark.django_db(transaction=True)


async def attendance() -> list[tuple[str, str, bool]]:
    """(name, reason, open) of every interval, in order."""
    rows = Attendance.objects.order_by("pk").values_list("participant__name", "reason", "left_at")
    return [(name, reason, left is None) async for name, reason, left in rows]


async def test_a_join_answers_with_the_whole_room(join, world):
    tina = await join("tina")
    sam = await join("sam", join={"display_name": "Sammy"})
    answer = sam.answer
    assert answer["resumed"] is False
    assert answer["you"]["name"] == "Sammy"
    assert answer["you"]["role"] == "attendee"
    assert answer["you"]["mutes"] == {"audio": True, "video": True}
    assert "raise_hand" in answer["you"]["can"]
    assert "record" not in answer["you"]["can"]
    assert [p["name"] for p in answer["participants"]] == ["Tina", "Sammy"]
    assert [p["role"] for p in answer["participants"]] == ["host", "attendee"]
    assert answer["participants"][0]["producers"] == []
    assert answer["rtp_capabilities"] is None
    assert answer["recording"] is None
    assert answer["chat"] == []
    assert await tina.meets("Sammy") == {
        "participant_id": answer["you"]["participant_id"], "name": "Sammy", "role": "attendee", "hand": None,
        "connected": True, "producers": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role"),
    [("tina", "host"), ("asa", "co-host"), ("sam", "attendee"), ("guest", "guest"), ("staff", "co-host")],
)
async def test_everybody_comes_in_with_the_role_of_the_course(join, name, role):
    client = await join(name)
    assert client.answer["you"]["role"] == role


async def test_numbers_follow_the_snapshot_without_a_hole(join):
    tina, sam = await join("tina"), await join("sam")
    for n in range(5):
        await tina.do("chat:send", {"message": f"number {n}"})
    await sam.event("chat:message", message="number 4")
    seqs = [frame["seq"] for frame in sam.order if "seq" in frame]
    assert seqs[0] == sam.answer["last_seq"] + 1
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_who_comes_back_gets_each_missed_event_once_and_no_snapshot(join, enter):
    tina, sam = await join("tina"), await join("sam")
    await tina.do("chat:send", {"message": "before"})
    await sam.event("chat:message", message="before")
    await tina.meets("Sam")
    last = max(frame["seq"] for frame in sam.order if "seq" in frame)
    await sam.close()
    await tina.event("participant:updated")
    for n in range(20):
        await tina.do("chat:send", {"message": f"missed {n}"})
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=last)
    assert answer["resumed"] is True
    assert answer["session"] == sam.answer["session"]
    assert "participants" not in answer
    assert "chat" not in answer
    await tina.do("chat:send", {"message": "after"})
    await back.event("chat:message", message="after")
    frames = [frame for frame in back.order if "seq" in frame]
    assert [f["seq"] for f in frames] == list(range(last + 1, last + 1 + len(frames)))
    said = [f["data"]["message"] for f in frames if f["event"] == "chat:message"]
    assert said == [f"missed {n}" for n in range(20)] + ["after"]
    assert "ack" in back.order[0], "the answer comes before the missed events"
    assert await attendance() == [("Tina", "", True), ("Sam", "", True)], "one interval over the break"


async def test_a_break_that_the_log_does_not_cover_gives_a_whole_snapshot(join, enter):
    tina, sam = await join("tina"), await join("sam")
    await sam.close()
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=5)
    assert answer["resumed"] is False
    assert answer["session"] == sam.answer["session"]
    assert {p["name"] for p in answer["participants"]} == {"Tina", "Sam"}
    assert tina.closed is None


async def test_a_number_from_the_future_gives_a_whole_snapshot(join, enter):
    sam = await join("sam")
    await sam.close()
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"] + 1000)
    assert answer["resumed"] is False


async def test_a_socket_that_closes_is_told_as_away_not_as_left(join):
    tina, sam = await join("tina"), await join("sam")
    pid = sam.answer["you"]["participant_id"]
    await tina.meets("Sam")
    await sam.close()
    told = await tina.event("participant:updated")
    assert told["participants"] == [{"participant_id": pid, "connected": False}]
    late = await join("sue")
    assert {p["name"]: p["connected"] for p in late.answer["participants"]} == {"Tina": True, "Sam": False, "Sue": True}


async def test_another_tab_of_the_same_person_replaces_the_first(join):
    first = await join("sam")
    second = await join("sam")
    assert await first.until_closed() == 4009
    assert second.answer["resumed"] is False
    assert [p["name"] for p in second.answer["participants"]] == ["Sam"]
    await first.close()
    await second.do("chat:send", {"message": "still here"})
    late = await join("tina")
    assert [p["connected"] for p in late.answer["participants"]] == [True, True]
    assert await attendance() == [("Sam", "replaced", False), ("Sam", "", True), ("Tina", "", True)]


async def test_a_tab_that_slept_while_another_took_its_place_does_not_throw_that_one_out(join, enter):
    first = await join("sam")
    await first.close()
    second = await join("sam")
    back = await enter("sam")
    await back.send("room:join", {"session": first.answer["session"]})
    assert await back.until_closed() == 4009
    assert second.closed is None
    await second.do("chat:send", {"message": "still here"})


async def test_a_session_that_was_replaced_comes_in_anew_when_nobody_is_there_any_more(join, enter):
    first = await join("sam")
    second = await join("sam")
    await second.close()
    back = await enter("sam")
    assert (await back.join(session=first.answer["session"]))["session"] != first.answer["session"]


async def test_leaving_is_told_and_closes_the_interval(join):
    tina, sam = await join("tina"), await join("sam")
    await sam.do("room:leave")
    left = await tina.event("participant:left")
    assert left["participants"] == [{"participant_id": sam.answer["you"]["participant_id"], "reason": "left"}]
    assert await attendance() == [("Tina", "", True), ("Sam", "left", False)]
    assert await sam.refused("chat:send", {"message": "x"}) == "wrong_state"
    assert (await sam.join())["resumed"] is False


async def test_a_lease_that_runs_out_takes_the_person_out_and_closes_the_interval(join, hubs, world):
    tina, sam = await join("tina"), await join("sam")
    pid = sam.answer["you"]["participant_id"]
    await sam.close()
    await hubs.redis.zadd(f"lectern:room:{world.room.code}:leases", {pid: 1})
    left = await tina.event("participant:left")
    assert left["participants"] == [{"participant_id": pid, "reason": "lost"}]
    assert await attendance() == [("Tina", "", True), ("Sam", "lost", False)]


@pytest.mark.parametrize(("code", "lease"), [(1001, SHORT_LEASE), (1000, SHORT_LEASE), (1006, LEASE), (4000, LEASE)])
async def test_a_tab_that_was_closed_is_waited_for_less_than_a_connection_that_was_lost(join, hubs, world, code, lease):
    tina, sam = await join("tina"), await join("sam")
    await tina.meets("Sam")
    await sam.communicator.disconnect(code=code, timeout=5)
    await tina.event("participant:updated")
    till = await hubs.redis.zscore(f"lectern:room:{world.room.code}:leases", sam.answer["you"]["participant_id"])
    assert till - (await hubs.redis.time())[0] == pytest.approx(lease, abs=3)


async def test_the_end_of_a_class_closes_all_and_lets_nobody_in_again(join, enter, world):
    tina, sam = await join("tina"), await join("sam")
    await tina.do("room:end")
    assert (await sam.event("room:closed"))["reason"] == "ended"
    assert await sam.until_closed() == 4004
    assert await tina.until_closed() == 4004
    room = await Room.objects.aget(pk=world.room.pk)
    assert room.ended_at is not None
    assert await attendance() == [("Tina", "ended", False), ("Sam", "ended", False)]
    late = Client(world.room.code, cookie=world.cookies["sue"])
    assert await late.open()
    assert (await late.event("room:error"))["code"] == "meeting_ended"
    assert await late.until_closed() == 4004
    await late.close()


async def test_an_always_open_room_is_emptied_and_stays_open(join, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(always_open=True)
    tina, sam = await join("tina"), await join("sam")
    await tina.do("room:end")
    assert await sam.until_closed() == 4004
    again = await join("sam")
    assert [p["name"] for p in again.answer["participants"]] == ["Sam"]


async def test_a_full_class_refuses_the_next_but_never_its_teacher(join, enter, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(capacity=2)
    sam, _sue = await join("sam"), await join("sue")
    pia = await enter("pia")
    assert await pia.refused("room:join") == "meeting_full"
    assert pia.closed is None
    await join("tina")
    await sam.do("room:leave")
    assert await pia.refused("room:join") == "meeting_full", "Tina has the place"
    assert not await Attendance.objects.filter(participant__user=world.users["pia"]).aexists()


async def test_many_who_join_at_once_are_each_told_of_all(world, enter):
    people = await asyncio.gather(*(enter(token=world.guest_token(f"Guest {n}")) for n in range(30)))
    await asyncio.gather(*(client.join() for client in people))
    assert await Participant.objects.acount() == 30
    for client in people:
        known = {p["participant_id"] for a in client.order if "ack" in a for p in a["data"]["participants"]}
        while len(known) < 30:
            told = await client.event("participant:joined")
            known |= {p["participant_id"] for p in told["participants"]}
    frames = [f for f in people[0].order if f.get("event") == "participant:joined"]
    assert len(frames) < 15, "news of participants come gathered"


async def test_a_large_room_comes_in_pages(world, join, enter, monkeypatch):
    monkeypatch.setattr("meetings.handlers.room.PAGE", 3)
    for n in range(6):
        await join(token=world.guest_token(f"Guest {n}"))
    tina = await join("tina")
    answer = tina.answer
    assert [p["name"] for p in answer["participants"]] == ["Guest 0", "Guest 1", "Guest 2", "Tina"]
    assert answer["participants_total"] == 7
    names, after = [], answer["participants_next"]
    while after:
        page = await tina.do("participants:page", {"after": after, "limit": 2})
        names += [p["name"] for p in page["participants"]]
        after = page["next"]
    assert names == ["Guest 3", "Guest 4", "Guest 5", "Tina"]


async def test_joining_twice_by_one_socket_is_the_wrong_state(join):
    sam = await join("sam")
    assert await sam.refused("room:join") == "wrong_state"


async def test_in_a_rush_joiners_share_a_snapshot_and_miss_nothing(world, join, hubs, monkeypatch):
    taken = []
    real = LiveRoom.snapshot

    async def counted(live: LiveRoom):
        taken.append(live)
        return await real(live)

    monkeypatch.setattr(LiveRoom, "snapshot", counted)
    monkeypatch.setattr("meetings.hub.CALM_JOINS", 1.0)
    monkeypatch.setattr("meetings.handlers.room.RUSH_KEEPS", 60.0)
    first = await join("tina")
    people = [await join(token=world.guest_token(f"Guest {n}")) for n in range(12)]
    assert len(taken) < 8
    await first.do("chat:send", {"message": "to all"})
    for n, client in enumerate(people):
        await client.event("chat:message", message="to all")
        seqs = [frame["seq"] for frame in client.order if "seq" in frame]
        assert seqs == list(range(client.answer["last_seq"] + 1, seqs[-1] + 1))
        assert f"Guest {n}" in {p["name"] for p in client.answer["participants"]}
        for other in range(12):
            if f"Guest {other}" not in {p["name"] for p in client.answer["participants"]}:
                await client.meets(f"Guest {other}")
