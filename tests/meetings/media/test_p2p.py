"""Two people alone in a class are connected directly: who else ends that, and who hears of their signals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.models import User
from meetings.limits import SIGNALS
from meetings.media import p2p, recording
from meetings.media.messages import MAX_SDP
from meetings.models import Room
from tests.meetings.media.conftest import Person
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

Come = Callable[..., Awaitable[Person]]
OFFER = {"type": "offer", "sdp": "v=0\r\n"}
CANDIDATE = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}


@pytest.fixture
async def two(come: Come) -> tuple[Person, Person, str]:
    """Tina and Sam, who were told of each other, and their pair."""
    tina, sam = await come("tina"), await come("sam")
    told = await tina.client.event("p2p:changed")
    assert told["participants"] == sorted([tina.id, sam.id])
    assert await sam.client.event("p2p:changed") == told
    return tina, sam, told["pair"]


async def ended(*people: Person, reason: str) -> None:
    for person in people:
        assert await person.client.event("p2p:changed", reason=reason) == {
            "pair": None, "participants": None, "reason": reason,
        }  # fmt: skip


async def test_signals_go_to_the_other_alone(two, come, hubs, world):
    tina, sam, pair = two
    await tina.client.do("p2p:signal", {"participant_id": sam.id, "pair": pair, "description": OFFER})
    heard = await sam.client.event("p2p:signal")
    assert heard == {"participant_id": tina.id, "pair": pair, "description": OFFER}
    await sam.client.do("p2p:signal", {"participant_id": tina.id, "candidate": CANDIDATE})
    heard = await tina.client.event("p2p:signal")
    assert heard == {"participant_id": sam.id, "pair": pair, "candidate": {**CANDIDATE, "usernameFragment": None}}
    assert not [frame for frame in sam.client.events if frame["event"] == "p2p:signal"]
    kept = json.dumps([body for _, body in (await hubs.hubs[world.room.code].log.since(0)).events])
    assert "192.0.2.1" not in kept


async def test_signals_cross_web_processes(come, another_web):
    tina, sam = await come("tina"), await come("sam", by=another_web)
    pair = (await sam.client.event("p2p:changed"))["pair"]
    assert (await tina.client.event("p2p:changed"))["pair"] == pair
    await tina.client.do("p2p:signal", {"participant_id": sam.id, "description": OFFER})
    assert (await sam.client.event("p2p:signal"))["description"] == OFFER


async def test_a_third_person_ends_it_and_its_going_begins_another(two, come):
    tina, sam, pair = two
    sue = await come("sue")
    await ended(tina, sam, reason="joined")
    assert sue.answer["p2p"] is None or sue.answer["p2p"]["pair"] == pair
    for person in (tina, sam, sue):
        assert await person.ask("p2p:signal", participant_id=sam.id, description=OFFER) == "forbidden"
    await sue.client.do("room:leave")
    again = await tina.client.event("p2p:changed")
    assert again["participants"] == sorted([tina.id, sam.id])
    assert again["pair"] != pair


async def test_a_third_person_ends_it_although_redis_is_away_in_that_very_moment(two, come, hubs, world, monkeypatch):
    tina, sam, _ = two
    monkeypatch.setattr(p2p, "AGAIN_AFTER", 0.0)
    hub, asked = hubs.hubs[world.room.code], []
    pair = hub.live.pair

    async def away_once(**how: Any) -> Any:
        asked.append(how)
        if len(asked) == 1:
            raise RedisConnectionError
        return await pair(**how)

    monkeypatch.setattr(hub.live, "pair", away_once)
    await come("sue")
    await ended(tina, sam, reason="joined")
    assert len(asked) > 1


async def test_who_is_not_one_of_the_two_cannot_signal_and_they_cannot_signal_him(two, come, world, enter):
    tina, sam, _ = two
    assert await tina.ask("p2p:signal", participant_id="nobody", description=OFFER) == "forbidden"
    assert await tina.ask("p2p:signal", participant_id=tina.id, description=OFFER) == "forbidden"
    assert await tina.ask("p2p:signal", participant_id=sam.id, pair="another", description=OFFER) == "wrong_state"
    outside = await enter("sue")
    assert await outside.refused("p2p:signal", {"participant_id": sam.id, "description": OFFER}) == "wrong_state"


@pytest.mark.parametrize(
    "signal",
    [
        {},
        {"description": {"type": "rollback", "sdp": ""}},
        {"description": {"type": "offer", "sdp": "x" * (MAX_SDP + 1)}},
        {"description": {"type": "offer", "sdp": "", "more": 1}},
        {"candidate": {"candidate": "x" * 2000}},
        {"candidate": "candidate:1"},
        {"candidate": CANDIDATE, "to": "all"},
    ],
)
async def test_signals_that_make_no_sense_are_refused(two, signal):
    tina, sam, _ = two
    assert await tina.ask("p2p:signal", participant_id=sam.id, **signal) == "bad_request"


async def test_a_flood_of_signals_is_refused(two):
    tina, sam, _ = two
    answers = [
        await tina.ask("p2p:signal", participant_id=sam.id, candidate=CANDIDATE) for _ in range(int(SIGNALS.burst) + 60)
    ]
    assert "rate_limited" in answers


async def test_a_path_that_failed_is_not_tried_again_by_the_same_two_but_by_whoever_comes_anew(two, come):
    tina, sam, pair = two
    await sam.client.do("p2p:failed", {"pair": pair})
    await tina.client.do("p2p:failed", {"pair": pair})  # both find out
    await ended(tina, sam, reason="failed")
    assert await tina.client.quiet("p2p:changed")
    again = await come("sam")  # reloads the page
    pair = (await tina.client.event("p2p:changed"))["pair"]
    await again.client.do("p2p:failed", {"pair": pair})
    await ended(tina, reason="failed")
    sue = await come("sue")
    await sue.client.do("room:leave")  # another lesson begins: another try
    assert (await tina.client.event("p2p:changed"))["participants"] == sorted([tina.id, sam.id])


async def test_a_page_that_is_loaded_again_makes_another_pair(two, come):
    tina, _, pair = two
    sam = await come("sam")
    again = await tina.client.event("p2p:changed")
    assert again["pair"] not in (None, pair)
    assert await tina.ask("p2p:signal", participant_id=sam.id, pair=pair, description=OFFER) == "wrong_state"


async def test_a_socket_that_comes_back_stays_in_its_pair(two, come):
    tina, sam, pair = two
    await sam.client.close()
    back = await come("sam", join={"session": sam.answer["session"], "last_seq": sam.answer["last_seq"]})
    assert back.answer["resumed"]
    assert (await back.client.event("p2p:changed"))["pair"] == pair
    await tina.client.do("p2p:signal", {"participant_id": sam.id, "pair": pair, "description": OFFER})
    assert (await back.client.event("p2p:signal"))["pair"] == pair
    assert await tina.client.quiet("p2p:changed")


async def test_who_comes_back_for_the_whole_room_is_told_of_the_pair(two, come):
    tina, sam, pair = two
    await sam.client.close()
    back = await come("sam", join={"session": sam.answer["session"]})
    assert back.answer["p2p"] == {"pair": pair, "participants": sorted([tina.id, sam.id])}


async def test_a_recording_ends_it_before_the_worker_records_and_its_end_begins_another(worker, two, world, hubs):
    tina, sam, pair = two
    await recording.start_recording(world.room.code, "r1")
    await ended(tina, sam, reason="recording")
    await recording.stop_recording(world.room.code, "r1")
    await hubs.hubs[world.room.code].publish("recording:stopped", {"recording_id": "r1"})
    assert (await tina.client.event("p2p:changed"))["pair"] not in (None, pair)


async def test_a_host_decides_and_a_student_does_not(two, world):
    tina, sam, _ = two
    assert tina.answer["settings"]["mode"] == "auto"
    assert await sam.ask("room:settings", mode="sfu") == "forbidden"
    assert await tina.ask("room:settings", mode="mesh") == "bad_request"
    await tina.client.do("room:settings", {"mode": "sfu"})
    for person in (tina, sam):
        assert await person.client.event("room:updated") == {"settings": {"mode": "sfu"}}
    await ended(tina, sam, reason="mode")
    assert (await Room.objects.aget(pk=world.room.pk)).mode == "sfu"
    await sam.client.do("room:leave")
    assert await tina.client.quiet("p2p:changed")
    await tina.client.do("room:settings", {"mode": "p2p"})
    assert await tina.client.quiet("p2p:changed"), "alone"


async def test_a_room_that_was_made_for_the_worker_stays_there(come, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(mode="sfu")
    tina, sam = await come("tina"), await come("sam")
    await tina.client.meets("Sam")
    assert await tina.client.quiet("p2p:changed")
    assert sam.answer["p2p"] is None


async def test_a_socket_that_was_open_before_the_host_decided_makes_no_pair(come, enter, another_web, world):
    tina = await come("tina")
    sam = await enter("sam", by=another_web)
    await until(lambda: world.room.code in another_web.hubs)  # by then its room has been read
    await tina.client.do("room:settings", {"mode": "sfu"})
    answer = await sam.join()
    assert answer["settings"]["mode"] == "sfu"
    await tina.client.meets("Sam")
    assert await tina.client.quiet("p2p:changed")


async def test_two_who_come_at_once_are_one_pair(come, another_web):
    people = await asyncio.gather(come("tina"), come("sam", by=another_web))
    # Whoever comes to the snapshot after the other was told finds it there.
    told = [person.answer["p2p"] or await person.client.event("p2p:changed") for person in people]
    assert told[0] == told[1]
    for person in people:
        assert await person.client.quiet("p2p:changed")


async def test_a_mode_that_is_changed_in_the_admin_holds_at_once(two, client, world):
    """For two who are in class as for who comes in later."""
    tina, sam, _ = two
    page = reverse("admin:meetings_room_change", args=[world.room.pk])

    def change(mode: str) -> None:
        client.force_login(User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("root"))
        form = client.get(page).context["adminform"].form
        values = {name: form[name].value() for name in form.fields if form[name].value() is not None}
        values = {name: value for name, value in values.items() if value is not False}
        answer = client.post(page, {**values, "settings": json.dumps(form["settings"].initial), "mode": mode})
        assert answer.status_code == 302, answer.context["adminform"].form.errors

    await sync_to_async(change)("sfu")
    assert (await tina.client.event("room:updated"))["settings"] == {"mode": "sfu"}
    await ended(tina, sam, reason="mode")
