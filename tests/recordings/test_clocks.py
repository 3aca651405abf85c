"""Everybody's clocks are wrong, each in its own way; one class comes of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from recordings.logs.clocks import Clock, SenderClock, TrackClock
from recordings.logs.packets import RtpPacket, SenderReport

START = 1_700_000_000.0
SEGMENT, LOOKAHEAD = 32.0, 12.0  # seconds
Item = RtpPacket | SenderReport


def track(
    rate: int,
    seconds: float,
    *,
    delay: Callable[[float], float] = lambda at: 0.05,
    jitter: float = 0.0,
    skew: Callable[[float], float] | None = lambda at: 5.0,
    drift: float = 0.0,
    every: float = 0.02,
    first: int = 1000,
) -> tuple[int, list[Item]]:
    """`drift`: how much too fast the sender's clocks run; `skew` None: no sender reports."""
    chance = random.Random(3)
    items: list[Item] = []
    for number in range(int(seconds / every)):
        at = number * every
        timestamp = (first + round(at * rate * (1 + drift))) & 0xFFFFFFFF
        arrival = START + at + delay(at) + chance.random() * jitter
        items.append(RtpPacket(arrival, number & 0xFFFF, timestamp, True, 100, b"x"))
        if skew is not None and number % 50 == 25:
            items.append(SenderReport(arrival, START + skew(at) + at * (1 + drift), timestamp))
    return rate, items


def align(**tracks: tuple[int, list[Item]]) -> dict[str, list[Clock]]:
    """The clocks of one sender's tracks, a segment after the other, as a planner finds them."""
    fed = {name: (TrackClock(rate), iter(items)) for name, (rate, items) in tracks.items()}
    waiting: dict[str, Item | None] = {name: next(items, None) for name, (_, items) in fed.items()}
    sender = SenderClock()
    made: dict[str, list[Clock]] = {name: [] for name in tracks}
    begin = START
    while any(waiting.values()) or begin == START:
        end = begin + SEGMENT
        for name, (clock, items) in fed.items():
            waiting[name] = feed(clock, waiting[name], items, end + LOOKAHEAD)
        laid = sender.advance([track for track, _ in fed.values()], begin, end)
        for name, one in zip(fed, laid, strict=False):
            made[name].append(one)
            fed[name][0].next_segment(end - one.last - LOOKAHEAD)
        begin = end
    return made


def feed(clock: TrackClock, item: Item | None, items: Iterator[Item], until: float) -> Item | None:
    while item is not None and item.arrival <= until:
        if isinstance(item, SenderReport):
            clock.report(item)
        else:
            clock.packet(item)
        item = next(items, None)
    return item


def made(clocks: list[Clock], rate: int, at: float, arrival: float, drift: float = 0.0, first: int = 1000) -> float:
    clock = clocks[min(int(at / SEGMENT), len(clocks) - 1)]
    return clock(first + round(at * rate * (1 + drift)), START + arrival) - START


def test_one_persons_tracks_are_together_though_their_delays_differ() -> None:
    clocks = align(
        mic=track(48000, 10, delay=lambda at: 0.03), cam=track(90000, 10, delay=lambda at: 0.25, every=0.066)
    )
    voice, face = made(clocks["mic"], 48000, 5.0, 5.03), made(clocks["cam"], 90000, 5.0, 5.25)
    assert voice == pytest.approx(face, abs=0.002)
    assert voice == pytest.approx(5.03, abs=0.002)  # the least delay of both stays: nobody knows it


def test_without_sender_reports_arrivals_count_at_their_best() -> None:
    clocks = align(mic=track(48000, 10, skew=None, jitter=0.2))
    assert made(clocks["mic"], 48000, 5.0, 5.2) == pytest.approx(5.05, abs=0.01)


@pytest.mark.parametrize("drift", [1e-4, -1e-4])
def test_a_clock_that_drifts_is_followed(drift: float) -> None:
    """100 parts in a million are 360 ms an hour."""
    clocks = align(mic=track(48000, 3600, drift=drift, every=0.5, jitter=0.01))
    for at in (10.0, 1800.0, 3590.0):
        assert made(clocks["mic"], 48000, at, at + 0.05, drift) == pytest.approx(at + 0.05, abs=0.015)


def test_a_network_that_stalls_for_a_minute_moves_nobody() -> None:
    stalled = track(48000, 300, delay=lambda at: 3.0 if 100 < at < 160 else 0.05, every=0.05, skew=None)
    clocks = align(mic=stalled)
    assert made(clocks["mic"], 48000, 130.0, 133.0) == pytest.approx(130.05, abs=0.1)


def test_neighbouring_segments_agree_on_every_moment() -> None:
    rough = track(48000, 400, delay=lambda at: 0.05 + (at % 70) / 500, jitter=0.1, drift=3e-5)
    clocks = align(mic=rough)["mic"]
    assert len(clocks) > 10
    for number, (before, after) in enumerate(itertools.pairwise(clocks), start=1):
        assert before.last == after.first
        border = 1000 + round((number * SEGMENT - 0.05) * 48000)
        assert before(border, START + number * SEGMENT) == pytest.approx(
            after(border, START + number * SEGMENT), abs=1e-3
        )


def test_timestamps_that_wrap_go_on() -> None:
    first = 2**32 - 48000 * 5
    clocks = align(mic=track(48000, 100, first=first))
    for at in (9.0, 90.0):
        assert made(clocks["mic"], 48000, at, at + 0.05, first=first) == pytest.approx(at + 0.05, abs=0.002)


def test_a_sender_who_sets_the_clock_stays_in_the_class() -> None:
    clocks = align(mic=track(48000, 200, skew=lambda at: 3600.0 if at > 105 else 0.0))
    for at in (2.0, 80.0, 103.0, 108.0, 150.0, 190.0):
        assert made(clocks["mic"], 48000, at, at + 0.05) == pytest.approx(at + 0.05, abs=0.01)


def test_a_sender_who_reports_nonsense_spoils_nothing() -> None:
    rate, items = track(48000, 10)
    nonsense = [SenderReport(START + 4.0, -1e9, 48000 * 4), SenderReport(START + 4.5, 1e9, 48000 * 5)]
    clocks = align(mic=(rate, sorted([*items, *nonsense], key=lambda item: item.arrival)), cam=track(90000, 10))
    for name, per_second in (("mic", 48000), ("cam", 90000)):
        assert made(clocks[name], per_second, 5.0, 5.05) == pytest.approx(5.05, abs=1.0)


def test_a_track_without_packets_has_no_clock() -> None:
    assert SenderClock().advance([TrackClock(48000)], START, START + SEGMENT) == []
