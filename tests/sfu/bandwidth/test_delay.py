"""A queue that grows is told from jitter, by the slope of the delay."""

from random import Random

import pytest

from sfu.core.bandwidth.delay import (
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    RENEW,
    THRESHOLD,
    WINDOW,
    DelayDetector,
    OveruseDetector,
    Trendline,
    Usage,
)
from sfu.core.bandwidth.sent_history import Arrival

CLOCK = 1000.0  # seconds that the receiver's clock is ahead


def groups(count: int, *, gain: float = 0.0, interval: float = 0.020, begin: float = 0.0) -> list[Arrival]:
    """Packets that leave regularly; each arrives `gain` seconds later in comparison than the one before."""
    return [(begin + i * interval, begin + CLOCK + 0.05 + i * (interval + gain), 1200) for i in range(count)]


def test_a_steady_path_is_normal():
    detector = DelayDetector()
    assert detector.update(groups(200)) is Usage.NORMAL
    assert detector.queue == pytest.approx(0.0, abs=1e-6)


def test_a_queue_that_grows_is_overuse():
    detector = DelayDetector()
    detector.update(groups(30))
    assert detector.update(groups(30, gain=0.002, begin=0.6)) is Usage.OVER


def test_a_queue_that_drains_is_underuse():
    detector = DelayDetector()
    late = [(sent, arrived + 0.5, size) for sent, arrived, size in groups(30)]
    draining = [(sent, arrived + 0.5, size) for sent, arrived, size in groups(60, gain=-0.005, begin=0.6)]
    detector.update(late)
    assert detector.update(draining) is Usage.UNDER


def test_overuse_is_found_within_half_a_second_at_thirty_frames():
    detector = DelayDetector()
    detector.update(groups(60, interval=0.033))
    found = None
    for index, arrival in enumerate(groups(60, gain=0.010, interval=0.033, begin=60 * 0.033)):
        if detector.update([arrival]) is Usage.OVER:
            found = index * 0.033
            break
    assert found is not None
    assert found < 0.5


def test_jitter_alone_is_not_overuse_for_long():
    random = Random(3)
    detector = DelayDetector()
    arrivals = [(sent, arrived + random.random() * 0.010, size) for sent, arrived, size in groups(3000)]
    over = sum(detector.update([arrival]) is Usage.OVER for arrival in arrivals)
    assert over < 60  # of 3,000 groups


def test_packets_of_one_burst_are_one_group():
    """A frame's packets leave together and arrive one after the other: that is the link's rate, not a queue."""
    detector = DelayDetector()
    usage = Usage.NORMAL
    for frame in range(100):
        sent = frame * 0.033
        usage = detector.update([(sent, CLOCK + sent + 0.05 + i * 0.004, 1200) for i in range(6)])
        assert usage is Usage.NORMAL
    assert detector.queue == pytest.approx(0.0, abs=1e-6)


def test_a_clump_that_a_link_held_back_is_no_trend():
    """A radio link sleeps for 40 ms and lets all go at once."""
    detector = DelayDetector()
    arrivals = [(sent, CLOCK + (int(sent / 0.04) + 1) * 0.04 + (sent % 0.04) / 100, 1200) for sent, _, _ in groups(400)]
    assert all(detector.update([arrival]) is not Usage.OVER for arrival in arrivals)


def test_the_queue_is_what_lasts_over_several_groups():
    detector = DelayDetector()
    detector.update(groups(20))
    [spike] = groups(1, begin=0.4)
    detector.update([(spike[0], spike[1] + 0.3, 1200), *groups(1, begin=0.72)])
    assert detector.queue < 0.01
    detector.update([(sent, arrived + 0.3, size) for sent, arrived, size in groups(10, begin=0.8)])
    assert detector.queue == pytest.approx(0.3, abs=0.001)


def test_a_longer_way_is_taken_for_a_queue_for_a_minute_at_most():
    detector = DelayDetector()
    detector.update(groups(100))
    detector.update([(sent, arrived + 0.3, size) for sent, arrived, size in groups(3500, begin=2.0)])
    assert detector.queue == pytest.approx(0.0, abs=0.001)


def test_a_clock_that_was_set_begins_anew():
    detector = DelayDetector()
    detector.update(groups(60))
    detector.update([(sent, arrived - 500, size) for sent, arrived, size in groups(60, begin=1.2)])
    assert detector.usage is Usage.NORMAL
    assert detector.queue == pytest.approx(0.0, abs=1e-6)


def test_the_line_is_that_of_least_squares_however_long_it_runs():
    random = Random(5)
    line = Trendline()
    points: list[tuple[float, float]] = []
    accumulated = smoothed = arrival = 0.0
    for _ in range(3 * RENEW):
        gap, change = 5 + 30 * random.random(), random.gauss(0, 3)
        arrival += gap
        accumulated += change
        smoothed = 0.9 * smoothed + 0.1 * accumulated
        points = [*points, (arrival, smoothed)][-WINDOW:]
        slope = line.update(gap + change, gap, arrival)
    middle_x = sum(x for x, _ in points) / WINDOW
    middle_y = sum(y for _, y in points) / WINDOW
    expected = sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points)
    assert slope == pytest.approx(expected, rel=1e-6)


def test_a_queue_that_grows_ever_slower_is_no_overuse_yet():
    detector = OveruseDetector()
    slopes = [0.30 - index * 0.01 for index in range(10)]
    assert all(slope * 240 > detector.threshold for slope in slopes)
    detector.update(0.4, 60, 5, 0.0)
    assert all(detector.update(slope, 60, 20, index * 20.0) is Usage.NORMAL for index, slope in enumerate(slopes))
    assert detector.update(0.25, 60, 20, 220.0) is Usage.OVER


def test_the_threshold_stays_within_its_limits_and_ignores_leaps():
    detector = OveruseDetector()
    assert detector.threshold == THRESHOLD
    for index in range(200):
        detector.update(0.0, 60, 20, index * 20.0)
    assert detector.threshold == MIN_THRESHOLD
    detector.update(10.0, 60, 20, 4000.0)  # far beyond: not adapted to
    assert detector.threshold == MIN_THRESHOLD
    for index in range(5000):
        detector.update((detector.threshold + 10) / 240, 60, 20, 5000 + index * 100.0)
    assert detector.threshold == MAX_THRESHOLD
