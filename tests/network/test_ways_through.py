"""Browsers in networks that let little through, or change: TCP, relays, another address."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import classroom_by_worker
from tests.browser.person import Person
from tests.lectern import Lectern, running_lectern, wait_until
from tests.network.links import SERVER, Network
from tests.network.turn import SECRET, Relay, running_relay

THROUGH_WITHIN = 10.0  # seconds: UDP is blocked
BACK_WITHIN = 5.0  # seconds: another port or address, of the NAT or of the machine
STILL = 700  # ms without a picture: it stands still, and not because this machine was busy
STEADY = 1500  # ms of pictures, after which it counts as being back
BROWSERS = ["chromium", pytest.param("firefox", marks=pytest.mark.nightly)]

# Nothing but relays, and of those only what the test says.
RELAYS_ONLY = """
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    const wanted = sessionStorage.getItem("relay");
    const iceServers = (configuration.iceServers ?? []).map((server) => ({
      ...server, urls: [server.urls].flat().filter((url) => url.startsWith("turn") && `${url}tls`.includes(wanted)),
    })).filter((server) => server.urls.length);
    super({ ...configuration, iceServers, iceTransportPolicy: "relay" });
  }
};
"""


@pytest.fixture
def relay(network: Network, tmp_path: Path) -> Iterator[Relay]:
    with running_relay(tmp_path, SERVER, worker=SERVER) as running:
        yield running


@pytest.fixture
def lectern(network: Network, relay: Relay, tmp_path: Path) -> Iterator[Lectern]:
    urls = relay.urls("udp", "tcp", "tls")
    with running_lectern(
        tmp_path, HOST=SERVER, SFU_ANNOUNCED_IPS=SERVER, TURN_URLS=urls, TURN_SECRET=SECRET
    ) as running:
        yield running


@pytest.fixture
def classroom(lectern: Lectern) -> str:
    """One whose media always go by the worker."""
    return classroom_by_worker(lectern, "Ways")


def path_of(one: Person) -> set[str | None]:
    return {row["path"] for row in one.stats()}


def time_to_see(one: Person, other: Person) -> float:
    began = time.monotonic()
    one.enter()
    one.wait_to_see(other)
    return time.monotonic() - began


WATCH_FRAMES = """([id, still]) => {
  const video = document.querySelector(`[data-testid="tile"][data-participant-id="${id}"][data-source="camera"] video`);
  const seen = globalThis.framesSeen = { began: performance.now(), last: performance.now(), backAt: 0 };
  const frame = () => {
    if (seen !== globalThis.framesSeen) return;
    const now = performance.now();
    if (now - seen.last > still) seen.backAt = now - seen.began;
    seen.last = now;
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
}"""
# ms that the picture was away for; null: it has not been there for long enough to say.
BACK_AT = """([still, steady]) => {
  const { began, last, backAt } = globalThis.framesSeen;
  return performance.now() - last < still && performance.now() - began - backAt > steady ? backAt : null;
}"""


def time_until_back(change: Callable[[], None], *pairs: tuple[Person, Person]) -> float:
    """Seconds from the change until everybody's picture of the other has come back to stay."""
    for viewer, seen in pairs:
        viewer.page.evaluate(WATCH_FRAMES, [seen.participant_id, STILL])
    change()
    took = []
    for viewer, seen in pairs:
        wait_until(
            lambda viewer=viewer: viewer.page.evaluate(BACK_AT, [STILL, STEADY]) is not None,
            within=20,
            what=f"{viewer.username} seeing {seen.username} again",
        )
        took.append(viewer.page.evaluate("framesSeen.backAt") / 1000)
    return max(took)


@pytest.mark.parametrize("browser", BROWSERS)
def test_where_udp_is_blocked_tcp_or_a_relay_gets_through(
    network: Network, person: Callable[..., Person], classroom: str, relay: Relay, browser: str
) -> None:
    tina = person("teacher", 0, machine=network.client(delay=0.01), classroom=classroom)
    tina.enter()
    strict = network.client(delay=0.01, udp=False)
    sam = person("student1", 1, machine=strict, classroom=classroom, browser=browser)
    took = time_to_see(sam, tina)
    print(f"without UDP, by TCP: {took:.1f} s until the first picture")
    assert path_of(sam) == {"tcp"}
    assert took < THROUGH_WITHIN
    tina.wait_to_see(sam)

    sam.context.add_init_script(RELAYS_ONLY)
    for transport in ("tcp", "udp"):
        strict.link.set(udp=transport == "udp")
        sam.page.evaluate("(name) => sessionStorage.setItem('relay', name)", transport)
        took = time_to_see(sam, tina)
        print(f"by a relay over {transport}: {took:.1f} s until the first picture")
        assert path_of(sam) == {"relay"}, relay.log.read_text()[-2000:]
        assert took < THROUGH_WITHIN
        tina.wait_to_see(sam)


@pytest.mark.parametrize("browser", BROWSERS)
def test_another_port_or_address_does_not_end_the_class(
    network: Network, person: Callable[..., Person], classroom: str, browser: str
) -> None:
    tina = person("teacher", 0, machine=network.client(delay=0.01), classroom=classroom)
    machine = network.client(delay=0.01)
    sam = person("student1", 1, machine=machine, classroom=classroom, browser=browser)
    tina.enter()
    sam.enter()
    sam.wait_to_see(tina)
    tina.wait_to_see(sam)
    for what, change in (
        ("another network", machine.move),
        ("another port", machine.link.rebind),
        ("another address of the NAT", lambda: machine.link.rebind(address=True)),
    ):
        for again in (True, True, False):  # a machine with other work is slow now and then, what is slow is slow always
            took = time_until_back(change, (sam, tina), (tina, sam))
            print(f"{what}: {took:.1f} s until both see each other again")
            if took < BACK_WITHIN:
                break
            assert again, what
    assert sam.page.evaluate("lectern.state().session") == "joined"
    assert tina.page.get_by_test_id("participant").count() <= 2, "nobody has come anew"
