"""The player of a recording in Chromium: HLS, chapters, pictures, keys, the chat in step, the place remembered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route, ViewportSize, expect

from tests.browser.cinema import HALF, LENGTH
from tests.browser.person import PASSWORD
from tests.browser.test_pages import AXE, LOOK, NARROW, STANDARD, WIDE
from tests.lectern import Lectern, wait_until

WITHIN = 20_000  # ms, on a busy machine
SHOTS = os.environ.get("LECTERN_SCREENSHOTS")
LOOKS_OF_CAPTIONS: list[tuple[ViewportSize, Literal["light", "dark"]]] = [(NARROW, "dark"), (WIDE, "light")]
pytestmark = pytest.mark.xdist_group("player")  # the film is made once


@pytest.fixture(scope="module")
def film(lectern: Lectern) -> str:
    """The address of a recording of which everything was made."""
    environ = {**os.environ, "LECTERN_DATA": str(lectern.data)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.cinema"], env=environ, cwd=settings.BASE_DIR, text=True,
        stdout=subprocess.PIPE, check=True, timeout=120,
    )  # fmt: skip
    return f"{lectern.url}recordings/{done.stdout.strip()}/"


@pytest.fixture
def page_of(chromium: Browser, lectern: Lectern) -> Iterator[Callable[[str], Page]]:
    """Where somebody is signed in. Nothing may go wrong in it."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def sign_in(username: str) -> Page:
        contexts.append(chromium.new_context(viewport=WIDE, reduced_motion="reduce"))
        contexts[-1].add_init_script(AXE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(lectern.url + "accounts/login/")
        page.fill("input[name=login]", username)
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button[type=submit]")
        page.wait_for_url(lambda url: "/login/" not in url)
        return page

    expect.set_options(timeout=WITHIN)
    yield sign_in
    expect.set_options(timeout=5_000)  # Playwright's own
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(page_of: Callable[[str], Page]) -> Page:
    return page_of("student1")


FED = "film.src.startsWith('blob:') && film.readyState >= 2"  # by hls.js: before it, the browser has begun with the MP4


def part(page: Page, name: str):
    return page.locator(f'[data-part="{name}"]')


def wait_for(page: Page, condition: str) -> None:
    """Of the <video>, called `film`."""
    page.wait_for_function(
        f"() => {{ const film = document.querySelector('video'); return {condition}; }}", timeout=WITHIN
    )


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("token", [""])[0]


def colour(page: Page) -> list[int]:
    """Of the picture's middle, as it is shown now."""
    return page.evaluate("""() => {
      const context = Object.assign(document.createElement("canvas"), {width: 16, height: 9}).getContext("2d");
      context.drawImage(document.querySelector("video"), 0, 0, 16, 9);
      return [...context.getImageData(8, 4, 1, 1).data].slice(0, 3);
    }""")


def test_hls_plays_with_its_sound_and_jumps_to_a_chapter(page: Page, film: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(film)
    wait_for(page, f"{FED} && Math.abs(film.duration - {LENGTH}) < 1")
    part(page, "play").click()
    wait_for(page, "film.currentTime > 0.5")
    wait_for(page, "film.webkitAudioDecodedByteCount > 0 && film.webkitDecodedFrameCount > 0")
    expect(part(page, "play")).to_have_attribute("aria-label", "Pause")
    page.get_by_role("button", name="Questions").click()
    wait_for(page, "film.currentTime > 40 && !film.seeking && film.readyState >= 2")
    red, green, blue = colour(page)
    assert green > 100 > max(red, blue), f"the second half is green, not {red, green, blue}"
    expect(page.get_by_role("button", name="Questions")).to_have_attribute("aria-current", "true")
    segments = [url for url in asked if url.partition("?")[0].endswith(".m4s")]
    assert segments
    assert all("?token=" in url for url in segments)
    part(page, "quality").select_option("360p")
    page.get_by_role("button", name="Beginning").click()
    wait_for(page, "film.currentTime < 20 && film.videoHeight === 360")


def test_a_film_that_was_paused_for_an_hour_goes_on_by_new_links(page: Page, film: str) -> None:
    page.add_init_script("""
      globalThis.later = 0;
      const now = performance.now.bind(performance);
      performance.now = () => now() + globalThis.later;
    """)
    playlists: list[Response] = []
    page.on("response", lambda response: playlists.append(response) if ".m3u8" in response.url else None)
    page.goto(film)
    wait_for(page, FED)
    for quality in ("720p", "360p"):  # both playlists are read now
        part(page, "quality").select_option(quality)
        page.wait_for_function(
            "name => performance.getEntriesByType('resource').some((one) => one.name.includes(name))",
            arg=f"/hls/{quality}.m3u8",
        )
    tokens = {token_of(url) for one in playlists for url in re.findall(r'[^\s"]+\.m4s\?[^\s"]+', one.text())}
    assert tokens
    # A token tells the second of its making: new links are others once that has passed.
    playlist = f"{film}files/hls/720p.m3u8?for=player"
    wait_until(
        lambda: not any(quote(old, safe="") in page.request.get(playlist).text() for old in tokens),
        within=10, what="a token of another second",
    )  # fmt: skip
    # Nothing is under way, so that nothing is missed; and what was given an hour ago opens nothing any more.
    page.wait_for_function("""() => {
      const segments = performance.getEntriesByType("resource").filter((one) => one.name.includes(".m4s?"));
      return performance.now() - Math.max(...segments.map((one) => one.responseEnd)) > 1000;
    }""")
    page.route(lambda url: token_of(url) in tokens, lambda route: route.fulfill(status=404))
    page.evaluate("globalThis.later = 3_600_000")
    with page.expect_request(lambda request: "/hls/720p.m4s?" in request.url and token_of(request.url) not in tokens):
        part(page, "quality").select_option("720p")
        page.get_by_role("button", name="Questions").click()
        part(page, "play").click()
    wait_for(page, "film.currentTime > 41 && film.videoHeight === 720 && film.src.startsWith('blob:')")


def test_pictures_appear_while_seeking(page: Page, film: str) -> None:
    page.goto(film)
    wait_for(page, FED)
    expect(part(page, "marks").locator("span")).to_have_count(2)
    box = part(page, "seek").bounding_box()
    with page.expect_response(lambda response: "/thumbnails-1.jpg" in response.url) as sheet:
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert sheet.value.status == 200
    expect(part(page, "preview")).to_be_visible()
    expect(part(page, "preview")).to_contain_text("Questions")
    picture = part(page, "preview").locator("i")
    expect(picture).to_have_css("background-position", "-160px -90px")
    expect(picture).to_have_css("width", "160px")
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    wait_for(page, "film.currentTime > 43 && film.currentTime < 47")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/player-preview.png")


def test_keys_do_what_they_say_and_are_dead_while_typing(page: Page, film: str) -> None:
    page.goto(film)
    wait_for(page, FED)
    page.keyboard.press("Space")
    wait_for(page, "!film.paused")
    page.keyboard.press("k")
    wait_for(page, "film.paused")
    page.evaluate("document.querySelector('video').currentTime = 20")
    for key, there in [("l", 30), ("ArrowRight", 35), ("j", 25), ("ArrowLeft", 20)]:
        page.keyboard.press(key)
        wait_for(page, f"Math.abs(film.currentTime - {there}) < 0.01")
    page.keyboard.press(">")
    wait_for(page, "film.playbackRate === 1.25")
    expect(part(page, "speed")).to_have_value("1.25")
    page.keyboard.press("<")
    wait_for(page, "film.playbackRate === 1")
    page.keyboard.press("c")
    wait_for(page, "[...film.textTracks].some((track) => track.mode === 'showing' && track.cues?.length === 2)")
    expect(part(page, "captions")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement !== null")
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    page.locator("main > input").press_sequentially("kfc >l")
    expect(page.locator("main > input")).to_have_value("kfc >l")
    assert page.evaluate("(film => film.paused && film.playbackRate === 1)(document.querySelector('video'))")
    part(page, "play").focus()
    page.keyboard.press("Space")  # the button's own meaning, once
    wait_for(page, "!film.paused")


def test_the_chat_goes_along_and_is_text(page: Page, film: str) -> None:
    page.goto(f"{film}?t={HALF}s")
    wait_for(page, f"Math.abs(film.currentTime - {HALF}) < 1")
    messages = part(page, "chat").locator("li:visible")
    expect(messages).to_have_count(2)
    expect(messages.last).to_contain_text("It is. <b>Look</b> at the green.")
    part(page, "all").click()
    expect(messages).to_have_count(3)
    messages.last.get_by_role("button").click()
    wait_for(page, "Math.abs(film.currentTime - 50) < 1")


def test_a_film_goes_on_where_it_was_left(page: Page, film: str) -> None:
    page.goto(f"{film}?t=0m33s")
    expect(part(page, "clock")).to_have_text("0:33 / 1:00")  # what is shown is kept
    page.goto(film)
    wait_for(page, "Math.abs(film.currentTime - 33) < 1")
    expect(part(page, "notice")).to_contain_text("You were at 0:33")
    page.get_by_role("button", name="From the beginning").click()
    wait_for(page, "film.currentTime < 1")


REFUSED = {"is refused": "**/*.m4s*", "has no playlist": "**/*.m3u8*"}


@pytest.mark.parametrize("hls", ["works", "is refused", "has no playlist", "has no script"])
def test_who_is_quicker_than_the_scripts_goes_on_when_they_have_come(page: Page, film: str, hls: str) -> None:
    held: list[Route] = []
    page.route("**/vendor/hls*.js", lambda route: held.append(route))
    if hls in REFUSED:
        page.route(REFUSED[hls], lambda route: route.abort())
    page.goto(film)
    part(page, "play").click()
    wait_for(page, "film.currentTime > 0.5 && !film.src.startsWith('blob:')")
    (route,) = held
    if hls == "has no script":
        route.abort()
    else:
        route.continue_()
    if hls != "works":
        expect(part(page, "quality").locator("option")).to_have_text(["720p", "360p"])
    begun = "film.played.length && film.played.start(0) >= 0.5"
    wait_for(page, f"film.src.startsWith('blob:') === {str(hls == 'works').lower()} && {begun} && !film.paused")


def test_without_hls_the_mp4_plays(page: Page, film: str) -> None:
    page.route("**/*.m4s*", lambda route: route.abort())  # as a store does whose CORS rules forget this site
    page.goto(f"{film}?t={HALF + 3}")
    wait_for(page, "film.currentSrc.includes('/watch/720p/') && film.readyState >= 2")
    wait_for(page, f"Math.abs(film.currentTime - {HALF + 3}) < 1")
    expect(part(page, "quality").locator("option")).to_have_text(["720p", "360p"])


def test_it_is_for_everybody(page: Page, film: str) -> None:
    looks: list[tuple[ViewportSize, Literal["light", "dark"]]] = [(WIDE, "light"), (NARROW, "dark")]
    for size, scheme in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{film}?t=45")
        wait_for(page, "film.readyState >= 2 && film.currentTime > 44")
        expect(part(page, "chat").locator("li:visible")).to_have_count(2)
        found = page.evaluate(LOOK, {"type": "tag", "values": STANDARD})
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/player-{size['width']}.png", full_page=True)
    expect(part(page, "seek")).to_have_attribute("aria-valuetext", "0:45 of 1:00, Questions")


SHOWN = "[...film.textTracks].filter(({ mode }) => mode === 'showing').map(({ language }) => language).join() === "


def test_a_teacher_adds_captions_by_the_keyboard_and_viewers_choose_the_language(
    page_of: Callable[[str], Page], film: str
) -> None:
    page = page_of("teacher")
    for size, scheme in LOOKS_OF_CAPTIONS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.goto(film)
        page.get_by_text("Captions", exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_label("Language", exact=True)).to_be_visible()
        found = page.evaluate(LOOK, {"type": "tag", "values": STANDARD})
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/captions-{size['width']}-{scheme}.png", full_page=True)
    page.get_by_label("Language", exact=True).focus()
    page.keyboard.type("Polish")
    page.get_by_label("File").set_input_files(
        {"name": "a.srt", "mimeType": "", "buffer": b"1\n00:00:00,000 --> 00:01:00,000\n<i>Zielony</i> test\n"}
    )
    page.get_by_label("File").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("Captions are there: Polski.")
    language = part(page, "language")
    expect(language.locator("option")).to_have_text(["Deutsch", "English", "Polski"])
    language.select_option("pl")
    wait_for(page, f"{SHOWN}'pl'")
    expect(part(page, "captions")).to_have_attribute("aria-pressed", "true")
    page.locator("h1").click()
    page.keyboard.press("l")
    wait_for(page, "film.textTracks[2].activeCues?.[0]?.text === 'Zielony test' && film.currentTime === 10")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/captions-shown.png")
    page.keyboard.press("c")
    wait_for(page, f"{SHOWN}''")
    page.get_by_text("Captions", exact=True).click()
    page.get_by_role("button", name="Remove the captions in Polski").click()
    expect(language.locator("option")).to_have_text(["Deutsch", "English"])
