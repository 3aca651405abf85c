"""Captions that somebody adds to a recording: who may, what is made of the file, and what is refused."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from recordings import keeping, services, storage, tasks
from recordings.captions.reading import LARGEST, LONGEST, Unreadable, normalised
from recordings.models import Recording
from tests.world import ClientOf

pytestmark = [
    pytest.mark.django_db,
    # The test client is not asynchronous, Daphne is.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
VTT = b"WEBVTT\n\n00:01.000 --> 00:02.500\nGuten Tag\n"
WRITTEN = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nGuten Tag\n"


def add(client: Client, recording: Recording, content: bytes = VTT, language: str = "de") -> str:
    """-> the page that is shown then"""
    file = SimpleUploadedFile("class.vtt", content)
    address = reverse("recordings:captions", args=[recording.public_id])
    answer = client.post(address, {"language": language, "file": file}, follow=True)
    return f"{answer.status_code} {answer.content.decode()}"


def remove(client: Client, recording: Recording, language: str = "de") -> str:
    answer = client.post(reverse("recordings:remove_captions", args=[recording.public_id, language]), follow=True)
    return f"{answer.status_code} {answer.content.decode()}"


def given(client: Client, recording: Recording, name: str = "captions-de.vtt") -> str:
    answer = client.get(reverse("recordings:file", args=[recording.public_id, name]))
    assert answer["Content-Type"] == "text/vtt"
    return b"".join(answer).decode()


# --- who, and where it lies ------------------------------------------------------------------------------------------


def test_captions_are_added_replaced_downloaded_and_removed(ready: Recording, client_of: ClientOf) -> None:
    tina, sam = client_of("tina"), client_of("sam")
    assert "Captions are there: Deutsch." in add(tina, ready)
    add(tina, ready, b"1\r\n00:00:01,000 --> 00:00:02,500\r\nHello\r\n", language="en")
    key = f"{ready.public_id}/captions-de.vtt"
    assert ready.compositions.get(name="captions-de.vtt").key == key
    assert given(sam, ready) == WRITTEN
    page = sam.get(ready.get_absolute_url()).content.decode()
    assert f'src="/recordings/{ready.public_id}/files/captions-de.vtt" srclang="de" label="Deutsch"' in page
    assert page.index('label="Deutsch"') < page.index('label="English"')
    assert "Captions (Deutsch)" in tina.get(ready.get_absolute_url()).content.decode()
    packed = tina.get(reverse("recordings:zip"), {"id": ready.public_id})
    with zipfile.ZipFile(io.BytesIO(b"".join(packed))) as archive:
        assert [name.rpartition(" ")[2] for name in archive.namelist()] == [
            "720p.mp4",
            "captions-de.vtt",
            "captions-en.vtt",
        ]
    add(tina, ready, VTT.replace(b"Guten Tag", b"Moin"))
    assert given(sam, ready) == WRITTEN.replace("Guten Tag", "Moin")
    assert "Captions are removed: Deutsch." in remove(tina, ready)
    path = storage.local_path(key)
    assert path is not None
    assert not path.exists()
    assert [each.name for each in ready.compositions.order_by("name")] == ["720p.mp4", "captions-en.vtt"]


@pytest.mark.parametrize(
    ("name", "status"),
    [("tina", 200), ("alex", 200), ("stella", 200), ("sam", 403), ("olga", 404), ("theo", 404)],
)
def test_hosts_co_hosts_and_staff_change_captions_and_nobody_else(
    ready: Recording, client_of: ClientOf, name: str, status: int
) -> None:
    client = client_of(name)
    assert add(client, ready).startswith(str(status))
    assert ready.compositions.filter(name="captions-de.vtt").exists() == (status == 200)
    assert remove(client, ready).startswith(str(status))
    if status == 200:
        assert "Add captions" in client.get(ready.get_absolute_url()).content.decode()
    elif status == 403:
        assert "Add captions" not in client.get(ready.get_absolute_url()).content.decode()


def test_another_sites_form_adds_nothing(ready: Recording, tina: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(tina)
    assert add(strict, ready).startswith("403")
    assert remove(strict, ready).startswith("403")
    assert ready.compositions.count() == 1


def test_captions_go_with_the_recording(ready: Recording, client_of: ClientOf, tina: User) -> None:
    add(client_of("tina"), ready)
    services.expire(ready)
    tasks.expire_recordings()
    path = storage.local_path(f"{ready.public_id}/captions-de.vtt")
    assert path is not None
    assert not path.exists()
    assert "not there yet, or no more" in add(client_of("tina"), ready)
    assert not path.exists()


def test_under_legal_hold_captions_are_added_but_neither_replaced_nor_removed(
    ready: Recording, client_of: ClientOf, stella: User
) -> None:
    tina = client_of("tina")
    add(tina, ready)
    keeping.hold(ready, stella, "A complaint.")
    for page in (add(tina, ready), remove(tina, ready)):
        assert "under legal hold" in page
    assert given(tina, ready) == WRITTEN
    assert "Captions are there" in add(tina, ready, language="fr")


# --- what is made of a file ------------------------------------------------------------------------------------------


def test_both_kinds_are_written_anew_as_cues_alone() -> None:
    vtt = """\ufeffWEBVTT - a class\rKind: captions

STYLE
::cue { background: url(https://example.com/track) }

REGION
id:fred

NOTE nobody reads this

intro
00:03.000 --> 01:00:04.000 align:start position:0%
<v.loud Tina>A <i>cell</i> &amp; its <c.red>wall</c></v>

00:01.000-->00:02.000
First
\u200fשלום\u00a0\u202eevil
""".encode()
    assert normalised(vtt, 10.0) == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nFirst\n\u200fשלום evil\n\n"
        "00:00:03.000 --> 00:00:10.000\nTina: A cell &amp; its wall\n"
    )
    srt = b"1\r\n00:00:01,500 --> 00:00:02,000\r\n{\\an8}<font color=red>Up</font>\r\nthere\r\n"
    assert normalised(srt, None) == "WEBVTT\n\n00:00:01.500 --> 00:00:02.000\nUp\nthere\n"


@pytest.mark.parametrize("before", ["WEBVTT", "WEBVTT\nKind: captions", "WEBVTT\n\nNOTE by Tina", "WEBVTT\n\nSTYLE"])
def test_a_caption_below_something_else_is_not_lost_with_it(before: str) -> None:
    assert normalised(f"{before}\n00:01.000 --> 00:02.500\nGuten Tag\n".encode(), None) == WRITTEN


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<<b>script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&lt;script&gt;&#60;script&#62;",
        "x &#10;&#10;00:00:05.000 --&gt; 00:00:06.000&#10;y",
        "<v " * 600,
        "<" * (LONGEST // 2),
    ],
)
def test_whatever_stands_in_a_caption_is_text(text: str) -> None:
    made = normalised(b"WEBVTT\n\n00:01.000 --> 00:02.000\nx " + text.encode(), 10.0)
    body = made.partition(".000\n")[2]
    assert "<" not in made
    assert made.count("-->") == 1
    assert "\n\n" not in body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not one caption"),
        (b"WEBVTT\n\nNOTE only this", "not one caption"),
        (b"WEBVTT\n\n00:02.000 --> 00:01.000\nx", "Line 3: the caption ends before it begins"),
        (b"WEBVTT\n\n00:02.000 --> 00:02.000\nx", "ends before it begins"),
        (b"WEBVTT\n\n00:11.000 --> 00:12.000\nx", "begins when the film has ended"),
        (b"WEBVTT\n\n00:99.000 --> 01:00.000\nx", "Line 3 should tell when"),
        (VTT + b"2\n00:03.000 --> 00:04.000\nx", "Line 6: an empty line is missing"),
        (b"A title\nand more\n00:01.000 --> 00:02.000\nx", "Line 2 should tell when"),
        (b"WEBVTT\n\n-1:00.000 --> 01:00.000\nx", "Line 3 should tell when"),
        (b"WEBVTT\n\n9999:00:00.000 --> 9999:01:00.000\nx", "Line 3 should tell when"),
        (b"<html><script>alert(1)</script></html>", "Line 1 should tell when"),
        (b"\xff\xd8\xff\xe0 a picture", "not in UTF-8"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nä".encode("utf-16"), "not in UTF-8"),
        (b"PK\x03\x04\0", "no text"),
        (b"x" * (LARGEST + 1), "larger than 1 MB"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"x" * (LONGEST + 1), f"more than {LONGEST}"),
        (b"WEBVTT\n" + b"\n00:01.000 --> 00:02.000\nx\n" * 20_001, "more than 20000 captions"),
    ],
)
def test_what_is_no_captions_of_this_film_is_refused_with_its_line(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        normalised(content, 10.0)


def test_a_refused_file_leaves_what_was_there(ready: Recording, client_of: ClientOf) -> None:
    tina = client_of("tina")
    Recording.objects.filter(pk=ready.pk).update(duration=timedelta(seconds=10))
    add(tina, ready)
    assert "Line 3: the caption ends before it begins." in add(tina, ready, b"WEBVTT\n\n00:02.000 --> 00:01.000\nx")
    assert "Choose a language and a file" in add(tina, ready, language="../../etc")
    assert "Choose a language and a file" in add(tina, ready, b"")
    assert "The file is larger than 1 MB." in add(tina, ready, b"x" * (LARGEST + 20_000))
    assert remove(tina, ready, "xx").startswith("200")
    assert given(tina, ready) == WRITTEN
    assert ready.compositions.count() == 2
