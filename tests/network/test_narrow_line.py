"""A line that becomes narrow and wide again, in Chromium: a coarser picture, or none, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import classroom_by_worker
from tests.browser.person import Person
from tests.lectern import Lectern, wait_until
from tests.network.links import Network
from tests.network.test_browsers import usable, voices

WIDTH, HEIGHT = 848, 480  # of which the page makes two layers
NARROW = {"rate": 300_000, "queue": 2.0}  # bit/s: for the coarser layer
NARROWEST = {"rate": 80_000, "queue": 1.0}  # a voice takes 74, with all headers
WIDE = {"rate": 0, "queue": 1.0}
FREEZE = 0.3  # seconds that the picture may stand still when its layer changes, beside its usual pace
COARSER_WITHIN, FINER_WITHIN = 10.0, 45.0  # seconds: no finer layer for ten after a coarser one, and then by probes
GIVEN_UP_WITHIN = 20.0  # seconds
BACK_WITHIN = 60.0  # seconds: by a probe, and those are rarer the oftener they failed
LONGEST_QUEUE, DRAINED_WITHIN = 0.5, 40.0  # seconds
VOICE = 0.95  # of its packets are usable

# Whoever judges pictures by their usual pace: with fewer of them a second, the time between two is no freeze.
WATCH_FREEZES = """(id) => {
  const video = document.querySelector(`[data-testid="tile"][data-participant-id="${id}"][data-source="camera"] video`);
  const seen = globalThis.freezesSeen = { last: performance.now(), pace: 67, worst: 0 };
  const frame = () => {
    if (seen !== globalThis.freezesSeen) return;
    const now = performance.now();
    const took = now - seen.last;
    seen.worst = Math.max(seen.worst, took - seen.pace);
    seen.pace += (Math.min(took, 300) - seen.pace) / 8;
    seen.last = now;
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
}"""
WORST_FREEZE = "Math.max(freezesSeen.worst, performance.now() - freezesSeen.last - freezesSeen.pace)"


def layer_of(viewer: Person, sender: Person) -> dict[str, Any] | None:
    """What the worker said last of which one it sends; None: nothing of this picture."""
    rows = viewer.stats()
    (row,) = (r for r in rows if r["participant_id"] == sender.participant_id and r["source"] == "camera")
    layer: dict[str, Any] | None = row["layer"]
    return layer


def sent_in_full(sender: Person) -> bool:
    return any(r["frameHeight"] == HEIGHT and r["fps"] > 10 for r in sender.stats() if r["direction"] == "send")


def worst_freeze(viewer: Person) -> float:
    """Seconds, also of one that goes on."""
    return float(viewer.page.evaluate(WORST_FREEZE)) / 1000


@pytest.mark.nightly
def test_layers_go_down_and_up_without_a_freeze(
    network: Network, person: Callable[..., Person], lectern: Lectern
) -> None:
    room = classroom_by_worker(lectern, "A narrow line")
    machine = network.client(delay=0.03)
    tina = person("teacher", 0, machine=network.client(delay=0.01), classroom=room, size=(WIDTH, HEIGHT))
    sam = person("student1", 1, machine=machine, classroom=room)
    # What she misses, this machine was late with.
    olga = person("student2", 2, machine=network.client(delay=0.03), classroom=room)
    tina.enter()
    for one in (sam, olga):
        one.page.set_viewport_size({"width": 1280, "height": 800})  # tiles that the coarser layer does not fill
        one.enter()
        one.wait_to_see(tina)

    def at_layer(spatial: int, *, within: float, what: str) -> None:
        def is_there() -> bool:
            return (layer_of(sam, tina) or {}).get("spatial") == spatial

        wait_until(is_there, within=within, what=what, every=0.3)

    wait_until(lambda: sent_in_full(tina), within=60, what="her browser sending all that her camera gives")
    at_layer(1, within=20, what="the finest picture")
    for rate, layer, within, what in (
        (NARROW, 0, COARSER_WITHIN, "a coarser picture"),
        (WIDE, 1, FINER_WITHIN, "the finest one again"),
    ):
        for one in (sam, olga):
            one.page.evaluate(WATCH_FREEZES, tina.participant_id)
        machine.link.set(down=rate)
        at_layer(layer, within=within, what=what)
        sam.page.wait_for_timeout(2000)
        print(f"{what}: {worst_freeze(sam):.2f} s of freeze, {worst_freeze(olga):.2f} s where the line is wide")
        assert worst_freeze(sam) <= FREEZE + worst_freeze(olga)


@pytest.mark.nightly
def test_a_picture_gives_way_to_the_voice_and_comes_back(
    network: Network, person: Callable[..., Person], lectern: Lectern
) -> None:
    room = classroom_by_worker(lectern, "A line for a voice")
    machine = network.client(delay=0.03)
    tina = person("teacher", 0, machine=network.client(delay=0.01), classroom=room, size=(WIDTH, HEIGHT))
    sam = person("student1", 1, machine=machine, classroom=room)
    tina.enter()
    sam.enter()
    sam.wait_to_see(tina)
    wait_until(lambda: layer_of(sam, tina), within=20, what="a picture that is told of")

    machine.link.set(down=NARROWEST)
    begin = time.monotonic()
    wait_until(
        lambda: layer_of(sam, tina) is None, within=GIVEN_UP_WITHIN, what="the picture being given up", every=0.3
    )
    print(f"given up after {time.monotonic() - begin:.1f} s")
    wait_until(
        lambda: machine.link.stats()["down"]["waited"]["most"] < LONGEST_QUEUE,
        within=DRAINED_WITHIN, what="the queue being gone", every=1.0,
    )  # fmt: skip
    before = voices(sam)
    sam.page.wait_for_timeout(10_000)
    heard, layer = usable(before, voices(sam)), layer_of(sam, tina)
    print(f"{heard:.1%} of the voice, queue {machine.link.stats()['down']['waited']}")
    assert layer is None
    assert heard >= VOICE
    assert sam.hears(tina.look.tone)

    machine.link.set(down=WIDE)
    begin = time.monotonic()
    wait_until(lambda: layer_of(sam, tina), within=BACK_WITHIN, what="the picture being told of again", every=0.3)
    sam.wait_to_see(tina)
    print(f"back after {time.monotonic() - begin:.1f} s")
