"""What the REST API does with bodies that nobody means well with."""

from __future__ import annotations

import pytest

URL = "/api/v1/auth/token/"  # open to everybody, so it meets them first


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"NaN", b'{"username": Infinity}', b"\xff\xfe", b"[" * 5_000, b'{"a":' * 5_000, b"9" * 10_000],
)
def test_a_body_that_is_no_json_is_a_bad_request(client, db, body):
    answer = client.post(URL, body, content_type="application/json")
    assert answer.status_code == 400


def test_a_body_above_the_limit_is_refused(client, db, settings):
    body = b'{"username": "' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'
    answer = client.post(URL, body, content_type="application/json")
    assert answer.status_code in {400, 413}  # Django's own answer: 413 from version 6 on


def test_a_body_just_below_the_limit_is_read(client, db, settings, own_cache):
    start, end = b'{"password": "x", "username": "', b'"}'
    body = start + b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE - len(start) - len(end)) + end
    answer = client.post(URL, body, content_type="application/json")
    assert answer.status_code == 401, "read, and nobody's sign-in"
