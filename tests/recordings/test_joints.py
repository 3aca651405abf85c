"""Where two segments join, nothing is heard, nothing is missing, nothing is twice."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from recordings.composing.compose import plan
from recordings.composing.composition import FPS
from recordings.composing.mix import AFTER, BEFORE, encode, limited, mixed
from recordings.composing.segments import AAC_FRAME, FRAMES, RATE, SAMPLES, Segment, Segments
from recordings.timeline import RecordedTime
from tests.recordings.synthetic import SyntheticClass

TONE = 441.7  # Hz: no whole number of waves fits into a segment or a frame
COUNT = 2
NEAR = 2 * AAC_FRAME  # samples on each side of a joint
Samples = NDArray[np.float32]


def segment(number: int, frames: int = FRAMES) -> Segment:
    begin = number * FRAMES
    return Segment(number, begin, begin + frames, 0.0, RecordedTime(0.0), {})


def tone(begin: int, end: int) -> Samples:
    one = 0.3 * np.sin(2 * np.pi * TONE * np.arange(begin, end) / RATE)
    return np.stack([one, one]).astype(np.float32)


def decoded(paths: list[Path]) -> Samples:
    """What one decoder makes of all packets in a row; from the first sample of the class on."""
    decoder: av.AudioCodecContext | None = None
    pieces = []
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            if decoder is None:
                made = av.CodecContext.create("aac", "r")
                assert isinstance(made, av.AudioCodecContext)
                decoder, decoder.extradata = made, stream.codec_context.extradata
            for packet in container.demux(stream):
                if packet.pts is not None:
                    pieces += [frame.to_ndarray() for frame in decoder.decode(av.Packet(bytes(packet)))]
    return np.concatenate(pieces, axis=1)[:, AAC_FRAME:].astype(np.float32)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    folder = tmp_path_factory.mktemp("joined")
    paths = []
    for number in range(COUNT):
        begin, end = segment(number).samples
        heard = tone(begin - BEFORE * AAC_FRAME, end + AFTER * AAC_FRAME)
        if number == 0:
            heard[:, : BEFORE * AAC_FRAME] = 0.0
        paths.append(folder / f"{number}.m4a")
        encode(limited(heard), segment(number), paths[-1])
    return decoded(paths)


@pytest.fixture(scope="module")
def in_one_piece(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    path = tmp_path_factory.mktemp("one") / "one.m4a"
    heard = tone(-BEFORE * AAC_FRAME, COUNT * SAMPLES + AFTER * AAC_FRAME)
    heard[:, : BEFORE * AAC_FRAME] = 0.0
    encode(limited(heard), segment(0, COUNT * FRAMES), path)
    return decoded([path])


def loudest_error(heard: Samples, middle: int) -> float:
    begin, end = middle - NEAR, min(middle + NEAR, heard.shape[1])
    return float(np.abs(heard[:, begin:end] - tone(begin, end)).max())


def test_samples_are_neither_missing_nor_doubled(joined: Samples) -> None:
    assert joined.shape[1] == COUNT * SAMPLES
    for number in range(COUNT):
        for middle in (number * SAMPLES + SAMPLES // 2, (number + 1) * SAMPLES - NEAR):
            assert loudest_error(joined, middle) < 0.003, "one sample off would be 0.017"


def test_a_tone_over_a_joint_has_no_click(joined: Samples, in_one_piece: Samples) -> None:
    usual = max(loudest_error(in_one_piece, SAMPLES // 2 + step * AAC_FRAME) for step in range(0, 400, 40))
    for number in range(1, COUNT):
        assert loudest_error(joined, number * SAMPLES) < max(2 * usual, 0.001)


def test_a_seam_would_be_seen(tmp_path: Path) -> None:
    """The same without the neighbour's sound: what the test above looks for is there."""
    paths = []
    for number in range(2):
        begin, end = segment(number).samples
        heard = tone(begin - BEFORE * AAC_FRAME, end + AFTER * AAC_FRAME)
        heard[:, : BEFORE * AAC_FRAME] = 0.0
        heard[:, -AFTER * AAC_FRAME :] = 0.0
        paths.append(tmp_path / f"{number}.m4a")
        encode(heard, segment(number), paths[-1])
    assert loudest_error(decoded(paths), SAMPLES) > 0.05


def test_voices_of_neighbours_are_the_same_where_they_overlap(tmp_path: Path) -> None:
    """Each is decoded from a place of its own in the log."""
    world = SyntheticClass(tmp_path / "recording", 40.0)
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 40.0)
    folder = world.write()
    assert plan(folder).segments == 2
    before, after = (mixed(folder, Segments(folder).read(number)) for number in range(2))
    both = (BEFORE + AFTER) * AAC_FRAME
    assert np.abs(before[:, -both:] - after[:, :both]).max() < 0.002
    assert np.abs(after[:, :both]).max() > 0.09


def test_a_voice_that_is_too_loud_is_limited_and_not_clipped() -> None:
    loud = limited(3 * tone(0, RATE))
    assert loud.shape == (2, RATE)
    assert np.abs(loud).max() <= 0.96
    assert np.abs(limited(tone(0, RATE)) - tone(0, RATE)).max() < 1e-5


def test_a_segment_is_taken_up_from_its_neighbours_frames_alone() -> None:
    assert [segment(number).samples for number in (0, 1)] == [(0, SAMPLES), (SAMPLES, 2 * SAMPLES)]
    last = replace(segment(2), end=2 * FRAMES + 7)
    begin, end = last.samples
    assert (end - begin) % AAC_FRAME == 0
    assert 0 <= end - begin - 7 * RATE / FPS < AAC_FRAME
