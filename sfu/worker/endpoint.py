"""A worker's one UDP and one TCP port: whose a datagram is, what it is, and everything that leaves.

A datagram is STUN, DTLS, RTP or RTCP by its first bytes (RFC 7983, RFC 5761). STUN finds its transport by ufrag and
proves the address; all else is taken from proved addresses alone, so a stranger costs one look into a dict.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from sfu.core.agenda import Agenda
from sfu.core.ice import Address
from sfu.core.stun import username_fragment
from sfu.core.transport import Transport
from sfu.worker.datagrams import SLOT, Receiver, address_of, destination_of, open_tcp, open_udp, socket_address
from sfu.worker.egress import Egress
from sfu.worker.link import MAX_CHECKS, MAX_DATAGRAMS, MAX_REPORTED, REPORT_OVERHEAD, Link, Path
from sfu.worker.pipe_link import PipeLink
from sfu.worker.srtp import REPLAYED, ffi, srtp_protect, srtp_unprotect, srtp_unprotect_rtcp
from sfu.worker.tcp import TcpConnection

logger = logging.getLogger(__name__)

PORT_TRIES = 20  # to find a port that is free for both UDP and TCP


class Endpoint:
    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda
        self.dropped: Counter[str] = agenda.dropped
        self.paths: dict[Any, Path] = {}  # by sockaddr, or by TCP connection
        self.pipes: dict[bytes, dict[int, PipeLink]] = {}  # by sockaddr of the other worker, then by number
        self.packets_piped = 0
        self.links: set[Link] = set()
        self.handshaking: set[Link] = set()
        self.strangers: set[TcpConnection] = set()
        self.port = 0
        self.on_events: Callable[[list[Any]], None] = lambda events: None
        self.on_failure: Callable[[Transport], None] = lambda transport: None
        self._by_ufrag: dict[str, Link] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._udp: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._scratch = bytearray(SLOT)
        self._scratch_view = memoryview(self._scratch)
        self._scratch_pointer = ffi.from_buffer("char[]", self._scratch)
        self._length = ffi.new("int *")

    # --- life ---

    async def start(self, ip: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        for attempt in range(PORT_TRIES):
            udp = open_udp(ip, port)
            try:
                tcp = open_tcp(ip, udp.getsockname()[1])
            except OSError:
                udp.close()
                if port or attempt == PORT_TRIES - 1:
                    raise
                continue  # the port that was free for UDP is taken for TCP
            break
        self._server = await self._loop.create_server(lambda: TcpConnection(self), sock=tcp, backlog=128)
        self._udp = udp
        self.port = udp.getsockname()[1]
        self._receiver = Receiver(udp)
        # cffi keeps apart what two of its instances made: libsrtp takes pointers of its own kind.
        base = ffi.from_buffer("char[]", self._receiver.buffer)
        self._pointers = [base + i * SLOT for i in range(len(self._receiver.views))]
        self.egress = Egress(udp)
        self._loop.add_reader(udp.fileno(), self._on_readable)

    async def stop(self) -> None:
        if self._udp is not None and self._loop is not None:
            self._loop.remove_reader(self._udp.fileno())
        if self._server is not None:
            self._server.close()
        for connection in [*self.strangers, *(p.connection for p in self.paths.values() if p.connection)]:
            connection.close()
        if self._server is not None:
            await self._server.wait_closed()
        if self._udp is not None:
            self._udp.close()
            self._udp = None

    def add(self, link: Link) -> None:
        self.links.add(link)
        self.learn_ufrags(link)

    def address_of_worker(self, ip: str, port: int) -> tuple[bytes, tuple[Any, ...]]:
        """Where its datagrams come from, and where to send ours."""
        assert self._udp is not None
        if self._udp.family == socket.AF_INET6 and ":" not in ip:
            ip = f"::ffff:{ip}"
        key = socket_address((ip, port), self._udp.family)
        return key, destination_of(key)

    def add_pipe(self, link: PipeLink) -> None:
        """The address is a worker's from now on, and nobody else's."""
        if link.key in self.paths:
            self._forget(self.paths[link.key])
        self.pipes.setdefault(link.key, {})[link.number] = link

    def remove_pipe(self, link: PipeLink) -> None:
        links = self.pipes.get(link.key, {})
        if links.get(link.number) is link:
            del links[link.number]
            if not links:
                del self.pipes[link.key]

    def learn_ufrags(self, link: Link, before: tuple[str, ...] = ()) -> None:
        """Find the link by the ufrags that are valid now, no more by those `before`."""
        for ufrag in before:
            self._by_ufrag.pop(ufrag, None)
        for ufrag in link.ice.local_ufrags:
            self._by_ufrag[ufrag] = link

    def remove(self, link: Link) -> None:
        self.links.discard(link)
        self.handshaking.discard(link)
        for ufrag in link.ice.local_ufrags:
            self._by_ufrag.pop(ufrag, None)
        for path in list(link.paths.values()):
            self._forget(path)

    # --- what comes in ---

    def _on_readable(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        receiver = self._receiver
        count = receiver.read()
        lengths, keys, times, views, pointers, paths = (
            receiver.lengths,
            receiver.keys,
            receiver.times,
            receiver.views,
            self._pointers,
            self.paths,
        )
        for i in range(count):
            length = lengths[i]
            if not length:
                self.dropped["empty_datagram"] += 1
                continue
            try:
                self._receive(views[i], pointers[i], length, keys[i], paths.get(keys[i]), now, times[i])
            except Exception:
                self._fail(paths.get(keys[i]))
        self.flush()

    def receive_framed(self, connection: TcpConnection, frame: bytes) -> None:
        """A packet that came over TCP."""
        assert self._loop is not None
        self._scratch[: len(frame)] = frame
        path = self.paths.get(connection)
        now = self._loop.time()
        try:
            self._receive(self._scratch_view, self._scratch_pointer, len(frame), connection, path, now, now)
        except Exception:
            self._fail(path)

    def _receive(
        self, view: memoryview, pointer: Any, length: int, key: Any, path: Path | None, now: float, arrived: float
    ) -> None:
        if path is not None:
            allowance = path.allowance
            if now >= allowance.until:
                allowance.renew(now)
            allowance.datagrams += 1
            if allowance.datagrams > MAX_DATAGRAMS:
                self.dropped["flood"] += 1
                return
        first = view[0]
        if 128 <= first <= 191:
            if path is not None:
                self._receive_media(view, pointer, length, path, now, arrived)
            elif key in self.pipes:
                self._receive_piped(view, pointer, length, self.pipes[key], now, arrived)
            else:
                self.dropped["unknown_address"] += 1
        elif first <= 3:
            self._receive_stun(view[:length], key, path, now)
        elif 20 <= first <= 63:
            if path is None:
                self.dropped["unknown_address"] += 1
            elif self._may_report(path, length):
                path.link.receive_dtls(bytes(view[:length]), path, now)
        else:
            self.dropped["unknown_kind"] += 1

    def _receive_media(
        self, view: memoryview, pointer: Any, length: int, path: Path, now: float, arrived: float
    ) -> None:
        link = path.link
        session = link.inbound
        if session is None:
            self.dropped["before_dtls"] += 1
            return
        if length < 12:
            self.dropped["malformed"] += 1
            return
        transport = link.transport
        lengths = self._length
        lengths[0] = length
        is_rtcp = 192 <= view[1] <= 223
        if is_rtcp and not self._may_report(path, length):
            return
        ssrc = int.from_bytes(view[4:8] if is_rtcp else view[8:12], "big")
        if not transport.admits(ssrc, is_rtcp=is_rtcp):
            return
        status = (srtp_unprotect_rtcp if is_rtcp else srtp_unprotect)(session, pointer, lengths)
        if status:
            self.dropped["replayed" if status in REPLAYED else "unauthentic"] += 1
            return
        if path is not link.path and link.ice.select(path.address):
            link.follow_selected(now)
        if is_rtcp:
            if ssrc not in transport.ssrcs:
                transport.rtcp_ssrcs.add(ssrc)
            transport.receive_rtcp(view[: lengths[0]], now)
        else:
            transport.receive_rtp(view, lengths[0], now, arrived)

    def _receive_piped(
        self, view: memoryview, pointer: Any, length: int, links: dict[int, PipeLink], now: float, arrived: float
    ) -> None:
        """From another worker of ours."""
        if length < 12:
            self.dropped["malformed"] += 1
            return
        is_rtcp = 192 <= view[1] <= 223
        ssrc = int.from_bytes(view[4:8] if is_rtcp else view[8:12], "big")
        link = links.get(ssrc >> 16)
        if link is None or not link.transport.admits(ssrc, is_rtcp=is_rtcp):
            self.dropped["unknown_pipe"] += 1
            return
        lengths = self._length
        lengths[0] = length
        status = (srtp_unprotect_rtcp if is_rtcp else srtp_unprotect)(link.inbound, pointer, lengths)
        if status:
            self.dropped["replayed" if status in REPLAYED else "unauthentic"] += 1
        elif is_rtcp:
            link.transport.receive_rtcp(view[: lengths[0]], now)
        else:
            link.transport.receive_rtp(view, lengths[0], now, arrived)

    def _may_report(self, path: Path, length: int) -> bool:
        path.allowance.reported += length + REPORT_OVERHEAD
        if path.allowance.reported > MAX_REPORTED:
            self.dropped["flood"] += 1
            return False
        return True

    def _receive_stun(self, data: memoryview, key: Any, path: Path | None, now: float) -> None:
        if key in self.pipes:  # whoever says so lies: a participant who would take over the streams of his whole room
            self.dropped["stun_from_worker"] += 1
            return
        ufrag = username_fragment(data)
        link = self._by_ufrag.get(ufrag) if ufrag is not None else None
        if link is None:
            if path is None:
                self.dropped["unknown_ufrag"] += 1
                return
            link = path.link
        allowance = path.allowance if path is not None and path.link is link else link.allowance
        if now >= allowance.until:
            allowance.renew(now)
        allowance.checks += 1
        if allowance.checks > MAX_CHECKS:
            self.dropped["stun_limit"] += 1
            return
        connection = key if isinstance(key, TcpConnection) else None
        address: Address = connection.address if connection is not None else address_of(key)
        result = link.ice.handle(data, address, now)
        if result.authenticated:
            if path is None or path.link is not link:
                if path is not None:  # the address speaks for another transport now
                    del path.link.paths[path.address]
                    path.link.ice.forget(path.address)
                    path.link.follow_selected(now)
                path = self.paths[key] = link.paths[address] = Path(link, key, address, connection)
                if connection is not None:
                    connection.trust()
            if result.evicted is not None:
                self._forget(link.paths[result.evicted])
            if result.retired_ufrag is not None:
                self._by_ufrag.pop(result.retired_ufrag, None)
            link.follow_selected(now)
        elif result.error is not None:
            self.dropped[f"stun_{result.error}"] += 1
        else:
            self.dropped["stun_malformed"] += 1
        if result.response is not None:
            if connection is not None:
                connection.send(result.response)
            else:
                self._sendto(result.response, destination_of(key))

    def _forget(self, path: Path) -> None:
        if self.paths.get(path.key) is path:
            del self.paths[path.key]
        path.link.paths.pop(path.address, None)
        if path.connection is not None:
            path.connection.close()

    def forget_connection(self, connection: TcpConnection) -> None:
        assert self._loop is not None
        self.strangers.discard(connection)
        path = self.paths.pop(connection, None)
        if path is not None:
            path.link.paths.pop(path.address, None)
            path.link.ice.forget(path.address)
            path.link.follow_selected(self._loop.time())

    def _fail(self, path: Path | None) -> None:
        """Our bug: its traceback is logged, and the peer whose packet met it is the only one to suffer."""
        logger.exception("a packet could not be handled")
        self.dropped["internal"] += 1
        if path is not None:
            # What is on its way under an SSRC must leave before libsrtp forgets how far that SSRC was.
            self.flush()
            self.on_failure(path.link.transport)

    # --- what goes out ---

    def flush(self) -> None:
        """Send all that the core has ready."""
        assert self._loop is not None
        agenda = self.agenda
        now = self._loop.time()
        for pipe, packet in agenda.take_piped():
            self._send_piped(pipe, packet)
        for burst in agenda.take_bursts():
            if burst.tap is not None:
                self._tap(burst, now)
            if burst.seats:
                self.egress.send(burst, now)
                agenda.counters.forward_latency.observe(self._loop.time() - burst.packets[0][0].arrived)
        if agenda.paced:
            for burst in agenda.take_paced(now):
                self.egress.send_paced(burst, now)
        for transport, packet in agenda.take_packets():
            self._send_packet(transport, packet)
        for transport, report in agenda.take_reports():
            self._send_report(transport, report)
        events = agenda.take_events()
        if events:
            self.on_events(events)

    def _tap(self, burst: Any, now: float) -> None:
        producer = burst.feed.producer
        for packet in self.egress.source(burst, now):
            for tap in list(producer.taps):
                try:
                    tap.rtp(producer.id, packet, now)
                except Exception:
                    logger.exception("a recorder failed and is taken off the producer")
                    producer.remove_tap(tap)

    def _send_packet(self, transport: Transport, packet: bytearray) -> None:
        link: Link | None = transport.link
        if link is None or link.outbound is None or link.path is None:
            return
        protected = self._protected(link.outbound, packet)
        if protected is not None:
            self.send_plain(protected, link.path)
            link.repairs += 1

    def _send_piped(self, pipe: Transport, packet: bytearray) -> None:
        link: PipeLink | None = pipe.link
        if link is None or link.outbound is None:
            return
        protected = self._protected(link.outbound, packet)
        if protected is not None:
            self._sendto(protected, link.destination)
            self.packets_piped += 1

    def _protected(self, session: Any, packet: bytearray) -> memoryview | None:
        """To be sent before the next packet is; None if libsrtp refuses."""
        size = len(packet)
        self._scratch[:size] = packet
        self._length[0] = size
        if srtp_protect(session, self._scratch_pointer, self._length):
            self.dropped["srtp_protect"] += 1
            return None
        return self._scratch_view[: self._length[0]]

    def _send_report(self, transport: Transport, report: bytes) -> None:
        link: Link | PipeLink | None = transport.link
        if link is None or link.outbound is None or link.sessions is None:
            return
        protected = link.sessions.protect_rtcp(report)
        if protected is None:
            return
        if isinstance(link, PipeLink):
            self._sendto(protected, link.destination)
        else:
            self.send_plain(protected, link.path)

    def send_plain(self, datagram: bytes | memoryview, path: Path | None) -> None:
        if path is None:
            return
        if path.connection is not None:
            path.connection.send(datagram)
        else:
            self._sendto(datagram, path.destination)

    def _sendto(self, datagram: bytes | memoryview, destination: tuple[Any, ...]) -> None:
        assert self._udp is not None
        try:
            self._udp.sendto(datagram, destination)
        except OSError:
            self.dropped["send_failed"] += 1
