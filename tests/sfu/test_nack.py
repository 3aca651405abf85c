"""Losses: when a packet is asked for again, and when no more."""

from hypothesis import given
from hypothesis import strategies as st

from sfu.core.nack import DELAY, MAX_MISSING, MAX_PER_REQUEST, MAX_TRIES, RETRY, NackGenerator


def receive(nack: NackGenerator, *sequences: int, now: float = 0.0) -> None:
    for sequence in sequences:
        nack.receive(sequence, now)


def test_a_stream_without_gaps_asks_for_nothing():
    nack = NackGenerator()
    receive(nack, 10, 11, 12)
    assert nack.due(now=1.0) == []
    assert nack.next_at() is None


def test_a_gap_is_asked_for_after_ten_milliseconds_and_not_before():
    nack = NackGenerator()
    receive(nack, 10, 13, now=5.0)
    assert nack.next_at() == 5.0 + DELAY
    assert nack.due(now=5.009) == []
    assert nack.due(now=5.010) == [11, 12]


def test_reordering_within_the_delay_asks_for_nothing():
    nack = NackGenerator()
    receive(nack, 10, 12, now=0.0)
    assert nack.receive(11, now=0.005)
    assert nack.due(now=1.0) == []


def test_a_packet_is_asked_for_again_every_forty_milliseconds():
    nack = NackGenerator()
    receive(nack, 10, 12)
    assert nack.due(now=0.010) == [11]
    assert nack.due(now=0.049) == []
    assert nack.due(now=0.050) == [11]


def test_a_longer_round_trip_makes_a_longer_wait():
    nack = NackGenerator()
    receive(nack, 10, 12)
    nack.due(now=0.010, round_trip=0.200)
    assert nack.due(now=0.200, round_trip=0.200) == []
    assert nack.due(now=0.211, round_trip=0.200) == [11]


def test_after_ten_tries_a_key_frame_is_needed():
    nack = NackGenerator()
    receive(nack, 10, 12)
    now = DELAY
    for _ in range(MAX_TRIES):
        assert nack.due(now) == [11]
        assert not nack.key_frame_needed
        now += RETRY
    assert nack.due(now) == []
    assert nack.key_frame_needed
    assert nack.missing == 0


def test_a_repair_ends_the_asking():
    nack = NackGenerator()
    receive(nack, 10, 12)
    nack.due(now=0.010)
    assert nack.receive(11, now=0.030)
    assert not nack.receive(11, now=0.031)
    assert nack.due(now=1.0) == []


def test_a_packet_older_than_the_first_is_no_loss():
    nack = NackGenerator()
    receive(nack, 10, 5, 11)
    assert nack.due(now=1.0) == []


def test_on_a_long_way_a_repair_is_waited_for_as_long_as_it_takes_and_not_longer_than_it_is_of_use():
    nack = NackGenerator()
    receive(nack, 10, 12)
    asked = [at / 64 for at in range(256) if nack.due(at / 64, 0.5)]  # times that are whole in binary
    assert asked == [1 / 64 + tries / 2 for tries in range(4)]
    assert nack.key_frame_needed


def test_an_outage_is_given_up_at_once_for_a_key_frame():
    nack = NackGenerator()
    receive(nack, 10, 12 + MAX_MISSING)
    assert nack.key_frame_needed
    assert nack.due(now=1.0) == []
    receive(nack, 14 + MAX_MISSING, now=1.0)
    assert nack.due(now=2.0) == [13 + MAX_MISSING]


def test_many_losses_are_asked_for_in_several_reports():
    nack = NackGenerator()
    receive(nack, 0, 2 * MAX_PER_REQUEST + 1)
    assert nack.due(now=1.0) == list(range(1, MAX_PER_REQUEST + 1))
    assert nack.due(now=1.0) == list(range(MAX_PER_REQUEST + 1, 2 * MAX_PER_REQUEST + 1))
    assert nack.due(now=1.0) == []


@given(st.lists(st.integers(0, 500), min_size=1, max_size=200))
def test_all_that_never_came_is_asked_for_and_nothing_that_was_there(sequences):
    nack = NackGenerator()
    asked: set[int] = set()
    there: set[int] = set()
    now = 0.0
    for sequence in sequences:
        now += 0.005
        nack.receive(sequence, now)
        there.add(sequence)
        due = nack.due(now)
        assert not there & set(due)
        asked.update(due)
    while (at := nack.next_at()) is not None:
        asked.update(nack.due(at))
    assert asked >= set(range(sequences[0], max(sequences))) - there
    assert nack.missing == 0


def test_more_losses_in_a_second_than_a_stream_has_packets_are_not_noted_one_by_one():
    """Who leaves out nine hundred numbers with each packet would have us look at them all in every tick."""
    nacks = NackGenerator()
    for packet in range(100):
        nacks.receive(packet * 900, now=10.0 + packet / 1000)
    assert nacks.missing == 0
    assert nacks.key_frame_needed
    nacks.receive(99 * 900 + 3, now=11.2)
    assert nacks.missing == 2, "in the next second it is mended as ever"
