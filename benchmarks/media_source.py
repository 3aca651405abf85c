"""Cameras and voices, encoded once and sent over and over: real VP8 and Opus, which a decoding peer can decode.

A camera in one layer is 1.5 Mbit/s of VP8 in about 170 packets a second of 1,100 bytes, 30 frames a second; one in
simulcast is the three layers of LAYERS at once. A voice is Opus in 50 packets a second.
"""

from __future__ import annotations

import functools
import struct
import time
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

FPS = 30
SECONDS = 2  # of the loop; a loop begins with a key frame
PACKET = 1100  # bytes of RTP, headers included
VIDEO_RATE = 1_500_000  # bit/s
VIDEO_SSRC, AUDIO_SSRC = 0x11111111, 0x22222222
FRAME_TICKS, VOICE_TICKS = 90000 // FPS, 960
# Layers of a simulcast camera, the smallest first: rid, width, height, bit/s.
LAYERS = (("q", 160, 96, 150_000), ("h", 320, 192, 500_000), ("f", 640, 360, VIDEO_RATE))
SPOKEN_LEVEL = 30  # -dBov, of the audio level extension (RFC 6464)


@functools.cache
def video_frames(width: int = 640, height: int = 360, rate: int = VIDEO_RATE) -> list[bytes]:
    """The encoded frames of one loop."""
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, FPS), Fraction(FPS), rate
    kilobits = f"{rate // 1000}k"
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "g": "9999", "minrate": kilobits, "maxrate": kilobits,
                       "bufsize": f"{rate // 7500}k", "lag-in-frames": "0", "error-resilient": "1"}  # fmt: skip
    random = np.random.default_rng(1)
    rows, columns = height // 15, width // 16
    frames = []
    for number in range(FPS * SECONDS):
        # Coarse noise: as hard to encode as the rate allows, every frame about as large as the next.
        picture = random.integers(0, 255, (rows, columns, 3), dtype=np.uint8).repeat(height // rows, 0).repeat(16, 1)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return frames


@functools.cache
def voice_packets() -> list[bytes]:
    """One second of Opus, 20 ms a packet."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48000, "stereo", "s16", 48000
    time = np.arange(48000) / 48000
    samples = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    packets = []
    for start in range(0, 48000, 960):
        both = np.repeat(samples[start : start + 960], 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


@dataclass
class TransportNumbers:
    """The transport-wide sequence number, which counts all packets of one transport."""

    identifier: int
    next: int = 0


class Extensions:
    """The header extensions of a stream's packets (RFC 8285, one-byte form), the transport-wide number last."""

    def __init__(self, fixed: dict[int, bytes], numbers: TransportNumbers | None = None) -> None:
        body = b"".join(bytes([identifier << 4 | (len(value) - 1)]) + value for identifier, value in fixed.items())
        size = len(body) + (3 if numbers else 0)
        self.numbers, self.padding = numbers, b"\0" * (-size % 4)
        self.size = 4 + size + len(self.padding)
        self.fixed = struct.pack("!HH", 0xBEDE, (self.size - 4) // 4) + body

    def next(self) -> bytes:
        numbers = self.numbers
        if numbers is None:
            return self.fixed + self.padding
        numbers.next = (numbers.next + 1) & 0xFFFF
        return self.fixed + struct.pack("!BH", numbers.identifier << 4 | 1, numbers.next) + self.padding


class VideoStream:
    """RTP of one layer of a camera."""

    def __init__(self, ssrc: int, payload_type: int, extensions: Extensions, frames: list[bytes]) -> None:
        self.ssrc, self.payload_type, self.extensions, self.frames = ssrc, payload_type, extensions, frames
        self.sequence, self.time, self.picture_id, self.frame = 1000, 0, 0, 0

    def next_frame(self) -> list[bytes]:
        """The packets of the next frame."""
        data = self.frames[self.frame]
        self.frame = (self.frame + 1) % len(self.frames)
        self.time = (self.time + FRAME_TICKS) & 0xFFFFFFFF
        self.picture_id = (self.picture_id + 1) & 0x7FFF
        room = PACKET - 12 - self.extensions.size - 4
        packets = []
        for start in range(0, len(data), room):
            last = start + room >= len(data)
            # RFC 7741: X, start of partition on the first packet, a 15-bit picture id
            descriptor = struct.pack("!BBH", 0x90 if start == 0 else 0x80, 0x80, 0x8000 | self.picture_id)
            kind = self.payload_type | (0x80 if last else 0)
            header = struct.pack("!BBHII", 0x90, kind, self.sequence, self.time, self.ssrc)
            packets.append(header + self.extensions.next() + descriptor + data[start : start + room])
            self.sequence = (self.sequence + 1) & 0xFFFF
        return packets


class VoiceStream:
    def __init__(self, ssrc: int, payload_type: int, extensions: Extensions) -> None:
        self.ssrc, self.payload_type, self.extensions = ssrc, payload_type, extensions
        self.sequence, self.time, self.voice = 1000, 0, 0

    def next_voice(self) -> list[bytes]:
        data = voice_packets()[self.voice]
        self.voice = (self.voice + 1) % len(voice_packets())
        header = struct.pack("!BBHII", 0x90, self.payload_type, self.sequence, self.time, self.ssrc)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.time = (self.time + VOICE_TICKS) & 0xFFFFFFFF
        return [header + self.extensions.next() + data]


class Source:
    """RTP of one camera and one voice, with the payload types and MIDs that the server agreed to."""

    def __init__(self, *, video_type: int, audio_type: int, mid_id: int, video_mid: str, audio_mid: str) -> None:
        video, audio = (Extensions({mid_id: mid.encode()}) for mid in (video_mid, audio_mid))
        self.video = VideoStream(VIDEO_SSRC, video_type, video, video_frames())
        self.voice = VoiceStream(AUDIO_SSRC, audio_type, audio)
        self.key_frames_apart = 0.0  # seconds: an encoder makes none sooner, however often it is asked
        self.key_frames = 0
        self._key_frame_wanted, self._key_frame_at = False, 0.0

    def ask_for_key_frame(self) -> None:
        self._key_frame_wanted = True

    def next_frame(self) -> list[bytes]:
        now = time.monotonic()
        if self._key_frame_wanted and now - self._key_frame_at >= self.key_frames_apart:
            self.video.frame = 0
        if self.video.frame == 0:
            self._key_frame_wanted, self._key_frame_at = False, now
            self.key_frames += 1
        return self.video.next_frame()

    def next_voice(self) -> list[bytes]:
        return self.voice.next_voice()

    def reports(self) -> list[bytes]:
        return [sender_report(self.video), sender_report(self.voice)]


@dataclass(frozen=True)
class Offer:
    """What a participant of a meeting sends, in numbers that he chooses himself, as browsers do."""

    first_ssrc: int
    video_type: int = 96
    audio_type: int = 111
    video_mid: str = "1"
    audio_mid: str = "0"
    mid_id: int = 4
    rid_id: int = 10
    transport_cc_id: int = 3
    level_id: int = 1

    @property
    def audio_ssrc(self) -> int:
        return self.first_ssrc + len(LAYERS)


class Simulcast:
    """RTP of one camera in three layers, told apart by RID, and one voice."""

    def __init__(self, offer: Offer) -> None:
        numbers = TransportNumbers(offer.transport_cc_id)
        mid = {offer.mid_id: offer.video_mid.encode()}
        self.layers = [
            VideoStream(
                offer.first_ssrc + index,
                offer.video_type,
                Extensions(mid | {offer.rid_id: rid.encode()}, numbers),
                video_frames(width, height, rate),
            )
            for index, (rid, width, height, rate) in enumerate(LAYERS)
        ]
        level = {offer.level_id: bytes([0x80 | SPOKEN_LEVEL])}
        spoken = Extensions({offer.mid_id: offer.audio_mid.encode()} | level, numbers)
        self.voice = VoiceStream(offer.audio_ssrc, offer.audio_type, spoken)

    def ask_for_key_frame(self, ssrc: int) -> None:
        """Of one layer; of all, if it is none of ours."""
        wanted = [layer for layer in self.layers if layer.ssrc == ssrc]
        for layer in wanted or self.layers:
            layer.frame = 0

    def next_frame(self) -> list[bytes]:
        return [packet for layer in self.layers for packet in layer.next_frame()]

    def next_voice(self) -> list[bytes]:
        return self.voice.next_voice()

    def reports(self) -> list[bytes]:
        return [*map(sender_report, self.layers), sender_report(self.voice)]


def sender_report(stream: VideoStream | VoiceStream) -> bytes:
    """RFC 3550 section 6.4.1, without report blocks."""
    ntp = int((time.time() + 2208988800) * 2**32)
    return struct.pack("!BBHIQIII", 0x80, 200, 6, stream.ssrc, ntp, stream.time, 0, 0)
