"""Make recordings' folders as a media worker leaves them: real VP8, H264 and Opus in packet logs.

Each person's camera shows a colour of its own, the number of the picture as eight bars, and a white flash once in
FLASH_EVERY seconds; the microphone gives a tone of its own and a beep with each flash. Time is seconds after the
start of the class; a sender's clock is wrong by `skew`, and each medium is on its way for a delay of its own.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from sfu.manifest import (
    ENTRIES,
    LEASE,
    MANIFEST,
    RTPDUMP_MAGIC,
    TIMELINE,
    Joined,
    Left,
    Manifest,
    Paused,
    Resumed,
    Started,
    Stopped,
    TrackEnded,
    TrackPaused,
    TrackResumed,
    TrackStarted,
)

BEGAN = 1_700_000_000.25  # the start of every synthetic class, seconds since the Unix epoch
NTP_EPOCH = 2208988800
FLASH_EVERY, FLASH_LASTS = 2.0, 0.1  # seconds
BEEP = 3000.0  # Hz
MTU = 1100  # bytes of payload
PAYLOAD_TYPES = {"video/VP8": 101, "video/H264": 103, "video/VP9": 105, "video/AV1": 107, "audio/opus": 100}
ENCODERS = {"video/VP8": "libvpx", "video/H264": "libx264", "video/VP9": "libvpx-vp9", "video/AV1": "libsvtav1"}
DECODERS = {"video/VP8": "vp8", "video/H264": "h264", "video/VP9": "vp9", "video/AV1": "libdav1d"}
COLOURS = {  # U, V
    "Tina": (90, 200),
    "Sam": (200, 90),
    "Sue": (60, 60),
    "Olga": (180, 180),
    "Ben": (128, 40),
}
TONES = {"Tina": 440.0, "Sam": 620.0, "Sue": 880.0, "Olga": 1130.0, "Ben": 1500.0}
BARS = 8


def flashing(seconds: float) -> bool:
    return seconds % FLASH_EVERY < FLASH_LASTS and seconds >= FLASH_EVERY / 2


def picture(name: str, seconds: float, size: tuple[int, int], fps: int = 15) -> np.ndarray:
    """What the camera of `name` sees, as yuv420p. Bars above, flash in the middle, colour all around."""
    width, height = size
    luma = np.full((height, width), 110, np.uint8)
    number = round(seconds * fps)
    bar = width // 10
    for bit in range(BARS):
        luma[height // 10 : height * 3 // 10, bar * (bit + 1) : bar * (bit + 2)] = 235 if number >> bit & 1 else 16
    luma[height * 4 // 10 : height * 6 // 10, width * 4 // 10 : width * 6 // 10] = 235 if flashing(seconds) else 16
    u, v = COLOURS[name]
    chroma = [np.full((height // 2, width // 2), value, np.uint8) for value in (u, v)]
    return np.concatenate([part.ravel() for part in (luma, *chroma)]).reshape(height * 3 // 2, width)


def read_bars(luma: np.ndarray) -> int:
    """The number that a picture's bars tell, whatever size it was scaled to."""
    height, width = luma.shape
    row = luma[height * 15 // 100 : height * 25 // 100]
    bar = width / 10
    number = 0
    for bit in range(BARS):
        middle = bar * (bit + 1.5)
        if row[:, int(middle - bar / 4) : int(middle + bar / 4)].mean() > 125:
            number |= 1 << bit
    return number


def is_flash(luma: np.ndarray) -> bool:
    height, width = luma.shape
    return bool(luma[height * 45 // 100 : height * 55 // 100, width * 45 // 100 : width * 55 // 100].mean() > 125)


def sound(name: str, begin: float, samples: int) -> np.ndarray:
    seconds = begin + np.arange(samples) / 48000
    tone = 0.1 * np.sin(2 * np.pi * TONES[name] * seconds)
    beeps = (seconds % FLASH_EVERY < FLASH_LASTS) & (seconds >= FLASH_EVERY / 2)
    return tone + beeps * 0.3 * np.sin(2 * np.pi * BEEP * seconds)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_video(
    mime_type: str,
    pictures: Iterable[tuple[float, np.ndarray]],
    size: tuple[int, int],
    keys: Iterable[float] = (),
) -> Iterator[tuple[float, bytes]]:
    """Frames as a browser sends them: one key frame at the start and at each of `keys`, no B frames."""
    codec = cast(VideoCodecContext, av.CodecContext.create(ENCODERS[mime_type], "w"))
    codec.width, codec.height = size
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, 90000), Fraction(15)
    if mime_type != "video/AV1":  # whose encoder takes no rate where nothing may wait
        codec.bit_rate = 600_000
    codec.options = {
        "libx264": {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "g": "10000", "bf": "0"},
        "libsvtav1": {
            "preset": "11",
            "g": "10000",
            "svtav1-params": "pred-struct=1:rtc=1",
        },
    }.get(ENCODERS[mime_type], {"deadline": "realtime", "cpu-used": "8", "g": "10000", "lag-in-frames": "0"})
    codec.open()
    leave_real_time()
    due = sorted(keys)
    for seconds, data in pictures:
        frame = av.VideoFrame.from_ndarray(data, format="yuv420p")
        frame.pts = round(seconds * 90000)
        if due and seconds >= due[0]:
            due.pop(0)
            frame.pict_type = PictureType.I
        for packet in codec.encode(frame):
            yield (packet.pts or 0) / 90000, bytes(packet)
    for packet in codec.encode(None):
        yield (packet.pts or 0) / 90000, bytes(packet)


def leave_real_time() -> None:
    """SVT-AV1, where it may (root may), makes its threads and the one that opens it SCHED_FIFO of priority 99, and
    every process started afterwards inherits it: two of them that spin stop everything else on two cores, for good."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def encode_opus(name: str, begin: float, end: float) -> Iterator[tuple[float, bytes]]:
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = 48000, "stereo", "s16"
    codec.options = {"application": "lowdelay", "frame_duration": "20"}
    count = round((end - begin) * 50)
    made: list[float] = []
    for index in range(count):
        seconds = begin + index * 0.02
        made.append(seconds)
        samples = (sound(name, seconds, 960) * 32767).astype(np.int16).repeat(2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, index * 960
        for packet in codec.encode(frame):
            yield made.pop(0), bytes(packet)


# --- packets ---------------------------------------------------------------------------------------------------------


def packetize(mime_type: str, frame: bytes, number: int) -> list[bytes]:
    if mime_type == "video/VP8":
        return packetize_vp8(frame, number)
    if mime_type == "video/VP9":
        return packetize_vp9(frame, number)
    return packetize_av1(frame) if mime_type == "video/AV1" else packetize_h264(frame)


def packetize_vp8(frame: bytes, picture_id: int) -> list[bytes]:
    """RFC 7741 with a picture id of 15 bits, as Chromium sends it."""
    pieces = [frame[at : at + MTU] for at in range(0, len(frame), MTU)]
    return [
        bytes([0x90 if index == 0 else 0x80, 0x80]) + struct.pack(">H", 0x8000 | picture_id & 0x7FFF) + piece
        for index, piece in enumerate(pieces)
    ]


def packetize_vp9(frame: bytes, picture_id: int) -> list[bytes]:
    """RFC 9628 in one layer, not flexible, with a picture id of 15 bits."""
    pieces = [frame[at : at + MTU] for at in range(0, len(frame), MTU)]
    delta = frame[0] & 0x04
    return [
        bytes([0x80 | 0x40 * bool(delta) | 0x08 * (index == 0) | 0x04 * (index == len(pieces) - 1)])
        + struct.pack(">H", 0x8000 | picture_id & 0x7FFF)
        + piece
        for index, piece in enumerate(pieces)
    ]


def packetize_av1(frame: bytes) -> list[bytes]:
    """RTP payload format for AV1: units without their sizes, each in packets of its own."""
    payloads = []
    position = 0
    while position < len(frame):
        head = frame[position]
        start = position = position + 1
        size = shift = 0
        while True:
            byte = frame[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert head & 6 == 2, "with a size and without an extension"
        unit = bytes([head & ~2]) + frame[position : position + size]
        position += size
        if head >> 3 & 15 == 2 or start > len(frame):
            continue  # temporal delimiters are not sent
        pieces = [unit[at : at + MTU] for at in range(0, len(unit), MTU)]
        for index, piece in enumerate(pieces):
            payloads.append(bytes([0x80 * (index > 0) | 0x40 * (index < len(pieces) - 1) | 0x10]) + piece)
    return payloads


def packetize_h264(frame: bytes) -> list[bytes]:
    """RFC 6184, mode 1: parameter sets in one STAP-A, large units in FU-A."""
    units = [
        unit.rstrip(b"\x00") for unit in frame.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    ]
    units = [unit for unit in units if unit]
    sets = [unit for unit in units if unit[0] & 0x1F in (7, 8)]
    payloads = []
    if sets:
        payloads.append(b"\x78" + b"".join(struct.pack(">H", len(unit)) + unit for unit in sets))
    for unit in units:
        if unit[0] & 0x1F in (7, 8):
            continue
        if len(unit) <= MTU:
            payloads.append(unit)
            continue
        indicator, kind, body = unit[0] & 0xE0 | 28, unit[0] & 0x1F, unit[1:]
        for at in range(0, len(body), MTU):
            header = kind | (0x80 if at == 0 else 0) | (0x40 if at + MTU >= len(body) else 0)
            payloads.append(bytes([indicator, header]) + body[at : at + MTU])
    return payloads


def rtp(payload_type: int, sequence_number: int, timestamp: int, marker: bool, payload: bytes) -> bytes:
    return (
        struct.pack(
            ">BBHII",
            0x80,
            payload_type | (0x80 if marker else 0),
            sequence_number & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            0x1234,
        )
        + payload
    )


def sender_report(ntp: float, timestamp: int) -> bytes:
    seconds = ntp + NTP_EPOCH
    fraction = int((seconds % 1) * 2**32)
    return struct.pack(">BBHIIIIII", 0x80, 200, 6, 0x1234, int(seconds), fraction, timestamp & 0xFFFFFFFF, 1, 1)


def rtpdump(records: Iterable[tuple[float, bytes, bool]]) -> bytes:
    """A log of (seconds after BEGAN, packet, is it RTCP), in the order of arrival."""
    begin = BEGAN
    out = [RTPDUMP_MAGIC, struct.pack(">IIIHH", int(begin), round(begin % 1 * 1e6), 0, 0, 0)]
    for at, packet, is_rtcp in sorted(records, key=lambda record: record[0]):
        out.append(struct.pack(">HHI", len(packet) + 8, 0 if is_rtcp else len(packet), max(0, round(at * 1000))))
        out.append(packet)
    return b"".join(out)


# --- the class -------------------------------------------------------------------------------------------------------


@dataclass
class SyntheticClass:
    """Says what happened in a class, and `write` leaves its folder."""

    folder: Path
    length: float  # seconds
    room: str = "demo"
    entries: list[ENTRIES] = field(default_factory=list)
    epoch: str = "e1"
    made: int = 0
    rests: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.begin(0.0)

    def note(self, entry: ENTRIES) -> None:
        entry.at += BEGAN
        self.entries.append(entry)

    def begin(self, at: float, epoch: str = "e1") -> None:
        self.epoch = epoch
        self.note(Started(at=at, recording=self.folder.name, room=self.room, epoch=epoch))

    def rest(self, begin: float, end: float) -> None:
        """The recording is paused, for tracks that are made after this: nothing is written, then key frames come."""
        self.rests.append((begin, end))
        self.note(Paused(at=begin))
        self.note(Resumed(at=end))

    def _log(self, records: Iterable[tuple[float, bytes, bool]]) -> bytes:
        return rtpdump(one for one in records if not any(begin <= one[0] < end for begin, end in self.rests))

    def join(self, at: float, name: str) -> None:
        self.note(Joined(at=at, peer=f"p-{name}", name=name))

    def leave(self, at: float, name: str) -> None:
        self.note(Left(at=at, peer=f"p-{name}"))

    def _track(self, name: str, kind: str, source: str, mime_type: str, at: float) -> tuple[str, Path]:
        self.made += 1
        producer_id = f"{name}-{source}-{self.made}"
        file = f"{producer_id}.{self.epoch}.rtpdump"
        self.note(
            TrackStarted(
                at=at,
                producer_id=producer_id,
                peer=f"p-{name}",
                kind=kind,  # type: ignore[arg-type]
                source=source,  # type: ignore[arg-type]
                file=file,
                mime_type=mime_type,
                payload_type=PAYLOAD_TYPES[mime_type],
                clock_rate=48000 if kind == "audio" else 90000,
                channels=2 if kind == "audio" else 0,
            )
        )
        return producer_id, self.folder / file

    def camera(
        self,
        name: str,
        begin: float,
        end: float,
        *,
        mime_type: str = "video/VP8",
        size: tuple[int, int] = (320, 180),
        sizes: Callable[[float], tuple[int, int]] | None = None,
        fps: int = 15,
        source: str = "camera",
        delay: float = 0.12,
        skew: float = 3.7,
        reports: bool = True,
        lost: Callable[[float, int], bool] = lambda seconds, packet: False,
        late: Callable[[int], float] = lambda packet: 0.0,
        pauses: Iterable[tuple[float, float]] = (),
        keys: Iterable[float] = (),
        ended: bool = True,
    ) -> str:
        """`lost(seconds, number)` drops packets, `late(number)` delays them; pictures inside `pauses` never leave."""
        producer_id, path = self._track(name, "video", source, mime_type, begin + delay)
        pauses = list(pauses)
        times = [begin + index / fps for index in range(round((end - begin) * fps))]
        times = [at for at in times if not any(first <= at < last for first, last in pauses)]
        keys = [*keys, *(last for _, last in (*pauses, *self.rests))]
        runs: list[tuple[tuple[int, int], list[float]]] = []
        for at in times:
            wanted = sizes(at) if sizes else size
            if not runs or runs[-1][0] != wanted:
                runs.append((wanted, []))
            runs[-1][1].append(at)
        records: list[tuple[float, bytes, bool]] = []
        number, count = 65500, 0  # close to the wrap
        first_timestamp = 2**32 - 90000 * 2
        for run_size, run in runs:
            pictures = ((at, picture(name, at, run_size, fps)) for at in run)
            due = [key for key in keys if run[0] < key <= run[-1]]
            for at, frame in encode_video(mime_type, pictures, run_size, due):
                payloads = packetize(mime_type, frame, count)
                count += 1
                timestamp = first_timestamp + round(at * 90000)
                for index, payload in enumerate(payloads):
                    if not lost(at, number):
                        marker = index == len(payloads) - 1
                        packet = rtp(PAYLOAD_TYPES[mime_type], number, timestamp, marker, payload)
                        records.append((at + delay + late(number) + index * 0.0001, packet, False))
                    number += 1
        if reports:
            records += self._reports(begin, end, delay, skew, 90000, first_timestamp)
        path.write_bytes(self._log(records))
        for first, last in pauses:
            self.note(TrackPaused(at=first + delay, producer_id=producer_id))
            self.note(TrackResumed(at=last + delay - 0.05, producer_id=producer_id))
        if ended:
            self.note(TrackEnded(at=end + delay, producer_id=producer_id))
        return producer_id

    def microphone(
        self,
        name: str,
        begin: float,
        end: float,
        *,
        delay: float = 0.03,
        skew: float = 3.7,
        reports: bool = True,
        ended: bool = True,
        drift: float = 0.0,
    ) -> str:
        producer_id, path = self._track(name, "audio", "microphone", "audio/opus", begin + delay)
        records: list[tuple[float, bytes, bool]] = []
        first_timestamp = 2**32 - 48000 * 3
        for number, (at, payload) in enumerate(encode_opus(name, begin, end)):
            packet = rtp(100, 65530 + number, first_timestamp + round(at * 48000 * (1 + drift)), False, payload)
            records.append((at + delay, packet, False))
        if reports:
            records += self._reports(begin, end, delay, skew, round(48000 * (1 + drift)), first_timestamp)
        path.write_bytes(self._log(records))
        if ended:
            self.note(TrackEnded(at=end + delay, producer_id=producer_id))
        return producer_id

    @staticmethod
    def _reports(
        begin: float, end: float, delay: float, skew: float, rate: int, first_timestamp: int
    ) -> list[tuple[float, bytes, bool]]:
        moments = np.arange(begin + 0.5, end, 1.0)
        return [
            (at + delay, sender_report(BEGAN + at + skew, first_timestamp + round(at * rate)), True) for at in moments
        ]

    def write(self, *, crashed: bool = False) -> Path:
        """`crashed`: the last worker died; no end, no manifest, and a lease of long ago."""
        if not crashed:
            self.note(Stopped(at=self.length))
        self.entries.sort(key=lambda entry: entry.at)
        lines = [msgspec.json.encode(entry) for entry in self.entries]
        (self.folder / TIMELINE).write_bytes(b"\n".join(lines) + b"\n")
        (self.folder / LEASE).touch()
        if not crashed:
            manifest = Manifest(
                recording=self.folder.name,
                room=self.room,
                started_at=BEGAN,
                stopped_at=BEGAN + self.length,
                files=sorted(log.name for log in self.folder.glob("*.rtpdump")),
            )
            (self.folder / MANIFEST).write_text(json.dumps(msgspec.to_builtins(manifest)))
        return self.folder


def person(
    world: SyntheticClass, name: str, begin: float, end: float, *, skew: float = 3.7, **camera: Any
) -> tuple[str, str]:
    """Joins, with camera and microphone from `begin` to `end`, then leaves."""
    world.join(begin, name)
    ids = world.camera(name, begin, end, skew=skew, **camera), world.microphone(name, begin, end, skew=skew)
    if end < world.length:
        world.leave(end + 0.15, name)
    return ids
