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

from sfu.core.rtcp import RtcpPacket, parse_compound
from sfu.core.rtp import RtpHeader, parse_rtp
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
