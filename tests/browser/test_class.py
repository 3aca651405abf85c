"""A class as it is held: a teacher, three students in Chromium and one in Firefox."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.person import DEMO_CLASS, Person
from tests.lectern import Lectern, wait_until

MakePerson = Callable[..., Person]


@pytest.fixture
def class_of_five(person: MakePerson, firefox: Browser) -> list[Person]:
    people = [person("teacher", 0), person("student1", 1), person("student2", 2), person("student3", 3)]
    people.append(person("student4", 4, browser=firefox))
    for one in people:
        # Five browsers compose their pages in software, on the cores that everything else needs.
        one.page.set_viewport_size({"width": 780, "height": 480})
        one.enter()
    return people


def test_everyone_sees_and_hears_everyone(class_of_five: list[Person]) -> None:
    for one in class_of_five:
        for other in class_of_five:
            if one is not other:
                one.wait_to_see(other, within=40)
                one.wait_to_hear(other)
    # Not at once: five browsers that have just started keep two cores busy with other things than pictures.
    behind = set(class_of_five)

    def all_decode() -> bool:
        behind.difference_update(who_decode(10, behind))
        return not behind

    wait_until(all_decode, within=120, what="everybody decoding 10 frames a second of everybody for 3 s")

    teacher, muted, *others = class_of_five

    # Chat reaches all and stays after a reload.
    teacher.testid("toggle-chat").click()
    teacher.testid("chat-input").fill("Good morning <b>all</b>")
    teacher.testid("chat-send").click()
    for one in class_of_five[1:]:
        one.testid("toggle-chat").click()
        expect(one.testid("chat-message").last).to_contain_text("Good morning <b>all</b>")

    # The teacher mutes a student: the student's audio ends for all.
    teacher.testid("toggle-participants").click()
    row = teacher.page.locator(f'[data-testid="participant"][data-participant-id="{muted.participant_id}"]')
    row.get_by_test_id("mute-participant").click()
    for one in [teacher, *others]:
        wait_until(
            lambda one=one: not one.hears(muted.look.tone),
            within=5,
            what=f"{one.username} no longer hearing {muted.username}",
        )
        assert one.hears(others[0].look.tone) or one is others[0]
    expect(muted.testid("toggle-mic")).to_have_attribute("aria-pressed", "false")

    # A screen share reaches all at 1280x720.
    teacher.testid("share-screen").click()
    for one in class_of_five[1:]:
        wait_until(
            lambda one=one: screen_size(one, teacher) == (1280, 720),
            within=30,
            what=f"{one.username} receiving the screen at 1280x720",
        )

    student = class_of_five[2]
    student.page.reload()
    student.testid("lobby-join").click()
    student.testid("toggle-chat").click()
    expect(student.testid("chat-message").last).to_contain_text("Good morning <b>all</b>", timeout=20_000)


def who_decode(rate: float, people: Iterable[Person], *, over: float = 3.0) -> list[Person]:
    """Those who decode as many frames a second of each of the other four, in seconds that are the same for all."""
    before = {one: (time.monotonic(), frames_decoded(one)) for one in people}
    time.sleep(over)
    found = []
    for one, (began, earlier) in before.items():
        later, seconds = frames_decoded(one), time.monotonic() - began
        rates = [(later[id] - earlier.get(id, 0)) / seconds for id in later]
        if len(rates) == 4 and min(rates) >= rate:
            found.append(one)
    return found


def frames_decoded(viewer: Person) -> dict[str, int]:
    """Of each other person's camera."""
    rows = [row for row in viewer.stats() if row["direction"] == "recv" and row["source"] == "camera"]
    return {row["participant_id"]: int(row.get("framesDecoded") or 0) for row in rows}


def screen_size(viewer: Person, sharer: Person) -> tuple[int, int]:
    for row in viewer.stats():
        if row["participant_id"] == sharer.participant_id and row["source"] == "screen" and row["direction"] == "recv":
            return int(row.get("frameWidth") or 0), int(row.get("frameHeight") or 0)
    return 0, 0


def test_a_1280x720_simulcast_camera_arrives_in_the_layer_that_fits_its_tile(person: MakePerson) -> None:
    teacher = person("teacher", 0, size=(1280, 720))
    student = person("student1", 1)
    teacher.enter()
    student.enter()
    student.wait_to_see(teacher)

    def arrives(widths: set[int]) -> bool:
        return any(
            row["participant_id"] == teacher.participant_id and row.get("frameWidth") in widths
            for row in student.stats()
            if row["direction"] == "recv" and row["source"] == "camera"
        )

    for window, widths in (((1920, 1080), {1280}), ((640, 480), {320, 640}), ((1920, 1080), {1280})):
        student.page.set_viewport_size({"width": window[0], "height": window[1]})
        wait_until(lambda widths=widths: arrives(widths), within=40, what=f"a picture {widths} wide in {window}")
        assert student.decoded_rate([teacher.participant_id])[teacher.participant_id] >= 10


@pytest.fixture
def guest_link(person: MakePerson, lectern: Lectern) -> str:
    """A meeting token for one guest, made by the teacher's own session through the API."""
    teacher = person("teacher", 0, classroom=DEMO_CLASS)
    teacher.enter()
    return str(
        teacher.page.evaluate(
            """async () => {
          const boot = JSON.parse(document.getElementById("boot").textContent);
          const answer = await fetch("/api/v1/meetings/demo-class/token/", {
            method: "POST", headers: {"Content-Type": "application/json", "X-CSRFToken": boot.csrf},
            body: JSON.stringify({role: "guest", display_name: "Gwen"}),
          });
          return (await answer.json()).token;
        }"""
        )
    )


def test_a_kicked_guest_cannot_come_back_with_the_same_token(
    person: MakePerson, guest_link: str, chromium: Browser
) -> None:
    host = person("assistant", 1, classroom=DEMO_CLASS)
    host.enter()
    guest = person("", 2, classroom=DEMO_CLASS)
    guest.enter(token=guest_link)
    host.testid("toggle-participants").click()
    row = host.page.locator(f'[data-testid="participant"][data-participant-id="{guest.participant_id}"]')
    row.get_by_test_id("remove-participant").click()
    confirm = host.page.get_by_role("dialog").get_by_role("button", name="Remove")
    if confirm.count():
        confirm.click()
    expect(guest.page.get_by_text("removed", exact=False).first).to_be_visible(timeout=10_000)

    guest.page.goto(f"{guest.lectern.url}meetings/demo-class/?token={guest_link}")
    expect(guest.page.get_by_text("removed", exact=False).first).to_be_visible(timeout=10_000)
    assert guest.testid("lobby-join").count() == 0
