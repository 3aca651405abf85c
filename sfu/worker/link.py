"""One transport as the sockets see it: ICE, DTLS, the SRTP keys, and the address where its packets go."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from sfu.core.ice import Address, IceLite
from sfu.core.transport import Transport
from sfu.worker.datagrams import destination_of, ffi
from sfu.worker.dtls import Certificate, DtlsServer
from sfu.worker.srtp import SrtpSessions
from sfu.worker.tcp import TcpConnection

if TYPE_CHECKING:
    from sfu.worker.endpoint import Endpoint

logger = logging.getLogger(__name__)

EARLY_DTLS = 8  # datagrams kept until signaling brings the fingerprint; the browser repeats what we lose


class Path:
    """A known address of a link: a UDP address, or a TCP connection."""

    __slots__ = ("address", "connection", "destination", "key", "link", "name", "name_buffer")

    def __init__(self, link: Link, key: Any, address: Address, connection: TcpConnection | None) -> None:
        self.link = link
        self.key = key
        self.address = address
        self.connection = connection
        self.destination: tuple[Any, ...] = ()
        self.name_buffer: Any = None
        self.name = 0
        if connection is None:
            self.destination = destination_of(key)
            self.name_buffer = ffi.new("char[]", key)
            self.name = int(ffi.cast("uintptr_t", self.name_buffer))


class Link:
    __slots__ = (
        "_closed",
        "_early",
        "_endpoint",
        "address",
        "connection",
        "dtls",
        "ice",
        "inbound",
        "name",
        "outbound",
        "path",
        "paths",
        "repairs",
        "sessions",
        "tag_length",
        "transport",
    )

    def __init__(self, endpoint: Endpoint, transport: Transport, ice: IceLite, certificate: Certificate) -> None:
        self._endpoint = endpoint
        self.transport = transport
        self.ice = ice
        self.dtls = DtlsServer(certificate)
        self._early: deque[bytes] = deque(maxlen=EARLY_DTLS)
        self._closed = False
        self.sessions: SrtpSessions | None = None
        # For the hot loops; `outbound` is None as long as nothing may be sent.
        self.inbound: Any = None
        self.outbound: Any = None
        self.tag_length = 16
        self.paths: dict[Address, Path] = {}
        self.path: Path | None = None  # the selected one
        self.address: tuple[Any, ...] = ()
        self.name = 0  # where the kernel finds the address
        self.connection: TcpConnection | None = None
        self.repairs = 0

    # --- ICE ---

    def follow_selected(self) -> None:
        """ICE may have selected another address: send there from now on."""
        selected = self.ice.selected
        if selected is None:
            self.path = None
            self.outbound = None
            return
        if self.path is not None and self.path.address == selected and selected in self.paths:
            self._open()
            return
        self.path = self.paths.get(selected)
        if self.path is not None:
            self.address = self.path.destination
            self.name = self.path.name
            self.connection = self.path.connection
        self._open()

    def check_consent(self, now: float) -> None:
        """Nothing is sent to who does not ask for it any more; the next valid check opens the way again."""
        if self.outbound is not None and self.ice.consent_expired(now):
            self.outbound = None
            self._endpoint.dropped["consent_lost"] += 1

    def _open(self) -> None:
        if self.sessions is not None and self.path is not None and not self._closed:
            self.outbound = self.sessions.outbound

    # --- DTLS ---

    def connect(self, fingerprints: list[tuple[str, str]], now: float) -> None:
        self.dtls.start(fingerprints)
        for datagram in self._early:
            self.dtls.receive(datagram, now)
        self._early.clear()
        self._after_dtls()

    def receive_dtls(self, datagram: bytes, path: Path, now: float) -> None:
        if self.dtls.state == "new":
            self._early.append(datagram)
            return
        self.dtls.receive(datagram, now)
        if self.path is not path and self.ice.select(path.address):
            self.follow_selected()
        self._after_dtls()

    def check_dtls_timer(self) -> bool:
        """Whether a handshake is still going on."""
        timeout = self.dtls.next_timeout()
        if timeout is not None and timeout <= 0:
            self.dtls.handle_timeout()
            self._after_dtls()
        return self.dtls.state == "connecting"

    def _after_dtls(self) -> None:
        dtls = self.dtls
        for datagram in dtls.datagrams_to_send():
            self._endpoint.send_plain(datagram, self.path)
        if dtls.state == "connecting":
            self._endpoint.handshaking.add(self)
        elif dtls.state == "connected" and self.sessions is None and dtls.sessions is not None:
            self.sessions = dtls.sessions
            self.inbound = self.sessions.inbound
            self.tag_length = self.sessions.tag_length
            self.transport.connected = True
            self._open()
        elif dtls.state in ("closed", "failed"):
            self.transport.connected = False
            self.inbound = self.outbound = None

    # --- the core's wishes ---

    def forget_inbound(self, ssrc: int) -> None:
        if self.sessions is not None:
            self.sessions.forget_inbound(ssrc)

    def forget_outbound(self, ssrc: int) -> None:
        if self.sessions is not None:
            self.sessions.forget_outbound(ssrc)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.dtls.close()
        for datagram in self.dtls.datagrams_to_send():
            self._endpoint.send_plain(datagram, self.path)
        self.inbound = self.outbound = None
        self._endpoint.remove(self)

    def stats(self) -> dict[str, Any]:
        return {
            "dtls": self.dtls.state,
            "protocol": None if self.path is None else "udp" if self.connection is None else "tcp",
            "sending": self.outbound is not None,
        }
