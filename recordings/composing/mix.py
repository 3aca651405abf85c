"""Add up everybody's sound over one segment, and encode it so that it joins its neighbours without a seam.

Each packet's sound is laid where the segment's plan says, exact to a sample; voices are added as they are, and a
limiter keeps their sum from clipping (no level is pumped up and down with the number of people).

AAC frames overlap by half. So the encoder begins BEFORE frames early and goes on for AFTER frames, over sound that is
the neighbour's, and what it makes of that is thrown away: what is left are the frames that one encoder of the whole
class would have made there. Decoders of voices begin early, too (RFC 7845, section 4.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph
from numpy.typing import NDArray

from recordings.composing.segments import AAC_FRAME, RATE, Segment, Segments, Voice, becoming
from recordings.composing.tracks import own
from recordings.logs.depayload import opus_duration, opus_frames
from recordings.logs.packets import PacketLog, in_order

BEFORE, AFTER = 32, 4  # AAC frames: the limiter and the encoder's choices have settled; a frame needs the next one
SETTLES = RATE * 12 // 100  # samples before the first that is used: an Opus decoder needs 80 ms
LIMIT = 0.95  # of full scale
BIT_RATE = 128_000

Samples = NDArray[np.float32]


def mixed(folder: Path, segment: Segment) -> Samples:
    """Two channels by samples, from BEFORE frames before the segment to AFTER frames after it."""
    begin, end = segment.samples
    first = begin - BEFORE * AAC_FRAME
    total = np.zeros((2, end + AFTER * AAC_FRAME - first), np.float32)
    for voice in segment.voices:
        for position, samples in placed(folder, voice, segment, first, first + total.shape[1]):
            at = position - first
            samples = samples[:, max(0, -at) : total.shape[1] - at]
            at = max(0, at)
            total[:, at : at + samples.shape[1]] += samples
    # Before the class there was nothing; after it, there is nothing.
    total[:, : max(0, -first)] = 0.0
    return total


def placed(folder: Path, voice: Voice, segment: Segment, begin: int, end: int) -> Iterator[tuple[int, Samples]]:
    """(first sample after the recording's start, two channels by samples), in order, without overlap."""
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = RATE, "stereo"
    log = PacketLog(folder / voice.file, voice.start.position)
    arrived = in_order(own(voice.payload_type, log.read(segment.until)), voice.start.timestamp)
    heard = begin - SETTLES  # up to here
    for frame in opus_frames(arrived):
        position = voice.position(frame.timestamp)
        if position + opus_duration(frame.data) * RATE <= begin - SETTLES:
            continue
        if position >= end:
            return
        try:
            decoded = decoder.decode(av.Packet(frame.data))
        except av.FFmpegError:
            continue
        for made in decoded:
            samples = made.to_ndarray().astype(np.float32, copy=False)
            if made.format.is_packed or made.sample_rate != RATE:
                continue  # Opus is decoded to planes of floats at 48 kHz; anything else is not ours
            if samples.shape[0] == 1:
                samples = np.repeat(samples, 2, axis=0)
            # The clock was slow, and the voice was moved back: drop what was heard already.
            skip = max(0, heard - position)
            if skip < samples.shape[1]:
                yield position + skip, samples[:2, skip:]
            position += samples.shape[1]
            heard = max(heard, position)


def limited(sound: Samples) -> Samples:
    graph = Graph()
    source = graph.add_abuffer(format="fltp", sample_rate=RATE, layout="stereo", time_base=Fraction(1, RATE))
    limiter = graph.add("alimiter", f"limit={LIMIT}:level=0:attack=5:release=50:latency=1")
    planes = graph.add("aformat", "sample_fmts=fltp")
    sink = graph.add("abuffersink")
    for one, other in ((source, limiter), (limiter, planes), (planes, sink)):
        one.link_to(other)
    graph.configure()
    pieces = []

    def drain() -> None:
        while True:
            try:
                frame = graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, AudioFrame)
            pieces.append(frame.to_ndarray())

    for at in range(0, sound.shape[1], RATE):
        frame = _frame(sound[:, at : at + RATE], at)
        graph.push(frame)
        drain()
    graph.push(None)
    drain()
    return np.concatenate(pieces, axis=1)


def _frame(samples: Samples, pts: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, pts, Fraction(1, RATE)
    return frame


def encode(sound: Samples, segment: Segment, path: Path) -> None:
    """`sound` as `mixed` gives it. The first segment keeps the frame before its first: a decoder starts with it."""
    begin, end = segment.samples
    first = -AAC_FRAME if segment.number == 0 else 0
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=BIT_RATE)

        def write(frame: AudioFrame | None) -> None:
            for packet in stream.encode(frame):
                pts = (packet.pts or 0) - BEFORE * AAC_FRAME
                if first <= pts < end - begin:
                    packet.pts = packet.dts = pts
                    container.mux(packet)

        for at in range(0, sound.shape[1] - AAC_FRAME + 1, AAC_FRAME):
            write(_frame(sound[:, at : at + AAC_FRAME], at))
        write(None)


def mix(segments: Segments, segment: Segment) -> None:
    """Write a segment's sound."""
    path = segments.sound_path(segment.number)
    with becoming(path, path.with_name(f".{path.name}.part")) as unfinished:
        encode(limited(mixed(segments.recording, segment)), segment, unfinished)
