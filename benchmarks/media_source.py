"""One camera and one voice, encoded once and sent over and over: real VP8 and Opus, which a decoding peer can decode.

1.5 Mbit/s of VP8 in about 170 packets a second of 1,100 bytes, 30 frames a second; Opus in 50 packets a second.
"""

from __future__ import annotations

import functools
import struct
from fractions import Fraction

import av
import numpy as np

FPS = 30
SECONDS = 2  # of the loop; a loop begins with a key frame
PACKET = 1100  # bytes of RTP, headers included
VIDEO_RATE = 1_500_000  # bit/s
VIDEO_SSRC, AUDIO_SSRC = 0x11111111, 0x22222222
FRAME_TICKS, VOICE_TICKS = 90000 // FPS, 960


@functools.cache
def video_frames() -> list[bytes]:
    """The encoded frames of one loop."""
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, FPS), Fraction(FPS), VIDEO_RATE
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "g": "9999", "minrate": "1500k", "maxrate": "1500k",
                       "bufsize": "200k", "lag-in-frames": "0", "error-resilient": "1"}  # fmt: skip
    random = np.random.default_rng(1)
    frames = []
    for number in range(FPS * SECONDS):
        # Coarse noise: as hard to encode as the rate allows, every frame about as large as the next.
        picture = random.integers(0, 255, (24, 40, 3), dtype=np.uint8).repeat(15, 0).repeat(16, 1)
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


class Source:
    """RTP of one camera and one voice, with the payload types and MIDs that the server agreed to."""

    def __init__(self, *, video_type: int, audio_type: int, mid_id: int, video_mid: str, audio_mid: str) -> None:
        self.video_type, self.audio_type = video_type, audio_type
        self.video_extension = _mid_extension(mid_id, video_mid)
        self.audio_extension = _mid_extension(mid_id, audio_mid)
        self.video_sequence = self.audio_sequence = 1000
        self.video_time = self.audio_time = 0
        self.frame = self.voice = 0
        self.picture_id = 0
        self.sent_video = self.sent_audio = 0

    def ask_for_key_frame(self) -> None:
        self.frame = 0

    def next_frame(self) -> list[bytes]:
        """The packets of the next video frame."""
        data = video_frames()[self.frame]
        self.frame = (self.frame + 1) % len(video_frames())
        self.video_time = (self.video_time + FRAME_TICKS) & 0xFFFFFFFF
        self.picture_id = (self.picture_id + 1) & 0x7FFF
        room = PACKET - 12 - len(self.video_extension) - 4
        packets = []
        for start in range(0, len(data), room):
            last = start + room >= len(data)
            # RFC 7741: X, start of partition on the first packet, a 15-bit picture id
            descriptor = struct.pack("!BBH", 0x90 if start == 0 else 0x80, 0x80, 0x8000 | self.picture_id)
            header = struct.pack(
                "!BBHII",
                0x90,
                self.video_type | (0x80 if last else 0),
                self.video_sequence,
                self.video_time,
                VIDEO_SSRC,
            )
            packets.append(header + self.video_extension + descriptor + data[start : start + room])
            self.video_sequence = (self.video_sequence + 1) & 0xFFFF
        self.sent_video += len(packets)
        return packets

    def next_voice(self) -> list[bytes]:
        data = voice_packets()[self.voice]
        self.voice = (self.voice + 1) % len(voice_packets())
        header = struct.pack("!BBHII", 0x90, self.audio_type, self.audio_sequence, self.audio_time, AUDIO_SSRC)
        self.audio_sequence = (self.audio_sequence + 1) & 0xFFFF
        self.audio_time = (self.audio_time + VOICE_TICKS) & 0xFFFFFFFF
        self.sent_audio += 1
        return [header + self.audio_extension + data]


def _mid_extension(identifier: int, mid: str) -> bytes:
    """A one-byte header extension (RFC 8285) that holds the MID alone."""
    body = bytes([identifier << 4 | (len(mid) - 1)]) + mid.encode()
    body += b"\0" * (-len(body) % 4)
    return struct.pack("!HH", 0xBEDE, len(body) // 4) + body
