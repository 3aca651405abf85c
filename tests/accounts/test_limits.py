"""What somebody sees who asks too often."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db


def test_too_many_tries_get_a_page_that_says_so(client, settings):
    settings.ACCOUNT_RATE_LIMITS = {"reset_password": "1/m/ip"}
    answers = [client.post("/accounts/password/reset/", {"email": "x@example.com"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [302, 429]
    assert "Wait a few minutes" in answers[1].content.decode()
    assert "site.css" in answers[1].content.decode()
