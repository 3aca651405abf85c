"""What a receiver gets of what he wants: everybody a little first, then the more important the better."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core.bandwidth.allocation import (
    NO_RETURN_AFTER,
    NO_UPGRADE_AFTER,
    Allocation,
    Allocator,
    Demand,
    Layer,
    Priority,
)

OTHER, PINNED, SPEAKER, SCREEN = Priority.OTHER, Priority.PINNED, Priority.SPEAKER, Priority.SCREEN
CAMERA = (100_000, 300_000, 1_000_000)
LONG_AGO = -100.0


def demand(
    key: str,
    priority: Priority = OTHER,
    bitrates: Sequence[float] = CAMERA,
    *,
    wanted: int | None = 2,
    current: int | None = None,
    exempt: bool = False,
    since: Sequence[float | None] | None = None,
) -> Demand[str]:
    began = since or [LONG_AGO] * len(bitrates)
    layers = [Layer(bitrate, at) for bitrate, at in zip(bitrates, began, strict=True)]
    return Demand(key, priority, layers, wanted, current, exempt)


class Room:
    """One viewer over time: what is chosen becomes what he has."""

    def __init__(self, *demands: Demand[str]) -> None:
        self.allocator: Allocator[str] = Allocator()
        self.demands = {demand.key: demand for demand in demands}
        self.now = 0.0

    def give(self, estimate: float, at: float | None = None) -> Allocation[str]:
        if at is not None:
            self.now = at
        allocation = self.allocator.allocate(estimate, list(self.demands.values()), self.now)
        for key, layer in allocation.layers.items():
            old = self.demands[key]
            self.demands[key] = Demand(key, old.priority, old.layers, old.wanted, layer, old.exempt)
        return allocation


def test_with_enough_everybody_gets_what_he_wants():
    allocation = Room(demand("a"), demand("b", wanted=1)).give(5_000_000)
    assert allocation.layers == {"a": 2, "b": 1}
    assert allocation.usage == 1_300_000
    assert allocation.next_step is None
    assert not allocation.audio_only


def test_everybody_gets_something_before_anybody_gets_more():
    allocation = Room(demand("a", SCREEN), demand("b", SPEAKER), demand("c")).give(450_000)
    assert allocation.layers == {"a": 0, "b": 0, "c": 0}


def test_the_screen_comes_before_the_speaker_before_the_pinned_before_others():
    keys = {"other": OTHER, "pinned": PINNED, "screen": SCREEN, "speaker": SPEAKER}
    room = [demand(key, priority) for key, priority in keys.items()]
    given = [
        {key for key, layer in Room(*room).give(120_000 * count).layers.items() if layer is not None}
        for count in range(5)
    ]
    assert given == [
        set(),
        {"screen"},
        {"screen", "speaker"},
        {"screen", "speaker", "pinned"},
        {"screen", "speaker", "pinned", "other"},
    ]


def test_the_more_important_rises_first():
    allocation = Room(demand("screen", SCREEN), demand("a"), demand("b")).give(1_400_000)
    assert allocation.layers == {"screen": 2, "a": 0, "b": 0}


def test_voices_are_always_sent_and_cost_nothing_here():
    allocation = Room(demand("voice", OTHER, (40_000,), wanted=0, exempt=True), demand("a")).give(111_000)
    assert allocation.layers == {"voice": 0, "a": 0}
    assert allocation.usage == 100_000


def test_a_tile_that_is_not_seen_gets_nothing():
    allocation = Room(demand("a", wanted=None), demand("b")).give(5_000_000)
    assert allocation.layers == {"a": None, "b": 2}
    assert not Room(demand("a", wanted=None)).give(5_000_000).audio_only


def test_the_next_step_is_what_the_most_important_lacks():
    allocation = Room(demand("a"), demand("speaker", SPEAKER)).give(450_000)
    assert allocation.layers == {"a": 0, "speaker": 1}
    assert allocation.next_step == 700_000


def test_a_layer_that_is_not_sent_is_not_waited_for():
    assert Room(demand("a", since=[LONG_AGO, LONG_AGO, None])).give(5_000_000).layers == {"a": 1}
    allocation = Room(demand("a", since=[None, None, None])).give(5_000_000)
    assert allocation.layers == {"a": None}
    assert not allocation.audio_only


def test_a_layer_has_been_sent_for_two_seconds_before_one_goes_up_to_it():
    room = Room(demand("a", since=[LONG_AGO, 9.0, None]))
    assert room.give(5_000_000, at=10.0).layers == {"a": 0}
    assert room.give(5_000_000, at=11.0).layers == {"a": 1}


def test_a_stream_that_has_just_begun_starts_with_its_coarsest_layer():
    assert Room(demand("a", since=[0.0, 0.0, 0.0])).give(5_000_000).layers == {"a": 0}


def test_after_a_downgrade_nobody_goes_up_for_ten_seconds():
    room = Room(demand("a"))
    assert room.give(1_500_000, at=0.0).layers == {"a": 2}
    assert room.give(400_000, at=1.0).layers == {"a": 1}
    for second in range(2, 11):
        allocation = room.give(5_000_000, at=float(second))
        assert allocation.layers == {"a": 1}
        assert allocation.next_step is None  # no use in probing for what may not be taken
    assert room.give(5_000_000, at=1.0 + NO_UPGRADE_AFTER).layers == {"a": 2}


def test_what_the_page_chose_is_no_downgrade():
    room = Room(demand("a"))
    room.give(5_000_000, at=0.0)
    room.demands["a"] = demand("a", wanted=0, current=2)
    assert room.give(5_000_000, at=1.0).layers == {"a": 0}
    room.demands["a"] = demand("a", wanted=2, current=0)
    assert room.give(5_000_000, at=2.0).layers == {"a": 2}


def test_a_layer_that_the_sender_stopped_is_no_downgrade():
    room = Room(demand("a"))
    room.give(5_000_000, at=0.0)
    room.demands["a"] = demand("a", current=2, since=[LONG_AGO, LONG_AGO, None])
    assert room.give(5_000_000, at=1.0).layers == {"a": 1}
    room.demands["a"] = demand("a", current=1)
    assert room.give(5_000_000, at=2.0).layers == {"a": 2}


def test_going_up_needs_a_margin_and_staying_does_not():
    room = Room(demand("a"))
    assert room.give(1_000_000, at=0.0).layers == {"a": 1}
    assert room.give(1_100_000, at=1.0).layers == {"a": 2}
    assert room.give(1_000_000, at=2.0).layers == {"a": 2}
    assert room.give(999_999, at=3.0).layers == {"a": 1}


def test_without_room_for_any_picture_there_is_voice_alone_and_then_pictures_again():
    room = Room(demand("voice", OTHER, (40_000,), wanted=0, exempt=True), demand("a"), demand("b", SPEAKER))
    assert room.give(250_000, at=0.0).layers == {"voice": 0, "a": 0, "b": 0}
    down = room.give(60_000, at=1.0)
    assert down.layers == {"voice": 0, "a": None, "b": None}
    assert down.audio_only
    assert down.usage == 0
    held = room.give(250_000, at=2.0)
    assert held.audio_only
    assert held.next_step is None
    low = room.give(60_000, at=1.0 + NO_RETURN_AFTER)
    assert low.audio_only
    assert low.next_step == 100_000  # now padding may find out whether a picture fits
    back = room.give(5_000_000, at=2.0 + NO_RETURN_AFTER)
    assert back.layers == {"voice": 0, "a": 0, "b": 0}
    assert not back.audio_only
    assert room.give(5_000_000, at=1.0 + NO_UPGRADE_AFTER).layers == {"voice": 0, "a": 2, "b": 2}


def test_a_newcomer_of_importance_takes_from_the_others():
    room = Room(demand("a"), demand("b"))
    assert room.give(2_200_000, at=0.0).layers == {"a": 2, "b": 2}
    room.demands["screen"] = demand("screen", SCREEN, (200_000, 1_500_000), wanted=1)
    assert room.give(2_200_000, at=1.0).layers == {"screen": 1, "a": 1, "b": 1}


@pytest.mark.parametrize(
    ("estimate", "after", "due"),
    [
        (1_000_000, 0.1, False),
        (760_000, 0.1, False),
        (740_000, 0.1, True),
        (1_490_000, 0.1, False),
        (1_510_000, 0.1, True),
        (1_000_000, 1.0, True),
    ],
)
def test_it_is_computed_each_second_or_when_much_changed(estimate: float, after: float, due: bool):
    allocator: Allocator[str] = Allocator()
    assert allocator.due(1_000_000, 0.0)
    allocator.allocate(1_000_000, [], 0.0)
    assert allocator.due(estimate, after) is due


def test_who_left_is_forgotten():
    room = Room(demand("a"))
    room.give(1_500_000, at=0.0)
    room.give(400_000, at=1.0)
    room.allocator.allocate(5_000_000, [], 2.0)
    assert room.give(5_000_000, at=3.0).layers == {"a": 2}


bitrates = st.lists(st.floats(0, 3e6, allow_nan=False), min_size=1, max_size=4)
began = st.none() | st.floats(-100, 20, allow_nan=False)


@st.composite
def demands(draw: st.DrawFn, key: int) -> Demand[str]:
    layers = [Layer(bitrate, draw(began)) for bitrate in sorted(draw(bitrates))]
    index = st.none() | st.integers(0, len(layers) - 1)
    return Demand(str(key), draw(st.sampled_from(Priority)), layers, draw(index), draw(index), draw(st.booleans()))


@settings(deadline=None)
@given(st.data())
def test_no_more_is_given_than_there_is_and_nothing_that_was_not_wanted(data: st.DataObject):
    allocator: Allocator[str] = Allocator()
    for now in (0.0, 1.0, 5.0, 12.0):
        room = [data.draw(demands(key)) for key in range(data.draw(st.integers(0, 6)))]
        estimate = data.draw(st.floats(0, 1e7, allow_nan=False))
        allocation = allocator.allocate(estimate, room, now)
        assert allocation.layers.keys() == {one.key for one in room}
        used = 0.0
        for one in room:
            layer = allocation.layers[one.key]
            if one.exempt:
                assert layer == one.wanted
            elif layer is not None:
                assert one.wanted is not None
                assert layer <= one.wanted
                assert one.layers[layer].active_since is not None
                used += one.layers[layer].bitrate
        assert used <= estimate * (1 + 1e-9) + 1e-6
        assert allocation.usage == pytest.approx(used, abs=1)
