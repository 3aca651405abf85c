"""A person in a browser: signs in, joins a class, sends a picture and a tone of their own, looks and listens."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.lectern import Lectern, wait_until

MADE_UP_DEVICES = (Path(__file__).parent / "made_up_devices.js").read_text()
PASSWORD = "lectern-demo"
DEMO_CLASS = "meetings/demo-class/"

# Colours far apart, that survive 4:2:0 and the BT.601/709 question; tones that are no multiples of each other.
COLOURS = ["#c02020", "#20a020", "#2040d0", "#b020b0", "#109090"]
TONES = [440, 560, 700, 880, 1100]


@dataclass(frozen=True)
class Look:
    """What others should see and hear of a person."""

    colour: str
    tone: int

    @property
    def rgb(self) -> tuple[int, int, int]:
        return tuple(int(self.colour[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


def look(number: int) -> Look:
    return Look(COLOURS[number % len(COLOURS)], TONES[number % len(TONES)])


class Person:
    def __init__(
        self,
        browser: Browser,
        lectern: Lectern,
        username: str,
        number: int,
        *,
        classroom: str = DEMO_CLASS,
        size: tuple[int, int] = (320, 180),
    ) -> None:
        self.classroom = classroom
        self.lectern, self.username, self.look = lectern, username, look(number)
        self.context: BrowserContext = browser.new_context(viewport={"width": 1024, "height": 640})
        me = {
            "number": number, "width": size[0], "height": size[1], "fps": 15,
            "tone": self.look.tone, "colour": self.look.colour,
        }  # fmt: skip
        self.context.add_init_script(f"globalThis.lecternPerson = {json.dumps(me)};\n{MADE_UP_DEVICES}")
        self.page: Page = self.context.new_page()
        self.log: list[str] = []
        self.page.on("console", lambda message: self.log.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.log.append(f"error: {error}"))

    def sign_in(self) -> None:
        """By the form of the page, which tests/browser/test_pages.py shows and this does not."""
        cookies = CookieJar()
        site = build_opener(HTTPCookieProcessor(cookies))
        address = self.lectern.url + "accounts/login/"
        with site.open(address, timeout=30) as page:
            token = re.search(r'name="csrfmiddlewaretoken" value="(.*?)"', page.read().decode())
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "login": self.username, "password": PASSWORD}
        with site.open(address, urlencode(form).encode(), timeout=30) as page:
            assert "/login/" not in page.url
        self.context.add_cookies(
            [{"name": one.name, "value": str(one.value), "url": self.lectern.url} for one in cookies]
        )

    def enter(self, *, token: str = "", name: str = "") -> None:
        """From the page to the class, through the lobby."""
        self.page.goto(self.lectern.url + self.classroom + (f"?token={token}" if token else ""))
        if name:
            self.testid("lobby-name").fill(name)
        self.testid("lobby-join").click()
        expect(self.testid("leave").first).to_be_visible(timeout=20_000)

    def agree(self) -> None:
        """To be recorded."""
        self.testid("consent-continue").click()

    def look_otherwise(self, *, back: bool = False) -> None:
        """For a while the camera's picture is of a colour that nobody has."""
        self.page.evaluate("colour => { lecternPerson.colour = colour; }", self.look.colour if back else "#e0e060")

    def choose(self, item: str) -> None:
        """In the menu More."""
        self.page.locator("#tool-more").click()
        self.testid(item).click()

    def testid(self, name: str) -> Any:
        return self.page.get_by_test_id(name)

    @property
    def participant_id(self) -> str:
        tile = self.page.locator('[data-testid="tile"][data-self="true"]').first
        return str(tile.get_attribute("data-participant-id", timeout=15_000))

    def stats(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate("window.lectern.stats()"))

    def frames_decoded(self, participant_id: str, source: str = "camera") -> int:
        return max(
            (
                int(row.get("framesDecoded") or 0)
                for row in self.stats()
                if row["participant_id"] == participant_id and row["source"] == source and row["direction"] == "recv"
            ),
            default=0,
        )

    def colour_of(self, participant_id: str, source: str = "camera") -> tuple[int, int, int] | None:
        """The colour near the left edge of somebody's picture, as this person's browser shows it."""
        found = self.page.evaluate(
            """([id, source]) => {
              const video = document.querySelector(
                `[data-testid="tile"][data-participant-id="${id}"][data-source="${source}"] video`);
              if (!video || !video.videoWidth) return null;
              const canvas = document.createElement("canvas");
              canvas.width = 64; canvas.height = 36;
              const pen = canvas.getContext("2d");
              pen.drawImage(video, 0, 0, 64, 36);
              return [...pen.getImageData(6, 10, 1, 1).data.slice(0, 3)];
            }""",
            [participant_id, source],
        )
        return tuple(found) if found else None

    def sees(self, other: Person, source: str = "camera") -> bool:
        colour = self.colour_of(other.participant_id, source)
        return colour is not None and all(abs(a - b) <= 48 for a, b in zip(colour, other.look.rgb, strict=True))

    def hears(self, tone: int) -> bool:
        """Is there a peak at this frequency (Hz) in what this person's page plays?"""
        return bool(
            self.page.evaluate(
                """async (tone) => {
                  globalThis.testEars ??= new AudioContext({ sampleRate: 48000 });
                  const ears = globalThis.testEars;
                  await ears.resume();
                  globalThis.testEarsBy ??= new Map();
                  const analysers = [];
                  for (const element of document.querySelectorAll("audio, video")) {
                    const stream = element.srcObject;
                    if (!stream || element.muted || element.closest('[data-self="true"]')) continue;
                    for (const track of stream.getAudioTracks()) {
                      if (track.readyState !== "live") continue;
                      if (!globalThis.testEarsBy.has(track.id)) {
                        const analyser = ears.createAnalyser();
                        analyser.fftSize = 8192;
                        analyser.smoothingTimeConstant = 0;
                        ears.createMediaStreamSource(new MediaStream([track])).connect(analyser);
                        globalThis.testEarsBy.set(track.id, analyser);
                      }
                      analysers.push(globalThis.testEarsBy.get(track.id));
                    }
                  }
                  await new Promise((done) => setTimeout(done, 250));
                  return analysers.some((analyser) => {
                    const bins = new Float32Array(analyser.frequencyBinCount);
                    analyser.getFloatFrequencyData(bins);
                    const width = 48000 / analyser.fftSize;
                    const near = Math.round(tone / width);
                    const peak = Math.max(...bins.slice(near - 2, near + 3));
                    const loudest = Math.max(...bins);
                    return peak > -60 && peak > loudest - 12;
                  });
                }""",
                tone,
            )
        )

    def wait_to_see(self, other: Person, *, within: float = 20) -> None:
        wait_until(lambda: self.sees(other), within=within, what=f"{self.username} seeing {other.username}")

    def wait_to_hear(self, other: Person, *, within: float = 20) -> None:
        wait_until(lambda: self.hears(other.look.tone), within=within, what=f"{self.username} hearing {other.username}")

    def decoded_rate(self, participant_ids: list[str], *, over: float = 3.0) -> dict[str, float]:
        """Frames decoded a second of each, measured over a window of that many seconds."""
        before, start = {pid: self.frames_decoded(pid) for pid in participant_ids}, time.monotonic()
        self.page.wait_for_timeout(over * 1000)
        after, seconds = {pid: self.frames_decoded(pid) for pid in participant_ids}, time.monotonic() - start
        return {pid: (after[pid] - before[pid]) / seconds for pid in participant_ids}

    def leave(self) -> None:
        self.context.close()
