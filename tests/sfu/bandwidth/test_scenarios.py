"""The estimate on links that can be computed: it finds their rate, follows it down and up, and makes no long queue."""

from collections.abc import Sequence
from statistics import mean

import pytest

from sfu.core.bandwidth.allocation import Allocation, Allocator, Demand, Layer, Priority
from sfu.core.bandwidth.estimator import BandwidthEstimator
from tests.sfu.bandwidth.link import Link, Path, Sample

FRAME = 0.035  # seconds
MBIT = 1_000_000


def longest_queue(samples: Sequence[Sample]) -> float:
    return max(sample.queue for sample in samples)


def sent_rate(samples: Sequence[Sample]) -> float:
    return sum(sample.sent for sample in samples) * 8 / (samples[-1].at - samples[0].at)


class Viewer:
    """Watches streams of several layers over a path, as the transport will let him: allocation, probes, padding."""

    def __init__(self, path: Path, streams: dict[str, tuple[Priority, Sequence[float]]]) -> None:
        self.path = path
        self.streams = streams
        self.allocator: Allocator[str] = Allocator()
        self.current: dict[str, int | None] = dict.fromkeys(streams)
        self.allocation: Allocation[str] | None = None
        self.changes: list[tuple[float, dict[str, int | None]]] = []
        path.before_sending = self.step
        path.demand = lambda estimator: self.allocation.usage if self.allocation else 0.0

    def step(self, now: float) -> None:
        estimator = self.path.estimator
        if not self.allocator.due(estimator.estimate, now):
            return
        demands = [
            Demand(key, priority, [Layer(bitrate, -9.0) for bitrate in bitrates], len(bitrates) - 1, self.current[key])
            for key, (priority, bitrates) in self.streams.items()
        ]
        self.allocation = allocation = self.allocator.allocate(estimator.estimate, demands, now)
        if allocation.layers != self.current:
            self.changes.append((now, dict(allocation.layers)))
        self.current = allocation.layers
        estimator.plan_probe(allocation.usage, allocation.next_step, now)


def viewer(link: Link, **streams: tuple[Priority, Sequence[float]]) -> Viewer:
    return Viewer(Path(link, frame=FRAME), streams)


SCREEN = (Priority.SCREEN, (200_000, 1_200_000))
SPEAKER = (Priority.SPEAKER, (120_000, 400_000, 1_200_000))
OTHER = (Priority.OTHER, (120_000, 400_000, 1_200_000))


@pytest.mark.parametrize("frame", [0.005, FRAME])
def test_a_link_of_1_mbit_is_found_in_ten_seconds_without_a_queue(frame: float):
    path = Path(Link(MBIT), frame=frame)
    start = path.run(10)
    assert max(sample.estimate for sample in start) > 0.9 * MBIT
    steady = path.run(60)
    assert min(sample.estimate for sample in steady) > 0.7 * MBIT
    assert 0.85 * MBIT < mean(sample.estimate for sample in steady) < MBIT
    assert longest_queue(start + steady) < 0.100


def test_when_the_rate_falls_to_300_kbit_the_queue_is_short_again_within_five_seconds():
    path = Path(Link(MBIT))
    path.run(15)
    path.link.set_rate(300_000, path.now)
    path.run(5)
    after = path.run(15)
    assert longest_queue(after) < 0.100
    assert 0.7 * 300_000 < mean(sample.estimate for sample in after) < 300_000


def test_a_short_buffer_that_overflows_is_followed_too():
    path = Path(Link(MBIT, limit=0.030))
    path.run(15)
    path.link.set_rate(300_000, path.now)
    path.run(5)
    assert 0.6 * 300_000 < mean(sample.estimate for sample in path.run(15)) < 1.15 * 300_000


def test_when_the_rate_comes_back_the_estimate_follows():
    path = Path(Link(MBIT))
    path.run(15)
    path.link.set_rate(300_000, path.now)
    path.run(10)
    path.link.set_rate(MBIT, path.now)
    path.run(25)
    assert mean(sample.estimate for sample in path.run(10)) > 0.8 * MBIT


def narrowed(to: float, *, voices: float, pictures: float) -> Path:
    """Twelve seconds after a line became so narrow, ten after the pictures were small; its queue was two long."""
    path = Path(Link(MBIT, cross=voices, limit=2.0), demand=lambda _: 600_000 if path.now < 12 else pictures)
    path.run(10)
    path.link.set_rate(to, path.now)
    path.run(12)
    return path


def test_a_line_that_voices_fill_is_seen_to_carry_not_even_the_least():
    assert narrowed(70_000, voices=57_000, pictures=20_000).estimator.exhausted_at is not None


def test_a_long_queue_that_drains_is_none_of_a_line_that_carries_nothing():
    assert narrowed(120_000, voices=57_000, pictures=20_000).estimator.exhausted_at is None


def test_a_probe_that_goes_through_shows_that_the_line_carries_pictures_again():
    path = narrowed(70_000, voices=57_000, pictures=20_000)
    estimator = path.estimator

    def try_for_more(now: float) -> None:
        estimator.plan_probe(0.0, estimator.estimate, now)

    path.demand, path.before_sending = lambda _: 0.0, try_for_more
    path.link.set_rate(MBIT, path.now)
    path.run(30)
    assert estimator.exhausted_at is None


@pytest.mark.parametrize("seed", range(4))
def test_five_percent_of_random_loss_is_no_reason_to_collapse(seed: int):
    path = Path(Link(MBIT, loss=0.05, seed=seed))
    samples = path.run(60)
    assert min(sample.estimate for sample in samples) > 450_000
    assert longest_queue(samples) < 0.100


@pytest.mark.parametrize("seed", range(4))
def test_a_tenth_of_random_loss_which_is_now_above_now_below_the_threshold_costs_at_most_half(seed: int):
    path = Path(Link(MBIT, loss=0.1, seed=seed))
    assert min(sample.estimate for sample in path.run(120)) > 300_000


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_random_loss_costs_at_most_half(seed: int):
    path = Path(Link(MBIT, loss=0.2, seed=seed))
    assert min(sample.estimate for sample in path.run(60)) > 300_000


@pytest.mark.parametrize("jitter", [0.030, 0.100])
def test_jitter_alone_does_not_starve(jitter: float):
    path = Path(Link(MBIT, jitter=jitter))
    path.run(15)
    assert mean(sample.estimate for sample in path.run(60)) > 0.5 * MBIT


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overtaking", [False, True])
def test_jitter_takes_no_picture_away_and_keeps_no_layer_back(overtaking: bool, seed: int):
    room = viewer(Link(20 * MBIT, delay=0.1, jitter=0.2, overtaking=overtaking, seed=seed), speaker=SPEAKER)
    room.path.run(60)
    assert None not in [layers["speaker"] for _, layers in room.changes]
    assert room.current == {"speaker": 2}


@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_line_is_narrow_with_jitter_too(seed: int):
    room = viewer(Link(900_000, delay=0.1, jitter=0.2, overtaking=True, seed=seed), speaker=SPEAKER)
    samples = room.path.run(120)
    assert longest_queue(samples) < 0.5
    assert len(room.changes) < 10


def test_others_traffic_leaves_us_the_rest():
    path = Path(Link(MBIT, cross=400_000))
    path.run(10)
    samples = path.run(30)
    assert 0.75 * 600_000 < mean(sample.estimate for sample in samples) < 1.1 * 600_000
    assert longest_queue(samples) < 0.100


def test_lost_reports_do_not_mislead():
    path = Path(Link(MBIT), feedback_loss=0.2)
    path.run(15)
    samples = path.run(40)
    assert 0.65 * MBIT < mean(sample.estimate for sample in samples) < 1.05 * MBIT
    assert longest_queue(samples) < 0.150


def test_who_sends_little_keeps_his_estimate():
    path = Path(Link(5 * MBIT), demand=lambda estimator: 200_000)
    assert {sample.estimate for sample in path.run(60)} == {600_000}


def test_who_sends_little_over_a_narrow_link_learns_of_it():
    path = Path(
        Link(150_000), BandwidthEstimator(initial=2 * MBIT), demand=lambda estimator: min(200_000, estimator.estimate)
    )
    path.run(15)
    samples = path.run(20)
    assert 0.6 * 150_000 < mean(sample.estimate for sample in samples) < 1.1 * 150_000
    assert longest_queue(samples) < 0.3


def test_a_rate_that_has_just_risen_too_far_falls_to_what_the_path_carries_not_to_what_was_sent_before():
    path = Path(
        Link(MBIT),
        BandwidthEstimator(initial=2 * MBIT),
        demand=lambda estimator: 300_000 if path.now < 10 else estimator.estimate,
    )
    path.run(10)
    fallen = min(sample.estimate for sample in path.run(3))
    assert 0.75 * MBIT < fallen < MBIT


def test_a_longer_way_costs_little():
    path = Path(Link(MBIT))
    path.run(15)
    path.link.delay += 0.3
    path.run(10)
    assert path.estimator.estimate > 300_000
    path.run(60)
    assert mean(sample.estimate for sample in path.run(10)) > 0.8 * MBIT


def test_after_ten_seconds_of_silence_the_estimate_is_still_of_use():
    path = Path(Link(MBIT))
    path.run(15)
    path.link.loss = 1.0
    path.run(10)
    assert path.estimator.estimate < 0.6 * MBIT
    path.link.loss = 0.0
    path.run(1)
    assert path.estimator.estimate > 0.4 * MBIT


def test_layers_rise_to_the_best_within_ten_seconds_where_there_is_room():
    room = viewer(Link(10 * MBIT), screen=SCREEN, speaker=SPEAKER, other=OTHER)
    samples = room.path.run(10)
    assert room.current == {"screen": 1, "speaker": 2, "other": 2}
    padding = room.path.padding
    room.path.run(60)
    assert room.path.padding == padding  # nobody lacks anything: nothing is tried
    assert longest_queue(samples) < 0.050


def test_layers_do_not_change_to_and_fro_where_the_best_does_not_fit():
    room = viewer(Link(3 * MBIT), screen=SCREEN, speaker=SPEAKER, other=OTHER)
    room.path.run(20)
    settled = room.changes[:]
    samples = room.path.run(120)
    assert room.current == {"screen": 1, "speaker": 2, "other": 1}
    assert room.changes == settled
    assert longest_queue(samples) < 0.250  # while it is tried


def test_failed_attempts_cost_little():
    room = viewer(Link(900_000), speaker=SPEAKER)
    room.path.run(300)
    assert room.current == {"speaker": 1}
    assert room.path.padding * 8 / 300 < 10_000  # bit/s on average


def test_300_kbit_leave_the_coarsest_layer_and_a_short_queue():
    room = viewer(Link(2 * MBIT), speaker=SPEAKER)
    room.path.run(15)
    assert room.current == {"speaker": 2}
    room.path.link.set_rate(300_000, room.path.now)
    room.path.run(10)
    samples = room.path.run(30)
    assert room.current == {"speaker": 0}
    assert longest_queue(samples) < 0.5


def test_where_no_picture_fits_there_is_voice_alone_and_pictures_come_back_by_probing():
    room = viewer(Link(2 * MBIT), speaker=SPEAKER)
    room.path.run(15)
    room.path.link.set_rate(60_000, room.path.now)
    room.path.run(60)
    assert room.current == {"speaker": None}
    assert room.allocation is not None
    assert room.allocation.audio_only
    assert sent_rate(room.path.run(120)) < 15_000  # what padding costs
    room.path.link.set_rate(2 * MBIT, room.path.now)
    room.path.run(130)  # the longest interval between two attempts, and some
    assert room.current == {"speaker": 2}


def test_a_path_that_recovers_soon_gets_its_pictures_back_soon():
    room = viewer(Link(2 * MBIT), screen=SCREEN, speaker=SPEAKER)
    room.path.run(15)
    room.path.link.set_rate(100_000, room.path.now)
    room.path.run(5)
    room.path.link.set_rate(2 * MBIT, room.path.now)
    room.path.run(20)
    assert None not in room.current.values()


def test_a_probe_is_not_taken_for_trouble():
    """Its queue and its loss are its own doing."""
    room = viewer(Link(900_000, limit=0.05), speaker=SPEAKER)
    room.path.run(10)
    assert min(sample.estimate for sample in room.path.run(120)) > 600_000
    assert room.current == {"speaker": 1}
