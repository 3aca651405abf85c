"""What happens in class: chat, hands, muting, removing, intents."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async

from meetings import registry
from meetings.models import Attendance, ChatMessage, Participant
from tests.meetings.world import Client

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_message_reaches_all_once_and_stays(join):
    tina, sam = await join("tina"), await join("sam")
    sent = await sam.do("chat:send", {"message": "<b>hello</b>"})
    for client in (tina, sam):
        message = await client.event("chat:message")
        assert message == {
            "message_id": sent["message_id"], "participant_id": sam.answer["you"]["participant_id"], "name": "Sam",
            "role": "attendee", "message": "<b>hello</b>", "type": "text", "sent_at": sent["sent_at"], "reply_to": None,
            "client_id": None,
        }  # fmt: skip
        assert await client.quiet("chat:message")
    late = await join("sue")
    assert [m["message"] for m in late.answer["chat"]] == ["<b>hello</b>"]


async def test_the_same_message_sent_again_is_one_message(join, enter):
    tina, sam = await join("tina"), await join("sam")
    payload = {"message": "once", "metadata": {"client_id": "key-1"}}
    first = await sam.do("chat:send", payload)
    again = await sam.do("chat:send", payload)
    assert first == again
    await sam.close()
    back = await enter("sam")
    await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert await back.do("chat:send", payload) == first
    assert (await tina.event("chat:message"))["client_id"] == "key-1"
    assert await tina.quiet("chat:message")
    assert await ChatMessage.objects.acount() == 1
    await tina.do("chat:send", payload)
    assert await ChatMessage.objects.acount() == 2, "the key is the sender's own"


async def test_a_message_that_was_stored_but_not_told_is_told_when_it_is_sent_again(join, monkeypatch, hubs, world):
    """As after a kill between the commit and the event."""
    tina, sam = await join("tina"), await join("sam")
    payload = {"message": "half-way", "metadata": {"client_id": "key-1"}}
    hub = hubs.hubs[world.room.code]
    real = hub.log.append

    async def killed(body: str, once: str = "") -> tuple[int, bool]:
        raise ConnectionError("gone")

    monkeypatch.setattr(hub.log, "append", killed)
    assert await sam.refused("chat:send", payload) == "internal"
    assert await ChatMessage.objects.acount() == 1
    monkeypatch.setattr(hub.log, "append", real)
    await sam.do("chat:send", payload)
    assert (await tina.event("chat:message"))["message"] == "half-way"
    assert await ChatMessage.objects.acount() == 1


async def test_history_goes_back_and_forth_in_pages(join):
    tina = await join("tina")
    ids = [(await tina.do("chat:send", {"message": str(n)}))["message_id"] for n in range(7)]

    async def page(**query: object) -> tuple[str, bool]:
        answer = await tina.do("chat:history", query)
        return "".join(m["message"] for m in answer["messages"]), answer["more"]

    assert await page(limit=3) == ("456", True)
    assert await page(before=ids[4], limit=3) == ("123", True)
    assert await page(before=ids[1], limit=3) == ("0", False)
    assert await page(after=ids[2], limit=3) == ("345", True)
    assert await page(after=ids[6]) == ("", False)
    assert await tina.refused("chat:history", {"after": "nowhere"}) == "not_found"
    assert await tina.refused("chat:history", {"after": ids[0], "before": ids[1]}) == "bad_request"


async def test_a_reply_names_a_message_of_this_room(join):
    tina = await join("tina")
    first = (await tina.do("chat:send", {"message": "question"}))["message_id"]
    await tina.do("chat:send", {"message": "answer", "reply_to": first})
    assert (await tina.event("chat:message", message="answer"))["reply_to"] == first
    assert await tina.refused("chat:send", {"message": "x", "reply_to": "elsewhere"}) == "not_found"


async def test_who_writes_faster_than_anybody_reads_is_slowed(join):
    sam = await join("sam")
    for n in range(60):
        await sam.send("chat:send", {"message": str(n)})
    await sam.until(lambda: len(sam.acks) == 60)
    codes = [ack["error"]["code"] for ack in sam.acks.values() if not ack["ok"]]
    assert set(codes) == {"rate_limited"}
    assert 10 < len(codes) < 35


async def test_hands_go_up_and_down_in_order(join):
    tina, sam, sue = await join("tina"), await join("sam"), await join("sue")
    sams = sam.answer["you"]["participant_id"]
    assert (await sam.do("hand:raise"))["position"] == 1
    assert (await sue.do("hand:raise"))["position"] == 2
    assert (await sam.do("hand:raise"))["position"] == 1
    assert (await tina.event("hand:raised"))["participant_id"] == sams
    await tina.do("hand:lower", {"participant_id": sams})
    assert (await sue.event("hand:lowered"))["participant_id"] == sams
    late = await join("pia")
    assert [p["hand"] for p in late.answer["participants"] if p["name"] == "Sue"] == [1]
    await tina.do("hand:lower", {"participant_id": "all"})
    assert (await sue.event("hand:lowered"))["participant_id"] == "all"


async def test_muting_waits_for_the_media_part_and_is_told_to_all_and_to_the_muted(join, monkeypatch):
    tina, sam = await join("tina"), await join("sam")
    pid = sam.answer["you"]["participant_id"]
    await sam.do("media:toggle", {"kind": "audio", "enabled": True})
    assert (await tina.event("participant:media:updated"))["enabled"] is True
    paused: list[object] = []

    async def pause(session: object, ids: list[str], kind: str) -> None:
        await asyncio.sleep(0)
        paused.append((ids, kind))

    monkeypatch.setattr(registry.on_mute, "functions", [pause])
    await tina.do("participant:mute", {"participant_id": pid, "kind": "audio"})
    assert paused == [([pid], "audio")]
    assert (await tina.event("participant:media:updated", enabled=False))["participant_id"] == pid
    muted = await sam.event("muted:by-host")
    assert (muted["kind"], muted["by"]["name"]) == ("audio", "Tina")
    assert await tina.quiet("muted:by-host")


async def test_muting_all_spares_hosts(join):
    tina, asa, sam = await join("tina"), await join("asa"), await join("sam")
    for client in (tina, asa, sam):
        await client.do("media:toggle", {"kind": "audio", "enabled": True})
    muted = await asa.do("participant:mute", {"participant_id": "all", "kind": "audio"})
    assert muted["participant_ids"] == [sam.answer["you"]["participant_id"]]
    await sam.event("muted:by-host")
    assert await tina.quiet("muted:by-host")


async def test_the_removed_are_told_closed_and_barred_from_then_on(join, world):
    tina = await join("tina")
    token = world.guest_token("Rude")
    guest, sam = await join(token=token), await join("sam")
    await tina.meets("Rude")
    for client in (guest, sam):
        pid = client.answer["you"]["participant_id"]
        await tina.do("participant:remove", {"participant_id": pid, "reason": "noise"})
        assert (await client.event("removed:from-meeting"))["reason"] == "noise"
        assert await client.until_closed() == 4003
        await client.close()
    assert (await tina.event("participant:left"))["participants"][0]["reason"] == "removed"
    for again in (Client(world.room.code, token=token), Client(world.room.code, cookie=world.cookies["sam"])):
        assert await again.open()
        assert (await again.event("room:error"))["code"] == "forbidden"
        assert await again.until_closed() == 4003
        await again.close()
    rows = [r async for r in Attendance.objects.values_list("participant__name", "reason")]
    assert sorted(rows) == [("Rude", "removed"), ("Sam", "removed"), ("Tina", "")]


async def test_the_removed_come_in_again_when_they_are_let(join, enter, world):
    tina, sam = await join("tina"), await join("sam")
    await tina.do("participant:remove", {"participant_id": sam.answer["you"]["participant_id"]})
    await sam.until_closed()
    participant = await Participant.objects.aget(user=world.users["sam"])
    assert participant.removed_at is not None
    from meetings import services

    await sync_to_async(services.unbar)(participant)
    again = await join("sam")
    assert again.answer["you"]["participant_id"] == participant.public_id


async def test_a_hook_that_fails_keeps_nobody_in(join, monkeypatch, caplog):
    async def broken(*args: object) -> None:
        raise RuntimeError("media fell over")

    monkeypatch.setattr(registry.on_leave, "functions", [broken])
    tina, sam = await join("tina"), await join("sam")
    await sam.do("room:leave")
    await tina.event("participant:left")
