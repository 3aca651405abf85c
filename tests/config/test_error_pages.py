"""What is shown when something is wrong: friendly, and without what the failing part needs."""

from __future__ import annotations

import pytest
from django.http import HttpRequest
from django.views import defaults


def test_a_page_that_is_not_there(client, db):
    answer = client.get("/no/such/page/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is no such page" in page
    assert "/accounts/login/" in page


def test_a_page_that_is_not_ones_own_to_use(client_of, course):
    answer = client_of("sam").get("/courses/biology/edit/")
    assert answer.status_code == 403
    assert "Only the course&#x27;s teachers can do this." in answer.content.decode()


def test_a_script_in_an_address_is_not_run(client, db):
    page = client.get("/<script>alert(1)</script>/").content.decode()
    assert "<script>alert" not in page


def test_a_request_that_makes_no_sense(client):
    answer = client.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "makes no sense" in answer.content.decode()


def test_a_failure_of_ours_is_shown_without_a_database_or_a_session():
    # No `db` fixture: a query would fail the test.
    answer = defaults.server_error(HttpRequest())
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.content.decode()


@pytest.mark.parametrize(
    "address",
    ["courses/", "courses/new/", "courses/biology/", "courses/biology/edit/", "courses/biology/people/",
     "courses/biology/lessons/new/", "accounts/profile/"],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["put", "patch", "delete", "trace"])
def test_verbs_that_a_page_does_not_know_change_nothing(client_of, course, address, verb):
    assert getattr(client_of("tina"), verb)(f"/{address}").status_code == 405


@pytest.fixture
def redis_away(settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    }


def test_signing_in_while_redis_is_away_is_asked_to_wait_and_not_told_of_a_bug(client, tina, redis_away):
    answer = client.post("/accounts/login/", {"login": "tina", "password": "wrong"})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert "Just a moment" in answer.content.decode()


def test_the_api_says_the_same_in_json(client, tina, redis_away):
    answer = client.post(
        "/api/v1/auth/token/", {"username": "tina", "password": "wrong"}, content_type="application/json"
    )
    assert answer.status_code == 503
    assert "Try again" in answer.json()["detail"]
