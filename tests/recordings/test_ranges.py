"""A player asks for parts of a file, a stopped download goes on, and nobody asks for what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from recordings.playback import ranges
from recordings.playback.ranges import asked_range, stream

CONTENT = bytes(range(256)) * 8
SIZE = len(CONTENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


def get(path: Path, method: str = "get", **headers: str) -> HttpResponseBase:
    request = getattr(RequestFactory(), method)("/", headers=headers)
    return stream(request, path, content_type="video/mp4", filename="film.mp4", download=False, etag="abc")


async def body(response: HttpResponseBase) -> bytes:
    return b"".join([block async for block in response.streaming_content])  # type: ignore[attr-defined]


async def test_without_a_range_the_whole_file_comes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "BLOCK", 100)
    response = get(path)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(SIZE))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Cache-Control"].startswith("private")
    assert await body(response) == CONTENT


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=100-199", 100, 200),
        ("bytes=2000-99999", 2000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        ("bytes=-99999", 0, SIZE),
    ],
)
async def test_a_range_comes_as_it_was_asked(path: Path, asked: str, begin: int, end: int) -> None:
    response = get(path, Range=asked)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{SIZE}"
    assert response.headers["Content-Length"] == str(end - begin)
    assert await body(response) == CONTENT[begin:end]


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=99999-", "bytes=-0"])
def test_a_range_outside_of_the_file_is_416(path: Path, asked: str) -> None:
    response = get(path, Range=asked)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "", "bytes=" + "9" * 30 + "-"]
)
async def test_what_is_no_range_that_we_serve_gives_the_whole(path: Path, asked: str) -> None:
    response = get(path, Range=asked)
    assert response.status_code == 200
    assert await body(response) == CONTENT


async def test_a_part_of_another_version_is_never_sent(path: Path) -> None:
    same = get(path, Range="bytes=5-9", **{"If-Range": '"abc"'})
    assert await body(same) == CONTENT[5:10]
    other = get(path, Range="bytes=5-9", **{"If-Range": '"older"'})
    assert other.status_code == 200


def test_head_tells_the_size_and_sends_nothing(path: Path) -> None:
    response = get(path, "head")
    assert response.headers["Content-Length"] == str(SIZE)
    assert response.content == b""  # type: ignore[attr-defined]


@given(st.text(max_size=40), st.integers(0, 10**6))
def test_any_header_gives_a_range_inside_of_the_file(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            wanted = asked_range(text, size)
        except ValueError:
            continue
        assert wanted is None or 0 <= wanted[0] < wanted[1] <= size
