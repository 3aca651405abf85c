"""A peer for tests and benchmarks: what a browser's transport does on the wire, without a browser.

It checks connectivity by STUN, is the DTLS client, and sends and receives RTP and RTCP as SRTP, over UDP or TCP. It
shares no code with the worker but the parsers of RTP and RTCP: STUN is aioice's codec, DTLS pyOpenSSL, SRTP pylibsrtp.

    made = media.create_transport(room, "sam", "send")
    sam = PeerTransport(made)
    media.connect_transport(room, "sam", made.transport_id, sam.dtls_parameters)
    await sam.connect()
    sam.send_rtp(packet)
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

from aioice import stun
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from sfu.core import capabilities as uris
from sfu.core.rtcp import RtcpPacket, parse_compound
from sfu.core.rtp import RtpHeader, build_rtp, parse_rtp
from sfu.protocol import TransportMade

Json = dict[str, Any]

CERTIFICATE = RTCCertificate.generateCertificate()  # one for all peers: making one takes as long as a handshake
TIMEOUT = 5.0  # seconds for anything on one machine
DTLS_MTU = 1200
FLIGHT_AGAIN = 0.2  # seconds until an unanswered one is repeated
SOCKET_BUFFER = 1024 * 1024


class PeerTransport:
    """One transport's other side. `rtp` and `rtcp` hold all that came, until the test clears them."""

    def __init__(
        self,
        made: TransportMade,
        *,
        protocol: str = "udp",
        ip: str = "",
        profiles: Any = None,
        make_socket: Callable[[int, int], socket.socket] = socket.socket,
    ) -> None:
        """`ip`: which candidate, else the first; `make_socket`: for a peer on another machine (`tests.network`)."""
        self.made = made
        self.make_socket = make_socket
        self.protocol = protocol
        self.profiles = profiles or [p for p in SRTP_PROFILES if p.key_length == 16]
        self.rtp: list[bytes] = []
        self.rtcp: list[RtcpPacket] = []
        self.stun: list[stun.Message] = []
        self.bytes_received = 0
        self.on_rtp: Callable[[bytes], None] | None = None
        self.on_datagram: Callable[[bytes], None] | None = None  # before anything is done with it
        self.lose: Callable[[bytes], bool] = lambda packet: False  # decides by the decrypted packet
        self.unauthentic = 0
        self.connected = False
        self.local_ufrag = secrets.token_hex(4)
        self.usernames = made.ice_parameters["usernameFragment"]
        self.password: str = made.ice_parameters["password"]
        self.receive_session: Session | None = None
        self.send_session: Session | None = None
        self._news = asyncio.Event()
        self._socket: socket.socket | None = None
        self._tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ssl: SSL.Connection | None = None
        self._flight: list[bytes] = []  # of DTLS, the last one
        self._profile: bytes = b""
        candidate = next(c for c in made.ice_candidates if c["protocol"] == protocol and ip in ("", c["address"]))
        self.remote: tuple[str, int] = (candidate["address"], candidate["port"])

    @property
    def dtls_parameters(self) -> Json:
        fingerprint = CERTIFICATE.getFingerprints()[0]
        return {
            "role": "client",
            "fingerprints": [{"algorithm": fingerprint.algorithm, "value": fingerprint.value}],
        }

    # --- life ---

    @property
    def _family(self) -> int:
        return socket.AF_INET6 if ":" in self.remote[0] else socket.AF_INET

    async def open(self) -> None:
        """A socket, and nothing sent yet."""
        if self.protocol == "tcp":
            sock = self.make_socket(self._family, socket.SOCK_STREAM)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, self.remote)
            self._tcp = await asyncio.open_connection(sock=sock)
            self._reading = asyncio.create_task(self._read_frames(self._tcp[0]))
        else:
            self._open_socket()

    def _open_socket(self) -> None:
        self._socket = self.make_socket(self._family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        self._socket.connect(self.remote)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_readable)

    def _close_socket(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    @property
    def local(self) -> tuple[str, int]:
        assert self._socket is not None
        ip, port, *_ = self._socket.getsockname()
        return ip, port

    async def connect(self) -> None:
        """ICE, then DTLS; raises TimeoutError when the other side does not answer."""
        if self._socket is None and self._tcp is None:
            await self.open()
        await self.check()
        await self.handshake()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._tcp is not None:
            self._tcp[1].close()
        self._close_socket()

    def move(self) -> None:
        """Another port, as when a network changes. ICE has to prove it anew."""
        self._close_socket()
        self._open_socket()

    async def until(self, condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
        """Wait until something that came makes `condition` true."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def packets(self, count: int, timeout: float = TIMEOUT) -> list[bytes]:
        """All that came, as soon as it is that many."""
        await self.until(lambda: len(self.rtp) >= count, timeout)
        return self.rtp

    # --- ICE ---

    def stun_request(self, *, nominate: bool = True, password: str | None = None, ufrag: str | None = None) -> bytes:
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{ufrag or self.usernames}:{self.local_ufrag}"
        request.attributes["PRIORITY"] = 1845501695
        request.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity((password or self.password).encode())
        return bytes(request)

    async def check(self, *, nominate: bool = True) -> stun.Message:
        """A connectivity check and its answer."""
        before = len(self.stun)
        async with asyncio.timeout(TIMEOUT):
            while len(self.stun) == before:
                self.send_raw(self.stun_request(nominate=nominate))
                try:
                    await self.until(lambda: len(self.stun) > before, 0.5)
                except TimeoutError:
                    continue
        return self.stun[-1]

    def restart_ice(self, ice_parameters: Json) -> None:
        self.usernames = ice_parameters["usernameFragment"]
        self.password = ice_parameters["password"]

    # --- DTLS ---

    async def handshake(self) -> None:
        context = CERTIFICATE._create_ssl_context(srtp_profiles=self.profiles)
        self._ssl = SSL.Connection(context)
        self._ssl.set_connect_state()
        self._ssl.set_ciphertext_mtu(DTLS_MTU)
        self._advance()
        async with asyncio.timeout(TIMEOUT):
            while not self.connected:
                try:
                    await self.until(lambda: self.connected, FLIGHT_AGAIN)
                except TimeoutError:  # OpenSSL would wait for a second, browsers do not
                    for datagram in self._flight:
                        self.send_raw(datagram)

    def say_goodbye(self) -> None:
        """close_notify."""
        assert self._ssl is not None
        self._ssl.shutdown()
        self._write_dtls()

    def _advance(self) -> None:
        assert self._ssl is not None
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._write_dtls()
            return
        self._write_dtls()
        name = self._ssl.get_selected_srtp_profile()
        profile = next(p for p in SRTP_PROFILES if p.openssl_profile == name)
        material = self._ssl.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )

        def session(index: int, direction: int) -> Session:
            policy = Policy(profile.get_key_and_salt(material, index), direction, 0, profile.libsrtp_profile)
            policy.allow_repeat_tx = True
            policy.window_size = 1024
            return Session(policy)

        self.send_session = session(0, Policy.SSRC_ANY_OUTBOUND)
        self.receive_session = session(1, Policy.SSRC_ANY_INBOUND)
        self.connected = True
        self._news.set()

    def _write_dtls(self) -> None:
        assert self._ssl is not None
        try:
            flight = self._ssl.bio_read(65536)
        except SSL.Error:
            return
        self._flight = list(split_records(flight)) or self._flight
        for datagram in split_records(flight):
            self.send_raw(datagram)

    # --- media ---

    def send_rtp(self, packet: bytes) -> None:
        assert self.send_session is not None
        self.send_raw(self.send_session.protect(packet))

    def send_rtcp(self, *packets: Any) -> bytes:
        """One compound; the datagram that left is returned."""
        assert self.send_session is not None
        datagram = self.send_session.protect_rtcp(b"".join(packet.serialize() for packet in packets))
        self.send_raw(datagram)
        return datagram

    def send_raw(self, datagram: bytes) -> None:
        if self._tcp is not None:
            self._tcp[1].write(len(datagram).to_bytes(2, "big") + datagram)
        else:
            assert self._socket is not None
            self._socket.send(datagram)

    def headers(self, ssrc: int | None = None) -> list[RtpHeader]:
        """The headers of what came, of one SSRC if given."""
        headers = [parse_rtp(packet) for packet in self.rtp]
        return [h for h in headers if ssrc is None or h.ssrc == ssrc]

    # --- what comes in ---

    def _on_readable(self) -> None:
        """All that is there: a burst must not wait for as many turns of the loop."""
        assert self._socket is not None
        for _ in range(100):
            try:
                data = self._socket.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """One datagram from the worker."""
        if self.on_datagram is not None:
            self.on_datagram(data)
        if not data:
            return
        first = data[0]
        if first <= 3:
            self.stun.append(stun.parse_message(data))
        elif 20 <= first <= 63:
            self._receive_dtls(data)
        elif 128 <= first <= 191 and self.receive_session is not None:
            self._receive_media(data)
        self._news.set()

    def _receive_dtls(self, data: bytes) -> None:
        if self._ssl is None:
            return
        self._ssl.bio_write(data)
        if not self.connected:
            self._advance()

    def _receive_media(self, data: bytes) -> None:
        assert self.receive_session is not None
        self.bytes_received += len(data)
        try:
            if 192 <= data[1] <= 223:
                self.rtcp.extend(parse_compound(self.receive_session.unprotect_rtcp(data)))
                return
            packet = self.receive_session.unprotect(data)
        except SrtpError:
            self.unauthentic += 1
            return
        if self.lose(packet):
            return
        if self.on_rtp is not None:
            self.on_rtp(packet)
        else:
            self.rtp.append(packet)

    async def _read_frames(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                self.receive(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return


def split_records(flight: bytes) -> Iterator[bytes]:
    """Each DTLS 1.2 record as a datagram of its own."""
    while flight:
        end = 13 + int.from_bytes(flight[11:13], "big")
        yield flight[:end]
        flight = flight[end:]


# --- what browsers offer ---------------------------------------------------------------------------------------------

EXTENSIONS = {
    uris.MID: 4, uris.RID: 10, uris.REPAIRED_RID: 11, uris.ABS_SEND_TIME: 2, uris.TRANSPORT_CC: 3, uris.AUDIO_LEVEL: 14,
}  # fmt: skip
"""Header extension ids as a browser might choose them: none is the router's."""

OPUS, VP8, VP8_RTX, H264, H264_RTX = 111, 96, 97, 102, 103
"""Payload types as a browser might choose them."""

_VIDEO_FEEDBACK = [
    {"type": "nack", "parameter": ""},
    {"type": "nack", "parameter": "pli"},
    {"type": "ccm", "parameter": "fir"},
    {"type": "transport-cc", "parameter": ""},
]


def _parameters(codecs: list[Json], encodings: list[Json], mid: str | None, cname: str) -> Json:
    parameters: Json = {
        "codecs": codecs,
        "headerExtensions": [{"uri": uri, "id": id} for uri, id in EXTENSIONS.items()],
        "encodings": encodings,
        "rtcp": {"cname": cname},
    }
    return parameters if mid is None else {**parameters, "mid": mid}


def opus_parameters(ssrc: int, *, mid: str | None = "0") -> Json:
    codec = {
        "mimeType": "audio/opus",
        "payloadType": OPUS,
        "clockRate": 48000,
        "channels": 2,
        "parameters": {"minptime": 10, "useinbandfec": 1},
        "rtcpFeedback": [{"type": "transport-cc", "parameter": ""}, {"type": "nack", "parameter": ""}],
    }
    return _parameters([codec], [{"ssrc": ssrc}], mid, "cname")


def _video(mime_type: str, payload_type: int, rtx: int, parameters: Json) -> list[Json]:
    return [
        {
            "mimeType": mime_type,
            "payloadType": payload_type,
            "clockRate": 90000,
            "parameters": parameters,
            "rtcpFeedback": _VIDEO_FEEDBACK,
        },
        {"mimeType": "video/rtx", "payloadType": rtx, "clockRate": 90000, "parameters": {"apt": payload_type}},
    ]


def vp8_parameters(ssrc: int, *, mid: str | None = "1") -> Json:
    """A camera in one layer; its repairs have the next SSRC."""
    codecs = _video("video/VP8", VP8, VP8_RTX, {})
    return _parameters(codecs, [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}], mid, "cname")


def h264_parameters(ssrc: int, *, mid: str | None = "1") -> Json:
    parameters = {"packetization-mode": 1, "level-asymmetry-allowed": 1, "profile-level-id": "42e01f"}
    codecs = _video("video/H264", H264, H264_RTX, parameters)
    return _parameters(codecs, [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}], mid, "cname")


def simulcast_parameters(rids: tuple[str, ...] = ("q", "h", "f"), *, mid: str | None = "1") -> Json:
    """A camera in layers that are told by RID alone, as Chrome and Firefox send it: no SSRC, no cname."""
    return _parameters(_video("video/VP8", VP8, VP8_RTX, {}), [{"rid": rid} for rid in rids], mid, "")


def parameters_of(mime_type: str, payload_type: int, repair: int, parameters: Json) -> Json:
    """A camera of that codec, without encodings yet."""
    return _parameters(_video(mime_type, payload_type, repair, parameters), [], "1", "cname")


def receiver_capabilities() -> Json:
    """Of a browser that takes all that the router has, as mediasoup-client tells it after `Device.load`."""
    capabilities = uris.router_rtp_capabilities()
    return {"codecs": capabilities["codecs"], "headerExtensions": capabilities["headerExtensions"]}


class Vp8Sender:
    """Numbers and descriptors of a VP8 encoder: `frame` gives the packets of one picture."""

    def __init__(
        self, ssrc: int, *, mid: str = "1", rid: str = "", size: int = 1000, first_number: int = 65000
    ) -> None:
        self.ssrc = ssrc
        self.mid = mid
        self.rid = rid
        self.size = size
        self.number = first_number
        self.timestamp = 0xFFFF0000  # wraps soon
        self.picture = 0x7FF0  # and so does this
        self.tl0 = 250
        self.transport_sequence = 0

    def extensions(self) -> dict[int, bytes]:
        extensions = {EXTENSIONS[uris.MID]: self.mid.encode()}
        if self.rid:
            extensions[EXTENSIONS[uris.RID]] = self.rid.encode()
        extensions[EXTENSIONS[uris.ABS_SEND_TIME]] = b"\x00\x00\x00"
        extensions[EXTENSIONS[uris.TRANSPORT_CC]] = self.transport_sequence.to_bytes(2, "big")
        self.transport_sequence = self.transport_sequence + 1 & 0xFFFF
        return extensions

    def frame(
        self,
        packets: int = 1,
        *,
        key: bool = False,
        ticks: int = 3000,
        temporal: int | None = None,
        sync: bool = False,
        trailer: bytes = b"",
    ) -> list[bytes]:
        """`temporal`: the layer, where there are such; `trailer` ends each payload."""
        self.timestamp = self.timestamp + ticks & 0xFFFFFFFF
        self.picture = self.picture + 1 & 0x7FFF
        if not temporal:
            self.tl0 = self.tl0 + 1 & 0xFF
        frame = []
        for index in range(packets):
            first = 0x90 if index == 0 else 0x80
            fields = 0xC0 if temporal is None else 0xE0
            descriptor = bytes((first, fields, 0x80 | self.picture >> 8, self.picture & 0xFF, self.tl0))
            if temporal is not None:
                descriptor += bytes((temporal << 6 | 0x20 * sync,))
            body = (b"\x00" if key else b"\x01") + bytes([index & 0xFF]) * (self.size - 6 - len(trailer)) + trailer
            frame.append(
                build_rtp(
                    payload_type=VP8,
                    sequence_number=self.number,
                    timestamp=self.timestamp,
                    ssrc=self.ssrc,
                    payload=descriptor + body,
                    marker=index == packets - 1,
                    extensions=self.extensions(),
                )
            )
            self.number = self.number + 1 & 0xFFFF
        return frame


class OpusSender:
    """A voice: 20 ms a packet. `level` is told with each (0 the loudest, 127 silence); None: it is not told."""

    def __init__(self, ssrc: int, *, mid: str = "0", size: int = 80, level: int | None = None) -> None:
        self.ssrc = ssrc
        self.mid = mid
        self.size = size
        self.level = level
        self.number = 100
        self.timestamp = 0

    def packet(self) -> bytes:
        extensions = {EXTENSIONS[uris.MID]: self.mid.encode()}
        if self.level is not None:
            extensions[EXTENSIONS[uris.AUDIO_LEVEL]] = bytes((self.level,))
        packet = build_rtp(
            payload_type=OPUS,
            sequence_number=self.number,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            payload=self.number.to_bytes(2, "big") * (self.size // 2),
            extensions=extensions,
        )
        self.number = self.number + 1 & 0xFFFF
        self.timestamp = self.timestamp + 960 & 0xFFFFFFFF
        return packet
