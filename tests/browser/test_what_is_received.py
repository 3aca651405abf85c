"""A browser receives what its page shows: no cameras with audio only, nothing that a panel covers."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.person import Person
from tests.lectern import wait_until

MakePerson = Callable[..., Person]


def received(viewer: Person, other_id: str, source: str = "camera") -> int:
    """Bytes of somebody's stream that have reached the viewer."""
    rows = [row for row in viewer.stats() if row["direction"] == "recv"]
    return sum(int(row["bytes"]) for row in rows if row["participant_id"] == other_id and row["source"] == source)


def test_who_joins_with_audio_only_gets_voices_and_screens_and_cameras_when_asked_for(person: MakePerson) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    teacher.enter()
    student.page.goto(student.lectern.url + student.classroom)
    student.testid("lobby-audio-only").click()
    student.wait_to_hear(teacher)
    teacher_id = teacher.participant_id
    expect(student.testid("toggle-camera")).to_have_attribute("aria-pressed", "false")
    expect(student.testid("toggle-mic")).to_have_attribute("aria-pressed", "true")

    teacher.testid("share-screen").click()
    wait_until(lambda: student.frames_decoded(teacher_id, "screen") > 5, within=20, what="the screen arriving")
    assert received(student, teacher_id, "screen") > 0
    assert received(student, teacher_id) == 0
    assert student.colour_of(teacher_id) is None

    student.testid("show-cameras").click()
    student.wait_to_see(teacher)
    expect(student.testid("show-cameras")).to_be_hidden()


def test_a_panel_that_covers_the_stage_of_a_phone_stops_the_pictures_behind_it(person: MakePerson) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    student.page.set_viewport_size({"width": 390, "height": 780})
    teacher.enter()
    student.enter()
    student.wait_to_see(teacher)
    teacher_id = teacher.participant_id

    student.testid("toggle-chat").click()

    def still() -> bool:
        before = student.frames_decoded(teacher_id)
        student.page.wait_for_timeout(1000)
        return student.frames_decoded(teacher_id) == before

    wait_until(still, within=10, what="the picture no longer being received")
    assert student.hears(teacher.look.tone)
    student.page.get_by_label("Close chat").click()
    wait_until(lambda: not still(), within=10, what="the picture coming back")
