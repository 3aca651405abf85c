"""A class is shown live: a host starts it, people who only watch see and hear it on a page, a moment later."""

from __future__ import annotations

import itertools
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from recordings.programs import ffmpeg_program
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


# When the picture has another colour: Date.now() of the viewer's page.
WATCH = """(rgb) => {
  const video = document.getElementById("live-player");
  const canvas = document.createElement("canvas");
  canvas.width = 320; canvas.height = 180;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  globalThis.seenAt = 0;
  const look = () => {
    pen.drawImage(video, 0, 0, 320, 180);
    const [r, g, b] = pen.getImageData(40, 55, 1, 1).data;
    if ([r - rgb[0], g - rgb[1], b - rgb[2]].every((far) => Math.abs(far) < 60)) globalThis.seenAt = Date.now();
    else requestAnimationFrame(look);
  };
  look();
}"""

# The same stream in whole segments.
PLAIN = """async () => {
  lecternLive.hls.destroy();
  const { default: Hls } = await import("/static/vendor/hls.js");
  const video = document.getElementById("live-player");
  globalThis.plain = new Hls({ lowLatencyMode: false });
  plain.loadSource(document.getElementById("live").dataset.address + "live.m3u8");
  plain.attachMedia(video);
  await video.play();
}"""

# And by a player of DASH.
DASH = """async () => {
  lecternLive.hls.destroy();
  const player = globalThis.dash = dashjs.MediaPlayer().create();
  player.updateSettings({ debug: { logLevel: dashjs.Debug.LOG_LEVEL_NONE } });
  globalThis.wrong = [];
  player.on("error", ({ error }) => wrong.push(error.message));
  const address = document.getElementById("live").dataset.address + "live.mpd";
  player.initialize(document.getElementById("live-player"), address, true);
}"""
DASH_PLAYER = Path(settings.BASE_DIR) / "node_modules" / "dashjs" / "dist" / "dash.all.min.js"
PICTURES = 'document.getElementById("live-player").getVideoPlaybackQuality().totalVideoFrames'


def look(page: Page) -> dict[str, Any]:
    return dict(page.evaluate(LOOK) or {})


def shows(page: Page, person: Person) -> bool:
    seen = look(page)
    return bool(seen) and all(abs(a - b) <= 60 for a, b in zip(seen["colour"], person.look.rgb, strict=True))


def from_lens_to_screen(teacher: Person, viewer: Page, rgb: tuple[int, int, int]) -> float:
    """Seconds from the moment that the teacher's camera sees another colour until a viewer's page shows it."""
    viewer.evaluate(WATCH, list(rgb))
    set_at = teacher.page.evaluate(
        "(rgb) => { lecternPerson.colour = `rgb(${rgb.join()})`; return Date.now(); }", list(rgb)
    )
    wait_until(lambda: viewer.evaluate("globalThis.seenAt"), within=60, what="the new colour", every=0.05)
    return (float(viewer.evaluate("globalThis.seenAt")) - float(set_at)) / 1000


COLOURS = itertools.cycle([(40, 120, 40), (40, 40, 160), (170, 170, 40)])  # none the teacher has by himself, none twice


def at_best(limit: float, teacher: Person, viewer: Page) -> list[float]:
    """Five measurements, or until one is below: a machine that is busy with something else may need more."""
    took: list[float] = []
    while len(took) < 5 or min(took) > limit:
        assert len(took) < 20, f"behind by {took} s"
        took.append(from_lens_to_screen(teacher, viewer, next(COLOURS)))
        viewer.wait_for_timeout(700)
    return took


def outside(person: MakePerson, lectern: Lectern, address: str) -> Person:
    """Somebody who has the link and no account, and sees the stream."""
    one = person("", 2)
    one.page.goto(lectern.url.rstrip("/") + address)
    expect(one.testid("live-badge")).to_have_text("Live", timeout=60_000)
    return one


def plays_by_dash(address: str) -> None:
    """FFmpeg's player of DASH, which shares no code with us, gets two seconds of both qualities and the sound."""
    command = [
        ffmpeg_program(),
        "-v",
        "error",
        "-i",
        f"{address}live.mpd",
        "-map",
        "0",
        "-t",
        "2",
        "-f",
        "framemd5",
        "-",
    ]
    played = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (played.returncode, played.stderr) == (0, "")
    frames = [line.partition(",")[0] for line in played.stdout.splitlines() if not line.startswith("#")]
    assert [frames.count(stream) for stream in "01"] == [60, 60]
    assert frames.count("2") >= 90  # of 1024 samples each


@pytest.mark.timeout(300)
def test_a_class_is_watched_live_by_people_outside(person: MakePerson, lectern: Lectern) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    teacher.enter()
    student.enter()
    student.testid("toggle-mic").click()  # who speaks is large, and that shall be the teacher
    address = go_live(teacher)
    expect(student.testid("live-state")).to_have_text("LIVE")  # everybody knows that they are seen outside

    outsider = outside(person, lectern, address)
    page = outsider.page
    wait_until(lambda: shows(page, teacher), within=60, what="the picture of the stream")
    expect(outsider.testid("live-viewers")).to_have_text(re.compile(r"1 viewer"), timeout=30_000)
    plays_by_dash(lectern.url.rstrip("/") + address)
    expect(outsider.testid("live-input")).to_have_count(0)

    # Of the course: reads and writes the class's chat.
    member = person("student2", 3)
    member.page.goto(lectern.url.rstrip("/") + address)
    member.testid("live-input").fill("A question from outside")
    member.testid("live-send").click()
    expect(teacher.page.locator("#chat-badge")).to_have_text("1", timeout=30_000)
    expect(outsider.testid("live-chat")).to_contain_text("A question from outside", timeout=30_000)
    with sqlite3.connect(lectern.data / "lectern.sqlite3") as database:  # as the admin does
        database.execute("UPDATE meetings_chatmessage SET deleted_at = CURRENT_TIMESTAMP")
    expect(outsider.testid("live-chat")).not_to_contain_text("A question from outside", timeout=30_000)

    # Who comes into a class that is live is told so before anything of his is sent.
    member.enter()
    expect(member.testid("seen")).to_contain_text("everybody who has the link")
    assert not teacher.sees(member)
    member.testid("seen-continue").click()
    teacher.wait_to_see(member)
    member.testid("leave").first.click()

    # The stream's process dies: the page goes on by itself, with what is seen then.
    lectern.kill("-m recordings.live")
    from_lens_to_screen(teacher, page, next(COLOURS))

    teacher.page.click("#tool-more")
    teacher.testid("go-live").click()
    teacher.testid("live-stop").click()
    expect(student.testid("live-state")).to_be_hidden(timeout=30_000)
    expect(outsider.testid("live-over")).to_be_visible(timeout=30_000)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_viewers_are_three_seconds_behind_or_six_in_whole_segments(person: MakePerson, lectern: Lectern) -> None:
    teacher = person("teacher", 0)
    teacher.enter()
    page = outside(person, lectern, go_live(teacher)).page
    wait_until(lambda: shows(page, teacher), within=60, what="the picture of the stream")
    print("from lens to screen, s, in parts:", at_best(3.0, teacher, page))
    page.evaluate(PLAIN)
    print("in whole segments:", at_best(6.0, teacher, page))


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_dash_js_plays_the_stream_and_is_six_seconds_behind_at_most(person: MakePerson, lectern: Lectern) -> None:
    teacher = person("teacher", 0)
    teacher.enter()
    page = outside(person, lectern, go_live(teacher)).page
    wait_until(lambda: shows(page, teacher), within=60, what="the picture of the stream")
    page.evaluate(DASH_PLAYER.read_text())
    page.evaluate(DASH)
    wait_until(lambda: page.evaluate("dash.isReady()") and shows(page, teacher), within=60, what="the picture by DASH")
    print("from lens to screen, s:", at_best(6.0, teacher, page), flush=True)
    seen, at = page.evaluate(PICTURES), look(page)["at"]
    wait_until(lambda: look(page)["at"] > at + 5, within=60, what="five seconds of the stream")
    assert page.evaluate(PICTURES) - seen >= 25, "it goes on, on whatever machine"
    print("by its own word:", page.evaluate("dash.getCurrentLiveLatency()"))
    assert page.evaluate("wrong") == []
