"""Changing a password, and getting a new one by mail."""

from __future__ import annotations

import re

import pytest
from django.core import mail

from tests.world import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "eight blue herons"


@pytest.fixture
def sam_signed_in(client, sam):
    sam.set_password(PASSWORD)
    sam.save()
    client.force_login(sam)
    return client


def test_a_password_is_changed_by_who_knows_the_old_one(sam_signed_in, sam):
    sam_signed_in.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    sam.refresh_from_db()
    assert sam.check_password(NEW)
    assert sam_signed_in.get("/courses/").status_code == 200, "still signed in here"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"oldpassword": "wrong", "password1": NEW, "password2": NEW}, "oldpassword"),
        ({"oldpassword": PASSWORD, "password1": NEW, "password2": "other"}, "password2"),
        ({"oldpassword": PASSWORD, "password1": "short", "password2": "short"}, "password1"),
    ],
)
def test_a_bad_change_comes_back_with_the_fields_error(sam_signed_in, sam, form, field):
    answer = sam_signed_in.post("/accounts/password/change/", form)
    assert answer.status_code == 200
    assert answer.context["form"].errors.get(field)
    sam.refresh_from_db()
    assert sam.check_password(PASSWORD)


def test_a_link_by_mail_sets_a_new_password_once(client, sam):
    sam.set_password(PASSWORD)
    sam.save()
    assert client.post("/accounts/password/reset/", {"email": "sam@example.com"}).status_code == 302
    [message] = mail.outbox
    assert message.to == ["sam@example.com"]
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", str(message.body))
    assert link
    form_address = client.get(link[1])["Location"]
    assert client.get(form_address).status_code == 200
    assert client.post(form_address, {"password1": NEW, "password2": NEW}).status_code == 302
    sam.refresh_from_db()
    assert sam.check_password(NEW)
    used_up = client.get(link[1])
    assert used_up.status_code == 200
    assert "This link is used up" in used_up.content.decode()


def test_an_address_without_an_account_gets_the_same_page(client, sam):
    there = client.post("/accounts/password/reset/", {"email": "sam@example.com"})
    not_there = client.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert there["Location"] == not_there["Location"]


def test_every_page_about_passwords_shows(client, sam_signed_in):
    for address in ["change/", "reset/", "reset/done/", "reset/key/done/"]:
        assert client.get(f"/accounts/password/{address}").status_code == 200, address
    assert client.get("/accounts/email/").status_code == 200
    assert client.get("/accounts/inactive/").status_code == 200
