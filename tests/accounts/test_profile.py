"""The profile page."""

from __future__ import annotations

import pytest

from tests.world import person

pytestmark = pytest.mark.django_db
URL = "/accounts/profile/"


def test_without_a_sign_in_one_is_asked_for(client):
    assert client.get(URL)["Location"] == f"/accounts/login/?next={URL}"
    assert client.post(URL, {"first_name": "X"})["Location"] == f"/accounts/login/?next={URL}"


@pytest.mark.parametrize("name", ["tina", "alex", "sam", "olga", "stella", "ada"])
def test_everybody_has_one(client_of, everybody, name):
    answer = client_of(name).get(URL)
    assert answer.status_code == 200
    assert everybody[name].display_name in answer.content.decode()


def test_the_name_is_changed(client_of, sam):
    answer = client_of("sam").post(URL, {"first_name": "Samuel", "last_name": ""}, follow=True)
    assert "Your profile is saved." in answer.content.decode()
    sam.refresh_from_db()
    assert sam.display_name == "Samuel"


def test_nothing_but_the_name_is_taken(client_of, everybody, sam):
    everything = {
        "role": "admin",
        "is_staff": "on",
        "is_superuser": "on",
        "username": "root",
        "email": "other@example.com",
        "password": "x",
        "id": everybody["ada"].pk,
        "pk": everybody["ada"].pk,
    }
    client_of("sam").post(URL, {"first_name": "Samuel", **everything})
    sam.refresh_from_db()
    assert (sam.first_name, sam.role, sam.username, sam.email) == ("Samuel", "student", "sam", "sam@example.com")
    assert (sam.is_staff, sam.is_superuser) == (False, False)
    everybody["ada"].refresh_from_db()
    assert everybody["ada"].first_name == ""


@pytest.mark.parametrize("name", ["S" * 41, "a\0b"])
def test_a_bad_name_comes_back_with_the_fields_error(client_of, sam, name):
    answer = client_of("sam").post(URL, {"first_name": name})
    assert answer.status_code == 200
    assert 'id="id_first_name_error"' in answer.content.decode()
    sam.refresh_from_db()
    assert sam.first_name == "Sam"


def test_a_script_as_a_name_is_shown_and_not_run(client, db):
    script = "<script>alert(1)</script>"
    client.force_login(person("mallory", first_name=script, last_name='"><img src=x onerror=alert(2)>'))
    for address in [URL, "/", "/courses/"]:
        page = client.get(address).content.decode()
        assert "&lt;script&gt;" in page
        assert script not in page
        assert "<img" not in page


def test_a_name_that_is_not_saved_is_shown_in_its_field_alone(client_of, sam):
    page = client_of("sam").post(URL, {"first_name": "Samuel", "last_name": "S" * 41}).content.decode()
    assert page.count("Samuel") == 1
    assert "Sam Student" in page
