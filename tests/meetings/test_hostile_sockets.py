"""What a hostile or broken client may send: answered with a code or closed, and nobody else notices."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from meetings.limits import REQUESTS_BURST
from meetings.messages import MAX_FRAME
from meetings.models import Participant
from meetings.tokens import make
from tests.meetings.world import HOST, ORIGIN, Client

pytestmark = pytest.mark.django_db(transaction=True)


async def answer_to(client: Client, text: str, ack: int | None) -> str:
    await client.send_text(text)
    await client.until(lambda: ack in client.acks)
    frame = client.acks.pop(ack)
    assert frame["ok"] is False
    return str(frame["error"]["code"])


@pytest.mark.parametrize(
    ("text", "ack"),
    [
        (" ", None),
        ("no json", None),
        ("[]", None),
        ("null", None),
        ('"text"', None),
        ("{}", None),
        ('{"id":1}', 1),
        ('{"id":1,"event":"nothing:such","data":{}}', 1),
        ('{"id":1,"event":"__init__","data":{}}', 1),
        ('{"id":1,"event":"","data":{}}', 1),
        ('{"id":1,"event":5,"data":{}}', 1),
        ('{"id":-1,"event":"hand:raise","data":{}}', None),
        ('{"id":1.5,"event":"hand:raise","data":{}}', None),
        ('{"id":"1","event":"hand:raise","data":{}}', None),
        ('{"id":null,"event":"hand:raise","data":{}}', None),
        ('{"id":99999999999999999999,"event":"hand:raise","data":{}}', None),
        ('{"id":1,"event":"hand:raise","data":{},"role":"host"}', 1),
        ('{"id":1,"event":"hand:raise","data":{"role":"host"}}', 1),
        ('{"id":1,"event":"hand:raise","data":[]}', 1),
        ('{"id":1,"event":"hand:raise","data":null}', 1),
        ('{"id":1,"event":"stats:report","data":{"rtt":NaN}}', 1),
        ('{"id":1,"event":"stats:report","data":{"rtt":1e999}}', 1),
        ('{"id":1,"event":"stats:report","data":{"rtt":-1}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":""}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"   "}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":5}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"\\u0000"}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"\\ud800"}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","type":"script"}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","metadata":{"client_id":"a b"}}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","metadata":{"client_id":["x"]}}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","metadata":{"a":"\\u0000"}}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","reply_to":"a\\n"}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"' + "x" * 5001 + '"}}', 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","metadata":{"a":"' + "x" * 9000 + '"}}}', 1),
        ('{"id":1,"event":"chat:history","data":{"limit":100000}}', 1),
        ('{"id":1,"event":"media:toggle","data":{"kind":"smell","enabled":true}}', 1),
        ('{"id":1,"event":"participant:role:update","data":{"participant_id":"x","role":"root"}}', 1),
        ('{"id":1,"event":"participant:mute","data":{"participant_id":"../x"}}', 1),
        ('{"id":1,"event":"chat:send","data":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}", 1),
        ('{"id":1,"event":"chat:send","data":{"message":"x","metadata":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}}", 1),
        ("[" * 60_000, None),
        ('{"a":' * 10_000, None),
    ],
)
async def test_a_bad_request_is_answered_once_and_the_socket_lives(join, text, ack):
    sam = await join("sam")
    sam.acks.clear()
    sam.ids = 100
    assert await answer_to(sam, text, ack) == "bad_request"
    await sam.do("chat:send", {"message": "still here"})


async def test_another_meetings_id_is_the_wrong_meeting(join, world):
    sam = await join("sam")
    assert await sam.refused("chat:send", {"message": "x", "meeting_id": "another"}) == "wrong_meeting"
    await sam.do("chat:send", {"message": "x", "meeting_id": world.room.code})


async def test_nobody_joins_with_a_role_of_their_own_choice(enter, world):
    sam = await enter("sam")
    assert await sam.refused("room:join", {"role": "host"}) == "bad_request"
    assert await sam.refused("room:join", {"display_name": "Sam", "is_host": True}) == "bad_request"
    assert (await sam.join())["you"]["role"] == "attendee"
    assert (await Participant.objects.aget(user=world.users["sam"])).role == "attendee"


@pytest.mark.parametrize("name", ["x" * 101, "line\nbreak", "nul\x00", "bell\x07", "end\n"])
async def test_a_name_that_cannot_be_shown_is_refused(enter, name):
    sam = await enter("sam")
    assert await sam.refused("room:join", {"display_name": name}) == "bad_request"


async def test_a_name_of_markup_is_text(join):
    tina = await join("tina")
    name = "<img src=x onerror=alert(1)>"
    await join("sam", join={"display_name": name})
    assert (await tina.meets(name))["name"] == name


async def test_a_frame_over_64_kib_closes_with_1009(join):
    sam, sue = await join("sam"), await join("sue")
    await sam.send_text('{"id":1,"event":"hand:raise","data":{},"x":"' + "x" * MAX_FRAME + '"}')
    assert await sam.until_closed() == 1009
    await sue.send_text('"' + "é" * (MAX_FRAME // 2) + '"')
    assert await sue.until_closed() == 1009, "bytes count, not characters"


async def test_a_binary_frame_closes_with_1003(join):
    sam = await join("sam")
    await sam.communicator.send_to(bytes_data=b"\x00\x01")
    assert await sam.until_closed() == 1003


async def test_a_flood_is_refused_then_closed_while_others_chat(join):
    tina, sam = await join("tina"), await join("sam")
    flood = json.dumps({"id": 1, "event": "nothing:such", "data": {}})
    for _ in range(1500):
        await sam.send_text(flood)
    began = time.monotonic()
    await tina.do("chat:send", {"message": "undisturbed"})
    assert time.monotonic() - began < 1.0
    codes = []
    while sam.closed is None:
        output = await sam.communicator.receive_output(timeout=5)
        if output["type"] == "websocket.close":
            sam.closed = output["code"]
        else:
            frame = json.loads(output["text"])
            if "ack" in frame:
                codes.append(frame["error"]["code"])
    assert sam.closed == 1008
    assert codes.count("rate_limited") >= 100
    assert codes.count("bad_request") >= REQUESTS_BURST - 50


FLAPPING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "hands": [("hand:raise", {}), ("hand:lower", {})],
    "intents": [("media:toggle", {"kind": "audio", "enabled": on}) for on in (True, False)],
    "joining and leaving": [("room:leave", {}), ("room:join", {})],
}


@pytest.mark.parametrize("what", FLAPPING)
async def test_who_flaps_is_slowed_before_all_others_are_written_to(join, what):
    tina, sam = await join("tina"), await join("sam")
    events = FLAPPING[what]
    for n in range(200):
        await sam.send(*events[n % 2])
    await sam.until(lambda: len(sam.acks) == 200)
    codes = [ack["error"]["code"] for ack in sam.acks.values() if not ack["ok"]]
    assert codes.count("rate_limited") > 80
    assert sam.closed is None
    assert await tina.quiet("nothing")
    assert len([frame for frame in tina.order if "seq" in frame]) < 120


@pytest.mark.parametrize(("event", "data"), [("chat:history", {}), ("participants:page", {"after": "x"})])
async def test_large_answers_are_given_so_often_and_no_more(join, event, data):
    sam = await join("sam")
    for _ in range(120):
        await sam.send(event, data)
    await sam.until(lambda: len(sam.acks) == 120)
    good = [ack for ack in sam.acks.values() if ack["ok"]]
    assert 30 <= len(good) < 80


async def test_an_intent_that_all_know_is_not_told_again(join):
    tina, sam = await join("tina"), await join("sam")
    for _ in range(3):
        await sam.do("media:toggle", {"kind": "audio", "enabled": True})
    await tina.event("participant:media:updated")
    assert await tina.quiet("participant:media:updated")


# --- who may open a socket -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        None,
        b"null",
        b"http://evil.example",
        b"http://localhost.evil.example",
        b"http://evil.example/localhost",
        b"http://localhost@evil.example",
        b"http://localhost:8001",
        b"file://localhost",
        b"chrome-extension://localhost",
        b"http://[::1",
        b"",
        b"\xff",
    ],
)
async def test_a_page_of_another_origin_cannot_use_our_cookie(world, origin):
    headers = [HOST] + ([(b"origin", origin)] if origin is not None else [])
    client = Client(world.room.code, cookie=world.cookies["tina"], headers=headers)
    assert not await client.open()


async def test_a_page_behind_a_proxy_that_ends_tls_is_ours(world, hubs):
    client = Client(
        world.room.code, cookie=world.cookies["tina"], headers=[HOST, (b"origin", b"https://localhost")], hubs=hubs
    )
    assert await client.open()
    await client.join()
    await client.close()


async def test_a_forged_host_does_not_make_an_origin_ours(world):
    headers = [(b"host", b"evil.example"), (b"origin", b"http://evil.example")]
    client = Client(world.room.code, cookie=world.cookies["tina"], headers=headers)
    assert not await client.open()


async def test_an_origin_that_the_settings_trust_is_ours(world, hubs, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://school.example"]
    headers = [HOST, (b"origin", b"https://school.example")]
    client = Client(world.room.code, cookie=world.cookies["tina"], headers=headers, hubs=hubs)
    assert await client.open()
    await client.join()
    await client.close()


async def test_with_a_token_a_program_needs_no_origin_but_a_foreign_page_is_refused(world, hubs):
    for headers, welcome in (([HOST], True), ([HOST, (b"origin", b"http://evil.example")], False)):
        client = Client(world.room.code, token=world.guest_token(), headers=headers, hubs=hubs)
        assert await client.open() is welcome
        if welcome:
            await client.join()
            await client.close()


async def closed_with(world, **how: object) -> tuple[str, int]:
    code = how.pop("code", world.room.code)
    client = Client(code, **how)  # type: ignore[arg-type]
    assert await client.open()
    error = await client.event("room:error")
    result = error["code"], await client.until_closed()
    await client.close()
    return result


async def test_who_may_not_come_in_is_told_why_and_closed(world, enter):
    assert await closed_with(world) == ("unauthenticated", 4001)
    assert await closed_with(world, cookie="forged") == ("unauthenticated", 4001)
    assert await closed_with(world, token="forged") == ("unauthenticated", 4001)
    assert await closed_with(world, cookie=world.cookies["olga"]) == ("forbidden", 4003)
    assert await closed_with(world, cookie=world.cookies["tina"], code="nowhere") == ("not_found", 4001)
    expired, _ = make(world.room, role="guest", name="Gus", expires_at=world.room.created_at)
    assert await closed_with(world, token=expired) == ("unauthenticated", 4001)
    bad_cookie = [HOST, ORIGIN, (b"cookie", b'sessionid="\xff;;=;')]
    assert await closed_with(world, headers=bad_cookie) == ("unauthenticated", 4001)


async def test_a_session_belongs_to_the_one_it_was_given_to(join, enter):
    sam = await join("sam")
    sue = await enter("sue")
    answer = await sue.join(session=sam.answer["session"], last_seq=0)
    assert answer["resumed"] is False
    assert answer["session"] != sam.answer["session"]
    assert answer["you"]["name"] == "Sue"
    assert sam.closed is None
