"""What was sent is found again by a report, each packet once, whatever order, wrap or lies it comes with."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core.bandwidth.sent_history import SIZE, SentHistory, departures
from sfu.core.transport_feedback import REFERENCE_TICKS, TICK, TransportFeedback, parse


def report(base: int, received: dict[int, float], count: int | None = None, reference: int = 100) -> TransportFeedback:
    """A report from `base` on, as it stands on the wire; times in seconds after the reference time."""
    last = max(received, default=base)
    told = TransportFeedback(1, 2, base, last - base + 1 if count is None else count, reference, 0)
    ticks = 0
    for number in sorted(received):
        at = round(received[number] / TICK)
        told.received.append((number, at - ticks))
        ticks = at
    return parse(told.serialize()[4:])


def at(seconds: float, reference: int = 100) -> float:
    return reference * REFERENCE_TICKS * TICK + seconds


def test_a_report_finds_what_was_sent_and_when():
    history = SentHistory()
    history.sent(0, departures((1000, 500), 7.0))
    history.sent(2, departures((300,), 7.02))
    received, size, lost, complete = history.match(report(0, {0: 0.010, 1: 0.011, 2: 0.035}))
    assert received == [(7.0, at(0.010), 1000), (7.0, at(0.011), 500), (7.02, at(0.035), 300)]
    assert (size, lost, complete) == (1800, 0, True)


def test_packets_that_did_not_arrive_are_counted():
    history = SentHistory()
    history.sent(0, departures((100,) * 10, 1.0))
    matched = history.match(report(0, {0: 0.0, 5: 0.01}, count=8))
    assert len(matched.received) == 2
    assert matched.lost == 6


def test_a_packet_told_lost_that_comes_later_is_taken_back():
    history = SentHistory()
    history.sent(0, departures((100,) * 4, 1.0))
    assert history.match(report(0, {0: 0.0, 3: 0.01})).lost == 2
    late = history.match(report(1, {1: 0.2, 3: 0.01}, count=3))
    assert [size for _, _, size in late.received] == [100]
    assert late.lost == -1


def test_what_is_reported_twice_counts_once():
    history = SentHistory()
    history.sent(0, departures((100,) * 4, 1.0))
    same = report(0, {0: 0.0, 1: 0.001, 3: 0.01})
    assert len(history.match(same).received) == 3
    assert history.match(same) == ([], 0, 0, True)


def test_who_was_overtaken_counts_as_if_he_had_come_with_who_overtook_him():
    history = SentHistory()
    history.sent(0, departures((1, 2, 3, 4), 1.0))
    received = history.match(report(0, {0: 0.030, 1: 0.010, 2: 0.020, 3: 0.025})).received
    assert [size for _, _, size in received] == [1, 2, 3, 4]
    first, *later = [arrived for _, arrived, _ in received]
    assert [arrived - first for arrived in later] == pytest.approx([0.0, 0.010, 0.015])


def test_numbers_wrap():
    history = SentHistory(first_number=65_534)
    history.sent(65_534, departures((1, 2, 3, 4), 1.0))
    received, _, lost, _ = history.match(report(65_534, {65_534: 0.0, 65_535: 0.001, 65_536: 0.002, 65_537: 0.003}))
    assert ([size for _, _, size in received], lost) == ([1, 2, 3, 4], 0)
    history.sent(2, departures((5,), 1.1))
    assert [size for _, _, size in history.match(report(2, {2: 0.1})).received] == [5]


def test_the_receivers_clock_runs_on_when_its_reference_wraps():
    history = SentHistory()
    history.sent(0, departures((1, 2), 1.0))
    top = 0x7FFFFF  # the field is signed
    [(_, before, _)] = history.match(report(0, {0: 0.0}, reference=top)).received
    [(_, after, _)] = history.match(report(1, {1: 0.0}, reference=-0x800000)).received
    assert abs(after - before - REFERENCE_TICKS * TICK) < TICK


def test_a_report_of_what_was_never_sent_is_without_effect():
    history = SentHistory()
    history.sent(0, departures((100,) * 3, 1.0))
    assert history.match(report(3, {3: 0.0, 9: 0.1})).received == []
    assert history.match(report(40_000, {40_000: 0.0}, count=20_000))[:3] == ([], 0, 0)
    assert len(history.match(report(0, {0: 0.0, 1: 0.0, 2: 0.0})).received) == 3


def test_what_left_too_long_ago_is_forgotten():
    history = SentHistory()
    for first in range(0, SIZE + 40, 40):
        history.sent(first, departures((first,) * 40, 1.0))
    assert history.match(report(0, {0: 0.0, 1: 0.001})).received == []


def test_a_lost_report_leaves_a_gap_that_is_not_loss():
    history = SentHistory()
    history.sent(0, departures((100,) * 30, 1.0))
    assert history.match(report(0, {0: 0.0, 1: 0.001})).complete
    matched = history.match(report(20, {20: 0.1, 21: 0.101}))
    assert (len(matched.received), matched.lost, matched.complete) == (2, 0, False)


def test_numbers_that_nobody_recorded_are_not_confused_with_old_ones():
    history = SentHistory()
    for first in range(0, 2 * SIZE, 32):
        history.sent(first, departures((1,) * 32, 1.0))
    history.match(report(2 * SIZE - 1, {2 * SIZE - 1: 0.0}))
    history.sent(2 * SIZE + 5, departures((7,), 2.0))
    received = history.match(report(2 * SIZE, {2 * SIZE: 0.1, 2 * SIZE + 4: 0.1, 2 * SIZE + 5: 0.1})).received
    assert [size for _, _, size in received] == [7]


def test_bytes_under_way_can_be_summed_from_a_number_on():
    history = SentHistory(first_number=65_530)
    history.sent(65_530, departures((100,) * 4, 1.0))
    mark = history.next
    history.sent(65_534, departures((30,) * 4, 1.0))
    assert history.sent_since(mark) == 120


@settings(deadline=None)
@given(
    first=st.integers(0, 65_535),
    bursts=st.lists(st.integers(1, 40), min_size=1, max_size=80),
    arrives=st.lists(st.booleans(), min_size=1, max_size=200),
)
def test_every_packet_is_told_of_once_whatever_is_lost(first: int, bursts: list[int], arrives: list[bool]):
    history = SentHistory(first)
    number = first
    got = lost = expected = 0
    for index, size in enumerate(bursts):
        history.sent(number & 0xFFFF, departures((1,) * size, index * 0.01))
        coming = {number + i: i * 0.001 for i in range(size) if arrives[(number + i) % len(arrives)]}
        expected += len(coming)
        base = number & 0xFFFF
        matched = history.match(report(base, {n - number + base: t for n, t in coming.items()}, count=size))
        got += len(matched.received)
        lost += matched.lost
        number += size
    assert got == expected
    assert got + lost == sum(bursts)


@settings(deadline=None)
@given(
    base=st.integers(0, 65_535),
    count=st.integers(0, 65_535),
    reference=st.integers(-0x800000, 0x7FFFFF),
    received=st.lists(st.tuples(st.integers(0, 65_535), st.integers(-32_768, 32_767)), max_size=50),
)
def test_no_report_does_harm(base: int, count: int, reference: int, received: list[tuple[int, int]]):
    history = SentHistory(65_000)
    for first in range(0, 1000, 20):
        history.sent(65_000 + first & 0xFFFF, departures((1000,) * 20, first / 1000))
    told = TransportFeedback(1, 2, base, count, reference, 0, [(base + n, delta) for n, delta in received])
    matched = history.match(told)
    assert len(matched.received) <= len(received)
    assert -len(received) <= matched.lost <= 1000
    assert [a for _, a, _ in matched.received] == sorted(a for _, a, _ in matched.received)
