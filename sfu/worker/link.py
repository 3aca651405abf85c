"""One transport as the sockets see it: ICE, DTLS, the SRTP keys, and the address where its packets go."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from sfu.core.ice import Address, IceLite
from sfu.core.transport import Transport
from sfu.worker.datagrams import destination_of, ffi
from sfu.worker.dtls import Certificate, DtlsServer
from sfu.worker.srtp import MAIN_TAG, SrtpSessions
from sfu.worker.tcp import TcpConnection

if TYPE_CHECKING:
    from sfu.worker.endpoint import Endpoint

logger = logging.getLogger(__name__)

# From one address in a second:
MAX_DATAGRAMS = 4000  # 40 Mbit/s; a camera in three layers has 400
MAX_REPORTED = 300_000  # bytes of RTCP and DTLS; a browser that loses much of 25 streams has 100,000
REPORT_OVERHEAD = 100  # bytes that each of them counts for besides its own: a small one has its cost, too
MAX_CHECKS = 50  # of connectivity, each as dear as twenty packets of media; browsers send 20
EARLY_DTLS = 8  # datagrams kept until signaling brings the fingerprint; the browser repeats what we lose


class Allowance:
    """What one address may have looked at in this second; all addresses that are not known share one of their link.

    A flood costs us more than its sender: who sends too much loses what is too much of his own, and nobody else's.
    """

    __slots__ = ("checks", "datagrams", "reported", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.datagrams = self.reported = self.checks = 0

    def renew(self, now: float) -> None:
        self.until = now + 1.0
        self.datagrams = self.reported = self.checks = 0


class Path:
    """A known address of a link: a UDP address, or a TCP connection."""

    __slots__ = ("address", "allowance", "connection", "destination", "key", "link", "name", "name_buffer")

    def __init__(self, link: Link, key: Any, address: Address, connection: TcpConnection | None) -> None:
        self.link = link
        self.key = key
        self.address = address
        self.connection = connection
        self.allowance = Allowance()
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
        "allowance",
        "dtls",
        "ice",
        "inbound",
        "lane",
        "outbound",
        "path",
        "paths",
        "repairs",
        "sessions",
        "transport",
    )

    def __init__(self, endpoint: Endpoint, transport: Transport, ice: IceLite, certificate: Certificate) -> None:
        self._endpoint = endpoint
        self.transport = transport
        self.ice = ice
        self.dtls = DtlsServer(certificate)
        self._early: deque[bytes] = deque(maxlen=EARLY_DTLS)
        self._closed = False
        self.allowance = Allowance()  # of addresses that are not known: who floods from there keeps no known one away
        self.sessions: SrtpSessions | None = None
        self.inbound: Any = None
        self.outbound: Any = None  # None as long as nothing may be sent
        self.lane = transport.lane  # the same for the sending loop
        self.lane.link = self
        self.paths: dict[Address, Path] = {}
        self.path: Path | None = None  # the selected one
        self.repairs = 0

    # --- ICE ---

    def follow_selected(self, now: float) -> None:
        """ICE may have selected another address: send there from now on."""
        selected = self.ice.selected
        if selected is None:
            self.path = None
            self._shut()
            return
        before, self.path = self.path, self.paths.get(selected)
        self._open()
        if before is not None and before is not self.path and self.outbound is not None:
            self.transport.moved(now)

    def follow_pacer(self) -> None:
        """The lane has a pacer now, or has none any more. Nothing is sent for it that was not sent before."""
        if self.outbound is not None:
            self._open()

    def check_consent(self, now: float) -> None:
        """Nothing is sent to who does not ask for it any more; the next valid check opens the way again."""
        if self.outbound is not None and self.ice.consent_expired(now):
            self._shut()
            self._endpoint.dropped["consent_lost"] += 1

    def _open(self) -> None:
        if self.sessions is None or self.inbound is None or self.path is None:  # not yet, or not any more
            return
        lane = self.lane
        self.outbound = self.sessions.outbound
        lane.name = self.path.name
        is_main = self.path.connection is None and self.sessions.tag_length == MAIN_TAG
        lane.detour = not is_main or lane.pacer is not None
        lane.session = None if lane.detour else self.outbound
        self.transport.open()

    def _shut(self) -> None:
        self.outbound = self.lane.session = None
        self.lane.detour = False
        self.transport.shut()

    # --- DTLS ---

    def connect(self, fingerprints: list[tuple[str, str]], now: float) -> None:
        self.dtls.start(fingerprints)
        for datagram in self._early:
            self.dtls.receive(datagram, now)
        self._early.clear()
        self._after_dtls(now)

    def receive_dtls(self, datagram: bytes, path: Path, now: float) -> None:
        if self.dtls.state == "new":
            self._early.append(datagram)
            return
        self.dtls.receive(datagram, now)
        if self.path is not path and self.ice.select(path.address):
            self.follow_selected(now)
        self._after_dtls(now)

    def repeat_dtls(self, now: float) -> bool:
        """Whether a handshake is still going on."""
        waits = self.dtls.repeat(now)
        self._after_dtls(now)
        return waits

    def _after_dtls(self, now: float) -> None:
        dtls = self.dtls
        for datagram in dtls.datagrams_to_send():
            self._endpoint.send_plain(datagram, self.path)
        if dtls.state == "connecting":
            self._endpoint.handshaking.add(self)
        elif dtls.state == "connected" and self.sessions is None and dtls.sessions is not None:
            self.sessions = dtls.sessions
            self.inbound = self.sessions.inbound
            self.transport.connected = True
            self._open()
        elif dtls.state in ("closed", "failed"):
            self.transport.connected = False
            self.inbound = None
            self._shut()

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
        self.inbound = None
        self._shut()
        self._endpoint.remove(self)

    def stats(self) -> dict[str, Any]:
        return {
            "dtls": self.dtls.state,
            "protocol": None if self.path is None else "udp" if self.path.connection is None else "tcp",
            "sending": self.outbound is not None,
        }
