"""What the tests stand on: see the package's docstring."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.conftest import CHROMIUM_ARGUMENTS, PLAIN_ADDRESSES, executable
from tests.browser.person import Person
from tests.lectern import Lectern, running_lectern
from tests.network.links import SERVER, Client, Network
from tests.network.namespace import why_not
from tests.sfu.classroom import Classroom

# What the page does not tell of a voice stands in its connections' own statistics.
KEEP_CONNECTIONS = """
  globalThis.lecternConnections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...arguments_) { super(...arguments_); globalThis.lecternConnections.push(this); }
  };
"""


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


@pytest.fixture(scope="module")  # tests with event loops of their own go on after it
def playwright() -> Iterator[Playwright]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # see tests/browser/conftest.py
    with sync_playwright() as running:
        yield running


@pytest.fixture
def person(playwright: Playwright, lectern: Lectern, tmp_path: Path) -> Iterator[Callable[..., Person]]:
    """`person("student1", 1, machine=sam)` signs somebody in, in a Chromium of his own.

    `plain_addresses`: others hear the machine's own, so that they find a direct way to it.
    """
    browsers: list[Browser] = []
    people: list[Person] = []

    def make(
        username: str, number: int, *, machine: Client, plain_addresses: bool = False, **options: object
    ) -> Person:
        start = tmp_path / f"chromium-{number}"
        start.write_text(f'#!/bin/sh\nexec {shlex.join([*machine.prefix, executable("chromium")])} "$@"\n')
        start.chmod(0o755)
        # Cameras are for secure pages only, as on loopback: this address stands for one with a certificate.
        secure = f"--unsafely-treat-insecure-origin-as-secure={lectern.url.rstrip('/')}"
        arguments = [*CHROMIUM_ARGUMENTS, secure, *([PLAIN_ADDRESSES] if plain_addresses else [])]
        browsers.append(playwright.chromium.launch(executable_path=start, args=arguments))
        one = Person(browsers[-1], lectern, username, number, **options)  # type: ignore[arg-type]
        people.append(one)
        one.context.add_init_script(KEEP_CONNECTIONS)
        one.sign_in()
        return one

    yield make
    for one in people:
        print(f"--- {one.username}'s console:", *one.log[-40:], sep="\n")
    for browser in browsers:
        browser.close()
