"""A class is shown live: a host starts it, people who only watch see and hear it on a page, a moment later."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.person import Person
from tests.lectern import Lectern, wait_until

MakePerson = Callable[..., Person]

# The viewer's picture as a colour near the left edge of the large tile, and how far it is behind.
LOOK = """() => {
  const video = document.getElementById("live-player");
  if (!video || !video.videoWidth || video.readyState < 2) return null;
  const canvas = document.createElement("canvas");
  canvas.width = 320; canvas.height = 180;
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 320, 180);
  return {
    colour: [...pen.getImageData(40, 55, 1, 1).data.slice(0, 3)],
    width: video.videoWidth, at: video.currentTime, paused: video.paused, latency: lecternLive.latency(),
  };
}"""


def go_live(teacher: Person, target: str = "public") -> str:
    """-> the address of the page."""
    teacher.page.click("#tool-more")
    teacher.testid("go-live").click()
    teacher.testid("live-target").select_option(target)
    teacher.testid("live-go").click()
    chip = teacher.testid("live-state")
    expect(chip).to_have_text("LIVE", timeout=30_000)
    return str(chip.get_attribute("href"))


def look(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(LOOK) or {})


def shows(page: Page, person: Person) -> bool:
    seen = look(page)
    return bool(seen) and all(abs(a - b) <= 60 for a, b in zip(seen["colour"], person.look.rgb, strict=True))


@pytest.mark.timeout(180)
def test_a_class_is_watched_live_by_people_outside(person: MakePerson, lectern: Lectern) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    teacher.enter()
    student.enter()
    student.testid("toggle-mic").click()  # who speaks is large, and that shall be the teacher
    address = go_live(teacher)
    expect(student.testid("live-state")).to_have_text("LIVE")  # everybody knows that they are seen outside

    outsider = person("", 2)
    outsider.page.goto(lectern.url.rstrip("/") + address)
    expect(outsider.testid("live-badge")).to_have_text("Live", timeout=30_000)
    wait_until(lambda: shows(outsider.page, teacher), within=60, what="the picture of the stream")
    wait_until(lambda: 0 < look(outsider.page)["latency"] < 3, within=60, what="a latency below 3 s")
    expect(outsider.testid("live-viewers")).to_have_text(re.compile(r"1 viewer"), timeout=10_000)
    assert look(outsider.page)["width"] in (1280, 640)
