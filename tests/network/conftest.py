"""What the tests stand on: see the package's docstring."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.conftest import CHROMIUM_ARGUMENTS, FIREFOX_PREFS, PLAIN_ADDRESSES, executable
from tests.browser.person import Person
from tests.lectern import Lectern, running_lectern
from tests.network.links import SERVER, Client, Network
from tests.network.namespace import Namespace, why_not
from tests.sfu.classroom import Classroom

# What the page does not tell of a voice stands in its connections' own statistics.
KEEP_CONNECTIONS = """
  globalThis.lecternConnections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...arguments_) { super(...arguments_); globalThis.lecternConnections.push(this); }
  };
"""

FIRST_DRIVEN_PORT = 9200  # by which browsers are driven: this, and the machine's number


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.network)


@pytest.fixture(scope="session")
def namespaces() -> None:
    reason = why_not()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture
def network(namespaces: None) -> Iterator[Network]:
    """The test is on the server's side until it ends."""
    with Network() as network:
        yield network


@pytest.fixture
async def classroom(network: Network) -> AsyncIterator[Classroom]:
    """A media worker on the server's side: `classroom.person("sam")`, and `sam.connect(..., make_socket=...)`."""
    room = Classroom()
    await room.open(SERVER)
    yield room
    await room.close()


@pytest.fixture
def lectern(network: Network, tmp_path: Path) -> Iterator[Lectern]:
    with running_lectern(tmp_path, HOST=SERVER, SFU_ANNOUNCED_IPS=SERVER) as running:
        yield running


@pytest.fixture(scope="module")
def drivers_place(namespaces: None) -> Iterator[Namespace]:
    """Where Playwright's driver is: a network with a loopback whose ports are all free."""
    place = Namespace()
    yield place
    place.close()


@pytest.fixture(scope="module")  # tests with event loops of their own go on after it
def playwright(drivers_place: Namespace) -> Iterator[Playwright]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # see tests/browser/conftest.py
    starting = sync_playwright()
    with drivers_place:
        running = starting.start()
    yield running
    running.stop()


@pytest.fixture
def launch(playwright: Playwright, drivers_place: Namespace, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """`launch("firefox", machine, "10.77.0.1:8000")`: a browser on that machine. Cameras are for secure pages only, as
    on loopback: that site stands for one with a certificate."""
    browsers: list[Browser] = []

    def start(kind: str, machine: Client, site: str, *, plain_addresses: bool = False) -> Browser:
        command = tmp_path / f"{kind}-{machine.number}"
        program = executable("firefox-esr" if kind == "firefox" else kind)
        command.write_text(f'#!/bin/sh\nexec {shlex.join([*machine.prefix, program])} "$@"\n')
        command.chmod(0o755)
        if kind == "firefox":
            # Chromium is driven by a pipe, Firefox by a WebSocket for which it listens on its machine's loopback.
            port = FIRST_DRIVEN_PORT + machine.number
            machine.lend_port(port, to=drivers_place)
            browser = playwright.firefox.launch(
                channel="moz-firefox",
                executable_path=command,
                args=[f"--remote-debugging-port={port}"],
                ignore_default_args=["--remote-debugging-port=0"],
                firefox_user_prefs={**FIREFOX_PREFS, "dom.securecontext.allowlist": site.partition(":")[0]},
            )
        else:
            secure = f"--unsafely-treat-insecure-origin-as-secure=http://{site}"
            arguments = [*CHROMIUM_ARGUMENTS, secure, *([PLAIN_ADDRESSES] if plain_addresses else [])]
            browser = playwright.chromium.launch(executable_path=command, args=arguments)
        browsers.append(browser)
        return browser

    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture
def person(lectern: Lectern, launch: Callable[..., Browser]) -> Iterator[Callable[..., Person]]:
    """`person("student1", 1, machine=sam)` signs somebody in, in a Chromium (or `browser="firefox"`) of his own.

    `plain_addresses`: others hear the machine's own, so that they find a direct way to it.
    """
    people: list[Person] = []

    def make(
        username: str,
        number: int,
        *,
        machine: Client,
        browser: str = "chromium",
        plain_addresses: bool = False,
        **options: object,
    ) -> Person:
        site = urlsplit(lectern.url).netloc
        driven = launch(browser, machine, site, plain_addresses=plain_addresses)
        one = Person(driven, lectern, username, number, **options)  # type: ignore[arg-type]
        people.append(one)
        one.context.add_init_script(KEEP_CONNECTIONS)
        one.sign_in()
        return one

    yield make
    for one in people:
        print(f"--- {one.username}'s console:", *one.log[-40:], sep="\n")
