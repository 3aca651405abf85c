"""Encoders with layers, and a decoder that knows what each frame refers to: whether all that was needed has come.

A frame's number, and which of its packets one is, stand at the end of each payload.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from struct import Struct

from sfu.core import capabilities as uris
from sfu.core.dependency_descriptor import DependencyDescriptors
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.core.vp8 import parse_vp8
from sfu.core.vp9 import parse_vp9
from sfu.protocol import Json
from tests.sfu.captured import VP9_L3T3_KEY
from tests.sfu.senders import EXTENSIONS, Vp8Sender, parameters_of

VP9, VP9_RTX, AV1, AV1_RTX = 98, 99, 45, 46
DEPENDENCY_DESCRIPTOR_ID = 13
TRAILER = Struct("!IBB")  # frame, index of the packet in it, how many it has

# libwebrtc's pattern of three layers: of each eight pictures the layer, and whether it refers to the lowest alone.
VP8_PATTERN = ((0, False), (2, True), (1, True), (2, False), (0, False), (2, False), (1, False), (2, False))
# And of each four where layers of one stream are drawn upon each other: the layer, and which it refers to.
SVC_PATTERN = ((0, 0), (2, 0), (1, 0), (2, 1))


@dataclass(frozen=True)
class Frame:
    spatial: int
    temporal: int
    needs: frozenset[int]
    key: bool


@dataclass
class Frames:
    """All that were ever encoded, by number."""

    known: list[Frame] = field(default_factory=list)

    def add(self, frame: Frame) -> int:
        self.known.append(frame)
        return len(self.known) - 1


class Vp8Layers(Vp8Sender):
    """One stream of a simulcast, in three temporal layers."""

    def __init__(self, frames: Frames, ssrc: int, rid: str, spatial: int, *, first_number: int) -> None:
        super().__init__(ssrc, rid=rid, size=60, first_number=first_number)
        self._frames = frames
        self._spatial = spatial
        self._place = 0
        self._newest: dict[int, int] = {}  # by temporal layer
        self._began = False

    def picture_packets(self, counts: tuple[int, ...], *, key: bool, ticks: int) -> list[bytes]:
        key = key or not self._began
        self._began = True
        if key:
            self._place, self._newest = 0, {}
        temporal, sync = VP8_PATTERN[self._place]
        self._place = (self._place + 1) % len(VP8_PATTERN)
        layers = [0] if sync or temporal == 0 else [0, 1] if temporal == 1 else [0, 1, 2]
        needs = frozenset(self._newest[layer] for layer in layers if layer in self._newest)
        number = self._newest[temporal] = self._frames.add(Frame(self._spatial, temporal, needs, key))
        count = counts[self._spatial % len(counts)]
        return [
            _with_trailer(packet, TRAILER.pack(number, index, count))
            for index, packet in enumerate(self.frame(count, key=key, ticks=ticks, temporal=temporal, sync=sync))
        ]


def _with_trailer(packet: bytes, trailer: bytes) -> bytes:
    return packet[: -len(trailer)] + trailer


class SvcSender:
    """Three spatial and three temporal layers in one stream, VP9's descriptor or AV1's dependency descriptor."""

    def __init__(self, frames: Frames, codec: str, ssrc: int, *, upon_each_other: bool, first_number: int) -> None:
        """`upon_each_other`: not in key pictures alone."""
        self.codec = codec
        self.ssrc = ssrc
        self.number = first_number
        self.timestamp = 0xFFFF0000
        self.picture = 0x7FF0
        self.frame_number = 0xFFE0
        self.transport_sequence = 0
        self._frames = frames
        self._upon_each_other = upon_each_other
        self._place = 0
        self._pictures = 0
        self._newest: dict[tuple[int, int], tuple[int, int]] = {}  # by layers: (picture, frame)
        structure = bytes.fromhex(VP9_L3T3_KEY[7].dependency_descriptor)
        self._structure = structure[3:]
        self._templates = DependencyDescriptors()
        self._templates.parse(structure, 0, len(structure))

    def picture_packets(self, counts: tuple[int, ...], *, key: bool, ticks: int) -> list[bytes]:
        key = key or self._pictures == 0
        if key:
            self._place, self._newest = 0, {}
        temporal, upon = SVC_PATTERN[self._place]
        self._place = (self._place + 1) % len(SVC_PATTERN)
        self.timestamp = self.timestamp + ticks & 0xFFFFFFFF
        self.picture = self.picture + 1 & 0x7FFF
        self._pictures += 1
        packets: list[bytes] = []
        below: int | None = None
        for spatial in range(3):
            needs = set()
            back = 0
            if not key:
                there, frame = self._newest[spatial, upon]
                needs.add(frame)
                back = self._pictures - there
            upon_lower = spatial > 0 and (key or self._upon_each_other)
            if upon_lower and below is not None:
                needs.add(below)
            number = below = self._frames.add(Frame(spatial, temporal, frozenset(needs), key))
            self._newest[spatial, temporal] = (self._pictures, number)
            self.frame_number = self.frame_number + 1 & 0xFFFF
            count = counts[spatial % len(counts)]
            for index in range(count):
                first, last = index == 0, index == count - 1
                packets.append(
                    self._packet(
                        self._vp9(spatial, temporal, back, first, last, upon_lower, key)
                        if self.codec == "VP9"
                        else b"\x10",
                        TRAILER.pack(number, index, count),
                        self._described(spatial, temporal, first, last, key),
                        marker=spatial == 2 and last,
                    )
                )
        return packets

    def _packet(self, head: bytes, trailer: bytes, descriptor: bytes, *, marker: bool) -> bytes:
        extensions = {
            EXTENSIONS[uris.MID]: b"1",
            EXTENSIONS[uris.TRANSPORT_CC]: self.transport_sequence.to_bytes(2, "big"),
        }
        if self.codec == "AV1":
            extensions[DEPENDENCY_DESCRIPTOR_ID] = descriptor
        self.transport_sequence = self.transport_sequence + 1 & 0xFFFF
        packet = build_rtp(
            payload_type=VP9 if self.codec == "VP9" else AV1,
            sequence_number=self.number,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            payload=head + b"\x55" * 20 + trailer,
            marker=marker,
            extensions=extensions,
            two_byte=len(descriptor) > 16,
        )
        self.number = self.number + 1 & 0xFFFF
        return packet

    def _vp9(
        self, spatial: int, temporal: int, back: int, first: bool, last: bool, upon_lower: bool, key: bool
    ) -> bytes:
        """Flexible mode: I, P, L, F, B, E (RFC 9628, 4.2)."""
        flags = 0x80 | 0x40 * (back > 0) | 0x20 | 0x10 | 0x08 * first | 0x04 * last
        layers = temporal << 5 | 0x10 | spatial << 1 | upon_lower
        return bytes((flags, 0x80 | self.picture >> 8, self.picture & 0xFF, layers, *([back << 1] if back else [])))

    def _described(self, spatial: int, temporal: int, first: bool, last: bool, key: bool) -> bytes:
        structure = self._templates.structure
        assert structure is not None
        template = next(
            index
            for index, known in enumerate(structure.templates)
            if (known.spatial_id, known.temporal_id) == (spatial, temporal)
        )
        name = 0x80 * first | 0x40 * last | (template + structure.template_offset & 0x3F)
        more = self._structure if key and spatial == 0 and first else b""
        return bytes((name,)) + self.frame_number.to_bytes(2, "big") + more


def svc_parameters(codec: str, ssrc: int, mode: str = "L3T3_KEY") -> Json:
    payload_type, repair = (VP9, VP9_RTX) if codec == "VP9" else (AV1, AV1_RTX)
    made = parameters_of(f"video/{codec}", payload_type, repair, {"profile-id": 0} if codec == "VP9" else {})
    made["headerExtensions"].append({"uri": uris.DEPENDENCY_DESCRIPTOR, "id": DEPENDENCY_DESCRIPTOR_ID})
    made["encodings"] = [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}, "scalabilityMode": mode}]
    return made


class Decoder:
    """Looks at all that one receiver was sent of one producer, in the order in which it left."""

    def __init__(self, frames: Frames, codec: str, packets: list[bytes], ssrc: int) -> None:
        self.codec = codec
        self.frames = frames
        self.headers = [(header, packet) for packet in packets if (header := parse_rtp(packet)).ssrc == ssrc]

    @property
    def got(self) -> list[tuple[int, Frame]]:
        """Each frame that is there as a whole, in the order of their first packets."""
        parts: dict[int, set[int]] = {}
        whole: dict[int, int] = {}
        for header, packet in self.headers:
            number, index, count = TRAILER.unpack(packet[header.payload_end - TRAILER.size : header.payload_end])
            parts.setdefault(number, set()).add(index)
            whole[number] = count
        return [(number, self.frames.known[number]) for number, have in parts.items() if len(have) == whole[number]]

    def assert_whole(self) -> None:
        """One stream without a seam, and of each frame all that it refers to."""
        headers = [header for header, _ in self.headers]
        steps = [(b.sequence_number - a.sequence_number) & 0xFFFF for a, b in itertools.pairwise(headers)]
        assert set(steps) <= {1}, "no number that a receiver would ask for"
        for a, b in itertools.pairwise(headers):
            ahead = (b.timestamp - a.timestamp) & 0xFFFFFFFF
            assert ahead < 90_000 * 60
            assert a.marker == (ahead > 0), "the marker ends the picture, and nothing else"
        have: set[int] = set()
        for number, frame in self.got:
            assert frame.needs <= have or (frame.key and frame.spatial == 0), f"frame {number} lacks what it refers to"
            have.add(number)
        if self.codec == "VP8":
            self._assert_vp8()
        elif self.codec == "VP9":
            self._assert_vp9()

    def _assert_vp8(self) -> None:
        pictures: list[int] = []
        lowest: list[int] = []
        for header, packet in self.headers:
            found = parse_vp8(packet, header.payload_offset, header.payload_end)
            assert found is not None
            assert found.picture_id is not None
            assert found.tl0_picture_index is not None
            if found.begins_picture:
                pictures.append(found.picture_id)
                if found.temporal_id == 0:
                    lowest.append(found.tl0_picture_index)
            assert found.tl0_picture_index == lowest[-1]
        assert all((b - a) & 0x7FFF == 1 for a, b in itertools.pairwise(pictures))
        assert all((b - a) & 0xFF == 1 for a, b in itertools.pairwise(lowest))

    def _assert_vp9(self) -> None:
        """References are told by how far back they are: by picture id they must be found."""
        frames_of: dict[tuple[int, int], int] = {}  # by picture id and spatial layer
        for header, packet in self.headers:
            found = parse_vp9(packet, header.payload_offset, header.payload_end)
            number = TRAILER.unpack(packet[header.payload_end - TRAILER.size : header.payload_end])[0]
            assert found.picture_id is not None
            frames_of[found.picture_id, found.spatial_id] = number
            for back in found.references:
                there = frames_of.get((found.picture_id - back & 0x7FFF, found.spatial_id))
                assert there in self.frames.known[number].needs


def assert_no_number_twice(packets: list[bytes]) -> None:
    """Never two packets under one SSRC and number: AES-GCM would give the key away."""
    seen: set[tuple[int, int]] = set()
    for packet in packets:
        header = parse_rtp(packet)
        assert (header.ssrc, header.sequence_number) not in seen
        seen.add((header.ssrc, header.sequence_number))
