"""Signing up makes a student's account, whatever else the form is sent."""

from __future__ import annotations

import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db
URL = "/accounts/signup/"
GOOD = {"username": "nora", "email": "nora@example.com", "password1": "seven red kites", "password2": "seven red kites"}


def test_a_new_person_is_signed_in_and_a_student(client):
    answer = client.post(URL, {**GOOD, "first_name": "Nora", "last_name": "Nowak"})
    assert answer.status_code == 302
    assert answer["Location"] == "/courses/"
    nora = User.objects.get(username="nora")
    assert (nora.role, nora.display_name, nora.email) == ("student", "Nora Nowak", "nora@example.com")
    assert client.get("/accounts/profile/").status_code == 200


@pytest.mark.parametrize("field", ["role", "is_staff", "is_superuser", "groups", "user_permissions", "is_active"])
@pytest.mark.parametrize("value", ["admin", "teacher", "1", "on"])
def test_nothing_but_the_forms_fields_is_taken(client, field, value):
    client.post(URL, {**GOOD, field: value})
    nora = User.objects.get(username="nora")
    assert (nora.role, nora.is_staff, nora.is_superuser, nora.is_active) == ("student", False, False, True)
    assert not nora.may_create_courses


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "tina"}, "username"),
        ({"username": "TINA"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "n" * 151}, "username"),
        ({"username": "no\0ra"}, "username"),
        ({"email": "not an address"}, "email"),
        ({"password1": "1234", "password2": "1234"}, "password1"),
        ({"password1": "", "password2": ""}, "password1"),
        ({"password2": "another one"}, "password2"),
        ({"first_name": "N" * 41}, "first_name"),
        ({"last_name": "N" * 41}, "last_name"),
    ],
)
def test_a_bad_form_comes_back_with_the_fields_error(client, tina, change, field):
    answer = client.post(URL, {**GOOD, **change})
    assert answer.status_code == 200
    assert answer.context["form"].errors.get(field), answer.context["form"].errors
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert User.objects.count() == 1


def test_a_page_elsewhere_is_not_where_one_lands(client):
    answer = client.post(URL, {**GOOD, "next": "https://evil.example/"})
    assert answer["Location"] == "/courses/"


def test_somebody_signed_in_is_sent_to_the_courses(client_of):
    assert client_of("sam").get(URL)["Location"] == "/courses/"
