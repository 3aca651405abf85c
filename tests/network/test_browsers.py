"""Browsers on machines of their own, and a whole Lectern."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.person import Person
from tests.network.links import Network


def test_two_browsers_meet_over_their_links(network: Network, person: Callable[..., Person]) -> None:
    tina = person("teacher", 0, machine=network.client(delay=0.01))
    sam = person("student1", 1, machine=network.client(delay=0.02))
    tina.enter()
    sam.enter()
    sam.wait_to_see(tina)
    tina.wait_to_hear(sam)
