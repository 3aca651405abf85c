"""Every request of the socket, from every role, against the table of roles."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from meetings import registry, services
from meetings.models import Participant, Room
from meetings.permissions import ROLES, TABLE, may, may_give_role, outranks
from tests.meetings.world import Client

# The specification's table, written down a second time on purpose: y yes, n no, + set with default on, - default off.
SPECIFIED = {
    "end": "ynnnn", "stream": "ynnnn", "focus": "ynnnn", "make_co_host": "ynnnn",
    "admit": "yynnn", "mute": "yynnn", "lock": "yynnn", "remove": "yynnn", "change_roles": "yynnn", "record": "yynnn",
    "caption": "yynnn", "record_here": "++nnn",
    "breakouts": "yynnn", "spotlight": "yynnn", "settings": "yynnn", "lower_hands": "yynnn", "quality": "yynnn",
    "share": "yyy-n", "slides": "yyy-n", "poll": "yyynn", "microphone": "yyy+-", "camera": "yyy+-", "chat": "yyy+-",
    "draw": "yyy-n", "raise_hand": "yyyyn", "vote": "yyyyy", "watch": "yyyyy",
}  # fmt: skip


def test_the_table_is_the_specifications():
    found = {
        name: "".join(
            ("y" if cell else "n") if isinstance(cell, bool) else ("+" if cell.default else "-") for cell in row
        )
        for name, row in TABLE.items()
    }
    assert found == SPECIFIED


def test_a_persons_lock_goes_before_the_rooms_setting_and_that_before_the_default():
    assert may("attendee", "chat", {}, {})
    assert not may("attendee", "chat", {"chat": False}, {})
    assert may("attendee", "chat", {"chat": False}, {"chat": True})
    assert not may("guest", "chat", {}, {})
    assert may("guest", "chat", {"chat": True}, {})
    assert not may("guest", "share", {"share": True}, {"share": True}), "a guest never shares"
    assert may("host", "chat", {"chat": False}, {"chat": False}), "a host is never locked"


def test_what_is_not_in_the_table_nobody_may():
    for role in (*ROLES, "admin", ""):
        assert not may(role, "fly", {}, {})
    assert not may("root", "watch", {}, {})


def test_roles_are_given_from_above_only():
    given = {
        (giver, target, new)
        for giver in ROLES for target in ROLES for new in ROLES
        if may_give_role(giver, target, new)
    }  # fmt: skip
    below_host, below_co_host = ROLES[1:], ROLES[2:]
    expected = {("host", t, n) for t in below_host for n in below_host}
    expected |= {("co-host", t, n) for t in below_co_host for n in below_co_host}
    assert given == expected
    assert not outranks("co-host", "co-host")


# --- on the socket ---------------------------------------------------------------------------------------------------

OURS = ("meetings.handlers",)
PEOPLE = {"host": "tina", "co-host": "asa", "presenter": "pia", "attendee": "sam", "guest": "guest"}
# event: (payload, {role: expected error code or None})
REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "room:leave": ({}, "yyyyy"),
    "room:end": ({}, "ynnnn"),
    "room:settings": ({"mode": "sfu"}, "yynnn"),
    "participants:page": ({"after": "x"}, "yyyyy"),
    "stats:report": ({"rtt": 12.5}, "yyyyy"),
    "participant:mute": ({"participant_id": "VICTIM", "kind": "audio"}, "yynnn"),
    "participant:remove": ({"participant_id": "VICTIM"}, "yynnn"),
    "participant:role:update": ({"participant_id": "VICTIM", "role": "presenter"}, "yynnn"),
    "hand:raise": ({}, "yyyyn"),
    "hand:lower": ({}, "yyyyy"),
    "chat:send": ({"message": "hello"}, "yyyyn"),
    "chat:history": ({}, "yyyyy"),
    "media:toggle": ({"kind": "audio", "enabled": True}, "yyyyn"),
    "screen:start": ({}, "yyynn"),
    "screen:stop": ({}, "yyyyy"),
    "layout:change": ({"layout": "speaker", "for_all": True}, "yynnn"),
}
OTHERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "lower another's hand": ("hand:lower", {"participant_id": "VICTIM"}, "yynnn"),
    "lower all hands": ("hand:lower", {"participant_id": "all"}, "yynnn"),
    "mute all": ("participant:mute", {"participant_id": "all", "kind": "audio"}, "yynnn"),
    "make a co-host": ("participant:role:update", {"participant_id": "VICTIM", "role": "co-host"}, "ynnnn"),
    "make a host": ("participant:role:update", {"participant_id": "VICTIM", "role": "host"}, "nnnnn"),
    "make oneself host": ("participant:role:update", {"participant_id": "SELF", "role": "host"}, "nnnnn"),
    "change one's own layout": ("layout:change", {"layout": "speaker"}, "yyyyy"),
    "switch the camera on": ("media:toggle", {"kind": "video", "enabled": True}, "yyyyn"),
    "switch the camera off": ("media:toggle", {"kind": "video", "enabled": False}, "yyyyy"),
}
CASES = {event: (event, *rest) for event, rest in REQUESTS.items()} | OTHERS


def test_every_event_of_this_part_is_tried_below():
    ours = {
        event
        for event, entry in registry.EVENTS.items()
        if entry.handler.__module__.startswith(("meetings.handlers.", "meetings.media.screens", "meetings.quality."))
    }
    assert ours - {"room:join"} == set(REQUESTS)


async def in_class(role: str, join, world) -> Client:
    if role == "presenter":
        participant = await sync_to_async(services.participant_for)(
            services.Entry(world.room, "attendee", "Pia", world.users["pia"])
        )
        await sync_to_async(services.give_role)(participant, "presenter")
    client = await join(PEOPLE[role])
    assert client.answer["you"]["role"] == role
    return client


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", CASES)
async def test_each_role_may_what_the_table_says(case, join, world):
    event, payload, allowed = CASES[case]
    for role, expected in reversed(list(zip(ROLES, allowed, strict=True))):  # the host last: room:end ends it all
        victim = await join("sue")
        client = await in_class(role, join, world)
        ids = {"VICTIM": victim.answer["you"]["participant_id"], "SELF": client.answer["you"]["participant_id"]}
        data = {key: ids.get(str(value), value) for key, value in payload.items()}
        before = await Participant.objects.aget(public_id=ids["SELF"])
        ack = await client.ask(event, data)
        if expected == "y":
            assert ack["ok"], (case, role, ack)
        else:
            assert not ack["ok"], (case, role)
            assert ack["error"]["code"] == "forbidden", (case, role, ack)
            assert client.closed is None
        after = await Participant.objects.aget(public_id=ids["SELF"])
        assert after.role == before.role
        await Participant.objects.filter(user=world.users["sue"]).aupdate(
            removed_at=None, role="attendee", given_role=""
        )
        await Room.objects.filter(pk=world.room.pk).aupdate(ended_at=None)
        await client.close()
        await victim.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", CASES)
async def test_nothing_is_done_for_a_socket_that_has_not_joined(case, enter):
    event, payload, _ = CASES[case]
    client = await enter("tina")
    assert await client.refused(event, {**payload}) == "wrong_state"


@pytest.mark.django_db(transaction=True)
async def test_the_rooms_setting_opens_and_closes_what_the_table_leaves_to_it(join, world):
    await Room.objects.filter(pk=world.room.pk).aupdate(settings={"allow": {"chat": False, "share": True}})
    sam, guest, tina = await join("sam"), await join("guest"), await join("tina")
    assert await sam.refused("chat:send", {"message": "x"}) == "forbidden"
    await sam.do("screen:start")
    assert await guest.refused("screen:start") == "forbidden"
    await tina.do("chat:send", {"message": "x"})


@pytest.mark.django_db(transaction=True)
async def test_a_demoted_person_loses_the_right_at_once_and_a_reload_does_not_give_it_back(join, world):
    tina, asa = await join("tina"), await join("asa")
    pid = asa.answer["you"]["participant_id"]
    await tina.do("participant:role:update", {"participant_id": pid, "role": "attendee"})
    told = await asa.event("participant:role:changed")
    assert (told["old_role"], told["new_role"]) == ("co-host", "attendee")
    assert "mute" not in told["can"]
    assert await asa.refused("participant:mute", {"participant_id": "all"}) == "forbidden"
    again = await join("asa")
    assert again.answer["you"]["role"] == "attendee"
    assert await again.refused("participant:mute", {"participant_id": "all"}) == "forbidden"


@pytest.mark.django_db(transaction=True)
async def test_a_co_host_acts_upon_neither_the_host_nor_another_co_host(join, world):
    tina, asa, staff = await join("tina"), await join("asa"), await join("staff")
    host, co_host = tina.answer["you"]["participant_id"], staff.answer["you"]["participant_id"]
    for pid in (host, co_host):
        assert await asa.refused("participant:remove", {"participant_id": pid}) == "forbidden"
        assert await asa.refused("participant:role:update", {"participant_id": pid, "role": "attendee"}) == "forbidden"
    assert await asa.refused("participant:mute", {"participant_id": host, "kind": "audio"}) == "forbidden"


@pytest.mark.django_db(transaction=True)
async def test_somebody_of_another_room_is_not_found(join, enter, world):
    other = await Room.objects.acreate(title="Other", created_by=world.users["tina"])
    stranger = await sync_to_async(services.participant_for)(
        services.Entry(other, "attendee", "Sue", world.users["sue"])
    )
    tina = await join("tina")
    for event, more in (
        ("participant:remove", {}),
        ("participant:role:update", {"role": "guest"}),
        ("participant:mute", {}),
    ):
        assert await tina.refused(event, {"participant_id": stranger.public_id, **more}) == "not_found"
