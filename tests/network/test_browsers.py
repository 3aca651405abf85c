"""A class in Chromium, each on a machine of his own, and a whole Lectern: the specification's table of networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.person import Person
from tests.browser.test_faults import frozen_since, longest_gap
from tests.lectern import wait_until
from tests.network.links import Network

WINDOW, LONG_WINDOW = 8.0, 60.0  # seconds
BLACKOUT = 10.0
BACK_WITHIN = 5.0  # seconds
JOIN_WITHIN = 5.0
LONGEST_QUEUE = 0.5

# Who, by what; then the share of the voice's packets that must be usable, and the longest freeze in seconds.
STUDENTS: dict[str, tuple[dict[str, Any], float, float]] = {
    "student1": ({"delay": 0.03, "loss": 0.10}, 0.95, 2.0),
    "student2": ({"delay": 0.03, "rate": 300_000, "queue": 2.0}, 0.95, 10.0),
    "student3": ({"delay": 0.20}, 0.98, 1.0),
}

VOICES = """async () => {
  const sum = { received: 0, lost: 0, discarded: 0 };
  for (const connection of globalThis.lecternConnections) {
    for (const stat of (await connection.getStats()).values()) {
      if (stat.type !== "inbound-rtp" || stat.kind !== "audio") continue;
      sum.received += stat.packetsReceived;
      sum.lost += stat.packetsLost;
      sum.discarded += stat.packetsDiscarded ?? 0;
    }
  }
  return sum;
}"""


def voices(person: Person) -> dict[str, int]:
    """Packets of all voices that this person's browser was sent."""
    return dict(person.page.evaluate(VOICES))


def usable(before: dict[str, int], after: dict[str, int]) -> float:
    came, lost, discarded = (after[key] - before[key] for key in ("received", "lost", "discarded"))
    return (came - discarded) / (came + max(0, lost))


def seen_after(student: Person, teacher: Person) -> float:
    """Seconds from the click until the teacher's picture moves."""
    begin = time.monotonic()
    student.testid("lobby-join").click()
    student.wait_to_see(teacher)
    return time.monotonic() - begin


@pytest.mark.parametrize("seconds", [WINDOW, pytest.param(LONG_WINDOW, marks=pytest.mark.nightly)])
def test_a_class_over_bad_lines(network: Network, person: Callable[..., Person], seconds: float) -> None:
    tina = person("teacher", 0, machine=network.client(delay=0.01))
    tina.enter()
    machines = {name: network.client() for name in STUDENTS}
    students = {
        name: person(name, number, machine=machine) for number, (name, machine) in enumerate(machines.items(), 1)
    }
    joined: dict[str, float] = {}
    for name, student in students.items():
        student.page.goto(student.lectern.url + student.classroom)
        expect(student.testid("lobby-join")).to_be_visible()
        machines[name].link.set(**STUDENTS[name][0])  # now: it is the class that is looked at, not how long pages take
        joined[name] = seen_after(student, tina)
    for student in students.values():
        wait_until(lambda one=student: frozen_since(one, tina.participant_id) < 0.5, within=10, what="frames")
    students["student2"].page.wait_for_timeout(1000)
    machines["student2"].link.stats()

    before = {name: voices(student) for name, student in students.items()}
    gaps = {name: longest_gap(student, tina.participant_id) for name, student in students.items()}
    tina.page.wait_for_timeout(seconds * 1000)
    queue = machines["student2"].link.stats()["down"]["waited"]
    told: list[tuple[Any, ...]] = []
    for name, student in students.items():
        heard = usable(before[name], voices(student))
        gap = longest_gap(student, tina.participant_id)
        told.append((name, joined[name], heard, gaps[name], gap))
        print(f"{name}: saw her after {joined[name]:.1f} s, {heard:.1%} of voices usable, longest gap {gap:.2f} s")
    print(f"queue of the thin line: {queue}")
    for name, _, heard, _, gap in told:
        assert heard >= STUDENTS[name][1], name
        assert gap <= STUDENTS[name][2], name
    assert joined["student3"] <= JOIN_WITHIN
    assert queue["p95"] <= LONGEST_QUEUE

    far = students["student3"]
    machines["student3"].link.set(connected=False)
    tile = tina.page.locator(f'[data-testid="tile"][data-participant-id="{far.participant_id}"]').first
    tina.page.wait_for_timeout(BLACKOUT * 1000)
    expect(tile).to_be_attached()
    machines["student3"].link.set(connected=True)
    begin = time.monotonic()
    wait_until(lambda: frozen_since(far, tina.participant_id) < 0.5, within=BACK_WITHIN, what="her picture being back")
    wait_until(lambda: far.hears(tina.look.tone), within=BACK_WITHIN, what="her voice being back")
    print(f"back {time.monotonic() - begin:.1f} s after the blackout")
    expect(tile).to_be_attached()

    machines["student1"].link.rebind(address=True)
    began = time.monotonic()
    other = students["student1"]
    other.page.wait_for_timeout(500)
    wait_until(lambda: frozen_since(other, tina.participant_id) < 0.4, within=BACK_WITHIN, what="her pictures again")
    print(f"back {time.monotonic() - began:.1f} s after the change of the port and address")
