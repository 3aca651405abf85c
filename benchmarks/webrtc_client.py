"""A WebRTC client without a media engine: ICE (controlling), DTLS (client), SRTP, over one UDP socket.

It costs so little that hundreds fit into one process. Blocking while it connects; afterwards the owner reads `socket`.
RFC 8445 (ICE), RFC 5764 (DTLS-SRTP), RFC 7714 (AES-GCM).
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aioice import stun
from aiortc.rtcdtlstransport import RTCCertificate
from OpenSSL import SSL
from pylibsrtp import Policy, Session

GCM, CM80 = b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"
CONNECT_WITHIN = 20.0  # seconds, ICE and DTLS together
FLIGHT_AGAIN = 0.05  # seconds
CONSENT_EVERY = 2.5  # seconds (RFC 7675 asks for about 5; browsers send each 2 to 5)


@dataclass
class Remote:
    """What the other side's signaling said of it."""

    address: tuple[str, int]
    ufrag: str
    password: str


@functools.cache
def certificate() -> RTCCertificate:
    """One for all clients of a process: making a key costs more than a handshake."""
    return RTCCertificate.generateCertificate()


@functools.cache
def context() -> SSL.Context:
    made = SSL.Context(SSL.DTLS_METHOD)
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    made.use_certificate(certificate()._cert)
    made.use_privatekey(certificate()._key)
    made.set_tlsext_use_srtp(GCM + b":" + CM80)
    return made


@functools.cache
def fingerprint() -> str:
    """sha-256, as signaling carries it."""
    return str(next(f.value for f in certificate().getFingerprints() if f.algorithm == "sha-256"))


class Client:
    def __init__(self, host: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(16)
        self.remote: Remote | None = None
        self.dtls: SSL.Connection | None = None
        self.profile = b""
        self.inbound: Session | None = None
        self.outbound: Session | None = None
        self.next_consent = 0.0

    @property
    def local_address(self) -> tuple[str, int]:
        address = self.socket.getsockname()
        return str(address[0]), int(address[1])

    # --- connecting ---

    def connect(self, remote: Remote) -> None:
        """ICE, then DTLS, then the SRTP keys. TimeoutError or SSL.Error when it does not come about."""
        self.remote = remote
        self.socket.connect(remote.address)
        deadline = time.monotonic() + CONNECT_WITHIN
        self._check_connectivity(deadline)
        self._shake_hands(deadline)

    def _check_connectivity(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self.socket.send(self.binding_request())
            self.socket.settimeout(0.2)
            try:
                while True:
                    data = self.socket.recv(2048)
                    message = self.answer_stun(data)
                    if message is not None and message.message_class == stun.Class.RESPONSE:
                        return
            except (TimeoutError, ConnectionRefusedError):
                continue
        raise TimeoutError("no answer to connectivity checks")

    def _shake_hands(self, deadline: float) -> None:
        self.dtls = dtls = SSL.Connection(context())
        dtls.set_connect_state()
        flight: list[bytes] = []
        while time.monotonic() < deadline:
            try:
                dtls.do_handshake()
            except SSL.WantReadError:
                flight = self._flush_dtls() or flight
                self.socket.settimeout(FLIGHT_AGAIN)
                try:
                    data = self.socket.recv(4096)
                except TimeoutError:
                    # OpenSSL would wait for a second; a server that was not ready for the first flight is so now.
                    for datagram in flight:
                        self.socket.send(datagram)
                    continue
                if 20 <= data[0] <= 63:
                    dtls.bio_write(data)
                else:
                    self.answer_stun(data)
                continue
            self._flush_dtls()
            self._make_sessions()
            self.socket.setblocking(False)
            return
        raise TimeoutError("no DTLS handshake")

    def _flush_dtls(self) -> list[bytes]:
        """Send what OpenSSL has ready: the datagrams of the flight."""
        assert self.dtls is not None
        flight = []
        while True:
            try:
                flight.append(self.dtls.bio_read(1500))
            except SSL.WantReadError:
                return flight
            self.socket.send(flight[-1])

    def _make_sessions(self) -> None:
        assert self.dtls is not None
        self.profile = self.dtls.get_selected_srtp_profile()
        key, salt = 16, (12 if self.profile == GCM else 14)
        kind = Policy.SRTP_PROFILE_AEAD_AES_128_GCM if self.profile == GCM else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        view = self.dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = view[:key] + view[2 * key : 2 * key + salt]
        server = view[key : 2 * key] + view[2 * key + salt :]
        self.outbound = Session(Policy(key=client, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=kind))
        self.inbound = Session(Policy(key=server, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=kind))

    # --- STUN ---

    def binding_request(self) -> bytes:
        assert self.remote is not None
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=os.urandom(12))
        message.attributes["USERNAME"] = f"{self.remote.ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 1845501695
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(self.remote.password.encode())
        message.add_fingerprint()
        return bytes(message)

    def answer_stun(self, data: bytes) -> stun.Message | None:
        """Read a STUN message; a full agent's own check is answered. None for what is no STUN."""
        if not data or data[0] > 3:
            return None
        try:
            message = stun.parse_message(data)
        except ValueError:
            return None
        if message.message_class == stun.Class.REQUEST:
            response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=message.transaction_id)
            response.attributes["XOR-MAPPED-ADDRESS"] = self.socket.getpeername()
            response.add_message_integrity(self.password.encode())
            response.add_fingerprint()
            self.socket.send(bytes(response))
        return message

    def keep_consent(self, now: float) -> None:
        if self.remote is not None and now >= self.next_consent:
            self.next_consent = now + CONSENT_EVERY
            self.socket.send(self.binding_request())

    # --- media ---

    def send_rtp(self, packets: Sequence[bytes]) -> None:
        assert self.outbound is not None
        for packet in packets:
            self.socket.send(self.outbound.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        assert self.outbound is not None
        self.socket.send(self.outbound.protect_rtcp(packet))

    def close(self) -> None:
        if self.dtls is not None:
            try:
                self.dtls.shutdown()
                self._flush_dtls()
            except (SSL.Error, OSError):
                pass  # the other side may be gone already
        self.socket.close()
