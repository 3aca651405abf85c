"""Judging a connection: the limits, the calm, the E-model's score, and what the reports of a class add up to."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from meetings.messages import StatsReport
from meetings.quality.judgement import Quality, Steady, quality_of
from meetings.quality.monitor import score_of
from meetings.quality.score import delay_impairment, loss_impairment, opinion_score, voice_score
from meetings.quality.totals import Totals

# --- the word ---


@pytest.mark.parametrize(
    ("report", "word"),
    [
        ({}, "good"),
        ({"rtt": 499, "packet_loss": 4.9, "jitter": 49}, "good"),
        ({"rtt": 500}, "warning"),
        ({"packet_loss": 10.0}, "danger"),
        ({"jitter": 100}, "danger"),
        ({"rtt": 2000}, "critical"),
        ({"rtt": 600, "packet_loss": 21}, "critical"),
    ],
)
def test_the_worst_of_round_trip_loss_and_jitter_decides(report, word):
    assert quality_of(StatsReport(**report)) == word


def test_a_word_is_worse_at_once_and_better_after_two_reports():
    steady = Steady()
    words: list[Quality] = ["good", "danger", "good", "danger", "warning", "good", "good", "critical"]
    assert [steady.update(word) for word in words] == [
        "good", "danger", "danger", "danger", "danger", "warning", "warning", "critical",
    ]  # fmt: skip


# --- the score ---


@pytest.mark.parametrize(
    ("rating", "score"),
    [(-5, 1), (0, 1), (50, 2.58), (60, 3.10), (70, 3.60), (80, 4.03), (90, 4.34), (93.2, 4.41), (110, 4.5)],
)
def test_scores_are_those_of_the_recommendations_table(rating, score):
    """ITU-T G.107, annex B, table B.1; 4.41 is its own result with all parameters at their defaults."""
    assert opinion_score(rating) == pytest.approx(score, abs=0.007)


@pytest.mark.parametrize(
    ("loss", "impairment"), [(0, 11), (0.5, 13), (1, 15), (1.5, 17), (2, 19), (3, 23), (4, 26), (8, 36)]
)
def test_loss_impairs_as_measured_for_g729(loss, impairment):
    """ITU-T G.113, appendix I: G.729A with voice activity detection, whose Ie is 11 and Bpl 19."""
    assert loss_impairment(loss, 11, 19) == pytest.approx(impairment, abs=0.6)


def test_delay_costs_nothing_up_to_100_ms_and_a_satellite_much():
    """ITU-T G.114, figure 1: R stays above 90 up to 150 ms, is about 69 at 400 ms."""
    assert delay_impairment(100) == 0
    assert 93.2 - delay_impairment(150) > 90
    assert 93.2 - delay_impairment(400) == pytest.approx(69, abs=1)
    values = [delay_impairment(ms) for ms in range(0, 2000, 10)]
    assert values == sorted(values)


def test_a_clean_network_sounds_better_than_4_3_and_each_fault_is_heard():
    clean = voice_score(rtt=40, jitter=5, loss=0, buffer=60)
    assert clean > 4.3
    assert voice_score(rtt=40, jitter=5, loss=0) > 4.3
    assert 3.0 < voice_score(rtt=40, jitter=5, loss=5, buffer=60) < 4.0
    assert voice_score(rtt=700, jitter=5, loss=0, buffer=60) < 3.0
    assert voice_score(rtt=40, jitter=150, loss=0) < clean
    assert voice_score(rtt=1e12, jitter=1e12, loss=100) == 1.0


def test_a_direct_way_of_a_long_round_trip_sounds_better_than_two_such_ways_by_a_server():
    report: dict[str, Any] = {"rtt": 400, "jitter": 5, "voice_loss": 0, "voice_buffer": 60}
    by_server, direct = score_of(StatsReport(**report, path="udp")), score_of(StatsReport(**report, path="direct"))
    assert by_server is not None
    assert direct is not None
    assert direct > by_server + 0.5
    assert score_of(StatsReport(rtt=400)) is None, "no voice was heard"


# --- the sums ---


def test_what_is_reported_is_weighed_by_how_long_it_held():
    totals = Totals()
    totals.add(StatsReport(rtt=100, packet_loss=0, bytes_received=1000, freeze_count=1), "good", 4.4, 5.0)
    totals.add(
        StatsReport(rtt=400, packet_loss=10, bytes_received=500, bytes_sent=7, path="relay"), "danger", 2.4, 10.0
    )
    totals.add(StatsReport(packet_loss=5.0, path="tcp"), "warning", None, 5.0)
    assert totals.seconds == 20
    assert (totals.rtt.mean, totals.rtt.worst) == (300, 400)
    assert (totals.loss.mean, totals.loss.worst) == (6.25, 10)
    assert (totals.score.mean, totals.score.worst) == (pytest.approx(46 / 15), 2.4)
    assert (totals.warning, totals.danger, totals.freezes) == (5, 10, 1)
    assert (totals.received, totals.sent, totals.tcp, totals.relay) == (1500, 7, True, True)
    assert totals.jitter.mean is None


def test_parts_by_several_sockets_add_up_to_what_one_would_have_had():
    chance = random.Random(7)
    whole, parts = Totals(), [Totals(), Totals(), Totals()]
    for _ in range(60):
        score = chance.choice([None, chance.uniform(1, 4.4)])
        report = StatsReport(
            rtt=chance.uniform(1, 900), jitter=chance.uniform(0, 300), packet_loss=chance.uniform(0, 30),
            bytes_sent=chance.randrange(9999), freeze_count=chance.randrange(3),
        )  # fmt: skip
        for totals in (whole, chance.choice(parts)):
            totals.add(report, quality_of(report), score, 5.0)
    joined = Totals()
    for part in parts:
        joined.join(msgspec.json.decode(msgspec.json.encode(part), type=Totals))
    for name in ("rtt", "jitter", "loss", "score"):
        one, other = getattr(joined, name), getattr(whole, name)
        assert (one.mean, one.worst) == (pytest.approx(other.mean), other.worst), name
    assert (joined.danger, joined.sent, joined.freezes) == (whole.danger, whole.sent, whole.freezes)


def test_what_nobody_can_have_measured_is_cut_down():
    totals = Totals()
    totals.add(StatsReport(rtt=1e12, jitter=1e12, freeze_count=1e12), "critical", None, 5.0)
    assert (totals.rtt.worst, totals.jitter.worst, totals.freezes) == (60_000, 60_000, 1000)
