"""Who finds, watches and downloads what; a recording that is not yours is not there."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.time_zone import zone_named
from meetings.models import Room
from recordings import services, states, storage
from recordings.models import Composition, Recording
from recordings.playback import links
from tests.recordings.conftest import CONTENT, Sent
from tests.world import ClientOf

State = Recording.State
SEES = ["tina", "alex", "sam", "stella", "ada"]
# The test client is not asynchronous, Daphne is.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
DOWNLOADS = ["tina", "stella", "ada"]
STRANGERS = ["olga", "theo"]


def page(name: str, recording: Recording, *more: object) -> str:
    return reverse(f"recordings:{name}", args=[recording.public_id, *more])


def body(response: Any) -> bytes:
    return b"".join(response)


# --- access ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEES)
def test_staff_and_the_people_of_the_course_watch(ready: Recording, client_of: ClientOf, name: str) -> None:
    client = client_of(name)
    assert client.get(page("detail", ready)).status_code == 200
    response = client.get(page("watch", ready, "720p"))
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("inline")
    assert ready.public_id in client.get(reverse("recordings:list")).content.decode()


@pytest.mark.parametrize("name", STRANGERS)
def test_to_a_stranger_a_recording_is_not_there(ready: Recording, client_of: ClientOf, name: str) -> None:
    client = client_of(name)
    for address in (
        page("detail", ready),
        page("state", ready),
        page("watch", ready, "720p"),
        page("download", ready, "720p"),
        reverse("recordings:lesson", args=[ready.room.lesson_id]),
        f"/api/v1/recordings/{ready.public_id}/",
        f"/api/v1/recordings/{ready.public_id}/link/",
    ):
        assert client.get(address).status_code == 404, address
    assert client.post(page("retry", ready)).status_code == 404
    assert ready.public_id not in client.get(reverse("recordings:list")).content.decode()


def test_who_is_not_signed_in_is_asked_to(ready: Recording, client_of: ClientOf) -> None:
    for address in (page("detail", ready), page("watch", ready, "720p"), page("download", ready, "720p")):
        response = client_of("nobody").get(address)
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("name", SEES)
def test_staff_and_the_courses_teachers_download_and_others_do_not(
    ready: Recording, client_of: ClientOf, name: str
) -> None:
    client = client_of(name)
    response = client.get(page("download", ready, "720p"))
    links = page("download", ready, "720p") in client.get(page("detail", ready)).content.decode()
    assert links == (name in DOWNLOADS)
    if name in DOWNLOADS:
        assert response.status_code == 200
        assert body(response) == CONTENT
        assert response["Content-Disposition"].startswith("attachment")
    else:
        assert response.status_code == 403


def test_a_recording_of_no_course_is_its_creators(
    recording: Recording, room: Room, client_of: ClientOf, theo: User
) -> None:
    Room.objects.filter(pk=room.pk).update(lesson=None, created_by=theo)
    assert client_of("theo").get(page("detail", recording)).status_code == 200
    assert Recording.objects.managed_by(theo).exists()
    assert client_of("tina").get(page("detail", recording)).status_code == 404
    assert client_of("stella").get(page("detail", recording)).status_code == 200


def test_nobody_sees_nothing(ready: Recording) -> None:
    assert not Recording.objects.visible_to(AnonymousUser()).exists()
    assert not Recording.objects.managed_by(AnonymousUser()).exists()


def test_what_is_not_ready_is_not_played(recording: Recording, client_of: ClientOf) -> None:
    assert client_of("tina").get(page("watch", recording, "720p")).status_code == 404
    assert client_of("tina").get(page("download", recording, "720p")).status_code == 404


def test_what_is_expired_is_not_played(ready: Recording, client_of: ClientOf) -> None:
    states.expire(ready.pk)
    assert client_of("tina").get(page("watch", ready, "720p")).status_code == 404
    assert "was deleted" in client_of("tina").get(page("detail", ready)).content.decode()


def test_a_quality_that_was_not_made_is_not_there(ready: Recording, client_of: ClientOf) -> None:
    assert client_of("tina").get(page("download", ready, "1080p")).status_code == 404


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words", "asks_again"),
    [
        (State.RECORDING, "Recording", True),
        (State.QUEUED, "Queued", True),
        (State.COMPOSING, "Composing 37 %", True),
        (State.UPLOADING, "Uploading", True),
        (State.FAILED, "Failed", False),
        (State.EXPIRED, "Expired", False),
    ],
)
def test_the_page_tells_the_state_and_asks_again_while_it_can_change(
    recording: Recording, client_of: ClientOf, state: str, words: str, asks_again: bool
) -> None:
    Recording.objects.filter(pk=recording.pk).update(state=state, progress=37)
    part = client_of("sam").get(page("state", recording)).content.decode()
    assert words in part
    assert (f'hx-get="{page("state", recording)}"' in part) == asks_again
    lesson = client_of("sam").get(reverse("recordings:lesson", args=[recording.room.lesson_id])).content.decode()
    assert words in lesson


def test_a_ready_recording_has_a_player(ready: Recording, client_of: ClientOf) -> None:
    part = client_of("sam").get(page("state", ready)).content.decode()
    assert f'src="{page("watch", ready, "720p")}"' in part
    assert "hx-get" not in part


@pytest.mark.parametrize(
    ("outputs", "asks_again"), [("waiting", True), ("making", True), ("made", False), ("failed", False)]
)
def test_while_more_is_made_of_it_the_page_asks_for_what_there_is_and_leaves_the_player_alone(
    ready: Recording, places: Path, client_of: ClientOf, outputs: str, asks_again: bool
) -> None:
    Recording.objects.filter(pk=ready.pk).update(outputs=outputs)
    part = client_of("tina").get(page("state", ready)).content.decode()
    player, facts = part.split('<dl class="facts" id="recording-facts"')
    assert "hx-get" not in player
    assert (f'hx-get="{page("state", ready)}"' in facts) == asks_again
    assert "WebM" not in facts
    made = places / "made.webm"
    made.write_bytes(CONTENT)
    Composition.objects.note(ready.pk, "720p.webm", storage.store(made, storage.key(ready.public_id, "720p.webm")))
    assert (
        'Download<span class="visually-hidden"> 720p WebM'
        in client_of("tina").get(page("state", ready)).content.decode()
    )


def test_teachers_see_why_it_failed_and_retry_and_students_do_not(
    recording: Recording, client_of: ClientOf, sent: Sent
) -> None:
    Recording.objects.filter(pk=recording.pk).update(state=State.FAILED, reason="The disk <b>was</b> full.")
    for name, tells in (("tina", True), ("stella", True), ("alex", False), ("sam", False)):
        for address in (page("detail", recording), reverse("recordings:lesson", args=[recording.room.lesson_id])):
            text = client_of(name).get(address).content.decode()
            assert ("The disk &lt;b&gt;was&lt;/b&gt; full." in text) == tells, (name, address)
            assert (page("retry", recording) in text) == tells, (name, address)
    assert client_of("sam").post(page("retry", recording)).status_code == 403
    assert client_of("tina").get(page("retry", recording)).status_code == 405
    assert client_of("tina").post(page("retry", recording)).status_code == 302
    recording.refresh_from_db()
    assert recording.state == State.QUEUED


def test_teachers_see_that_not_all_could_be_made_and_why_and_retry(
    ready: Recording, client_of: ClientOf, sent: Sent
) -> None:
    failed = Recording.Outputs.FAILED
    Recording.objects.filter(pk=ready.pk).update(outputs=failed, reason="The sound <b>was</b> lost.")
    for name, tells in (("tina", True), ("stella", True), ("sam", False)):
        text = client_of(name).get(page("detail", ready)).content.decode()
        assert ("The sound &lt;b&gt;was&lt;/b&gt; lost." in text) == tells, name
        assert (page("retry", ready) in text) == tells, name
        assert page("watch", ready, "720p") in text
    assert client_of("tina").post(page("retry", ready)).status_code == 302
    ready.refresh_from_db()
    assert (ready.state, ready.outputs, ready.reason) == (State.READY, Recording.Outputs.WAITING, "")


def test_retry_needs_the_forms_own_token(recording: Recording, tina: User) -> None:
    Recording.objects.filter(pk=recording.pk).update(state=State.FAILED)
    client = Client(enforce_csrf_checks=True)
    client.force_login(tina)
    assert client.post(page("retry", recording)).status_code == 403


def test_a_lesson_without_recordings_says_so(lesson: object, client_of: ClientOf) -> None:
    text = client_of("sam").get(reverse("recordings:lesson", args=[lesson.pk])).content.decode()  # type: ignore[attr-defined]
    assert "Nothing of this lesson has been recorded yet" in text


# --- the search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ({"q": "cell"}, True),
        ({"q": "biolog"}, True),
        ({"q": "chemistry"}, False),
        ({"course": "biology"}, True),
        ({"teacher": "tina"}, True),
        ({"teacher": "tina", "q": "chemistry"}, False),
        ({"since": "2000-01-01", "until": "2000-12-31"}, False),
        ({"since": "2000-01-01"}, True),
        # What is wrong is told beside its field, and the rest of the search counts.
        ({"course": "made-up"}, True),
        ({"q": "x\0y"}, True),
        ({"since": "yesterday"}, True),
        ({"page": "99"}, True),
    ],
)
def test_staff_search_by_title_course_teacher_and_date(
    ready: Recording, client_of: ClientOf, search: dict[str, str], found: bool
) -> None:
    response = client_of("stella").get(reverse("recordings:list"), search)
    assert response.status_code == 200
    assert (ready.public_id in response.content.decode()) == found


def test_the_form_names_no_course_that_is_not_yours(ready: Recording, client_of: ClientOf) -> None:
    assert "Biology" in client_of("sam").get(reverse("recordings:list")).content.decode()
    assert "Biology" not in client_of("olga").get(reverse("recordings:list")).content.decode()


def test_the_list_takes_the_same_few_queries_however_long_it_is(
    ready: Recording, room: Room, client_of: ClientOf, django_assert_max_num_queries: object
) -> None:
    Recording.objects.bulk_create(
        Recording(room=room, public_id=f"more{number}", state=State.READY) for number in range(20)
    )
    client = client_of("stella")
    with django_assert_max_num_queries(10):  # type: ignore[operator]
        client.get(reverse("recordings:list"))


# --- links without a sign-in -----------------------------------------------------------------------------------------


def test_a_signed_link_opens_without_a_sign_in_and_only_for_five_minutes(
    ready: Recording, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client_of("tina").get(f"/api/v1/recordings/{ready.public_id}/link/").json()
    assert answer["expires_in"] <= 300
    nobody = client_of("nobody")
    assert body(nobody.get(answer["url"])) == CONTENT
    assert nobody.get(answer["url"][:-2] + "x/").status_code == 404
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert nobody.get(answer["url"]).status_code == 404


def test_a_link_dies_with_its_recording(ready: Recording, client_of: ClientOf) -> None:
    url = client_of("tina").get(f"/api/v1/recordings/{ready.public_id}/link/").json()["url"]
    states.expire(ready.pk)
    assert client_of("nobody").get(url).status_code == 404


# --- the API ---------------------------------------------------------------------------------------------------------


def test_the_api_lists_and_reads(ready: Recording, client_of: ClientOf) -> None:
    [listed] = client_of("sam").get("/api/v1/recordings/").json()["results"]
    read = client_of("sam").get(f"/api/v1/recordings/{ready.public_id}/").json()
    assert listed == read
    assert (read["id"], read["state"], read["course"]) == (ready.public_id, "ready", "biology")
    assert read["compositions"][0]["size"] == len(CONTENT)
    assert client_of("olga").get("/api/v1/recordings/").json()["count"] == 0
    assert client_of("nobody").get("/api/v1/recordings/").status_code == 401


def test_the_api_searches_and_refuses_what_it_does_not_understand(ready: Recording, client_of: ClientOf) -> None:
    client = client_of("stella")
    assert client.get("/api/v1/recordings/", {"q": "cell"}).json()["count"] == 1
    assert client.get("/api/v1/recordings/", {"q": "chemistry"}).json()["count"] == 0
    assert client.get("/api/v1/recordings/", {"since": "yesterday"}).status_code == 400


def test_the_api_gives_links_to_those_who_may_download(ready: Recording, client_of: ClientOf) -> None:
    address = f"/api/v1/recordings/{ready.public_id}/link/"
    assert {name: client_of(name).get(address).status_code for name in SEES} == {
        "tina": 200,
        "alex": 403,
        "sam": 403,
        "stella": 200,
        "ada": 200,
    }
    for quality in ("8k", "\0"):
        assert client_of("tina").get(address, {"quality": quality}).status_code == 404
    assert client_of("tina").post(address).status_code == 405


# --- the admin -------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(ada: User, client_of: ClientOf) -> Client:
    User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
    return client_of("ada")


@pytest.mark.parametrize("model", ["recording", "track", "composition"])
def test_the_admin_lists_searches_and_shows(ready: Recording, root: Client, model: str) -> None:
    assert root.get(reverse(f"admin:recordings_{model}_changelist"), {"q": "cell"}).status_code == 200


def test_the_admin_composes_again_what_failed_and_deletes_files_but_edits_nothing(
    ready: Recording, root: Client, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recordings.tasks import expire_recordings

    monkeypatch.setattr(expire_recordings, "delay", lambda: None)
    address = reverse("admin:recordings_recording_changelist")
    assert root.get(reverse("admin:recordings_recording_change", args=[ready.pk])).status_code == 200
    root.post(address, {"action": "compose_again", "_selected_action": [ready.pk]})
    ready.refresh_from_db()
    assert ready.state == State.READY
    Recording.objects.filter(pk=ready.pk).update(state=State.FAILED)
    root.post(address, {"action": "compose_again", "_selected_action": [ready.pk]})
    ready.refresh_from_db()
    assert ready.state == State.QUEUED
    Recording.objects.filter(pk=ready.pk).update(state=State.READY)
    root.post(address, {"action": "delete_files", "_selected_action": [ready.pk]})
    ready.refresh_from_db()
    assert ready.state == State.EXPIRED
    assert root.post(reverse("admin:recordings_recording_change", args=[ready.pk]), {}).status_code == 403
    assert root.post(reverse("admin:recordings_recording_delete", args=[ready.pk]), {}).status_code == 403


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "begins"),
    [
        ("Cells", "Cells "),
        ("../../etc/passwd", "_.._etc_passwd "),
        ('a"b\r\nc', "a_b__c "),
        ("", "class "),
        ("細胞", "細胞 "),
        ("細" * 200, "細" * 50 + " "),  # as many bytes as file systems take
        ("-rf", "rf "),
    ],
)
def test_a_download_has_a_name_that_every_file_system_takes(
    ready: Recording, client_of: ClientOf, title: str, begins: str
) -> None:
    Room.objects.filter(pk=ready.room_id).update(title=title)
    ready.room.refresh_from_db()
    name = services.filename(ready.compositions.get())
    assert name.startswith(begins)
    assert name.endswith(" 720p.mp4")
    header = client_of("tina").get(page("download", ready, "720p"))["Content-Disposition"]
    assert "\n" not in header
    assert header.startswith("attachment; filename")
    assert len(name.encode()) < 255


def test_a_download_is_named_by_the_clock_of_whoever_downloads_it(ready: Recording, client_of: ClientOf) -> None:
    Recording.objects.filter(pk=ready.pk).update(started_at=datetime(2026, 11, 26, 20, 30, tzinfo=UTC))
    asked = page("download", ready, "720p"), links.address_of(ready.public_id, "720p.mp4", download="1")
    clocks = {"": "2026-11-26 20.30", "Asia/Tokyo": "2026-11-27 05.30", "no/zone": "2026-11-26 20.30"}
    for zone, began in clocks.items():
        tina = client_of("tina")
        tina.cookies["time_zone"] = zone
        for address in asked:
            assert f"{began} 720p.mp4" in tina.get(address)["Content-Disposition"]
        packed = tina.get(reverse("recordings:zip"), {"id": ready.public_id})
        with zipfile.ZipFile(io.BytesIO(body(packed))) as archive:
            [entry] = archive.infolist()
        assert entry.filename.endswith(f"{began} 720p.mp4")
        now = datetime.now(zone_named(zone) or UTC).replace(tzinfo=None)
        assert abs(now - datetime(*entry.date_time)) < timedelta(minutes=5)


def test_a_file_that_is_gone_is_not_found_and_not_an_error(ready: Recording, client_of: ClientOf) -> None:
    path = storage.local_path(Composition.objects.get(recording=ready).key)
    assert path is not None
    path.unlink()
    assert client_of("tina").get(page("download", ready, "720p")).status_code == 404


def test_a_recording_is_found_by_its_day(ready: Recording, client_of: ClientOf) -> None:
    Recording.objects.filter(pk=ready.pk).update(started_at=timezone.now() - timedelta(days=10))
    day = (timezone.now() - timedelta(days=10)).date().isoformat()
    later = (timezone.now() - timedelta(days=5)).date().isoformat()
    client = client_of("tina")
    assert client.get("/api/v1/recordings/", {"since": day, "until": day}).json()["count"] == 1
    assert client.get("/api/v1/recordings/", {"since": later}).json()["count"] == 0
