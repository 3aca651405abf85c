"""Two who are connected directly, each on his machine: the way between them ends, the one to the server does not."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.person import Person
from tests.browser.test_two_alone import GAP, are_direct, frames_come, longest_gap, media_path, watch_frames
from tests.lectern import wait_until
from tests.network.links import Network

DELAY = 0.01  # seconds from each to the server, and twice that to the other


def test_where_no_packet_gets_from_one_to_the_other_any_more_the_worker_has_both_without_a_gap(
    network: Network, person: Callable[..., Person]
) -> None:
    tina, sam = (
        person(name, number, machine=network.client(delay=DELAY), plain_addresses=True)
        for number, name in enumerate(("teacher", "student1"))
    )
    for again in (True, False):  # a machine that has other things to do is late, too: what is slow is slow twice
        network.unite()
        for one in (tina, sam):
            one.enter()
        gaps = gaps_when_parted(network, tina, sam)
        print("longest gaps, ms:", gaps)
        if max(gaps) < GAP:
            return
        assert again, "a picture stood still"


def gaps_when_parted(network: Network, tina: Person, sam: Person) -> list[float]:
    """The longest that either's picture stood still, in ms, while the worker took them back."""
    tina.wait_to_see(sam)
    sam.wait_to_see(tina)
    wait_until(lambda: are_direct(tina, sam), within=20, what="the two being connected directly")
    wait_until(lambda: path_of(sam) == path_of(tina) == {"direct"}, within=10, what="all media going directly")

    watch_frames((tina, sam), (sam, tina))
    network.part()
    wait_until(lambda: media_path(tina) == media_path(sam) == "off", within=10, what="the worker having them")
    for one, other in ((tina, sam), (sam, tina)):
        wait_until(lambda one=one, other=other: frames_come(one, other), within=5, what="pictures by the worker")
        one.wait_to_hear(other)
        assert path_of(one) == {"udp"}
    return [longest_gap(one) for one in (tina, sam)]


def path_of(one: Person) -> set[str | None]:
    return {row["path"] for row in one.stats() if row["direction"] == "recv"}
