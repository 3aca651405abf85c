"""What is seen and heard of a class in which clocks drift for an hour, packets are lost, and a camera stands still.

Judged by what the plans and the logs give to the encoders, frame by frame and sample by sample.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from recordings.composing.compose import plan
from recordings.composing.composition import FPS
from recordings.composing.mix import BEFORE, mixed
from recordings.composing.pictures import Pictures
from recordings.composing.segments import AAC_FRAME, FRAMES, RATE, SECONDS, Segment, Segments
from tests.recordings.synthetic import (
    BEEP,
    BEGAN,
    SyntheticClass,
    encode_opus,
    encode_video,
    is_flash,
    packetize_vp8,
    picture,
    read_bars,
    rtp,
    rtpdump,
    sender_report,
)

SIZE = (160, 90)
SILENCE = b"\xfc\xff\xfe"  # an Opus packet of 20 ms in which nobody speaks
HOUR = 3600.0


def shown(folder: Path, segment: Segment) -> list[np.ndarray | None]:
    """The luma of what a camera shows in each frame of a segment."""
    pictures = Pictures(folder, segment, segment.cameras)
    found = [pictures.at((frame + 0.5) / FPS) for frame in range(segment.begin, segment.end)]
    return [None if one is None else one[1].to_ndarray()[: one[1].height] for one in found]


def segments_of(folder: Path) -> list[Segment]:
    return [Segments(folder).read(number) for number in range(plan(folder).segments)]


# --- an hour ---------------------------------------------------------------------------------------------------------

SPOKEN = ((0.0, 12.0), (HOUR, HOUR + 12.0))  # seconds: in between nobody says a word, and the picture hardly moves
AUDIO_DRIFT, VIDEO_DRIFT, NTP_DRIFT = 2e-4, -5e-5, 6e-5  # of the sender's clocks against the worker's: 720 ms an hour
DELAYS = {"audio": 0.04, "video": 0.18}
Records = list[tuple[float, bytes, bool]]


def reports(rate: int, drift: float, first: int, delay: float) -> Records:
    return [
        (
            at + delay,
            sender_report(BEGAN + 41.0 + at * (1 + NTP_DRIFT), first + round(at * rate * (1 + drift))),
            True,
        )
        for at in np.arange(0.5, SPOKEN[-1][1], 5.0).tolist()
    ]


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = SyntheticClass(tmp_path_factory.mktemp("hour") / "recording", SPOKEN[-1][1])
    world.join(0.0, "Tina")
    _, path = world._track("Tina", "audio", "microphone", "audio/opus", 0.0)
    said = [packet for begin, end in SPOKEN for packet in encode_opus("Tina", begin, end)]
    said += [(at, SILENCE) for at in np.arange(SPOKEN[0][1], SPOKEN[1][0], 0.4).tolist()]
    records: Records = []
    for number, (at, payload) in enumerate(sorted(said)):
        timestamp = 12_345 + round(at * RATE * (1 + AUDIO_DRIFT))
        records.append((at + DELAYS["audio"], rtp(100, number, timestamp, False, payload), False))
    path.write_bytes(rtpdump(records + reports(RATE, AUDIO_DRIFT, 12_345, DELAYS["audio"])))

    _, path = world._track("Tina", "video", "camera", "video/VP8", 0.0)
    times = [at for begin, end in SPOKEN for at in (begin + np.arange(0, end - begin, 1 / 15)).tolist()]
    times += np.arange(SPOKEN[0][1], SPOKEN[1][0], 6.0).tolist()
    taken = ((at, picture("Tina", at, SIZE)) for at in sorted(times))
    keys = np.arange(24.0, HOUR + 12, 24.0).tolist()
    records, number = [], 0
    for count, (at, frame) in enumerate(encode_video("video/VP8", taken, SIZE, keys)):
        payloads = packetize_vp8(frame, count)
        for index, payload in enumerate(payloads):
            packet = rtp(101, number, 777 + round(at * 90000 * (1 + VIDEO_DRIFT)), index == len(payloads) - 1, payload)
            records.append((at + DELAYS["video"], packet, False))
            number += 1
    path.write_bytes(rtpdump(records + reports(90000, VIDEO_DRIFT, 777, DELAYS["video"])))
    return world.write()


@pytest.mark.parametrize(("number", "begin"), [(0, 0.0), (112, HOUR)], ids=["at the start", "after an hour"])
def test_lips_and_voice_are_together_within_80_ms(hour: Path, number: int, begin: float) -> None:
    segment = segments_of(hour)[number]
    assert segment.begin <= begin * FPS < segment.end
    lumas = shown(hour, segment)
    lit = [luma is not None and is_flash(luma) for luma in lumas]
    flashes = [(segment.begin + at) / FPS for at in range(1, len(lit)) if lit[at] and not lit[at - 1]]
    beeps = beeps_in(mixed(hour, segment)[0], segment)
    true = [begin + second for second in range(2, 12, 2)]
    for moment in true:
        flash = min(flashes, key=lambda at: abs(at - moment))
        beep = min(beeps, key=lambda at: abs(at - moment))
        assert abs(flash - beep) < 0.08, (moment, flash, beep)
        assert abs(beep - moment - DELAYS["audio"]) < 0.08, "and both are where they were on the worker's clock"


def beeps_in(sound: np.ndarray, segment: Segment) -> list[float]:
    """When beeps begin, exact to 5 ms."""
    step = RATE // 200
    wave = np.exp(-2j * np.pi * BEEP * np.arange(step) / RATE)
    count = len(sound) // step
    loud = np.abs(sound[: count * step].reshape(count, step) @ wave) / step * 2 > 0.12
    first = segment.samples[0] - BEFORE * AAC_FRAME
    return [first / RATE + index / 200 for index in np.flatnonzero(loud[1:] & ~loud[:-1]) + 1]


# --- losses ----------------------------------------------------------------------------------------------------------

FPS_OF_CAMERA = 15
KEYS_AFTER_LOSS = 0.6  # seconds: asked for, made, on their way


@pytest.mark.parametrize("share", [0.0, 0.05], ids=["without loss", "5 % lost for good, as many late"])
def test_no_picture_is_missing_or_doubled_beyond_what_was_lost(tmp_path: Path, share: float) -> None:
    """Each picture bears its number: what is seen is the newest that could be decoded, over the border, too."""
    length = 40.0
    chance = random.Random(5)
    world = SyntheticClass(tmp_path / "recording", length)
    world.join(0.0, "Tina")
    _, path = world._track("Tina", "video", "camera", "video/VP8", 0.0)
    records: Records = []
    good: list[tuple[float, int]] = []  # (when it is seen, number) of what can be decoded
    number, wants_key = 0, False
    times = [index / FPS_OF_CAMERA for index in range(int(length * FPS_OF_CAMERA))]
    keys = np.arange(0.0, length, KEYS_AFTER_LOSS).tolist()
    frames = encode_video("video/VP8", ((at, picture("Tina", at, SIZE)) for at in times), SIZE, keys)
    for count, (at, frame) in enumerate(frames):
        payloads = packetize_vp8(frame, count)
        whole = True
        for index, payload in enumerate(payloads):
            luck = chance.random()
            packet = rtp(101, number, 777 + round(at * 90000), index == len(payloads) - 1, payload)
            number += 1
            if luck < share:
                whole = False
            else:
                late = 0.4 if luck < 2 * share else 0.0
                records.append((at + 0.1 + late + index * 1e-3, packet, False))
        wants_key = not whole or (wants_key and frame[0] & 1 == 1)
        if not wants_key:
            good.append((at + 0.1, count))
    assert share == 0 or len(good) < len(times) * 0.9
    path.write_bytes(rtpdump(records))
    world.write()
    seen: list[int] = []
    for segment in segments_of(world.folder):
        for frame_number, luma in enumerate(shown(world.folder, segment), start=segment.begin):
            moment = (frame_number + 0.5) / FPS
            possible = [count for made, count in good if abs(made - moment) < 0.02]  # clocks are exact to a few ms
            newest = max((count for made, count in good if made <= moment), default=None)
            if luma is None:
                assert newest is None or possible
                continue
            shows = read_bars(luma)
            assert shows in {count % 256 for count in (newest, *possible) if count is not None}, (moment, newest)
            seen.append(shows)
    changes = [(after - before) % 256 for before, after in itertools.pairwise(seen)]
    assert all(change < 128 for change in changes), "time never goes back"
    assert len(seen) >= length * FPS - 10
    last = {count % 256 for made, count in good if made < length - 0.1 and made > length - 16}
    assert last <= set(seen[-16 * FPS :]), "each that can be decoded is seen"


def test_a_camera_that_stands_still_over_a_border_stands_still_in_both(tmp_path: Path) -> None:
    world = SyntheticClass(tmp_path / "recording", 44.0)
    world.join(0.0, "Tina")
    world.camera("Tina", 0.0, 44.0, size=SIZE, lost=lambda seconds, number: 28.0 <= seconds < 40.0, keys=[40.0])
    world.write()
    first, second = segments_of(world.folder)
    lumas = [*shown(world.folder, first), *shown(world.folder, second)]
    numbers = [None if luma is None else read_bars(luma) for luma in lumas]
    frozen = numbers[round(28.5 * FPS) : round(39.5 * FPS)]
    assert set(frozen) == {(28 * 15 - 1) % 256}
    assert numbers[round(41 * FPS)] == pytest.approx((41 - 0.12) * 15 % 256, abs=1.5)
    assert first.end == FRAMES == SECONDS * FPS
