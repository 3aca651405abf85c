"""Staff find what failed and try it again, many at once; the networks before the storage are asked how they are."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import User
from meetings.models import Room
from recordings.models import Recording
from recordings.playback import cdn
from tests.recordings.conftest import Sent
from tests.redis_server import free_port
from tests.world import ClientOf

State = Recording.State
LIST, RETRY = "recordings:list", "recordings:retry_many"


@pytest.fixture
def failed(recording: Recording, room: Room) -> list[Recording]:
    Recording.objects.filter(pk=recording.pk).update(state=State.READY)
    return [
        Recording.objects.create(
            room=room, public_id=f"failed{number}", state=State.FAILED, reason="No room on the disk."
        )
        for number in range(3)
    ]


def states() -> list[str]:
    return list(Recording.objects.order_by("pk").values_list("state", flat=True))


def test_failures_are_found_by_state_and_by_their_reason(failed: list[Recording], client_of: ClientOf) -> None:
    stella = client_of("stella")
    page = stella.get(reverse(LIST), {"state": "failed"}).content.decode()
    assert all(one.public_id in page for one in failed)
    assert page.count("No room on the disk.") == 3
    assert "failed0" not in stella.get(reverse(LIST), {"state": "ready"}).content.decode()
    assert "failed0" in stella.get(reverse(LIST), {"q": "on the disk"}).content.decode()
    assert "failed0" not in client_of("sam").get(reverse(LIST), {"q": "on the disk"}).content.decode()
    assert stella.get("/api/v1/recordings/", {"state": "failed"}).json()["count"] == 3
    assert stella.get("/api/v1/recordings/", {"state": "odd"}).status_code == 400


def test_a_film_of_which_something_is_missing_is_among_those_that_failed_for_who_can_try_again(
    ready: Recording, client_of: ClientOf, sent: Sent
) -> None:
    Recording.objects.update(outputs=Recording.Outputs.FAILED, reason="No chapters.")
    for name, told in (("stella", True), ("tina", True), ("sam", False)):
        page = client_of(name).get(reverse(LIST), {"state": "failed"}).content.decode()
        assert (ready.public_id in page) == told, name
        assert ("No chapters." in page) == told, name
    tina = client_of("tina")
    assert "1 queued again" in tina.post(reverse(RETRY), {"id": ready.public_id}, follow=True).content.decode()
    assert ready.public_id not in tina.get(reverse(LIST), {"state": "failed"}).content.decode()


def test_many_are_tried_again_at_once(failed: list[Recording], client_of: ClientOf, sent: Sent) -> None:
    chosen = {"id": [failed[0].public_id, failed[2].public_id, "made-up", "x\0"]}
    told = client_of("stella").post(reverse(RETRY), chosen, follow=True).content.decode()
    assert "2 queued again" in told
    assert states() == ["ready", "queued", "failed", "queued"]
    assert "None of these" in client_of("tina").post(reverse(RETRY), chosen, follow=True).content.decode()


def test_nobody_tries_again_what_is_not_theirs(failed: list[Recording], client_of: ClientOf, sam: User) -> None:
    for name in ("sam", "alex", "theo", "olga", "nobody"):
        client_of(name).post(reverse(RETRY), {"id": failed[0].public_id})
    assert "failed" in states()[1]
    assert client_of("tina").get(reverse(RETRY)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(sam)
    assert strict.post(reverse(RETRY), {"id": failed[0].public_id}).status_code == 403


def test_the_list_offers_what_can_be_done(failed: list[Recording], client_of: ClientOf) -> None:
    for name, offers in (("stella", True), ("tina", True), ("sam", False)):
        page = client_of(name).get(reverse(LIST)).content.decode()
        assert (reverse(RETRY) in page) == offers, name
        assert ('name="id" value="failed0"' in page) == offers, name


def test_composing_tells_its_segments_and_the_time_left(recording: Recording, client_of: ClientOf) -> None:
    rows = Recording.objects.filter(pk=recording.pk)
    rows.update(state=State.COMPOSING, progress=62, segments_done=5, segments_total=8, seconds_left=95)
    sam, lesson = client_of("sam"), reverse("recordings:lesson", args=[recording.room.lesson_id])
    state = reverse("recordings:state", args=[recording.public_id])
    assert "segment 5 of 8, 2 minutes left" in sam.get(state).content.decode()
    assert "Segment 5 of 8, 2 minutes left" in sam.get(lesson).content.decode()
    rows.update(seconds_left=45)
    assert "45 seconds left" in sam.get(state).content.decode()
    rows.update(seconds_left=None, segments_total=0)
    assert "egment" not in sam.get(lesson).content.decode()


# --- how the networks are --------------------------------------------------------------------------------------------


@pytest.fixture
def network() -> Iterator[tuple[str, dict[str, int]]]:
    """A real server and the status that it answers with."""
    says = {"status": 403}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(says["status"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", says
        server.shutdown()


def test_a_network_is_healthy_while_it_answers(
    network: tuple[str, dict[str, int]], settings: LazySettings, own_cache: None
) -> None:
    address, says = network
    settings.CDN_BASE_URLS = {"eu": address, "us": f"http://127.0.0.1:{free_port()}"}
    assert cdn.ask_networks() == ["eu"]
    assert cache.get(cdn.HEALTHY) == ["eu"]
    says["status"] = 503
    assert cdn.ask_networks() == []
    says["status"] = 200
    assert cdn.ask_networks() == ["eu"]


def test_without_networks_nobody_is_asked(settings: LazySettings) -> None:
    settings.CDN_BASE_URLS = {}
    assert cdn.ask_networks() == []
