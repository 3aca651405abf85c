"""Which layer somebody gets who shows a picture small or large."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.core.layers import Preference, useful_layer
from sfu.core.vp8 import key_frame_size
from sfu.protocol import ConsumerLayers
from tests.sfu.network import FakeNetwork
from tests.sfu.test_simulcast import Lesson, assert_one_stream, current_rid


def streams(*sizes: tuple[int, int] | None) -> Any:
    return [SimpleNamespace(size=size) for size in sizes]


HD = streams((320, 180), (640, 360), (1280, 720))


@pytest.mark.parametrize(
    ("shown", "layer"),
    [
        ((0, 0), 0),
        ((200, 112), 0),
        ((400, 225), 0),
        ((401, 226), 1),
        ((640, 360), 1),
        ((960, 540), 2),
        ((3840, 2160), 2),
        ((300, 2000), 0),  # a phone held upright: the picture is as wide as the tile
        ((2000, 180), 0),
    ],
)
def test_the_coarsest_layer_that_looks_good_is_taken(shown: tuple[int, int], layer: int) -> None:
    assert useful_layer(HD, Preference(*shown)) == layer


def test_sizes_that_no_key_frame_told_are_guessed_from_the_others() -> None:
    assert useful_layer(streams(None, (640, 360), None), Preference(320, 180)) == 0
    assert useful_layer(streams(None, (640, 360), None), Preference(1280, 720)) == 2
    assert useful_layer(streams(None, None, None), Preference(640, 360)) == 1


def test_who_says_nothing_of_a_size_gets_the_best() -> None:
    assert useful_layer(HD, Preference()) == 2
    assert useful_layer(HD, Preference(spatial=1)) == 1
    assert useful_layer(HD, Preference(4000, 4000, spatial=0)) == 0


pixels = st.none() | st.integers(0, 16384)
sizes = st.none() | st.tuples(st.integers(1, 16383), st.integers(1, 16383))


@given(st.lists(sizes, min_size=1, max_size=4), pixels, pixels, st.none() | st.integers(0, 7))
def test_it_is_always_a_layer_that_exists(sent: list[Any], width: Any, height: Any, spatial: Any) -> None:
    chosen = useful_layer(streams(*sent), Preference(width, height, 1, spatial))
    assert 0 <= chosen < len(sent)
    assert spatial is None or chosen <= spatial


def test_a_vp8_key_frame_tells_its_size() -> None:
    frame = bytes.fromhex("5042009d012a0005d00200")
    assert key_frame_size(frame, 0, len(frame)) == (1280, 720)
    assert key_frame_size(frame, 0, 9) is None
    assert key_frame_size(b"\0" * 20, 0, 20) is None


def layers_told(network: FakeNetwork, consumer_id: str) -> list[int | None]:
    return [e.spatial for e in network.events if isinstance(e, ConsumerLayers) and e.consumer_id == consumer_id]


def test_a_tile_that_shrinks_gets_a_smaller_layer_and_back_and_others_do_not_notice() -> None:
    network = FakeNetwork()
    lesson = Lesson(network)
    olga = network.join("olga", "recv")
    tile = network.consume(olga, lesson.camera)
    network.advance(5.0)
    tile.prefer(Preference(160, 90), network.now)
    network.advance(1.0)
    assert layers_told(network, tile.id)[-1] == 0
    tile.prefer(Preference(1280, 720), network.now)
    network.advance(1.0)
    assert layers_told(network, tile.id)[-1] == 2
    assert current_rid(lesson) == "f"
    assert_one_stream(olga, gaps=3)
    assert_one_stream(lesson.sam, gaps=1)


def test_a_tile_that_was_small_from_the_beginning_never_gets_more() -> None:
    network = FakeNetwork()
    lesson = Lesson(network)
    network.advance(5.0)
    olga = network.join("olga", "recv")
    tile = network.consume(olga, lesson.camera, resume=False)
    tile.prefer(Preference(160, 90), network.now)
    tile.resume(network.now)
    network.advance(3.0)
    assert layers_told(network, tile.id) == [0]
    assert_one_stream(olga)
