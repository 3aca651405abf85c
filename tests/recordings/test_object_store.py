"""Links to an S3 object store: made after the access check, short-lived, saying what the file is called.

Making a link asks nobody, so no store is needed here.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import LazySettings
from django.urls import reverse

from recordings.models import Recording
from tests.world import ClientOf


@pytest.fixture
def object_store(ready: Recording, settings: LazySettings) -> Recording:
    options = {
        **settings.S3_OPTIONS,
        "endpoint_url": "https://store.example",
        "bucket_name": "class",
        "access_key": "key",
        "secret_key": "a-secret",
        "region_name": "eu",
    }
    settings.STORAGES = {
        **settings.STORAGES,
        "recordings": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options},
    }
    return ready


@pytest.mark.parametrize(("page", "disposition"), [("download", "attachment"), ("watch", "inline")])
def test_a_page_sends_on_to_a_link_that_opens_for_five_minutes(
    object_store: Recording, client_of: ClientOf, page: str, disposition: str
) -> None:
    response = client_of("tina").get(reverse(f"recordings:{page}", args=[object_store.public_id, "720p"]))
    assert response.status_code == 302
    link = urlsplit(response["Location"])
    asked = parse_qs(link.query)
    assert (link.netloc, link.path) == ("store.example", f"/class/{object_store.public_id}/720p.mp4")
    assert 0 < int(asked["X-Amz-Expires"][0]) <= 300
    assert asked["X-Amz-Signature"]
    assert asked["response-content-disposition"][0].startswith(disposition)
    assert asked["response-content-type"] == ["video/mp4"]
    assert "a-secret" not in response["Location"]


def test_the_api_gives_the_stores_own_link(object_store: Recording, client_of: ClientOf) -> None:
    answer = client_of("tina").get(f"/api/v1/recordings/{object_store.public_id}/link/").json()
    assert urlsplit(answer["url"]).netloc == "store.example"


@pytest.mark.parametrize("name", ["olga", "nobody"])
def test_who_may_not_see_it_gets_no_link(object_store: Recording, client_of: ClientOf, name: str) -> None:
    response = client_of(name).get(reverse("recordings:watch", args=[object_store.public_id, "720p"]))
    assert "store.example" not in response.get("Location", "")
