"""The page of one's e-mail addresses."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress

pytestmark = pytest.mark.django_db
URL = "/accounts/email/"


@pytest.fixture
def two_addresses(sam):
    EmailAddress.objects.create(user=sam, email="sam@example.com", primary=True)
    EmailAddress.objects.create(user=sam, email="sam@home.example")
    return sam


def test_an_address_is_added_and_a_bad_one_comes_back_with_its_error(client_of, sam):
    client = client_of("sam")
    client.post(URL, {"action_add": "", "email": "new@example.com"})
    assert EmailAddress.objects.filter(user=sam, email="new@example.com").exists()
    answer = client.post(URL, {"action_add": "", "email": "no address"})
    assert answer.context["form"].errors.get("email")
    assert "errorlist" in answer.content.decode()


def test_another_address_is_used_for_mail(client_of, two_addresses):
    page = client_of("sam").get(URL).content.decode()
    assert page.count('type="radio"') == 2
    client_of("sam").post(URL, {"action_primary": "", "email": "sam@home.example"})
    two_addresses.refresh_from_db()
    assert two_addresses.email == "sam@home.example"


def test_an_address_is_removed(client_of, two_addresses):
    client_of("sam").post(URL, {"action_remove": "", "email": "sam@home.example"})
    assert [row.email for row in EmailAddress.objects.filter(user=two_addresses)] == ["sam@example.com"]


def test_others_addresses_are_out_of_reach(client_of, two_addresses):
    client_of("olga").post(URL, {"action_remove": "", "email": "sam@home.example"})
    assert EmailAddress.objects.filter(user=two_addresses).count() == 2
