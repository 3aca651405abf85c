"""The room's page, the page that says why not, and the API of meetings."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts.models import User
from meetings import services, tokens
from meetings.models import Attendance, ChatMessage, Room
from meetings.redis_client import room_key
from tests.meetings.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(redis_settings: str) -> World:
    return World.make()


def browser(world: World, name: str = "") -> Client:
    client = Client()
    if name:
        client.force_login(world.users[name])
    return client


def api(world: World, name: str = "") -> APIClient:
    client = APIClient()
    if name:
        client.force_authenticate(world.users[name])
    return client


def boot_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="boot" type="application/json">(.*?)</script>', page, re.S)
    assert found is not None
    boot: dict[str, Any] = json.loads(found.group(1))
    return boot


def address(world: World, token: str = "") -> str:
    return world.room.get_absolute_url() + (f"?token={token}" if token else "")


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"), [("tina", "host"), ("asa", "co-host"), ("sam", "attendee"), ("staff", "co-host")]
)
def test_the_page_opens_with_what_its_script_needs(world, name, role):
    answer = browser(world, name).get(address(world))
    assert answer.status_code == 200
    boot = boot_of(answer.content.decode())
    assert (boot["code"], boot["role"], boot["token"]) == (world.room.code, role, None)
    assert boot["socket_url"] == f"/ws/meetings/{world.room.code}/"
    assert boot["lesson_url"] == world.room.lesson.get_absolute_url()
    assert ("record" in boot["can"]) == (role != "attendee")
    assert "no-store" in answer["Cache-Control"]


def test_a_guests_link_opens_the_page_without_an_account(world):
    token = world.guest_token("Gus")
    boot = boot_of(browser(world).get(address(world, token)).content.decode())
    assert (boot["name"], boot["role"], boot["token"], boot["lesson_url"]) == ("Gus", "guest", token, None)


def test_a_guest_may_reload_the_page_whose_address_no_longer_holds_the_token(world):
    token, guest = world.guest_token("Gus"), browser(world)
    guest.get(address(world, token))
    assert boot_of(guest.get(address(world)).content.decode())["token"] == token
    assert browser(world).get(address(world)).status_code == 302  # another browser has no link


def test_no_link_is_kept_for_those_who_come_in_by_their_account(world):
    sam = browser(world, "sam")
    assert sam.get(address(world, "x" * 3000)).status_code == 200
    assert "meeting_links" not in sam.session


def test_a_kept_link_that_has_expired_leads_to_the_sign_in(world):
    guest = browser(world)
    guest.get(address(world, world.guest_token("Gus")))
    session = guest.session
    session["meeting_links"] = {world.room.code: "expired"}
    session.save()
    assert guest.get(address(world)).status_code == 302


def test_a_teacher_who_opens_a_guests_link_is_the_teacher(world):
    boot = boot_of(browser(world, "tina").get(address(world, world.guest_token())).content.decode())
    assert (boot["role"], boot["token"]) == ("host", None)


def test_a_title_with_a_script_in_it_stays_text(world):
    Room.objects.filter(pk=world.room.pk).update(title="</script><script>alert(1)</script>")
    page = browser(world, "sam").get(address(world)).content.decode()
    assert "<script>alert(1)" not in page
    assert boot_of(page)["title"] == "</script><script>alert(1)</script>"


def test_without_a_sign_in_one_is_asked_to_sign_in(world):
    answer = browser(world).get(address(world))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=/meetings/")


def refusal(world: World, client: Client, url: str) -> tuple[int, str]:
    answer = client.get(url)
    found = re.search(r'data-reason="(\w+)"', answer.content.decode())
    assert found is not None, answer.status_code
    return answer.status_code, found.group(1)


def test_a_page_says_why_one_stays_outside(world):
    assert refusal(world, browser(world, "olga"), address(world)) == (403, "forbidden")
    assert refusal(world, browser(world), address(world, "bad")) == (403, "unauthenticated")
    assert refusal(world, browser(world, "sam"), "/meetings/nowhere/") == (404, "unknown")
    assert refusal(world, browser(world), "/meetings/nowhere/") == (404, "unknown")
    sam = services.participant_for(services.get_room_for(world.users["sam"], world.room.code))
    services.bar(sam)
    assert refusal(world, browser(world, "sam"), address(world)) == (403, "removed")
    token = world.guest_token()
    Room.objects.filter(pk=world.room.pk).update(guests_allowed=False)
    assert refusal(world, browser(world), address(world, token)) == (403, "guests")
    services.end(world.room)
    assert refusal(world, browser(world, "sue"), address(world)) == (410, "ended")


def test_a_full_class_has_a_page_but_not_for_those_who_are_in(world):
    Room.objects.filter(pk=world.room.pk).update(capacity=1)
    sam = services.participant_for(services.get_room_for(world.users["sam"], world.room.code))
    leases = room_key(world.room.code, "leases")
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.zadd(leases, {sam.public_id: time.time() + 60})
        assert refusal(world, browser(world, "sue"), address(world)) == (409, "full")
        assert browser(world, "sam").get(address(world)).status_code == 200
        assert browser(world, "tina").get(address(world)).status_code == 200
        connection.zadd(leases, {sam.public_id: time.time() - 1})
    assert browser(world, "sue").get(address(world)).status_code == 200, "Sam is gone, though nobody has noticed"


def test_the_page_opens_with_redis_away(world, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert browser(world, "sam").get(address(world)).status_code == 200


def test_guessing_codes_is_stopped_without_locking_out_those_who_know_one(world):
    client = browser(world, "sam")
    statuses = [client.get(f"/meetings/guess-{n}/").status_code for n in range(25)]
    assert statuses[:20] == [404] * 20
    assert statuses[20:] == [429] * 5
    assert client.get(address(world)).status_code == 200
    other = APIClient(REMOTE_ADDR="192.0.2.7")
    other.force_authenticate(world.users["olga"])
    answers = [other.post(f"/api/v1/meetings/guess-{n}/token/").status_code for n in range(22)]
    assert answers == [404] * 20 + [429] * 2


def test_a_lessons_room_is_made_by_the_first_who_enters_and_belongs_to_the_course(world):
    lesson = world.room.lesson
    Room.objects.all().delete()
    url = reverse("meetings:lesson", args=[lesson.pk])
    first = browser(world, "sam").get(url)
    room = Room.objects.get()
    assert first["Location"] == room.get_absolute_url()
    assert (room.lesson, room.created_by, room.title) == (lesson, world.users["tina"], "Waves")
    assert browser(world, "tina").get(url)["Location"] == first["Location"]
    assert browser(world, "olga").get(url).status_code == 404
    assert browser(world).get(url).status_code == 302


# --- the API ----------------------------------------------------------------------------------------------------------


def test_a_teacher_opens_a_meeting_and_invites_a_guest(world):
    tina = api(world, "tina")
    made = tina.post("/api/v1/meetings/", {"title": "Office hour"}, format="json")
    assert made.status_code == 201
    code = made.data["code"]
    assert made.data["url"].endswith(f"/meetings/{code}/")
    answer = tina.post(f"/api/v1/meetings/{code}/token/", {"role": "guest", "display_name": "Gus", "expires_in": 600})
    assert answer.status_code == 200
    assert answer.data["url"].endswith(f"/meetings/{code}/?token={answer.data['token']}")
    claims = tokens.read(answer.data["token"], code)
    assert (claims.role, claims.name, claims.user_id) == ("guest", "Gus", None)
    assert browser(world).get(answer.data["url"]).status_code == 200


def test_a_meeting_of_a_lesson_is_made_once_and_by_its_teacher(world):
    lesson = world.room.lesson
    Room.objects.all().delete()
    assert api(world, "sam").post("/api/v1/meetings/", {"lesson": lesson.pk}).status_code == 403
    assert api(world, "olga").post("/api/v1/meetings/", {"lesson": lesson.pk}).status_code == 400, "unseen, not there"
    first = api(world, "tina").post("/api/v1/meetings/", {"lesson": lesson.pk})
    again = api(world, "tina").post("/api/v1/meetings/", {"lesson": lesson.pk})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.data["code"] == again.data["code"]
    assert first.data["guests_allowed"] is False


@pytest.mark.parametrize(
    "bad", [{}, {"title": ""}, {"title": "x" * 201}, {"title": "x", "capacity": 0}, {"title": "x", "capacity": 10**9}]
)
def test_a_bad_meeting_is_refused_with_its_fields(world, bad):
    answer = api(world, "tina").post("/api/v1/meetings/", bad, format="json")
    assert answer.status_code == 400
    assert answer.data


def test_what_is_not_ours_to_set_cannot_be_set(world):
    answer = api(world, "tina").post(
        "/api/v1/meetings/",
        {"title": "x", "code": "chosen", "always_open": True, "created_by": world.users["sam"].pk},
        format="json",
    )
    room = Room.objects.get(code=answer.data["code"])
    assert (room.code != "chosen", room.always_open, room.created_by) == (True, False, world.users["tina"])


def test_one_sees_the_meetings_one_can_enter(world):
    own = Room.objects.create(title="Olga's", created_by=world.users["olga"])

    def seen(name: str) -> set[str]:
        return {row["code"] for row in api(world, name).get("/api/v1/meetings/").data["results"]}

    assert seen("sam") == {world.room.code}
    assert seen("olga") == {own.code}
    assert seen("staff") == {world.room.code, own.code}
    assert api(world, "sam").get(f"/api/v1/meetings/{own.code}/").status_code == 403
    assert api(world).get("/api/v1/meetings/").status_code == 401


def token_of(world: World, name: str, body: dict[str, Any]) -> int:
    return int(api(world, name).post(f"/api/v1/meetings/{world.room.code}/token/", body, format="json").status_code)


def test_everybody_gets_an_own_token_and_only_a_host_others(world):
    answer = api(world, "sam").post(f"/api/v1/meetings/{world.room.code}/token/", {}, format="json")
    assert tokens.read(answer.data["token"], world.room.code).user_id == world.users["sam"].pk
    assert [token_of(world, n, {"role": "guest"}) for n in ("tina", "asa", "staff", "sam", "olga")] == [
        200,
        403,
        403,
        403,
        403,
    ]


@pytest.mark.parametrize(
    "bad",
    [{"role": "host"}, {"role": "co-host"}, {"role": "guest", "expires_in": 1}, {"role": "guest", "expires_in": 10**9},
     {"role": "guest", "display_name": "x" * 101}, {"display_name": "Nobody"}],
)  # fmt: skip
def test_a_bad_request_for_a_token_is_refused(world, bad):
    assert token_of(world, "tina", bad) == 400


def test_an_ended_or_closed_class_gives_no_tokens(world):
    Room.objects.filter(pk=world.room.pk).update(guests_allowed=False)
    assert token_of(world, "tina", {"role": "guest"}) == 403
    services.end(world.room)
    assert token_of(world, "tina", {}) == 410


def test_attendance_is_seen_by_those_who_teach_and_by_oneself(world):
    for name in ("sam", "sue"):
        entry = services.get_room_for(world.users[name], world.room.code)
        Attendance.objects.create(participant=services.participant_for(entry), session=name)

    def seen(name: str, query: str = "") -> list[str]:
        return [row["name"] for row in api(world, name).get(f"/api/v1/attendance/{query}").data["results"]]

    assert seen("tina") == seen("asa") == seen("staff") == ["Sam", "Sue"]
    assert seen("sam") == ["Sam"]
    assert seen("olga") == []
    assert seen("tina", "?meeting=other") == seen("tina", "?meeting=%00") == []
    assert seen("tina", f"?lesson={world.room.lesson_id}") == ["Sam", "Sue"]
    assert seen("tina", "?lesson=x") == ["Sam", "Sue"]


# --- the admin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["room", "participant", "attendance", "chatmessage"])
def test_the_admin_lists_searches_and_opens_each_model_with_names_as_text(world, model):
    user = world.users["staff"]
    user.role = User.Role.ADMIN
    user.save()
    participant = services.participant_for(services.get_room_for(world.users["sam"], world.room.code))
    participant.name = "<script>alert(1)</script>"
    participant.save()
    Attendance.objects.create(participant=participant, session="s")
    ChatMessage.objects.create(
        room=world.room, participant=participant, public_id="m", message="<script>alert(2)</script>"
    )
    admin = browser(world, "staff")
    url = reverse(f"admin:meetings_{model}_changelist")
    page = admin.get(url + "?q=waves")
    assert page.status_code == 200
    assert "1 " in page.content.decode()
    assert "<script>alert" not in page.content.decode()
    pk = {"room": world.room.pk, "participant": participant.pk}.get(model) or {
        "attendance": Attendance, "chatmessage": ChatMessage,
    }[model]._default_manager.get().pk  # fmt: skip
    detail = admin.get(reverse(f"admin:meetings_{model}_change", args=[pk]))
    assert detail.status_code == 200
    assert "<script>alert" not in detail.content.decode()
