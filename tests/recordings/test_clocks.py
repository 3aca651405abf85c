"""Everybody's clocks are wrong, each in its own way; one class comes of it."""

from __future__ import annotations

import random

import pytest

from recordings.clocks import TrackClock, align
from recordings.packets import RtpPacket, SenderReport

START = 1_700_000_000.0


def track(
    rate: int,
    seconds: float,
    *,
    delay: float = 0.05,
    jitter: float = 0.0,
    skew: float | None = 5.0,
    drift: float = 0.0,
    every: float = 0.02,
    first: int = 1000,
) -> TrackClock:
    """`drift`: how much too fast the sender's clocks run; `skew` None: no sender reports."""
    chance = random.Random(3)
    items: list[RtpPacket | SenderReport] = []
    for number in range(int(seconds / every)):
        at = number * every
        timestamp = (first + round(at * rate * (1 + drift))) & 0xFFFFFFFF
        arrival = START + at + delay + chance.random() * jitter
        items.append(RtpPacket(arrival, number & 0xFFFF, timestamp, True, 100, b"x"))
        if skew is not None and number % 50 == 25:
            items.append(SenderReport(arrival, START + skew + at * (1 + drift), timestamp))
    return TrackClock(rate).feed(items)


def made(clock: object, rate: int, at: float, arrival: float, drift: float = 0.0, first: int = 1000) -> float:
    timestamp = first + round(at * rate * (1 + drift))
    return clock(timestamp, START + arrival) - START  # type: ignore[operator]


def test_one_persons_tracks_are_together_though_their_delays_differ() -> None:
    clocks = align({"mic": track(48000, 10, delay=0.03), "cam": track(90000, 10, delay=0.25, every=0.066)})
    voice, face = made(clocks["mic"], 48000, 5.0, 5.03), made(clocks["cam"], 90000, 5.0, 5.25)
    assert voice == pytest.approx(face, abs=0.002)
    assert voice == pytest.approx(5.03, abs=0.002)  # the least delay of both stays: nobody knows it


def test_without_sender_reports_arrivals_count_at_their_best() -> None:
    clocks = align({"mic": track(48000, 10, skew=None, delay=0.05, jitter=0.2)})
    assert made(clocks["mic"], 48000, 5.0, 5.2) == pytest.approx(5.05, abs=0.01)


def test_a_clock_that_drifts_is_followed() -> None:
    """100 parts in a million are 360 ms an hour."""
    clocks = align({"mic": track(48000, 3600, drift=1e-4, every=0.5, jitter=0.01)})
    for at in (10.0, 1800.0, 3590.0):
        assert made(clocks["mic"], 48000, at, at + 0.05, drift=1e-4) == pytest.approx(at + 0.05, abs=0.015)


def test_a_network_that_stalls_for_a_minute_moves_nobody() -> None:
    clock = TrackClock(48000)
    for number in range(6000):
        at = number * 0.05
        delay = 3.0 if 100 < at < 160 else 0.05
        clock.feed([RtpPacket(START + at + delay, number & 0xFFFF, round(at * 48000), True, 100, b"x")])
    clocks = align({"mic": clock})
    assert clocks["mic"](130 * 48000, START + 133.0) - START == pytest.approx(130.05, abs=0.1)


def test_timestamps_that_wrap_go_on() -> None:
    first = 2**32 - 48000 * 5
    clocks = align({"mic": track(48000, 10, first=first)})
    assert made(clocks["mic"], 48000, 9.0, 9.05, first=first) == pytest.approx(9.05, abs=0.002)


def test_a_sender_who_sets_the_clock_stays_in_the_class() -> None:
    clock = TrackClock(48000)
    for number in range(500):
        at = number * 0.02
        arrival = START + at + 0.05
        clock.feed([RtpPacket(arrival, number, round(at * 48000), True, 100, b"x")])
        if number % 50 == 0:
            clock.feed([SenderReport(arrival, START + at + (3600 if at > 5 else 0), round(at * 48000))])
    clocks = align({"mic": clock})
    for at in (2.0, 8.0):
        assert made(clocks["mic"], 48000, at, at + 0.05, first=0) == pytest.approx(at + 0.05, abs=0.01)


def test_a_sender_who_reports_nonsense_spoils_nothing() -> None:
    clock = track(48000, 10)
    clock.reports = [(0, -1e9), (48000, 1e9), (96000, 5.0)]
    other = track(90000, 10)
    clocks = align({"mic": clock, "cam": other})
    assert made(clocks["mic"], 48000, 5.0, 5.05) == pytest.approx(5.05, abs=1.0)


def test_a_track_without_packets_has_no_clock() -> None:
    assert align({"mic": TrackClock(48000)}) == {}
