"""How other software signs in: `POST /api/v1/auth/token/`."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.world import PASSWORD

pytestmark = pytest.mark.django_db
URL = "/api/v1/auth/token/"


@pytest.fixture(autouse=True)
def sam_with_password(sam):
    sam.set_password(PASSWORD)
    sam.save()
    return sam


def asked(client, password: str = PASSWORD):
    return client.post(URL, {"username": "sam", "password": password})


def courses(client, tokens: dict[str, str]):
    return client.get("/api/v1/courses/", headers={"authorization": f"Bearer {tokens['access']}"})


def test_username_and_password_give_tokens(client):
    answer = asked(client)
    assert sorted(answer.json()) == ["access", "refresh"]
    assert courses(client, answer.json()).status_code == 200


def test_who_does_not_exist_is_told_the_same_as_who_is_wrong(client):
    wrong = asked(client, "wrong")
    unknown = client.post(URL, {"username": "nobody", "password": PASSWORD})
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json() == unknown.json()


def test_an_inactive_account_gets_none(client, sam_with_password):
    sam_with_password.is_active = False
    sam_with_password.save()
    assert asked(client).status_code == 401


def test_guessing_is_slowed_down_here_and_at_the_page_together(client):
    for _ in range(3):
        assert asked(client, "wrong").status_code == 401
        client.post(reverse("account_login"), {"login": "sam", "password": "wrong"})
    assert asked(client).status_code == 429
    page = client.post(reverse("account_login"), {"login": "sam", "password": PASSWORD})
    assert "Too many failed" in page.content.decode()


def test_who_signs_in_often_is_not_guessing(client):
    assert {asked(client).status_code for _ in range(8)} == {200}


def test_a_new_password_ends_the_sign_ins_made_with_the_old_one(client, sam_with_password):
    tokens = asked(client).json()
    sam_with_password.set_password("eight blue herons")
    sam_with_password.save()
    assert courses(client, tokens).status_code == 401
    renewed = client.post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]})
    assert renewed.status_code == 401 or courses(client, renewed.json()).status_code == 401
