"""The rate goes up while the path carries it, and down by as much as it must."""

import pytest

from sfu.core.bandwidth.delay import Usage
from sfu.core.bandwidth.rate import (
    MAX_DRAINS,
    ApplicationLimit,
    DelayBasedRate,
    LossBasedRate,
    RateWindow,
)


def rate(initial: float = 500_000) -> DelayBasedRate:
    return DelayBasedRate(initial, 30_000, 5_000_000)


def feed(control: DelayBasedRate, usage: Usage, seconds: float, begin: float = 0.0, **known: float | bool) -> float:
    """Ten reports a second; when it ended."""
    steps = round(seconds * 10)
    for step in range(steps):
        known.setdefault("acknowledged", 0.0)
        acknowledged = known["acknowledged"] or control.rate
        control.update(usage, begin + step / 10, **{**known, "acknowledged": acknowledged})  # type: ignore[arg-type]
    return begin + steps / 10


def test_a_rate_is_bytes_over_time():
    window = RateWindow()
    assert window.rate is None
    for step in range(20):
        window.add(step / 10 - 0.05, step / 10, 12_500)
    assert window.rate == pytest.approx(1_000_000)


def test_a_window_forgets_what_is_older_than_half_a_second():
    window = RateWindow()
    for step in range(20):
        window.add(0, step / 10, 12_500)
    for step in range(20, 26):
        window.add(0, step / 10, 1_250)
    assert window.rate == pytest.approx(100_000)


def test_the_peak_notices_a_rise_at_once():
    window = RateWindow()
    for step in range(20):
        window.add(0, step / 10, 1_250)
    for step in range(20, 22):
        window.add(0, step / 10, 12_500)
    assert window.peak == pytest.approx(1_000_000)
    assert window.rate == pytest.approx(460_000)


def test_a_pause_is_not_averaged_over():
    window = RateWindow()
    for step in range(10):
        window.add(0, step / 10, 12_500)
    window.add(30.0, 30.0, 12_500)
    assert window.rate is None
    window.add(30.05, 30.1, 12_500)
    window.add(30.15, 30.2, 12_500)
    assert window.rate == pytest.approx(1_000_000)


def test_a_report_that_was_lost_lowers_no_rate():
    window = RateWindow()
    for step in range(10):
        if step != 6:
            window.add(step / 10 - 0.1, step / 10, 12_500, joined=step != 7)
    assert window.rate == pytest.approx(1_000_000)


def test_without_trouble_the_rate_grows_by_eight_percent_a_second():
    control = rate()
    feed(control, Usage.NORMAL, 5.1)
    assert control.rate == pytest.approx(500_000 * 1.08**5, rel=0.01)


def test_the_rate_stays_below_one_and_a_half_times_what_arrives():
    control = rate()
    feed(control, Usage.NORMAL, 60, acknowledged=400_000)
    assert control.rate == 610_000


def test_a_rate_above_that_is_not_taken_back():
    control = rate(2_000_000)
    feed(control, Usage.NORMAL, 10, acknowledged=100_000)
    assert control.rate == 2_000_000


def test_overuse_leads_to_0_85_of_what_arrives():
    control = rate(1_000_000)
    control.update(Usage.OVER, 0.0, acknowledged=800_000)
    assert control.rate == 680_000


def test_there_is_a_round_trip_between_two_decreases():
    control = rate(1_000_000)
    control.rtt = 0.5
    for step in range(5):
        control.update(Usage.OVER, step / 10, acknowledged=800_000 - step * 10_000)
    assert control.rate == 680_000
    control.update(Usage.OVER, 0.5, acknowledged=600_000)
    assert control.rate == 510_000


def test_near_the_known_limit_it_grows_slowly():
    control = rate(1_000_000)
    control.update(Usage.OVER, 0.0, acknowledged=1_000_000)
    now = feed(control, Usage.NORMAL, 0.2, begin=0.1)
    before = control.rate
    feed(control, Usage.NORMAL, 1.1, begin=now, acknowledged=1_000_000)
    assert before + 4_000 < control.rate < before + 0.07 * before


def test_when_the_path_became_wider_it_grows_quickly_again():
    control = rate(300_000)
    control.rtt = 0.3
    control.update(Usage.OVER, 0.0, acknowledged=300_000)
    feed(control, Usage.NORMAL, 25, begin=0.1)
    assert control.rate > 1_400_000  # step by step it would be 700,000


def test_while_the_queue_drains_the_rate_is_held():
    control = rate(1_000_000)
    control.update(Usage.OVER, 0.0, acknowledged=800_000)
    feed(control, Usage.UNDER, 3, begin=0.1)
    assert control.rate == 680_000


def test_who_sends_little_neither_gains_nor_falls_to_what_he_sends():
    control = rate(2_000_000)
    now = feed(control, Usage.NORMAL, 30, acknowledged=100_000, limited=True)
    assert control.rate == 2_000_000
    control.update(Usage.OVER, now, acknowledged=100_000, limited=True)
    assert control.rate == 1_700_000


def test_what_arrives_without_a_queue_is_carried_however_often_overuse_is_suspected():
    control = rate(400_000)
    feed(control, Usage.OVER, 10, acknowledged=200_000, limited=True)
    assert control.rate == pytest.approx(1.2 * 200_000)


def test_who_sends_little_and_is_still_too_much_falls_to_what_arrives():
    control = rate(2_000_000)
    control.update(Usage.OVER, 0.0, acknowledged=100_000, limited=True, saturated=True)
    assert control.rate == 85_000


def test_a_long_queue_is_drained_faster_and_then_the_rate_comes_back():
    control = rate(1_000_000)
    control.update(Usage.OVER, 0.0, acknowledged=300_000, queue=0.9)
    assert control.rate == pytest.approx(165_000)
    now = feed(control, Usage.UNDER, 1.0, begin=0.1, acknowledged=300_000, queue=0.4)
    assert control.rate == pytest.approx(165_000)
    control.update(Usage.NORMAL, now, acknowledged=200_000, queue=0.02)
    assert control.rate == pytest.approx(255_000)


def test_a_queue_that_no_decrease_drains_is_not_ours():
    """The way became 400 ms longer: the rate must not fall and fall for it."""
    control = rate(1_000_000)
    for step in range(100):
        control.update(Usage.NORMAL, step / 10, acknowledged=control.rate, queue=0.4)
    assert control.rate > 1_000_000 * 0.8**MAX_DRAINS * 0.95


def test_loss_above_a_tenth_takes_half_of_it_off():
    control = LossBasedRate(30_000, 5_000_000)
    control.decide(0.2, 1_000_000, 0.0)
    assert control.limit == pytest.approx(900_000)


def test_one_bad_second_is_weighed_with_the_good_one_before_it():
    control = LossBasedRate(30_000, 5_000_000)
    control.decide(0.0, 1_000_000, 0.0)
    control.decide(0.2, 1_000_000, 1.0)
    assert control.limit == 5_000_000
    control.decide(0.2, 1_000_000, 2.0)
    assert control.limit == pytest.approx(925_000)


@pytest.mark.parametrize("fraction", [0.02, 0.05, 0.10])
def test_loss_between_two_and_ten_percent_changes_nothing(fraction: float):
    control = LossBasedRate(30_000, 5_000_000)
    control.decide(0.2, 1_000_000, 0.0)
    for second in range(1, 20):
        control.decide(fraction, 900_000, float(second))
    assert control.limit == pytest.approx(900_000)


def test_without_loss_the_limit_is_lifted():
    control = LossBasedRate(30_000, 5_000_000)
    control.decide(0.2, 1_000_000, 0.0)
    for second in range(1, 40):
        control.decide(0.0, 900_000, float(second))
    assert control.limit == 5_000_000


def test_loss_of_congestion_is_followed_down_to_what_the_path_carries():
    """A path without a queue, of 300 kbit/s."""
    control = LossBasedRate(30_000, 5_000_000)
    sent = 1_000_000.0
    for second in range(12):
        control.decide(max(0.0, 1 - 300_000 / sent), sent, float(second))
        sent = min(sent, control.limit)
    assert sent < 345_000


def test_loss_that_no_decrease_lessens_is_the_paths_own():
    control = LossBasedRate(30_000, 5_000_000)
    sent = 1_000_000.0
    for second in range(60):
        control.decide((0.18, 0.22, 0.20)[second % 3], sent, float(second))
        sent = min(1_000_000.0, control.limit)
    assert sent > 600_000
    assert control.inherent == pytest.approx(0.2, abs=0.03)


def test_loss_where_nothing_less_can_be_sent_proves_nothing():
    control = LossBasedRate(30_000, 5_000_000)
    for second in range(10):
        control.decide(0.5, 30_000.0, float(second))
    assert control.inherent == 0.0
    assert control.usual == 0.1, "the rest is what a full path drops"
    assert control.is_heavy


def test_a_little_loss_is_usual():
    control = LossBasedRate(30_000, 5_000_000)
    control.decide(0.04, 500_000.0, 0.0)
    assert control.usual == 0.04
    assert not control.is_heavy


def test_a_few_packets_decide_nothing():
    control = LossBasedRate(30_000, 5_000_000)
    control.add(0, 0, 1_000_000, 0.0)
    for step in range(30):
        control.add(0, 1 if step % 2 else 0, 1_000_000, step / 10)
    assert control.limit == 5_000_000


def test_the_application_limit_has_two_thresholds():
    limit = ApplicationLimit()
    assert limit.update(None, 1_000_000)
    assert limit.update(870_000, 1_000_000)
    assert not limit.update(950_000, 1_000_000)
    assert not limit.update(870_000, 1_000_000)
    assert limit.update(800_000, 1_000_000)
