"""Several web processes and one room: what the channel layer loses, what Redis loses, who is told across processes."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async

from meetings import registry
from meetings.hub import Hubs
from meetings.models import ChatMessage
from tests.meetings.world import Client, World
from tests.redis_server import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def other(make_hubs) -> Hubs:
    """A second web process."""
    return make_hubs()


def seqs(client: Client) -> list[int]:
    return [frame["seq"] for frame in client.order if "seq" in frame]


def said(client: Client) -> list[str]:
    return [f["data"]["message"] for f in client.order if f.get("event") == "chat:message"]


async def test_people_in_two_processes_see_and_hear_each_other(join, other):
    tina, sam = await join("tina"), await join("sam", by=other)
    assert {p["name"] for p in sam.answer["participants"]} == {"Tina", "Sam"}
    await tina.meets("Sam")
    await tina.do("chat:send", {"message": "to the other"})
    await sam.event("chat:message")
    await sam.do("chat:send", {"message": "and back"})
    await tina.event("chat:message", message="and back")
    assert seqs(tina) == sorted(set(seqs(tina)))


async def test_what_the_channel_layer_loses_is_read_from_the_log(join, other, monkeypatch):
    tina, sam = await join("tina"), await join("sam", by=other)
    heard = type(next(iter(other.hubs.values()))).heard
    lost = []

    def lossy(hub, message):
        if message["kind"] == "event" and 2 <= len(lost) + 1 <= 4 and "message" in message["body"]:
            lost.append(message["seq"])
            return
        heard(hub, message)

    lost.append(0)
    monkeypatch.setattr("meetings.hub.Hub.heard", lossy)
    for n in range(6):
        await tina.do("chat:send", {"message": str(n)})
    await sam.event("chat:message", message="5")
    assert len(lost) == 4, "three were lost on the way"
    assert said(sam) == list("012345")
    assert seqs(sam) == list(range(seqs(sam)[0], seqs(sam)[0] + len(seqs(sam))))


async def test_an_event_lost_at_the_end_of_a_burst_is_found_by_the_tick(join, other, monkeypatch):
    tina, sam = await join("tina"), await join("sam", by=other)
    monkeypatch.setattr("meetings.hub.Hub.heard", lambda hub, message: None)
    await tina.do("chat:send", {"message": "the last one"})
    await sam.event("chat:message", message="the last one")


async def test_events_that_overtake_each_other_arrive_in_order_and_once(join, hubs, world):
    sam = await join("sam")
    hub = hubs.hubs[world.room.code]
    start = hub.last
    bodies = {}
    for n in range(1, 6):
        seq, _ = await hub.log.append(f'"event":"x","data":{{"n":{n}}}}}')
        bodies[seq] = f'"event":"x","data":{{"n":{n}}}}}'
    for seq in (start + 3, start + 1, start + 1, start + 5, start + 2, start + 4, start + 3):
        hub.receive(seq, bodies[seq])
    await sam.until(lambda: len([f for f in sam.order if f.get("event") == "x"]) == 5)
    assert [f["data"]["n"] for f in sam.order if f.get("event") == "x"] == [1, 2, 3, 4, 5]


async def test_the_same_person_in_another_process_replaces_the_first(join, other):
    first = await join("sam")
    await join("sam", by=other)
    assert await first.until_closed() == 4009


async def test_a_host_removes_and_demotes_in_another_process(join, other):
    tina, asa, sam = await join("tina"), await join("asa", by=other), await join("sam", by=other)
    await tina.do(
        "participant:role:update", {"participant_id": asa.answer["you"]["participant_id"], "role": "attendee"}
    )
    await asa.event("participant:role:changed")
    assert await asa.refused("participant:mute", {"participant_id": "all"}) == "forbidden"
    await tina.do("participant:remove", {"participant_id": sam.answer["you"]["participant_id"], "reason": "out"})
    assert (await sam.event("removed:from-meeting"))["reason"] == "out"
    assert await sam.until_closed() == 4003
    await tina.do("room:end")
    assert await asa.until_closed() == 4004


async def test_a_web_process_that_is_killed_loses_and_doubles_no_message(join, enter, make_hubs):
    doomed = make_hubs()
    tina, sam = await join("tina"), await join("sam", by=doomed)
    await tina.meets("Sam")
    sent = await sam.do("chat:send", {"message": "acknowledged", "metadata": {"client_id": "one"}})
    await sam.event("chat:message")
    last = seqs(sam)[-1]
    await doomed.stop()  # nothing is tidied up: no lease ended, no channel left
    await tina.do("chat:send", {"message": "meanwhile"})
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=last)
    assert answer["resumed"] is True
    assert await back.do("chat:send", {"message": "acknowledged", "metadata": {"client_id": "one"}}) == sent
    await back.do("chat:send", {"message": "next", "metadata": {"client_id": "two"}})
    await back.event("chat:message", message="next")
    await tina.event("chat:message", message="next")
    assert said(back) == ["meanwhile", "next"]
    assert said(tina) == ["acknowledged", "meanwhile", "next"]
    assert "participant:left" not in {frame.get("event") for frame in tina.order}
    await doomed.redis.aclose()


async def test_an_event_told_while_the_tick_asks_for_the_rooms_number_is_no_loss(join, hubs, world, monkeypatch):
    tina = await join("tina")
    hub = hubs.hubs[world.room.code]
    real = hub.log.current

    async def overtaken() -> int | None:
        number = await real()
        await hub.publish("x", {})
        return number

    monkeypatch.setattr(hub.log, "current", overtaken)
    await tina.event("x")
    await tina.event("x")  # of the next tick: the first has closed nothing


async def test_a_room_that_takes_long_to_take_out_its_lost_holds_up_no_renewal(join, hubs, world, monkeypatch):
    """As with a media worker that does not answer for two hundred people."""
    never = asyncio.Event()

    async def hangs(*args: object) -> None:
        await never.wait()

    monkeypatch.setattr(registry.on_lost, "functions", [hangs])
    sam, sue = await join("sam"), await join("sue")
    ids = [client.answer["you"]["participant_id"] for client in (sam, sue)]
    await sue.close()
    leases = f"lectern:room:{world.room.code}:leases"
    await hubs.redis.zadd(leases, {ids[1]: 1})
    await sam.event("participant:left")
    before = (await hubs.redis.time())[0] + 5
    await hubs.redis.zadd(leases, {ids[0]: before})
    hub = hubs.hubs[world.room.code]
    hub.renewed = 0.0
    await until(lambda: hub.renewed > 0)
    assert await hubs.redis.zscore(leases, ids[0]) > before


# --- Redis goes -------------------------------------------------------------------------------------------------------


class TestRedisOfItsOwn:
    @pytest.fixture
    def clean_redis_url(self, redis_server: RedisServer) -> str:
        return redis_server.url

    @pytest.fixture(autouse=True)
    def fast(self, monkeypatch):
        monkeypatch.setattr("meetings.hub.RETRY_AFTER", 0.05)

    async def test_with_redis_away_sockets_live_and_chat_is_refused_but_kept(
        self, join, enter, world: World, redis_server: RedisServer
    ):
        tina, sam = await join("tina"), await join("sam")
        await sam.do("chat:send", {"message": "before", "metadata": {"client_id": "zero"}})
        await asyncio.to_thread(redis_server.stop)
        payload = {"message": "into the dark", "metadata": {"client_id": "one"}}
        assert await sam.refused("chat:send", payload) == "internal"
        assert sam.closed is None
        assert [m["message"] for m in (await sam.do("chat:history"))["messages"]] == ["before", "into the dark"]
        late = Client(world.room.code, cookie=world.cookies["sue"])
        assert await late.open()
        assert await late.until_closed() == 1013, "a socket cannot come in, and is told to try later"
        await late.close()

        await asyncio.to_thread(redis_server.start)
        assert await sam.until_closed() == 1012, "what was numbered is lost: come for a whole snapshot"
        assert await tina.until_closed() == 1012
        await sam.close()
        again = await enter("tina")
        assert (await again.join(session=tina.answer["session"], last_seq=seqs(tina)[-1]))["resumed"] is False
        back = await join("sam")
        assert back.answer["resumed"] is False
        assert [m["message"] for m in back.answer["chat"]] == ["before", "into the dark"]
        await back.do("chat:send", payload)
        assert (await again.event("chat:message"))["message"] == "into the dark"
        assert await sync_to_async(ChatMessage.objects.count)() == 2
