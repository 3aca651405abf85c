"""The parsers that read the network or a disk, and what each begins with: bytes that browsers sent, and our own."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sfu.core.capabilities import router_rtp_capabilities
from sfu.core.rtcp import (
    Bye,
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
)
from sfu.core.rtp import build_rtp
from sfu.core.transport_feedback import TransportFeedback
from sfu.manifest import RTPDUMP_MAGIC, Joined, Mark, Started, Stopped, TrackStarted
from tests.fuzz import control, core, media
from tests.sfu import captured
from tests.sfu.senders import (
    OpusSender,
    Vp8Sender,
    h264_parameters,
    opus_parameters,
    simulcast_parameters,
    vp8_parameters,
)

CASES = Path(__file__).parent / "cases"  # what once broke a parser, a folder for each


@dataclass(frozen=True)
class Target:
    """`check` raises for an input that breaks a promise. `longest` is bytes: a datagram, unless told."""

    check: Callable[[bytes], None]
    seeds: list[bytes] = field(default_factory=list)
    longest: int = 1500
    words: list[bytes] = field(default_factory=list)  # that mutations are made of

    @property
    def name(self) -> str:
        return self.check.__name__

    @property
    def folder(self) -> Path:
        return CASES / self.name

    @property
    def cases(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []


def _payloads(packets: Iterable[captured.Packet]) -> list[bytes]:
    return [bytes.fromhex(packet.payload) for packet in packets]


def _descriptors(packets: Iterable[captured.Packet]) -> bytes:
    return media.joined([bytes.fromhex(packet.dependency_descriptor) for packet in packets])


def _json(*values: Any) -> list[bytes]:
    return [msgspec.json.encode(value) for value in values]


def _rtp() -> list[bytes]:
    two_byte = build_rtp(
        payload_type=96, sequence_number=1, timestamp=2, ssrc=3, payload=b"abc", csrcs=[1, 2], padding=4,
        extensions={200: b"long" * 9, 1: b""}, two_byte=True,
    )  # fmt: skip
    return [*Vp8Sender(1111, rid="q", size=40).frame(2, key=True), OpusSender(2, level=20).packet(), two_byte]


def _rtcp() -> list[bytes]:
    block = ReportBlock(1111, 25, -3, 70_000, 90, 5, 6)
    feedback = TransportFeedback(1, 2, 65_530, 9, -5, 3, [(65_530, 4), (65_533, -300), (65_538, 255)])
    packets: list[Any] = [
        SenderReport(1, 2**63, 3, 4, 5, [block]), ReceiverReport(1, [block, block]),
        ExtendedReport(1, 2**40, [(1, 2, 3)]), SourceDescription([(1, "cname"), (2, "")]), Bye([1, 2], b"gone"),
        Nack(1, 2, [65_535, 0, 1, 40]), PictureLossIndication(1, 2), FullIntraRequest(1, [(2, 7)]),
        Remb(1, 1_000_000, [2, 3]), feedback,
    ]  # fmt: skip
    return [*[packet.serialize() for packet in packets], b"".join(packet.serialize() for packet in packets)]


def _stun() -> list[bytes]:
    username = b"\x00\x06\x00\x14" + control.UFRAG.encode() + b":abc"
    check = username + b"\x00\x24\x00\x04nope" + b"\x80\x2a\x00\x08tiebreak" + b"\x00\x25\x00\x00"
    return [media.joined([b"\x01" + check, b"\x13" + check]), media.joined([b"\x00" + control.signed(check)])]


def hello() -> bytes:
    """A real ClientHello."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
    connection = SSL.Connection(context)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


def _packet_log() -> bytes:
    log = bytearray(RTPDUMP_MAGIC + struct.pack(">IIIHH", 1_700_000_000, 0, 0, 0, 0))
    vp8 = Vp8Sender(1, size=60).frame(3, key=True)
    h264 = [
        build_rtp(payload_type=102, sequence_number=n, timestamp=0, ssrc=1, payload=payload, marker=True)
        for n, payload in enumerate(_payloads(captured.H264), 7)
    ]
    for number, packet in enumerate([*vp8, *h264]):
        log += struct.pack(">HHI", len(packet) + 8, len(packet), number) + packet
    report = SenderReport(1, 2**63, 3).serialize()
    return bytes(log + struct.pack(">HHI", len(report) + 8, 0, 9) + report)


def _timeline() -> bytes:
    track = TrackStarted(
        at=1.0, producer_id="p", peer="tina", kind="video", source="camera", file="p.rtpdump", mime_type="video/VP8",
        payload_type=101, clock_rate=90_000,
    )  # fmt: skip
    entries: list[Any] = [
        Started(at=0.0, recording="r", room="maths", epoch="e"), Joined(at=0.5, peer="tina", name="Tina"), track,
        Mark(at=2.0, mark={"chat": "hello"}), Stopped(at=3.0),
    ]  # fmt: skip
    return b"\n".join(_json(*entries))


_REQUESTS = _json(
    {"id": 1, "request": {"method": "peer.open", "room": "maths", "peer": "sam", "name": "Sam"}},
    {"id": 2, "request": {"method": "stats", "room": "maths"}},
    {"id": 3, "request": {"method": "consumer.prefer", "room": "a", "peer": "b", "consumer_id": "c", "width": 640}},
)
_MESSAGES = _json(
    {"id": 1, "event": "chat:send", "data": {"message": "hello", "metadata": {"client_id": "k"}}},
    {"id": 2, "event": "room:join", "data": {"display_name": "Sam", "last_seq": 5}},
    {"id": 3, "event": "consumer:prefer", "data": {"consumer_id": "c", "width": 640, "height": 360, "priority": 4}},
    {"id": 4, "event": "stats:report", "data": {"rtt": 20.5, "jitter": 1}},
)
_WANTED = msgspec.json.encode(router_rtp_capabilities())
_PARAMETERS = [
    media.joined([given, _WANTED])
    for given in _json(vp8_parameters(1111), h264_parameters(5), opus_parameters(2), simulcast_parameters())
]

TARGETS = {
    target.name: target
    for target in (
        Target(media.rtp, _rtp()),
        Target(media.rtcp, _rtcp(), words=[b"REMB"]),
        Target(media.transport_feedback, [_rtcp()[9][4:]]),
        Target(media.vp8, [p[40:60] for p in Vp8Sender(1, size=40).frame(2, key=True)], 64),
        Target(media.vp9, _payloads([*captured.VP9_L3T3_KEY, *captured.VP9_L2T3]), 200),
        Target(media.h264, _payloads(captured.H264), 200),
        Target(media.av1, _payloads([*captured.AV1_L3T3, *captured.AV1_L1T3]), 200),
        Target(
            media.dependency_descriptor,
            [_descriptors(p) for p in (captured.AV1_L3T3, captured.AV1_L1T3, captured.VP9_L2T3, captured.VP9_L3T3_KEY)],
        ),
        Target(control.ice, _stun(), words=[control.UFRAG.encode(), b"!\x12\xa4B"]),
        Target(
            control.dtls, [media.joined([hello()]), media.joined([b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28"])], 4000
        ),
        Target(control.tcp, [b"\x05" + media.joined([b"abc", b"", bytes(200)]), b"\x00\xff\xff"], 4000),
        Target(control.control, [b"\x09" + b"\n".join(_REQUESTS) + b"\n"], 6000),
        Target(control.parameters, _PARAMETERS, 20_000),
        Target(control.classroom_messages, _MESSAGES, 2000),
        Target(control.packet_log, [_packet_log()], 6000),
        Target(control.timeline, [_timeline()], 4000),
        Target(core.room, core.SEEDS, 4000),
    )
}
