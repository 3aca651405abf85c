"""Signing in and out."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.world import PASSWORD

pytestmark = pytest.mark.django_db
URL = "/accounts/login/"


@pytest.fixture
def sam_with_password(sam):
    sam.set_password(PASSWORD)
    sam.save()
    return sam


@pytest.mark.parametrize("name", ["sam", "sam@example.com", "SAM@example.com"])
def test_username_and_mail_address_sign_in(client, sam_with_password, name):
    answer = client.post(URL, {"login": name, "password": PASSWORD})
    assert answer["Location"] == "/courses/"
    assert client.get("/courses/").status_code == 200


@pytest.mark.parametrize(
    "form",
    [{"login": "sam", "password": "wrong"}, {"login": "nobody", "password": PASSWORD}, {"login": "", "password": ""}],
)
def test_a_wrong_sign_in_gets_the_form_again(client, sam_with_password, form):
    answer = client.post(URL, form)
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert client.get("/courses/").status_code == 302


def test_who_does_not_exist_is_told_the_same_as_who_is_wrong(client, sam_with_password):
    def told(login: str) -> object:
        return client.post(URL, {"login": login, "password": "wrong"}).context["form"].errors

    assert told("sam") == told("nobody")


def test_guessing_is_slowed_down(client, sam_with_password):
    for _ in range(6):
        client.post(URL, {"login": "sam", "password": "wrong"})
    answer = client.post(URL, {"login": "sam", "password": PASSWORD})
    assert answer.status_code == 200
    assert "Too many failed" in answer.content.decode()


def test_a_class_behind_one_address_signs_in_within_a_minute(client, sam_with_password):
    for _ in range(40):
        assert client.post(URL, {"login": "sam", "password": PASSWORD})["Location"] == "/courses/"
        client.logout()


def test_an_inactive_account_does_not_get_in(client, sam_with_password):
    sam_with_password.is_active = False
    sam_with_password.save()
    client.post(URL, {"login": "sam", "password": PASSWORD})
    assert client.get("/courses/").status_code == 302


def test_one_lands_on_the_page_one_came_for(client, sam_with_password, lesson):
    page = lesson.get_absolute_url()
    to_sign_in = client.get(page)["Location"]
    assert to_sign_in == f"{URL}?next={page}"
    answer = client.post(URL, {"login": "sam", "password": PASSWORD, "next": page})
    assert answer["Location"] == page


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "http:///evil.example"],
)
def test_a_page_elsewhere_is_not_where_one_lands(client, sam_with_password, elsewhere):
    answer = client.post(URL, {"login": "sam", "password": PASSWORD, "next": elsewhere})
    assert answer["Location"] == "/courses/"
    answer = client.post("/accounts/logout/", {"next": elsewhere})
    assert answer["Location"] == "/"


def test_signing_out_is_asked_for_and_done_by_post_alone(client_of):
    sam = client_of("sam")
    assert sam.get("/accounts/logout/").status_code == 200
    assert sam.get("/courses/").status_code == 200
    assert sam.post("/accounts/logout/")["Location"] == "/"
    assert sam.get("/courses/").status_code == 302


def test_a_form_from_another_site_is_refused_with_a_page_that_helps(sam_with_password):
    answer = Client(enforce_csrf_checks=True).post(URL, {"login": "sam", "password": PASSWORD})
    assert answer.status_code == 403
    assert "Please try again" in answer.content.decode()
