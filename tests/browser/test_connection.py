"""How good a connection is: bars on each tile, a panel with the figures, and what is offered when the line is poor."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, expect

from tests.browser.person import PASSWORD, Person
from tests.lectern import wait_until

MakePerson = Callable[..., Person]
SHOTS = os.environ.get("LECTERN_SCREENSHOTS")  # a folder: to look at it oneself

# What the browser counts is real; with `poorLine` it says that packets came unevenly, as they do over a bad radio link.
POOR_LINE = """
const getStats = RTCPeerConnection.prototype.getStats;
RTCPeerConnection.prototype.getStats = async function (...all) {
  const report = await getStats.apply(this, all);
  if (!globalThis.poorLine) return report;
  const changed = new Map();
  report.forEach((stat, id) => changed.set(id, stat.type === "inbound-rtp" ? { ...stat, jitter: 0.13 } : stat));
  return changed;
};
"""
WAYS = ("UDP", "directly")  # two who are alone may find a way past the worker


def bars(viewer: Person, of: Person) -> Locator:
    tile = f'[data-testid="tile"][data-participant-id="{of.participant_id}"][data-source="camera"]'
    return viewer.page.locator(tile).get_by_test_id("connection")


def facts(panel: Locator) -> dict[str, str]:
    rows = panel.locator("#connection-facts div").all()
    return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}


def shoot(viewer: Person, name: str) -> None:
    if SHOTS:
        for width, height, scheme in ((1280, 800, "light"), (390, 844, "dark")):
            viewer.page.set_viewport_size({"width": width, "height": height})
            viewer.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            viewer.page.wait_for_timeout(400)
            viewer.page.screenshot(path=f"{SHOTS}/{name}-{width}-{scheme}.png")
        viewer.page.set_viewport_size({"width": 1024, "height": 640})


def test_bars_open_the_figures_and_a_poor_line_is_offered_sound_and_shown_to_the_teacher(person: MakePerson) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    student.context.add_init_script(POOR_LINE)
    student.context.grant_permissions(["clipboard-read", "clipboard-write"])
    teacher.enter()
    student.enter()
    student.wait_to_see(teacher)

    # One's own figures, by keyboard, and from there to the clipboard.
    own = bars(student, student)
    expect(own).to_have_attribute("aria-label", "Your connection: good")
    own.focus()
    student.page.keyboard.press("Enter")
    panel = student.testid("connection-panel")
    expect(panel.get_by_role("heading", name="Your connection")).to_be_visible()
    wait_until(lambda: "Mbit/s" in facts(panel).get("Received", "") or "kbit/s" in facts(panel).get("Received", ""),
               within=10, what="the figures")  # fmt: skip
    assert facts(panel)["Path"] in WAYS
    assert facts(panel)["Round trip"].endswith(" ms")
    expect(panel.get_by_role("heading", name="Camera")).to_be_visible()
    shoot(student, "own")
    student.testid("connection-copy").click()
    expect(panel.get_by_role("status")).to_have_text("Copied")
    assert "Your connection: good\n" in student.page.evaluate("navigator.clipboard.readText()")
    student.page.evaluate("() => void (navigator.clipboard.writeText = () => Promise.reject(new Error('denied')))")
    student.testid("connection-copy").click()
    expect(panel.get_by_role("status")).to_have_text("The browser does not let it be copied")
    student.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(own).to_be_focused()

    # The teacher's picture: its resolution and codec.
    bars(student, teacher).click()
    expect(panel.locator("#connection-streams")).to_contain_text("VP8")
    expect(panel.locator("#connection-streams")).to_contain_text("320 × 180")
    student.page.keyboard.press("Escape")

    # A poor line: sound is offered, beside the class and not upon it.
    student.page.evaluate("globalThis.poorLine = true")
    notice = student.testid("notice").filter(has_text="Your connection is poor")
    expect(notice).to_be_visible(timeout=20_000)
    expect(own).to_have_attribute("aria-label", "Your connection: poor")
    shoot(student, "poor")

    # The teacher sees it on the tile and in the list, with the figures of the student's browser; a student does not.
    of_student = "Connection of student1: poor"
    expect(bars(teacher, student)).to_have_attribute("aria-label", of_student, timeout=20_000)
    teacher.testid("toggle-participants").click()
    row = teacher.page.locator(f'[data-testid="participant"][data-participant-id="{student.participant_id}"]')
    shoot(teacher, "list")
    row.get_by_role("button", name=of_student).click()
    told = facts(teacher.testid("connection-panel"))
    assert told["Jitter"] == "130 ms"
    assert told["Path"] in WAYS
    assert told["Sound quality"].endswith(" of 4.4")
    shoot(teacher, "theirs")
    teacher.page.keyboard.press("Escape")
    student.testid("toggle-participants").click()
    expect(student.testid("participant")).to_have_count(2)
    expect(student.testid("participant").get_by_test_id("connection")).to_have_count(0)

    # Accepted, the offer goes away, and so do the cameras.
    notice.get_by_role("button", name="Audio and screen only").click()
    expect(notice).to_be_hidden()
    wait_until(lambda: student.colour_of(teacher.participant_id) is None, within=10, what="the cameras going")

    # What was reported of it is remembered.
    student.testid("leave").first.click()
    access = teacher.lectern.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    room = teacher.page.url.split("/meetings/")[1].strip("/")

    def remembered() -> dict[str, float] | None:
        rows = teacher.lectern.api(f"attendance/?meeting={room}", token=access)["results"]
        return next((row["connection"] for row in rows if row["name"] == "student1"), None)

    summary: Any = wait_until(remembered, within=10, what="the summary of the student's connection")
    assert summary["worst_jitter"] == 130
    assert summary["bytes_received"] > 10_000
    assert summary["danger_share"] > 0
