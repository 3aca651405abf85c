"""Meeting tokens: ours, unexpired, for this room, or nothing."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import User
from classroom.models import Lesson
from meetings import services, tokens
from meetings.models import Participant, Room
from tests.meetings.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return World.make()


def claims(room: Room, **changes: object) -> dict[str, object]:
    expires = int((timezone.now() + timedelta(hours=1)).timestamp())
    return {
        "aud": tokens.AUDIENCE,
        "room": room.code,
        "jti": "j",
        "role": "guest",
        "name": "Gus",
        "exp": expires,
    } | changes


def signed(body: dict[str, object], key: Any = None, algorithm: str = "HS256") -> str:
    return jwt.encode(body, tokens._key() if key is None else key, algorithm=algorithm)


def unsigned(body: dict[str, object]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(body)}."


def test_a_token_of_ours_says_who_comes(world):
    token, expires_at = tokens.make(world.room, role="guest", name="Gus")
    read = tokens.read(token, world.room.code)
    assert (read.role, read.name, read.user_id, read.expires_at) == ("guest", "Gus", None, expires_at)


@pytest.mark.parametrize(
    "forge",
    [
        lambda room: unsigned(claims(room)),
        lambda room: signed(claims(room), key="another key that is long enough for HS256"),
        lambda room: signed(claims(room), key=settings.SECRET_KEY),
        lambda room: signed(claims(room), algorithm="HS384"),
        lambda room: signed(claims(room, aud="lectern:api")),
        lambda room: signed({k: v for k, v in claims(room).items() if k != "aud"}),
        lambda room: signed({k: v for k, v in claims(room).items() if k != "exp"}),
        lambda room: signed({k: v for k, v in claims(room).items() if k != "jti"}),
        lambda room: signed(claims(room) | {"room": "another-room"}),
        lambda room: signed(claims(room, exp=int(timezone.now().timestamp()) - 1)),
        lambda room: signed(claims(room, exp="soon")),
        lambda room: signed(claims(room, sub="not a number")),
        lambda room: signed(claims(room))[:-4] + "AAAA",
        lambda room: "",
        lambda room: "a.b.c",
        lambda room: "x" * 10_000,
        lambda room: "é☃.\x00.",
    ],
    ids=[
        "none", "wrong key", "the site's own key", "another algorithm", "audience", "no audience", "no expiry",
        "no jti", "room", "expired", "expiry of a wrong type", "subject of a wrong type", "changed", "empty",
        "no JSON", "long", "no ASCII",
    ],
)  # fmt: skip
def test_a_token_that_is_not_ours_is_refused(world, forge):
    token = forge(world.room)
    with pytest.raises(tokens.InvalidToken):
        tokens.read(token, world.room.code)
    if token:
        with pytest.raises(services.NotAllowed) as refused:
            services.get_room_for(world.users["olga"], world.room.code, token)
        assert refused.value.reason == "unauthenticated"


@pytest.mark.parametrize("role", ["host", "co-host", "presenter", "root"])
def test_a_guests_link_makes_nobody_a_host_even_when_we_signed_it(world, role):
    token = signed(claims(world.room, role=role))
    with pytest.raises(services.NotAllowed):
        services.get_room_for(world.users["olga"], world.room.code, token)


def test_an_accounts_own_token_gives_the_role_the_account_has_now(world):
    sam = world.users["sam"]
    token, _ = tokens.make(world.room, role="host", name="Sam", user_id=sam.pk)
    assert services.get_room_for(world.users["olga"], world.room.code, token).role == "attendee"
    sam.enrolments.all().delete()
    with pytest.raises(services.NotAllowed):
        services.get_room_for(world.users["olga"], world.room.code, token)


def test_the_token_of_a_deactivated_account_is_worth_nothing(world):
    sam = world.users["sam"]
    token, _ = tokens.make(world.room, role="attendee", name="Sam", user_id=sam.pk)
    User.objects.filter(pk=sam.pk).update(is_active=False)
    with pytest.raises(services.NotAllowed):
        services.get_room_for(world.users["olga"], world.room.code, token)


def test_links_of_a_class_that_takes_no_guests_are_refused(world):
    Room.objects.filter(pk=world.room.pk).update(guests_allowed=False)
    with pytest.raises(services.NotAllowed) as refused:
        services.get_room_for(world.users["olga"], world.room.code, world.guest_token())
    assert refused.value.reason == "guests"


def test_a_removed_guest_is_refused_by_the_same_link_and_not_by_another(world):
    token = world.guest_token()
    entry = services.get_room_for(world.users["olga"], world.room.code, token)
    services.bar(services.participant_for(entry))
    with pytest.raises(services.NotAllowed) as refused:
        services.get_room_for(world.users["olga"], world.room.code, token)
    assert refused.value.reason == "removed"
    services.get_room_for(world.users["olga"], world.room.code, world.guest_token())
    assert Participant.objects.count() == 1


def test_a_token_lives_for_the_planned_time_and_an_hour(world):
    now = timezone.now()
    lesson = world.room.lesson
    assert tokens.expiry(world.room, now) == now + timedelta(hours=12), "no time is planned"
    lesson.starts_at, lesson.planned_duration = now + timedelta(days=2), timedelta(minutes=90)
    assert tokens.expiry(world.room, now) == now + timedelta(days=2, minutes=150)
    lesson.starts_at = now - timedelta(days=2)
    assert tokens.expiry(world.room, now) == now + timedelta(minutes=150), "a class that is held again"


def test_codes_cannot_be_guessed():
    codes = {Room(title="x").code for _ in range(100)}
    assert len(codes) == 100
    assert min(len(code) for code in codes) >= 22, "16 random bytes"


def test_the_role_of_everybody(world):
    def role(name: str, room: Room) -> str | None:
        return services.role_of(world.users[name], room)

    found = {name: role(name, world.room) for name in world.users}
    assert found == {
        "tina": "host", "asa": "co-host", "pia": "attendee", "sam": "attendee", "sue": "attendee", "olga": None,
        "staff": "co-host",
    }  # fmt: skip
    own = Room.objects.create(title="Olga's own", created_by=world.users["olga"])
    assert {name: role(name, own) for name in world.users if role(name, own)} == {"olga": "host", "staff": "co-host"}
    lesson = Lesson.objects.create(course=world.room.lesson.course, title="Next")
    made_by_sam = Room.objects.create(title="Next", lesson=lesson, created_by=world.users["sam"])
    assert role("sam", made_by_sam) == "attendee", "in a course, the course's role counts"
