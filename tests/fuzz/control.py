"""What is true of everything that is not media: ICE, DTLS, ICE-TCP, the control connection, signaling, recordings."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from aioice import stun
from structlog.testing import capture_logs

from meetings import messages
from meetings.media import messages as media_messages
from recordings.logs.depayload import DEPAYLOADERS, MAX_FRAME, video_frames
from recordings.logs.packets import PacketLog, RtpPacket, in_order
from sfu.core import ortc
from sfu.core.capabilities import router_rtp_capabilities
from sfu.core.errors import ParseError
from sfu.core.h264 import profile
from sfu.core.ice import MAX_ADDRESSES, IceLite
from sfu.core.stun import parse as parse_stun
from sfu.core.stun import username_fragment
from sfu.lines import LineParser
from sfu.manifest import TIMELINE, read_timeline
from sfu.protocol import InvalidRequest, Nothing, RequestEnvelope, Welcome
from sfu.worker.connection import ControlConnection
from sfu.worker.dtls import Certificate, DtlsServer, datagrams, parse_fingerprints
from sfu.worker.tcp import MAX_FRAME as MAX_TCP_FRAME
from sfu.worker.tcp import TcpConnection
from tests.fuzz.media import pieces

UFRAG, PASSWORD = "0123456789abcdef", "a-password-of-thirty-two-letters"
SECRET = "a-secret"
HELLO = b'{"id":0,"request":{"method":"hello","secret":"a-secret","client":"x"}}\n'
CERTIFICATE = Certificate()
CAPABILITIES = router_rtp_capabilities()
FOLDER = Path(tempfile.mkdtemp(prefix="lectern-fuzz"))

_requests = msgspec.json.Decoder(RequestEnvelope)
_loop: list[asyncio.AbstractEventLoop] = []


def signed(attributes: bytes, kind: bytes = b"\x00\x01") -> bytes:
    """A STUN message that proves that it knows the password, with whatever attributes before that."""

    def header(more: int) -> bytes:
        length = len(attributes) + more & 0xFFFF
        return kind + length.to_bytes(2, "big") + stun.COOKIE.to_bytes(4, "big") + b"transaction!"

    integrity = stun.message_integrity(header(24) + attributes, PASSWORD.encode())
    message = attributes + b"\x00\x08\x00\x14" + integrity
    fingerprint = stun.message_fingerprint(header(32) + message)
    return header(32) + message + b"\x80\x28\x00\x04" + fingerprint.to_bytes(4, "big")


def ice(data: bytes) -> None:
    """Of each piece the first byte says whether it is signed, which way it comes, and from where."""
    selected: list[Any] = []
    lite = IceLite(UFRAG, PASSWORD, on_selected=selected.append)
    for number, piece in enumerate(pieces(data)):
        how = piece[0] if piece else 0
        message = signed(piece[1:]) if how & 1 else piece[1:]
        ufrag = username_fragment(message)
        assert ufrag is None or 0 < len(ufrag) <= 513
        with contextlib.suppress(ParseError):
            parse_stun(message)
        address = (f"2001:db8::{how >> 4:x}" if how & 2 else f"192.0.2.{how >> 4}", 1000 + how)
        if how & 4:
            lite.restart(f"ufrag{number}", PASSWORD)
        result = lite.handle(message, address, float(number))
        if result.response is not None:
            assert len(result.response) <= 3 * len(message), "no amplification"
            stun.parse_message(result.response)
        if result.authenticated:
            with contextlib.suppress(ValueError, struct.error):  # aioice reads what no check has, too
                theirs = stun.parse_message(message)
                assert theirs.check_message_integrity(PASSWORD.encode()), "who did not sign is not believed"
            assert address in lite.addresses
        assert len(lite.addresses) <= MAX_ADDRESSES
        assert lite.selected is None or lite.selected in lite.addresses


def dtls(data: bytes) -> None:
    server = DtlsServer(CERTIFICATE)
    server.start([("sha-256", "AA")])
    sent = 0
    for number, piece in enumerate(pieces(data)):
        server.receive(piece, float(number))
        assert server.state in ("connecting", "failed")
        server.repeat(float(number))
        flight = server.datagrams_to_send()
        assert all(0 < len(datagram) <= 1500 for datagram in flight)
        sent += sum(map(len, flight))
    assert sent <= 10 * len(data) + 20_000, "a certificate's flight for a hello, and no more"
    assert b"".join(datagrams(data)) == data
    server.close()
    with contextlib.suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
        parse_fingerprints(msgspec.json.decode(data, type=dict[str, Any]))


class _Frames:
    """As much of an endpoint as a TCP connection sees."""

    def __init__(self) -> None:
        self.strangers: set[TcpConnection] = set()
        self.frames: list[bytes] = []
        self.forget_connection = self.strangers.discard

    def receive_framed(self, connection: TcpConnection, frame: bytes) -> None:
        self.frames.append(frame)

    def flush(self) -> None:
        pass


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.ended = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.ended = True

    close = abort

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def tcp(data: bytes) -> None:
    """However the bytes are cut on their way, the frames are the same."""
    whole = _tcp_frames([data[1:]])
    step = 1 + (data[0] if data else 0)
    assert _tcp_frames([data[1:][at : at + step] for at in range(0, len(data), step)]) == whole
    assert all(0 < len(frame) <= MAX_TCP_FRAME for frame in whole[0])
    assert sum(map(len, whole[0])) <= len(data)


def _tcp_frames(parts: list[bytes]) -> tuple[list[bytes], bool]:
    async def feed() -> tuple[list[bytes], bool]:
        endpoint, transport = _Frames(), _Transport()
        connection = TcpConnection(endpoint)  # type: ignore[arg-type]
        connection.connection_made(transport)
        for part in parts:
            if not transport.ended:
                connection.data_received(part)
        connection.connection_lost(None)
        return endpoint.frames, transport.ended

    return _run(feed())


def control(data: bytes) -> None:
    """Each line after the hello is answered once, and a stranger's requests are not done."""
    step = 1 + (data[0] if data else 0)
    data = data[1:]
    parser, whole = LineParser(4096), LineParser(4096)
    cut = [line for at in range(0, len(data), step) for line in parser.feed(data[at : at + step])]
    assert cut == whole.feed(data)
    done, answers = _run(_controlled(HELLO + data))
    assert answers == 1 + data.count(b"\n")
    assert done <= data.count(b"\n")
    if SECRET.encode() not in data:
        assert _run(_controlled(data))[0] == 0


async def _controlled(data: bytes) -> tuple[int, int]:
    done: list[Any] = []

    def handle(connection: ControlConnection, request: Any) -> Nothing:
        done.append(request)
        return Nothing()

    connection = ControlConnection(
        secret=SECRET,
        welcome=lambda: Welcome("w", "e", {}),
        handle=handle,
        opened=lambda connection: True,
        ended=lambda connection: None,
    )
    transport = _Transport()
    connection.connection_made(transport)
    connection.data_received(data)
    while connection._backlog and not transport.ended:
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return len(done), transport.sent.count(b"\n")


def _run(coroutine: Any) -> Any:
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    with capture_logs():
        return _loop[0].run_until_complete(coroutine)


def parameters(data: bytes) -> None:
    """Two JSON values: a producer's parameters, and what a receiver can take."""
    try:
        given, wanted, *_ = [msgspec.json.decode(piece) for piece in (*pieces(data, most=2), b"{}", b"{}")]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    try:
        able = ortc.validate_rtp_capabilities(wanted)
    except InvalidRequest:
        able = router_rtp_capabilities()
    for kind in ("audio", "video"):
        try:
            valid = ortc.validate_rtp_parameters(kind, given)
            mapping = ortc.producer_mapping(valid, CAPABILITIES, ssrc=20_000)
            consumable = ortc.consumable_rtp_parameters(kind, valid, mapping, CAPABILITIES, cname="x")
            result = ortc.consumer_rtp_parameters(consumable, able, mid=0, ssrc=20_000)
        except InvalidRequest:
            continue
        assert len(result["encodings"]) == 1
        assert result["codecs"]
        for codec in valid["codecs"]:
            profile(codec["parameters"])
        ortc.validate_rtp_parameters(kind, valid)  # what was normalised is still valid


def classroom_messages(data: bytes) -> None:
    """The envelope of the classroom's socket, then its data by every schema there is."""
    schemas = [
        value
        for module in (messages, media_messages)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, messages.Message)
    ]
    raw = data
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = bytes(msgspec.json.decode(data, type=messages.Envelope).data)
    for schema in schemas:
        try:
            message = msgspec.json.decode(raw, type=schema)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        assert msgspec.json.decode(msgspec.json.encode(message), type=schema) == message


def packet_log(data: bytes) -> None:
    """A recording's log as a crash may have left it, down to whole frames."""
    path = FOLDER / "log.rtpdump"
    path.write_bytes(data)
    found = list(PacketLog(path))
    assert len(found) <= len(data)
    numbered = list(in_order(found))
    assert len(numbered) <= sum(isinstance(packet, RtpPacket) for packet in found)
    for codec in set(DEPAYLOADERS.values()):
        for frame in video_frames(numbered, codec()):
            assert 0 < len(frame.data) <= 2 * MAX_FRAME


def timeline(data: bytes) -> None:
    (FOLDER / TIMELINE).write_bytes(data)
    assert len(read_timeline(FOLDER)) <= data.count(b"{")
