"""The DTLS handshake that gives a transport its SRTP keys, always as the server (RFC 5764).

No sockets and no tasks: datagrams go in, datagrams come out, and the owner asks often whether something is to be
repeated. After the handshake OpenSSL's connection is let go at once (docs/decisions/0008): what may still be needed of
it is kept as it was written, the last flight, for a client that lost it, and our goodbye.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from sfu.worker.srtp import PROFILE_BY_NAME, PROFILES, SrtpSessions

logger = logging.getLogger(__name__)

MTU = 1200  # bytes a datagram, as browsers use: no path known carries less
RECORD_HEADER = 13  # bytes of a DTLS 1.2 record before its fragment
ALERT = 21  # the content type of a record
# How the one handshake record begins that is encrypted, a client's Finished: content type, DTLS 1.2, epoch.
FINISHED = b"\x16\xfe\xfd\x00\x01"
MAX_FAILURES = 20  # handshakes that may fail before the transport is given up
# Seconds until a flight is sent again, twice as long each time. OpenSSL would begin with a second: a path that loses a
# tenth loses one of a flight's four datagrams in every third handshake. Browsers begin with 50 ms.
FIRST_REPEAT = 0.2
MAX_REPEATS = 7  # the last one after 25 s
# Seconds between two answers to a client that lost our last flight. Browsers ask again after 50 ms, then less often:
# who asks oftener wants us to send more than he does.
ANSWERS_APART = 0.02
HANDSHAKE_RECORDS = 64 * 1024  # bytes that a handshake may take in: a big one is 10 KiB

CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"

_DTLS_1_2 = 0xFEFD
_ALGORITHMS = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}

State = Literal["new", "connecting", "connected", "failed", "closed"]


class Certificate:
    """A worker's certificate, made at its start, and the context that all its handshakes share."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
        now = datetime.now(tz=UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(key, hashes.SHA256())
        )
        context = SSL.Context(SSL.DTLS_METHOD)
        # DTLS 1.3 records cannot be told apart by their headers alone, and browsers all speak 1.2.
        context.set_max_proto_version(_DTLS_1_2)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # Certificates are self-signed: what counts is the fingerprint, which came over signaling.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(self._certificate)
        context.use_privatekey(key)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in PROFILES))
        self.context = context

    @property
    def fingerprints(self) -> list[dict[str, str]]:
        """One sha-256: mediasoup-client uses the last of the list alone."""
        return [{"algorithm": "sha-256", "value": certificate_digest(self._certificate, "sha-256")}]


def certificate_digest(certificate: x509.Certificate, algorithm: str) -> str:
    return certificate.fingerprint(_ALGORITHMS[algorithm]).hex(":").upper()


class DtlsServer:
    """One handshake. `connected` means: keys are there, and the certificate is the one that was announced."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = certificate.context
        self._connection: SSL.Connection | None = None
        self._fingerprints: list[tuple[str, str]] = []
        self._failures = 0
        self._taken = 0
        self._outgoing: list[bytes] = []
        self._goodbye: list[bytes] = []  # written in advance
        self._flight: list[bytes] = []  # the last one, until it is answered; the last of all for ever
        self._repeats = 0
        self._repeat_at = 0.0
        self.state: State = "new"
        self.sessions: SrtpSessions | None = None

    def start(self, fingerprints: list[tuple[str, str]]) -> None:
        """`fingerprints` are (algorithm, value) of the certificate to expect; see `parse_fingerprints`."""
        self._fingerprints = fingerprints
        self.state = "connecting"
        self._connect()

    def receive(self, datagram: bytes, now: float) -> None:
        """Never raises: what is malformed is OpenSSL's to ignore, and what is fatal ends in a state."""
        if self.state == "connected" and now >= self._repeat_at and FINISHED in datagram:
            self._outgoing += self._flight
            self._repeat_at = now + ANSWERS_APART
        connection = self._connection
        if connection is None or not datagram:
            return
        if datagram[0] == ALERT and datagram[3:5] == b"\x00\x00":
            return  # nothing proves an alert that is not encrypted; a client that gave up just falls silent
        self._taken += len(datagram)
        if self._taken > HANDSHAKE_RECORDS:
            self._fail("handshake too long")
            return
        try:
            connection.bio_write(datagram)
            self._handshake()
        except SSL.Error as error:
            self._fail(f"{error}")
        flight = self._collect()
        if flight:
            self._flight, self._repeats, self._repeat_at = flight, 0, now + FIRST_REPEAT
            self._outgoing += flight
        if self.state == "connected":
            self._repeat_at = now + ANSWERS_APART
            self._let_go(connection)

    def repeat(self, now: float) -> bool:
        """Send the last flight again, if it is time. Whether an answer is still waited for."""
        if self.state != "connecting":
            return False
        if self._flight and now >= self._repeat_at and self._repeats < MAX_REPEATS:
            self._outgoing += self._flight
            self._repeats += 1
            self._repeat_at = now + FIRST_REPEAT * 2**self._repeats
        return True

    def close(self) -> None:
        """Say goodbye, if there is somebody to say it to."""
        if self.state == "connected":
            self._outgoing += self._goodbye
        self.state = "closed"
        self._connection = None

    def datagrams_to_send(self) -> list[bytes]:
        """All that waits to be sent, once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    # --- the handshake ---

    def _connect(self) -> None:
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(MTU)
        self._taken = 0
        self._flight = []
        self._connection = connection

    def _handshake(self) -> None:
        connection = self._connection
        assert connection is not None
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return
        if not self._is_expected(connection):
            self._give_up("the certificate is not the announced one")
            return
        profile = PROFILE_BY_NAME.get(connection.get_selected_srtp_profile())
        if profile is None:
            self._give_up("no SRTP profile in common")
            return
        material = connection.export_keying_material(b"EXTRACTOR-dtls_srtp", profile.material_length)
        client_key, server_key = profile.client_and_server_keys(material)
        self.sessions = SrtpSessions(profile, receive_key=client_key, send_key=server_key)
        self.state = "connected"

    def _let_go(self, connection: SSL.Connection) -> None:
        """OpenSSL keeps 75 KB for each connection, more than all the rest of a receiver takes.

        What is given up is hearing the client's goodbye: a page that goes says so over signaling, and consent ends by
        itself.
        """
        try:
            connection.shutdown()
        except SSL.Error as error:
            logger.debug("DTLS shutdown failed: %s", error)
        self._goodbye = self._collect()
        self._connection = None

    def _is_expected(self, connection: SSL.Connection) -> bool:
        """All announced fingerprints must be right: RFC 8122 asks for one, but who would announce a wrong one?"""
        certificate: Any = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return False
        return all(
            certificate_digest(certificate, algorithm) == value.upper() for algorithm, value in self._fingerprints
        )

    def _fail(self, reason: str) -> None:
        """A handshake that broke may be a stranger's doing: begin anew, but not for ever."""
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._give_up(reason)
        else:
            self._connect()  # without a word: an alert in answer to junk would end the client's handshake too

    def _give_up(self, reason: str) -> None:
        logger.debug("DTLS handshake failed: %s", reason)
        self.state = "failed"
        self._connection = None

    def _collect(self) -> list[bytes]:
        """What OpenSSL has to say."""
        if self._connection is None:
            return []
        flight = bytearray()
        try:
            while True:
                flight += self._connection.bio_read(65536)
        except SSL.Error:
            pass  # WantReadError: the buffer is empty
        return list(datagrams(bytes(flight)))


def datagrams(flight: bytes) -> Iterator[bytes]:
    """Cut a run of DTLS 1.2 records into datagrams: OpenSSL's memory buffer does not keep the borders."""
    start = position = 0
    while position + RECORD_HEADER <= len(flight):
        end = position + RECORD_HEADER + int.from_bytes(flight[position + 11 : position + 13], "big")
        if end - start > MTU and position > start:
            yield flight[start:position]
            start = position
        position = end
    if start < len(flight):
        yield flight[start:]


def parse_fingerprints(dtls_parameters: dict[str, Any]) -> list[tuple[str, str]]:
    """The supported (algorithm, value) pairs of mediasoup's `dtlsParameters`. Raises ValueError on anything else."""
    if dtls_parameters.get("role", "auto") not in ("auto", "client"):
        raise ValueError("this side is the DTLS server, so the other must be the client")
    fingerprints = dtls_parameters.get("fingerprints")
    if not isinstance(fingerprints, list) or not 1 <= len(fingerprints) <= 8:
        raise ValueError("fingerprints must be a list of 1 to 8")
    found: list[tuple[str, str]] = []
    for fingerprint in fingerprints:
        if not isinstance(fingerprint, dict):
            raise ValueError("a fingerprint must be an object")
        algorithm, value = fingerprint.get("algorithm"), fingerprint.get("value")
        if not isinstance(algorithm, str) or not isinstance(value, str) or len(value) > 200:
            raise ValueError("a fingerprint has an algorithm and a value")
        if algorithm.lower() in _ALGORITHMS:
            found.append((algorithm.lower(), value))
    if not found:
        raise ValueError("no fingerprint of a supported algorithm (sha-256, sha-384, sha-512)")
    return found
