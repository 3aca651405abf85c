"""One Lectern and one browser of each kind for all browser tests; each test has people (contexts) of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.person import PASSWORD, Person
from tests.lectern import Lectern, running_lectern

CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
]  # fmt: skip
# A browser hides its addresses behind names of multicast DNS from pages that may not use a camera. The made-up cameras
# of these tests need no permission, and a test's machine may have no multicast.
PLAIN_ADDRESSES = "--disable-features=WebRtcHideLocalIpsWithMdns"
FIREFOX_PREFS = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.block-webaudio": False,
    "layout.frame_rate": 30,  # drawn in software on two cores: half the frames is plenty
    "media.cubeb.force_mock_context": True,  # a sound card made of nothing: without one, Firefox's AudioContext waits
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lectern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lectern]:
    with running_lectern(tmp_path_factory.mktemp("lectern")) as running:
        yield running


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    # Playwright's driver runs an event loop in this thread, which Django takes for a reason to refuse its database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as running:
        yield running


def executable(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.fail(f"{names[0]} is not installed: ./test installs it where it may")


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=executable("chromium"), args=CHROMIUM_ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def firefox(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.firefox.launch(
        channel="moz-firefox", executable_path=executable("firefox-esr"), firefox_user_prefs=dict(FIREFOX_PREFS)
    )
    yield browser
    browser.close()


def classroom_by_worker(lectern: Lectern, title: str) -> str:
    """The address of a classroom where media always go by the worker, also when two are alone."""
    access = lectern.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    lesson = lectern.api("lessons/", {"course": "demo-course", "title": title[:100]}, token=access)
    room = lectern.api("meetings/", {"lesson": lesson["id"], "mode": "sfu"}, token=access)
    return f"meetings/{room['code']}/"


@pytest.fixture
def classroom(lectern: Lectern, request: pytest.FixtureRequest) -> str:
    """The address of a lesson's classroom that no other test has been in: nobody's presence lingers there."""
    access = lectern.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    lesson = lectern.api("lessons/", {"course": "demo-course", "title": request.node.name[:100]}, token=access)
    return f"meetings/lesson/{lesson['id']}/"


@pytest.fixture
def person(chromium: Browser, lectern: Lectern, classroom: str) -> Iterator[Callable[..., Person]]:
    """`person("teacher", 0)` signs somebody in; what their consoles said is printed when a test fails."""
    people: list[Person] = []

    def make(username: str, number: int, *, browser: Browser | None = None, **options: object) -> Person:
        options.setdefault("classroom", classroom)
        one = Person(browser or chromium, lectern, username, number, **options)  # type: ignore[arg-type]
        people.append(one)
        if username:
            one.sign_in()
        return one

    yield make
    for one in people:
        print(f"--- {one.username}'s console:", *one.log[-40:], sep="\n")
        one.context.close()
