"""Padding finds out whether a better layer fits, rarely where it does not."""

from itertools import pairwise

import pytest

from sfu.core.bandwidth.probing import (
    AFTER_SUCCESS,
    DURATION,
    FIRST_INTERVAL,
    MAX_DURATION,
    MAX_INTERVAL,
    Cluster,
    Prober,
)

TICK = 0.02


def attempt(prober: Prober, *, capacity: float, begin: float, usage: float = 0.0, loss: float = 0.0) -> float | None:
    """Send an attempt over a link of `capacity` bit/s, in packets of 500 bytes. What was measured."""
    now, sent = begin, 0
    busy = begin
    arrivals = []
    lost = 0.0
    waiting = 0
    while prober.sending:
        now += TICK
        media = int(usage * TICK / 8)
        padding = prober.padding(sent + media, now)
        sent = padding
        waiting += media + padding
        packets, waiting = divmod(waiting, 500)
        for _ in range(packets):
            busy = max(busy, now) + 500 * 8 / capacity
            lost += loss
            if lost >= 1:
                lost -= 1
            else:
                arrivals.append((now, busy + 7.0, 500))
    arrivals.append((now + TICK, now + 7.1, 500))
    return prober.report(arrivals, now + 0.2)


def test_a_layer_that_fits_needs_no_attempt():
    prober = Prober()
    assert not prober.plan(usage=500_000, step=None, estimate=600_000, now=0)
    assert not prober.plan(usage=500_000, step=300_000, estimate=900_000, now=0)
    assert not prober.waiting


def test_the_target_is_what_is_used_and_the_step_with_a_margin():
    prober = Prober()
    assert prober.plan(usage=500_000, step=300_000, estimate=700_000, now=0)
    assert prober.padding(0, 0.1) == 860_000 * 0.1 // 8


def test_an_attempt_is_at_most_twice_the_estimate():
    prober = Prober()
    assert prober.plan(usage=100_000, step=2_000_000, estimate=300_000, now=0)
    assert prober.padding(0, 0.1) == 600_000 * 0.1 // 8


def test_media_that_leave_meanwhile_count():
    prober = Prober()
    prober.plan(usage=500_000, step=300_000, estimate=700_000, now=0)
    assert prober.padding(4_000, 0.1) == 860_000 * 0.1 // 8 - 4_000
    assert prober.padding(50_000, 0.12) == 0


def test_padding_ends_with_the_attempt():
    prober = Prober()
    prober.plan(usage=500_000, step=300_000, estimate=700_000, now=0)
    assert (prober.sending, prober.waiting) == (True, True)
    assert prober.padding(0, DURATION + 0.01) == 0
    assert (prober.sending, prober.waiting) == (False, True)


def test_overuse_ends_the_padding_and_what_was_sent_is_measured():
    prober = Prober()
    prober.plan(usage=0, step=2_000_000, estimate=1_000_000, now=0)
    busy = 0.0
    arrivals = []
    for step in range(1, 6):
        for _ in range(10):
            busy = max(busy, step * TICK) + 500 * 8 / 1_500_000
            arrivals.append((step * TICK, busy, 500))
        prober.padding(5000, step * TICK)
    prober.abort(5 * TICK)
    assert (prober.sending, prober.waiting, prober.padding(0, 6 * TICK)) == (False, True, 0)
    assert prober.report([*arrivals, (0.15, 1.0, 500)], 0.2) == pytest.approx(0.95 * 1_500_000, rel=0.02)


def test_a_path_that_carries_it_shows_it():
    prober = Prober()
    prober.plan(usage=300_000, step=400_000, estimate=500_000, now=0)
    measured = attempt(prober, capacity=5_000_000, begin=0, usage=300_000)
    assert measured == pytest.approx(780_000, rel=0.1)
    assert prober.interval == FIRST_INTERVAL
    assert prober.next_at < 2 * AFTER_SUCCESS


def test_a_path_that_does_not_shows_what_it_carries():
    prober = Prober()
    prober.plan(usage=300_000, step=1_000_000, estimate=800_000, now=0)
    measured = attempt(prober, capacity=900_000, begin=0, usage=300_000)
    assert measured == pytest.approx(0.95 * 900_000, rel=0.05)


def test_failures_make_attempts_rare():
    prober = Prober()
    now = 0.0
    begun = []
    while now < 1500:
        now += 0.5
        if prober.plan(usage=300_000, step=1_000_000, estimate=800_000, now=now):
            begun.append(now)
            attempt(prober, capacity=820_000, begin=now, usage=300_000)
    gaps = [after - before for before, after in pairwise(begun)]
    assert gaps[0] == pytest.approx(FIRST_INTERVAL, abs=1)
    assert gaps[1] == pytest.approx(1.5 * FIRST_INTERVAL, abs=1)
    assert gaps[-1] == pytest.approx(MAX_INTERVAL, abs=1)


def test_after_failures_a_much_smaller_step_is_tried_soon():
    prober = Prober()
    now = 0.0
    for _ in range(10):
        now = prober.next_at
        assert prober.plan(usage=300_000, step=1_000_000, estimate=800_000, now=now)
        attempt(prober, capacity=820_000, begin=now, usage=300_000)
    assert prober.interval > 60
    prober.plan(usage=0, step=100_000, estimate=60_000, now=now + 1)
    assert prober.plan(usage=0, step=100_000, estimate=60_000, now=now + 1 + FIRST_INTERVAL)


def test_trouble_postpones():
    prober = Prober()
    prober.postpone(10.0)
    assert not prober.plan(usage=300_000, step=1_000_000, estimate=800_000, now=12.0)
    assert prober.plan(usage=300_000, step=1_000_000, estimate=800_000, now=13.0)


def test_an_attempt_whose_packets_got_lost_tells_nothing():
    prober = Prober()
    prober.plan(usage=300_000, step=400_000, estimate=500_000, now=0)
    assert attempt(prober, capacity=5_000_000, begin=0, usage=300_000, loss=0.4) is None
    assert prober.interval > FIRST_INTERVAL


def test_what_the_path_always_loses_is_no_failure():
    prober = Prober()
    prober.loss = 0.2
    prober.plan(usage=300_000, step=400_000, estimate=500_000, now=0)
    rate = attempt(prober, capacity=5_000_000, begin=0, usage=300_000, loss=0.2)
    assert rate == pytest.approx(780_000, rel=0.1)
    assert prober.interval == FIRST_INTERVAL


def test_an_attempt_without_an_answer_ends():
    prober = Prober()
    prober.plan(usage=300_000, step=400_000, estimate=500_000, now=0)
    prober.padding(0, 0.3)
    assert (prober.check(0.5), prober.waiting) == (None, True)
    assert (prober.check(2.0), prober.waiting) == (None, False)
    assert prober.interval > FIRST_INTERVAL


def test_an_attempt_that_nobody_sends_for_ends():
    prober = Prober()
    prober.plan(usage=300_000, step=400_000, estimate=500_000, now=0)
    for second in range(1, 5):
        prober.check(float(second))
    assert not prober.waiting


def test_packets_let_go_in_a_clump_are_not_believed():
    cluster = Cluster(1_000_000, 0.0)
    cluster.sent_bytes = 25_000
    cluster.end = 0.2
    cluster.add([(i * 0.01, 7.0 + i * 0.001, 1250) for i in range(1, 21)])
    assert cluster.rate is None


def test_where_arrivals_jitter_an_attempt_lasts_long_enough_to_be_measured():
    assert Cluster(600_000, 0.0).duration == DURATION
    assert Cluster(600_000, 0.0, jitter=0.05).duration == pytest.approx(0.3)
    assert Cluster(600_000, 0.0, jitter=1.0).duration == MAX_DURATION


@pytest.mark.parametrize(("jitter", "carried"), [(0.0, False), (0.04, True)])
def test_that_the_last_packets_were_late_by_no_more_than_the_jitter_is_no_failure(jitter: float, carried: bool):
    cluster = Cluster(600_000, 0.0, jitter=jitter)
    cluster.sent_bytes = 11 * 1200
    cluster.end = 0.2
    cluster.add((number * 0.02, 7.0 + number * 0.02 + (0.04 if number > 8 else 0.0), 1200) for number in range(11))
    assert cluster.rate is not None
    assert (cluster.rate >= 0.95 * 500_000) is carried
