"""Wall time to a recording's time, by hand-written timelines."""

import itertools
import math

import pytest

from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Joined, Paused, Resumed, Started, Stopped

T = 1_700_000_000.0


def started(at: float) -> Started:
    return Started(at=T + at, recording="r", room="room", epoch="e")


def time_of(*entries: ENTRIES) -> RecordedTime:
    return RecordedTime.of(entries)


def test_without_a_pause_time_passes_as_it_does_on_the_wall():
    time = time_of(started(0), Stopped(at=T + 60))
    assert time.pauses == ()
    assert [time.at(T + second) for second in (-1, 0, 12.5, 60)] == [-1, 0, 12.5, 60]
    assert not time.is_paused(T + 12)


def test_two_pauses_are_cut_out_and_nothing_else():
    time = time_of(
        started(0), Paused(at=T + 10), Resumed(at=T + 25), Joined(at=T + 30, peer="p", name="P"),
        Paused(at=T + 40), Resumed(at=T + 41.5), Stopped(at=T + 60),
    )  # fmt: skip
    assert [time.at(T + second) for second in (9, 10, 20, 25, 26, 40, 41, 41.5, 60)] == [
        9, 10, 10, 10, 11, 25, 25, 25, 43.5,
    ]  # fmt: skip
    paused = [second / 2 for second in range(120) if time.is_paused(T + second / 2)]
    assert paused == [second / 2 for second in range(20, 50)] + [40, 40.5, 41]


def test_time_never_goes_back_and_never_jumps():
    time = time_of(started(0), Paused(at=T + 3), Resumed(at=T + 7), Paused(at=T + 9), Resumed(at=T + 12))
    moments = [T + step / 10 for step in range(200)]
    steps = [time.at(later) - time.at(earlier) for earlier, later in itertools.pairwise(moments)]
    assert all(-1e-6 < step < 0.1 + 1e-6 for step in steps)
    assert sum(steps) == pytest.approx(19.9 - 4 - 3)


def test_a_recording_that_is_still_paused_stands_still():
    time = time_of(started(0), Paused(at=T + 5))
    assert time.pauses == ((T + 5, math.inf),)
    assert [time.at(T + second) for second in (5, 60, 3600)] == [5, 5, 5]
    assert time.is_paused(T + 1e6)


def test_a_pause_outlives_the_worker():
    died_in_a_pause = time_of(started(0), Paused(at=T + 5), started(20), Paused(at=T + 20), Resumed(at=T + 30))
    assert died_in_a_pause.pauses == ((T + 5, T + 30),)
    paused_from_the_first = time_of(started(0), Paused(at=T), Resumed(at=T + 4))
    assert paused_from_the_first.at(T + 5) == 1


def test_a_worker_that_begins_to_write_ends_a_pause_that_nobody_told_it_of():
    time = time_of(started(0), Paused(at=T + 5), started(8), Stopped(at=T + 20))
    assert time.pauses == ((T + 5, T + 8),)


def test_what_is_said_twice_counts_once():
    time = time_of(started(0), Paused(at=T + 5), Paused(at=T + 6), Resumed(at=T + 8), Resumed(at=T + 9))
    assert time.pauses == ((T + 5, T + 8),)


def test_the_next_workers_clock_may_be_behind():
    time = time_of(started(0), Paused(at=T + 5), started(4.5), Paused(at=T + 5.5), Resumed(at=T + 5.2))
    assert all(until >= since for since, until in time.pauses)
    assert time.at(T + 10) == pytest.approx(10 - sum(until - since for since, until in time.pauses))


def test_an_empty_timeline_has_no_pauses():
    assert time_of() == RecordedTime(0.0)
