"""Whatever a receiver reports, the estimate stays within its limits and nothing breaks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core.bandwidth.estimator import INITIAL, SILENCE, BandwidthEstimator
from sfu.core.bandwidth.sent_history import departures
from sfu.core.feedback import TransportFeedbackRecorder
from sfu.core.transport_feedback import TransportFeedback, parse

MINIMUM, MAXIMUM = 50_000.0, 2_000_000.0


def answered(
    estimator: BandwidthEstimator, begin: float, seconds: float, *, answer: bool = True, way: float = 0.03
) -> float:
    """500 kbit/s leave and arrive after `way`, reported ten times a second unless not; when it ended."""
    recorder = TransportFeedbackRecorder(1, 2)
    now = begin
    for step in range(round(seconds * 50)):
        now = begin + step * 0.02
        number = estimator.history.next & 0xFFFF
        estimator.sent(number, departures((1250,), now))
        recorder.received(number, now + way)
        for report in recorder.due(now + way) if answer else ():
            estimator.on_feedback(parse(report.serialize()[4:]), now + 2 * way)
        if step % 50 == 49:
            estimator.tick(now)
    return now + 0.02


def test_it_begins_with_what_most_paths_carry():
    assert BandwidthEstimator().estimate == INITIAL
    assert BandwidthEstimator(initial=1e9, maximum=1e6).estimate == 1e6


def test_without_reports_it_stays_where_it_began():
    """A receiver that never reports was not asked to: nothing is concluded from his silence."""
    estimator = BandwidthEstimator()
    answered(estimator, 0.0, 30, answer=False)
    assert estimator.estimate == INITIAL


def test_silence_after_reports_lowers_it_to_a_half_and_no_further():
    estimator = BandwidthEstimator()
    now = answered(estimator, 0.0, 5)
    before = estimator.estimate
    now = answered(estimator, now, SILENCE + 2, answer=False)
    assert estimator.estimate < before
    answered(estimator, now, 60, answer=False)
    assert estimator.estimate == pytest.approx(before * 0.512)


def test_a_pause_of_ours_is_not_silence():
    estimator = BandwidthEstimator()
    now = answered(estimator, 0.0, 5)
    before = estimator.estimate
    for second in range(60):
        estimator.tick(now + second)
    answered(estimator, now + 60, 1)
    assert estimator.estimate >= before


def test_receiver_reports_count_only_where_there_are_no_others():
    estimator = BandwidthEstimator()
    now = answered(estimator, 0.0, 5)
    before = estimator.estimate
    estimator.on_receiver_report(0.5, now)
    assert estimator.estimate == before
    silent = BandwidthEstimator()
    silent.on_receiver_report(0.3, 1.0)
    assert silent.estimate == pytest.approx(INITIAL * 0.85)
    for second in range(2, 20):
        silent.on_receiver_report(0.0, float(second))
    assert silent.estimate == INITIAL


def test_padding_is_wanted_while_a_probe_lasts():
    estimator = BandwidthEstimator()
    now = answered(estimator, 0.0, 5)
    assert (estimator.probing, estimator.padding_due(now)) == (False, 0)
    assert estimator.plan_probe(500_000, 500_000, now)
    assert (estimator.probing, estimator.padding_due(now + 0.02)) == (True, pytest.approx(2750, abs=1))
    number = estimator.history.next & 0xFFFF
    estimator.sent(number, departures((1000, 1000), now + 0.02))
    assert estimator.padding_due(now + 0.04) == pytest.approx(5500 - 2000, abs=1)


def test_nothing_is_probed_while_a_queue_stands_that_is_known_of():
    estimator = BandwidthEstimator()
    now = answered(estimator, 0.0, 5)
    now = answered(estimator, now, 8, way=0.18)
    assert estimator.queue == pytest.approx(0.15, abs=0.001)
    assert not estimator.plan_probe(500_000, 500_000, now)
    assert estimator.plan_probe(500_000, 500_000, now + 10)  # what was ten seconds ago says nothing


numbers = st.integers(0, 0xFFFF)
reports = st.builds(
    TransportFeedback,
    sender_ssrc=st.just(1),
    media_ssrc=st.just(2),
    base_sequence=numbers,
    count=numbers,
    reference_time=st.integers(-0x800000, 0x7FFFFF),
    feedback_count=st.integers(0, 255),
    received=st.lists(st.tuples(st.integers(0, 400), st.integers(-0x8000, 0x7FFF)), max_size=30),
)
actions = st.one_of(
    st.tuples(st.just("sent"), st.lists(st.integers(0, 1500), min_size=1, max_size=40)),
    st.tuples(st.just("report"), reports),
    st.tuples(st.just("near"), st.tuples(st.integers(0, 300), reports)),
    st.tuples(st.just("wait"), st.floats(0, 100, allow_nan=False)),
    st.tuples(st.just("rtt"), st.floats(allow_nan=False)),
    st.tuples(st.just("loss"), st.floats(-1, 2)),
    st.tuples(st.just("tick"), st.none()),
    st.tuples(st.just("probe"), st.tuples(st.floats(0, 1e7), st.none() | st.floats(0, 1e7))),
    st.tuples(st.just("padding"), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(first=numbers, steps=st.lists(actions, max_size=60))
def test_no_sequence_of_events_breaks_it(first: int, steps: list):
    estimator = BandwidthEstimator(minimum=MINIMUM, maximum=MAXIMUM, first_number=first)
    now = 1.0
    for what, value in steps:
        now += 0.01
        match what:
            case "sent":
                estimator.sent(estimator.history.next & 0xFFFF, departures(value, now))
            case "report":
                value.received = [(value.base_sequence + n, delta) for n, delta in value.received]
                estimator.on_feedback(value, now)
            case "near":  # of numbers that were sent of late
                back, report = value
                report.base_sequence = estimator.history.next - back & 0xFFFF
                report.received = [(report.base_sequence + n, delta) for n, delta in report.received]
                estimator.on_feedback(report, now)
            case "wait":
                now += value
            case "rtt":
                estimator.on_rtt(value)
            case "loss":
                estimator.on_receiver_report(value, now)
            case "tick":
                estimator.tick(now)
            case "probe":
                estimator.plan_probe(value[0], value[1], now)
            case "padding":
                assert 0 <= estimator.padding_due(now) <= 2 * MAXIMUM
        assert MINIMUM <= estimator.estimate <= MAXIMUM
        assert estimator.queue >= 0
        assert 0 <= estimator.loss <= 1


@settings(max_examples=50, deadline=None)
@given(
    first=numbers,
    arrives=st.lists(st.booleans(), min_size=1, max_size=30),
    delays=st.lists(st.floats(0, 0.4), min_size=1, max_size=30),
    overtakes=st.booleans(),
)
def test_real_reports_of_any_path_keep_it_within_its_limits(
    first: int, arrives: list[bool], delays: list[float], overtakes: bool
):
    """Loss, jitter and reordering around the wrap, as the worker's own recorder tells of them."""
    estimator = BandwidthEstimator(minimum=MINIMUM, maximum=MAXIMUM, first_number=first)
    recorder = TransportFeedbackRecorder(1, 2)
    arriving: list[tuple[float, int]] = []
    last = 0.0
    for step in range(400):
        now = step * 0.02
        number = first + step * 3
        estimator.sent(number & 0xFFFF, departures((1200, 1200, 700), now))
        for index in range(number, number + 3):
            if arrives[index % len(arrives)]:
                at = now + delays[index % len(delays)]
                last = at if overtakes else max(at, last)
                arriving.append((last, index & 0xFFFF))
        arriving.sort()
        while arriving and arriving[0][0] <= now:
            recorder.received(arriving[0][1], arriving.pop(0)[0])
        for report in recorder.due(now):
            estimator.on_feedback(parse(report.serialize()[4:]), now)
            assert MINIMUM <= estimator.estimate <= MAXIMUM
