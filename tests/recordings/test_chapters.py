"""Chapters of a film: from a timeline's screens and marks, in two ways of writing. No file is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recordings.composing.composition import plan
from recordings.outputs import chapters
from recordings.outputs.chapters import Chapter
from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Joined, Mark, Paused, Resumed, Started, TrackEnded, TrackStarted
from tests.recordings.test_outputs import cues_of

T = 5000.0  # the start, seconds since the epoch
CLASS: list[ENTRIES] = [
    Started(at=T, recording="r", room="demo", epoch="e1"),
    Joined(at=T, peer="t", name="Tina"),
]


def mark(at: float, title: object = "Questions", kind: str = "chapter") -> Mark:
    return Mark(at=T + at, mark={"kind": kind, "title": title})


def screen(begin: float, end: float, name: str = "Tina") -> list[ENTRIES]:
    began = TrackStarted(
        at=T + begin,
        producer_id=f"s{begin}",
        peer="t",
        kind="video",
        source="screen",
        file="x",
        mime_type="video/VP8",
        payload_type=101,
        clock_rate=90000,
    )
    return [began, TrackEnded(at=T + end, producer_id=f"s{begin}")]


def find(*entries: ENTRIES, duration: float = 100.0) -> list[Chapter]:
    timeline = sorted([*CLASS, *entries], key=lambda entry: entry.at)
    time = RecordedTime.of(timeline)
    found = chapters.find(plan(timeline, time=time, duration=duration, last_packets={}), timeline, time, duration)
    if found:
        assert found[0].begin == 0
        assert found[-1].end == duration
        assert [one.end for one in found[:-1]] == [other.begin for other in found[1:]]
        assert all(one.begin < one.end for one in found)
    return found


def titles(found: list[Chapter]) -> list[tuple[float, str]]:
    return [(chapter.begin, chapter.title) for chapter in found]


def test_a_chapter_begins_where_a_screen_is_shared_and_where_it_is_no_more() -> None:
    assert titles(find(*screen(20, 60))) == [(0, "Beginning"), (20, "Tina (screen)"), (60, "Conversation")]


def test_a_chapter_begins_where_a_moment_was_marked() -> None:
    found = find(mark(30, "Cells"), mark(33, "Walls"), *screen(50, 100))
    assert titles(found) == [(0, "Beginning"), (30, "Cells"), (33, "Walls"), (50, "Tina (screen)")]
    assert [chapter.kind for chapter in found] == ["beginning", "marked", "marked", "screen"]


def test_a_class_in_one_piece_has_no_chapters() -> None:
    assert find() == []
    assert find(*screen(0, 100)) == []


def test_a_screen_shown_for_a_moment_makes_no_chapter() -> None:
    found = find(*screen(30, 34), *screen(60, 100))
    assert titles(found) == [(0, "Beginning"), (30, "Conversation"), (60, "Tina (screen)")]


def test_a_mark_close_to_a_screen_gives_the_chapter_its_title() -> None:
    assert titles(find(*screen(30, 90), mark(32, "Slides"), duration=95.0))[1] == (30, "Slides")


def test_a_mark_at_the_beginning_is_the_beginnings_title() -> None:
    assert titles(find(mark(2, "Cells"))) == [(0, "Cells")]


def test_chapters_go_by_the_films_time_and_not_by_the_days() -> None:
    rest: list[ENTRIES] = [Paused(at=T + 10), Resumed(at=T + 40)]
    assert titles(find(*rest, mark(60), duration=70.0)) == [(0, "Beginning"), (30, "Questions")]


def test_what_was_marked_after_the_end_is_left_out() -> None:
    assert titles(find(mark(50), mark(100), mark(900))) == [(0, "Beginning"), (50, "Questions")]


def test_there_is_an_end_to_marking() -> None:
    assert len(find(*(mark(index / 10) for index in range(900)))) == chapters.MOST


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("Line one\r\n\r\n00:00:01.000 --> 00:00:02.000\nline two", "Line one 00:00:01.000 --> 00:00:02.000 line two"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a=b;c#d\\e", "a=b;c#d\\e"),
        ("\x00\u202eabc", "abc"),
        ("x" * 500, "x" * 79 + "…"),
        ("", "Marked"),
        (None, "Marked"),
        (["a"], "Marked"),
    ],
)
def test_a_title_is_one_line_of_text_in_every_way_of_writing(title: Any, told: str) -> None:
    found = find(mark(30, title))
    assert found[1].title == told
    assert json.loads(chapters.as_json(found))["chapters"][1] == {
        "begin": 30.0, "end": 100.0, "title": told, "kind": "marked",
    }  # fmt: skip
    cues = cues_of(chapters.as_webvtt(found))
    assert [(begin, end) for begin, end, _ in cues] == [(0.0, 30.0), (30.0, 100.0)]
    assert "<" not in cues[1][2]
    assert "-->" not in cues[1][2]
