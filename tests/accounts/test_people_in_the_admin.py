"""People in the Django admin."""

from __future__ import annotations

import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db


def test_people_are_listed_found_and_filtered(client_of):
    ada = client_of("ada")
    assert ada.get("/admin/accounts/user/").status_code == 200
    found = ada.get("/admin/accounts/user/?q=tina@example.com")
    assert [user.username for user in found.context["cl"].queryset] == ["tina"]
    staff = ada.get("/admin/accounts/user/?role__exact=staff")
    assert [user.username for user in staff.context["cl"].queryset] == ["stella"]


def test_the_admin_gives_a_role(client_of, olga):
    page = f"/admin/accounts/user/{olga.pk}/change/"
    ada = client_of("ada")
    assert ada.get(page).status_code == 200
    form = {"username": "olga", "first_name": "", "last_name": "", "email": "", "role": "admin", "is_active": "on"}
    assert ada.post(page, form).status_code == 302
    olga.refresh_from_db()
    assert (olga.role, olga.is_staff, olga.is_superuser) == ("admin", True, True)


def test_the_admin_makes_an_account(client_of):
    ada = client_of("ada")
    assert ada.get("/admin/accounts/user/add/").status_code == 200
    form = {"username": "new", "email": "", "role": "teacher", "usable_password": "true"}
    form |= {"password1": "seven red kites", "password2": "seven red kites"}
    assert ada.post("/admin/accounts/user/add/", form).status_code == 302
    assert User.objects.get(username="new").role == "teacher"


def test_a_person_leads_to_their_courses(client_of, sam):
    page = client_of("ada").get(f"/admin/accounts/user/{sam.pk}/change/").content.decode()
    assert f"/admin/classroom/enrolment/?user__id__exact={sam.pk}" in page


@pytest.mark.parametrize("name", ["tina", "sam", "stella", "nobody"])
def test_nobody_else_gets_in(client_of, name):
    answer = client_of(name).get("/admin/accounts/user/")
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


def test_the_door_of_the_admin_is_the_sites_own(client_of):
    assert client_of("nobody").get("/admin/login/")["Location"] == "/accounts/login/?next=%2Fadmin%2Flogin%2F"
    assert client_of("sam").get("/admin/login/").status_code == 403
    tried = client_of("nobody").post("/admin/login/?next=/admin/", {"username": "ada", "password": "guess"})
    assert tried["Location"] == "/accounts/login/?next=%2Fadmin%2F"
