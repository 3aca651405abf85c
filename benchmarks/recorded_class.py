"""The folder of a recorded class of any length, as the media worker leaves it: real VP8 and Opus, sent over and over.

Cameras and screen are what the classroom sends: 1280x720 and 30 frames a second at 1.5 Mbit/s, and the two smaller
layers; 1920x1080 and 5 frames a second of a page that is scrolled now and then. A person moves before a still wall, and
the camera's sensor is noisy. A loop begins with a key frame, about as often as the recorder asks for one.

Of each camera the layer is recorded that the worker would record (`sfu.core.film`), as if SPOKEN people had spoken
within its half minute all the time. Cameras in one layer are what browsers send that know no simulcast.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
from av.packet import Packet

from sfu.core.film import tile
from sfu.core.layers import ENLARGED
from sfu.manifest import ENTRIES, LEASE, MANIFEST, TIMELINE, Joined, Manifest, Started, Stopped, TrackStarted
from sfu.worker.rtpdump import append_rtcp, append_rtp, file_header
from tests.recordings.synthetic import encode_opus, packetize_vp8, rtp, sender_report

BEGAN = 1_700_000_000.0
LOOP = 24  # seconds
CHUNK = 4 * 1024 * 1024  # bytes written at once


@dataclass(frozen=True)
class Look:
    width: int
    height: int
    fps: int
    rate: int  # bit/s


CAMERA, SCREEN = Look(1280, 720, 30, 1_500_000), Look(1920, 1080, 5, 3_000_000)
LAYERS = (Look(320, 180, 30, 150_000), Look(640, 360, 30, 500_000), CAMERA)
SPOKEN = 2  # people: who teaches, and who asks


@functools.cache
def _wall() -> np.ndarray:
    height, width = CAMERA.height, CAMERA.width
    y, x = np.ogrid[:height, :width]
    return (60 + 60 * x / width + 30 * y / height + 9 * np.sin(x / 17)).astype(np.int16)


@functools.cache
def _noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(0, 2.0, (CAMERA.height, CAMERA.width)).astype(np.int16)


def camera_picture(number: int) -> np.ndarray:
    """yuv420p: a wall in a soft light, a head and shoulders that sway, noise."""
    height, width = CAMERA.height, CAMERA.width
    seconds = number / CAMERA.fps
    luma = _wall() + _noise(number % 16)
    for across, down, wide, high, shade in ((0.5, 1.05, 0.25, 0.4, 90), (0.5, 0.45, 0.11, 0.24, 170)):
        middle = width * (across + 0.06 * np.sin(seconds * 0.9))
        centre = height * (down + 0.03 * np.sin(seconds * 1.7))
        top, left = int(max(0, centre - height * high)), int(middle - width * wide)
        part = luma[top : int(centre + height * high), left : int(middle + width * wide)]
        y, x = np.ogrid[: part.shape[0], : part.shape[1]]
        inside = ((x - width * wide) / (width * wide)) ** 2 + ((y + top - centre) / (height * high)) ** 2 < 1
        part[inside] += shade - 100
    chroma = np.full((height // 2, width), 128, np.uint8)
    chroma[:, : width // 2] = 118
    return np.concatenate([np.clip(luma, 16, 235).astype(np.uint8), chroma.reshape(height // 2, width)])


def screen_picture(number: int) -> np.ndarray:
    """yuv420p: lines of text on paper, scrolled every four seconds."""
    height, width = SCREEN.height, SCREEN.width
    page = np.random.default_rng(1).integers(0, 2, (height // 12 + 60, width // 8)) * 170 + 40
    top = number // (4 * SCREEN.fps) * 3 % 60
    text = page[top : top + height // 12].repeat(12, 0).repeat(8, 1).astype(np.uint8)
    text[np.arange(height) % 24 > 13] = 235
    return np.concatenate([text, np.full((height // 2, width), 128, np.uint8)])


@functools.cache
def clip(look: Look, count: int) -> list[bytes]:
    """The first so many encoded frames of a loop."""
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = look.width, look.height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, look.fps), Fraction(look.fps), look.rate
    encoder.thread_count = 2
    encoder.options = {"deadline": "realtime", "cpu-used": "16", "g": "9999", "lag-in-frames": "0"}
    picture = screen_picture if look is SCREEN else camera_picture
    frames = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number), format="yuv420p").reformat(look.width, look.height)
        frame.pts = number
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return frames + [bytes(packet) for packet in encoder.encode(None)]


@functools.cache
def voice() -> list[bytes]:
    """Opus, one loop."""
    return [payload for _, payload in encode_opus("Tina", 0.0, float(LOOP))]


@dataclass(frozen=True)
class Medium:
    """One track of the class."""

    person: int
    source: str
    look: Look  # of no use to a microphone

    @property
    def name(self) -> str:
        return f"p{self.person}-{self.source}"

    def frames(self, seconds: float) -> Iterator[tuple[float, bytes]]:
        """(when, what was encoded). A person begins with a loop's first frame: it is the key frame."""
        if self.source == "microphone":
            packets, fps = voice(), 50
        else:
            fps = self.look.fps
            packets = clip(self.look, min(LOOP * fps, int(seconds * fps)))
        for number in range(int(seconds * fps)):
            yield number / fps, packets[number % len(packets)]


@dataclass(frozen=True)
class RecordedClass:
    cameras: int
    screen: bool
    seconds: float
    layers: int = len(LAYERS)  # that each camera is sent in: 3 or 1

    @property
    def media(self) -> list[Medium]:
        shared = [Medium(0, "screen", SCREEN)] if self.screen else []
        people = range(self.cameras)
        return [Medium(one, source, self.look(one)) for one in people for source in ("microphone", "camera")] + shared

    def look(self, person: int) -> Look:
        """The layer of his camera that is recorded."""
        if self.layers == 1 or person < SPOKEN:
            return CAMERA
        shown = tile(self.cameras, beside=self.screen)
        assert shown.width is not None
        return next(look for look in LAYERS if shown.width <= look.width * ENLARGED or look is CAMERA)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        entries: list[ENTRIES] = [Started(at=BEGAN, recording=folder.name, room="bench", epoch="e1")]
        entries += [Joined(at=BEGAN, peer=f"p{person}", name=f"Person {person}") for person in range(self.cameras)]
        for medium in self.media:
            about = started(medium.name, medium.person, medium.source)
            entries.append(about)
            write_log(folder / about.file, about.kind, medium.frames(self.seconds))
        complete(folder, entries, self.seconds)
        return folder

    def write_tracks(self, folder: Path) -> dict[str, Path]:
        """The same as media files, for programs that do not read packet logs."""
        folder.mkdir(parents=True)
        paths = {}
        for medium in self.media:
            path = paths[medium.name] = folder / f"{medium.name}.webm"
            with av.open(str(path), "w", format="webm") as container:
                if medium.source == "microphone":
                    stream = container.add_stream("libopus", rate=48000, layout="stereo")
                else:
                    stream = container.add_mux_stream("vp8", width=medium.look.width, height=medium.look.height)  # type: ignore[assignment]
                for number, (at, data) in enumerate(medium.frames(self.seconds)):
                    packet = Packet(data)
                    packet.stream, packet.time_base = stream, Fraction(1, 1000)
                    packet.pts = packet.dts = round(at * 1000)
                    packet.is_keyframe = number % (LOOP * medium.look.fps) == 0 or medium.source == "microphone"
                    container.mux(packet)
        return paths


def complete(folder: Path, entries: list[ENTRIES], seconds: float) -> None:
    """Timeline and manifest."""
    entries.append(Stopped(at=BEGAN + seconds))
    (folder / TIMELINE).write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    (folder / LEASE).touch()
    files = sorted(log.name for log in folder.glob("*.rtpdump"))
    manifest = Manifest(folder.name, "bench", BEGAN, BEGAN + seconds, files)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def started(name: str, person: int, source: str, at: float = 0.0) -> TrackStarted:
    """`at`: seconds after BEGAN."""
    sound = source == "microphone"
    return TrackStarted(
        at=BEGAN + at,
        producer_id=name,
        peer=f"p{person}",
        kind="audio" if sound else "video",
        source=source,  # type: ignore[arg-type]
        file=f"{name}.e1.rtpdump",
        mime_type="audio/opus" if sound else "video/VP8",
        payload_type=100 if sound else 101,
        clock_rate=48000 if sound else 90000,
        channels=2 if sound else 0,
    )


def write_log(path: Path, kind: str, frames: Iterable[tuple[float, bytes]], began: float = 0.0) -> None:
    """`frames`: (seconds after BEGAN, what was encoded). The log begins at `began`."""
    sound = kind == "audio"
    rate, payload_type = (48000, 100) if sound else (90000, 101)
    log, number, reported = bytearray(file_header(BEGAN + began)), 0, -1.0
    with path.open("wb") as file:
        for count, (at, data) in enumerate(frames):
            payloads = [data] if sound else packetize_vp8(data, count)
            arrival, timestamp = at - began + 0.05, round(at * rate)
            for index, payload in enumerate(payloads):
                last = index == len(payloads) - 1
                append_rtp(log, rtp(payload_type, number, timestamp, last and not sound, payload), arrival)
                number += 1
            if at - reported >= 1.0:
                append_rtcp(log, sender_report(BEGAN + at, timestamp), arrival)
                reported = at
            if len(log) > CHUNK:
                file.write(log)
                log.clear()
        file.write(log)
