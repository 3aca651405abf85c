"""A class whose people are on several media workers: pages notice nothing of it, but when one of the workers dies."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.person import PASSWORD, Person
from tests.browser.test_faults import frozen_since, longest_gap
from tests.lectern import Lectern, running_lectern, wait_until

pytestmark = pytest.mark.nightly


@pytest.fixture
def spread(tmp_path: Path) -> Iterator[Lectern]:
    """Two workers, each of which takes half of three people."""
    with running_lectern(tmp_path, SFU_WORKERS="2", SFU_ROOM_PEERS="1") as running:
        yield running


def edge_of(lectern: Lectern) -> int:
    """The process of the worker that opened a pipe to the class's home."""
    [line] = [line for line in lectern.lines if "pipe_opened" in line and "home" in line]
    workers = lectern.pids_of("-m sfu")
    return workers[int(re.search(r"sfu-(\d)", line)[1])]  # type: ignore[index]


def test_three_on_two_workers_see_and_hear_each_other_and_a_killed_edge_costs_its_own_alone(
    chromium: Browser, spread: Lectern
) -> None:
    access = spread.api("auth/token/", {"username": "teacher", "password": PASSWORD})["access"]
    lesson = spread.api("lessons/", {"course": "demo-course", "title": "Large"}, token=access)
    people = []
    try:
        for number, name in enumerate(("teacher", "student1", "student2")):
            one = Person(chromium, spread, name, number, classroom=f"meetings/lesson/{lesson['id']}/")
            people.append(one)
            one.sign_in()
            one.enter()
        for one in people:
            for other in people:
                if one is not other:
                    one.wait_to_see(other, within=30)
                    one.wait_to_hear(other, within=30)
        teacher, student, neighbour = people  # the second one is on the edge
        frozen_since(neighbour, teacher.participant_id)
        os.kill(edge_of(spread), signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: frozen_since(student, teacher.participant_id) > 0.7, within=10, what="the picture standing still"
        )
        for one, other in ((student, teacher), (teacher, student), (neighbour, student)):
            wait_until(
                lambda one=one, other=other: frozen_since(one, other.participant_id) < 0.3,
                within=15,
                what="the picture coming back",
            )
        print(f"pictures are back after {time.monotonic() - killed:.1f} s")
        student.wait_to_hear(teacher)
        neighbour.wait_to_hear(student)
        gap = longest_gap(neighbour, teacher.participant_id)
        print(f"the longest gap of those at home: {gap * 1000:.0f} ms")
        assert gap < 0.5
    finally:
        for one in people:
            print(f"--- {one.username}'s console:", *one.log[-40:], sep="\n")
            one.context.close()
