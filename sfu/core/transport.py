"""One connection of a peer: what it carries by SSRC, and the RTCP that keeps it going.

The shell decrypts and gives packets to `receive_rtp` and `receive_rtcp`; whose they are is found by SSRC, then MID,
then RID (RFC 8843, RFC 8852). Nothing that a peer sends can touch another transport's streams: the tables are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sfu.core import capabilities as extension_uris
from sfu.core import rtcp
from sfu.core.budget import Budget
from sfu.core.errors import ParseError
from sfu.core.feed import Position
from sfu.core.feedback import TransportFeedbackRecorder
from sfu.core.lane import Lane
from sfu.core.layout import MAX_PACKET
from sfu.core.pacer import FACTOR, Pacer
from sfu.core.peer import MAX_SSRCS
from sfu.core.reporter import MAX_DELAY, Reporter
from sfu.core.rtp import Buffer, RtpHeader, extension_text, parse_rtp
from sfu.core.stream import RTCP_SSRC, Stream
from sfu.core.transport_feedback import TransportFeedback
from sfu.protocol import Direction, Json

if TYPE_CHECKING:
    from sfu.core.agenda import Agenda
    from sfu.core.consumer import Consumer
    from sfu.core.peer import Peer
    from sfu.core.producer import Producer

# Who asks for repairs gets at most ten times the bytes that he spent asking, after an allowance: 1,172 bytes of NACK
# must not draw 200 kB. But one line of 16 bytes asks for a packet of 1,100, so what he is sent renews the allowance:
# by half, since at 20 % loss a quarter must be sent again, and some of that a second time.
REPAIR_FACTOR = 10
REPAIR_SHARE = 0.5
REPAIR_ALLOWANCE = 20_000  # bytes
REPAIR_CREDIT = 100_000  # bytes that may be saved up by asking
RENEW_EVERY = 0.02  # seconds: it costs a look at each stream
MAX_KEY_FRAME_REQUESTS = 5  # that one receiver may make in a second, or one for each stream that he watches
MAX_NACKED = 3000  # packets that one receiver may ask for in a second: each costs a look, whether it is sent or not
LOSSY = 5  # of 256 packets, which are 2 %: voices are sent twice to who cannot ask for them again
SILENT_AFTER = 30.0  # seconds: a browser reports on each stream at least every five


class Transport:
    def __init__(self, *, id: str, peer: Peer, direction: Direction, agenda: Agenda) -> None:
        self.id = id
        self.peer = peer
        self.direction: Direction = direction
        self.agenda = agenda
        self.link: Any = None  # the shell's side of it
        self.lane = Lane()
        self.connected = False  # set by the shell when keys are there
        self.is_shut = False  # set by the shell: nothing may be sent for now
        self.rtt: float | None = None  # seconds, to a sender of media; a receiver's is known for each of his streams
        self.producers: dict[str, Producer] = {}
        self.consumers: dict[str, Consumer] = {}
        self.ssrcs: set[int] = set()  # of all media that was accepted from the network
        self.rtcp_ssrcs: set[int] = set()  # that only reports came from
        self.streams: dict[int, Stream] = {}  # by SSRC of the media
        self.repairs: dict[int, Stream] = {}  # by SSRC of the RTX stream
        self.by_ssrc: dict[int, Consumer] = {}  # by SSRC that we send
        self.positions: dict[int, Position] = {}  # by SSRC: where a consumer stopped that was here
        self.repair_numbers: dict[int, int] = {}
        self.budget = Budget(self)
        self.reporter = Reporter(self)
        self.mids: set[str] = set()  # of all consumers that there have been
        self.packets_received = 0
        self.bytes_received = 0
        self.rate_in = 0.0  # bit/s over the last second
        self._measured: tuple[float, int] | None = None  # (when, bytes received until then)
        self._extensions: dict[str, int] = {}
        self._feedback = TransportFeedbackRecorder(sender_ssrc=RTCP_SSRC, media_ssrc=0)
        self._repair_credit: float = REPAIR_ALLOWANCE
        self._renewed: tuple[float, int] = (0.0, 0)  # (when, bytes sent until then)
        self._key_frame_requests = 0
        self._nacked = 0
        self._heard: dict[int, float] = {}  # SSRCs that reports came from, or what is nobody's stream: when last

    # --- what comes in ---

    def admits(self, ssrc: int, *, is_rtcp: bool = False) -> bool:
        """Whether packets of this SSRC are worth decrypting: libsrtp keeps state for each that it has seen."""
        if ssrc in self.ssrcs or ssrc in self.rtcp_ssrcs:
            return True
        if is_rtcp:  # Firefox speaks of each stream that it receives under an SSRC of its own
            full = len(self.rtcp_ssrcs) >= MAX_SSRCS + 2 * len(self.consumers)
        else:
            full = self.peer.ssrc_count >= MAX_SSRCS
        if full:
            self.agenda.dropped["ssrc_limit"] += 1
            return False
        return True

    def receive_rtp(self, data: Buffer, length: int, now: float, arrived: float | None = None) -> None:
        """A packet whose authenticity is proved.

        `arrived`: when it reached this machine, where that is known; we may have had no time for it until `now`.
        """
        if arrived is None:
            arrived = now
        dropped = self.agenda.dropped
        if length > MAX_PACKET:
            dropped["too_long"] += 1
            self._note_stranger(int.from_bytes(data[8:12], "big"), now)
            return
        try:
            header = parse_rtp(data, length)
            self.ssrcs.add(header.ssrc)
            self.packets_received += 1
            self.bytes_received += length
            stream = self.streams.get(header.ssrc)
            repair = None
            if stream is None:
                repair = self.repairs.get(header.ssrc)
                if repair is None:
                    stream, repair = self._find(data, header, now)
            self._note_arrival(data, header, arrived)
        except ParseError:
            dropped["malformed"] += 1
            self._note_stranger(int.from_bytes(data[8:12], "big"), now)
            return
        if stream is not None:
            if header.payload_type not in stream.producer.payload_types:
                dropped["payload_type"] += 1
                return
            packet = stream.receive(data, header, now, arrived)
        elif repair is not None:
            stream = repair
            packet = stream.receive_retransmission(data, header, now, arrived)
        else:
            dropped["unknown_stream"] += 1
            self._note_stranger(header.ssrc, now)
            return
        if packet is not None:
            stream.producer.receive(stream, packet, now)

    def _note_stranger(self, ssrc: int, now: float) -> None:
        """libsrtp keeps state for it, so it counts until it has been silent for a while."""
        self.ssrcs.add(ssrc)
        self._heard[ssrc] = now

    def _forget_silent(self, now: float) -> None:
        """Give the places of those who are gone to others: a browser reports on each stream under a new SSRC."""
        for ssrc in [ssrc for ssrc, at in self._heard.items() if now - at > SILENT_AFTER]:
            del self._heard[ssrc]
            self.rtcp_ssrcs.discard(ssrc)
            if ssrc not in self.streams and ssrc not in self.repairs:
                self.forget_ssrc(ssrc)

    def _note_arrival(self, data: Buffer, header: RtpHeader, arrived: float) -> None:
        identifier = self._extensions.get(extension_uris.TRANSPORT_CC)
        if identifier is None:
            return
        place = header.extensions.get(identifier)
        if place is not None and place[1] == 2:
            offset = place[0]
            self._feedback.media_ssrc = header.ssrc
            self._feedback.received(data[offset] << 8 | data[offset + 1], arrived)
            self.agenda.arrivals.add(self)

    def _find(self, data: Buffer, header: RtpHeader, now: float) -> tuple[Stream | None, Stream | None]:
        """Whose an unknown SSRC is: (stream, None), (None, the stream it repairs), or nobody's."""
        extensions = self._extensions
        mid = extension_text(data, header, extensions.get(extension_uris.MID, 0))
        rid = extension_text(data, header, extensions.get(extension_uris.RID, 0))
        repaired = extension_text(data, header, extensions.get(extension_uris.REPAIRED_RID, 0))
        candidates = [p for p in self.producers.values() if mid is None or p.mid == mid]
        if mid is None and rid is None and repaired is None:
            return None, None
        is_repair = repaired is not None
        wanted = repaired if is_repair else rid
        found: list[Stream] = []
        for producer in candidates:
            if header.payload_type in producer.repairs:
                is_repair = True
            elif header.payload_type not in producer.payload_types:
                continue
            found += [s for s in producer.streams if (wanted or "") == s.rid]
        if len(found) != 1:
            return None, None
        stream = found[0]
        if is_repair:
            if stream.rtx_ssrc is not None:
                self.repairs.pop(stream.rtx_ssrc, None)
                self.forget_ssrc(stream.rtx_ssrc)
            stream.rtx_ssrc = header.ssrc
            self.repairs[header.ssrc] = stream
            return None, stream
        if stream.ssrc is not None:  # the encoder began anew under another SSRC
            if not stream.restart(now):
                return None, None
            self.streams.pop(stream.ssrc, None)
            self.forget_ssrc(stream.ssrc)
        stream.ssrc = header.ssrc
        self.streams[header.ssrc] = stream
        return stream, None

    def receive_rtcp(self, data: Buffer, now: float) -> None:
        """A compound whose authenticity is proved."""
        self._repair_credit = min(REPAIR_CREDIT, self._repair_credit + REPAIR_FACTOR * len(data))
        self._heard[int.from_bytes(data[4:8], "big")] = now
        try:
            packets = rtcp.parse_compound(data)
        except ParseError:
            self.agenda.dropped["malformed_rtcp"] += 1
            return
        for packet in packets:
            handler = _HANDLERS.get(type(packet))
            if handler is not None:
                handler(self, packet, now)

    # --- RTCP, by type; what speaks of SSRCs that are not this transport's is without effect ---

    def _on_sender_report(self, report: rtcp.SenderReport, now: float) -> None:
        stream = self.streams.get(report.ssrc)
        if stream is not None:
            stream.reception.sender_report(report.ntp_timestamp, report.rtp_timestamp, now)
            stream.producer.report_to_taps(stream, now)
            for outgoing in stream.producer.pipe_consumers.values():
                outgoing.crossings[stream.index].send_report(report.ntp_timestamp, report.rtp_timestamp)
        self._on_report_blocks(report.blocks, now)

    def _on_receiver_report(self, report: rtcp.ReceiverReport, now: float) -> None:
        self._on_report_blocks(report.blocks, now)

    def _on_report_blocks(self, blocks: list[rtcp.ReportBlock], now: float) -> None:
        counters = self.agenda.counters
        is_lossy = False
        for block in blocks:
            consumer = self.by_ssrc.get(block.ssrc)
            if consumer is None or block.ssrc != consumer.producer.ssrc:
                continue
            consumer.fraction_lost = block.fraction_lost
            consumer.lost = block.packets_lost
            consumer.jitter = block.jitter
            counters.loss_percent.observe(block.fraction_lost / 2.56)
            counters.jitter.observe(min(MAX_DELAY, block.jitter / consumer.producer.clock_rate))
            self.budget.on_loss(block.fraction_lost / 256, now)
            consumer.rtt = self.reporter.trip_of_sender_report(consumer.rtt, block, now)
            if consumer.rtt is not None:
                self.budget.on_rtt(consumer.rtt)
            is_lossy = is_lossy or block.fraction_lost >= LOSSY
        if is_lossy:
            for consumer in self.consumers.values():
                if consumer.cannot_ask:
                    consumer.lose(now)

    def _on_extended_report(self, report: rtcp.ExtendedReport, now: float) -> None:
        for ssrc, last, delay in report.delays:
            if ssrc == RTCP_SSRC:
                self.rtt = self.reporter.trip_of_receiver_report(self.rtt, last, delay, now)

    def _on_nack(self, nack: rtcp.Nack, now: float) -> None:
        consumer = self.by_ssrc.get(nack.media_ssrc)
        if consumer is None:
            return
        self._nacked += len(nack.lost)
        self.agenda.counters.nacks_received += len(nack.lost)
        if self._nacked > MAX_NACKED:
            self.agenda.dropped["nack_limit"] += len(nack.lost)
            return
        if self._repair_credit < REPAIR_ALLOWANCE:
            self._renew_allowance(now)
        consumer.receive_nack(nack, now)

    def _on_transport_feedback(self, feedback: TransportFeedback, now: float) -> None:
        if self.consumers:
            self.budget.on_feedback(feedback, now)

    def _on_picture_loss(self, report: rtcp.PictureLossIndication, now: float) -> None:
        self._on_key_frame_request(report.media_ssrc, now)

    def _on_full_intra_request(self, report: rtcp.FullIntraRequest, now: float) -> None:
        for ssrc, _ in report.entries:
            self._on_key_frame_request(ssrc, now)

    def _on_key_frame_request(self, ssrc: int, now: float) -> None:
        consumer = self.by_ssrc.get(ssrc)
        if consumer is None or consumer.paused:
            return
        self._key_frame_requests += 1
        self.agenda.counters.plis_received += 1
        if self._key_frame_requests > max(MAX_KEY_FRAME_REQUESTS, self.watched):
            self.agenda.dropped["pli_limit"] += 1
            return
        consumer.want_key_frame(now)

    # --- what goes out ---

    def may_resend(self, size: int) -> bool:
        if self._repair_credit < size or not self.has_room(size):
            return False
        self._repair_credit -= size
        return True

    def has_room(self, size: int) -> bool:
        """Whether a packet may be sent again beside what a narrow line carries."""
        return self.lane.pacer is None or self.lane.pacer.may_repair(size)

    def _renew_allowance(self, now: float) -> None:
        at, before = self._renewed
        if now - at < RENEW_EVERY:
            return
        sent = sum([consumer.sent[1] for consumer in self.consumers.values()])
        self._renewed = now, sent
        earned = self._repair_credit + REPAIR_SHARE * max(0, sent - before)  # a stream that ended takes its bytes along
        self._repair_credit = max(self._repair_credit, min(REPAIR_ALLOWANCE, earned))

    def pace(self, estimate: float | None, now: float) -> None:
        """What leaves is paced from now on, by that estimate (bit/s); None: it leaves as it comes."""
        lane, agenda = self.lane, self.agenda
        if lane.pacer is not None and estimate is not None:
            lane.pacer.rate = FACTOR * estimate
        elif lane.pacer is not None or estimate is not None:
            if lane.pacer is not None:
                agenda.bursts_before(lane.pacer.rest())
                agenda.paced.discard(self)
                lane.pacer = None
            if estimate is not None:
                lane.pacer = Pacer(estimate, now)
                agenda.paced.add(self)
            if self.link is not None:
                self.link.follow_pacer()

    def next_transport_sequence(self) -> int:
        sequence = self.lane.sequence
        self.lane.sequence = sequence + 1 & 0xFFFF
        return sequence

    def sent_one(self, number: int, size: int, now: float) -> None:
        """A packet under a transport-wide number that left by itself."""
        if self.lane.sent is not None:
            self.lane.sent(number, ((now, size),))

    def send_feedback(self, now: float) -> None:
        for report in self._feedback.due(now):
            self.agenda.report(self, report.serialize())
        if self._feedback.empty:
            self.agenda.arrivals.discard(self)

    @property
    def watched(self) -> int:
        """How many streams the other side may speak of."""
        return len(self.consumers)

    @property
    def can_send(self) -> bool:
        return self.connected and not self.is_shut

    def shut(self) -> None:
        """Nothing may be sent for now: numbers that never leave must not be given out.

        From the half of all numbers on, libsrtp would take the next for an old one, and use its key again.
        """
        if not self.is_shut:
            self.is_shut = True
            for consumer in self.consumers.values():
                consumer.stop()

    def open(self) -> None:
        if self.is_shut:
            self.is_shut = False
            self.agenda.starting.add(self)

    def moved(self, now: float) -> None:
        """The other side is at another address. What was on its way is lost, and tells nothing of the way there is now:

        pictures begin anew both ways at once, and neither side takes those losses for a line that is too narrow.
        """
        self._feedback.restart()
        self.budget.restart(now)
        for consumer in self.consumers.values():
            consumer.want_key_frame(now)
        for producer in self.producers.values():
            producer.want_key_frame(now)

    def start_consumers(self, now: float) -> None:
        for consumer in self.consumers.values():
            consumer.start(now)

    def each_second(self, now: float) -> None:
        self._key_frame_requests = self._nacked = 0
        self._forget_silent(now)
        if not self.connected:
            return
        for producer in self.producers.values():
            producer.each_second(now)
        for stream in self.streams.values():
            stream.each_second(now)
        self._measure(now)
        self.budget.each_second(now)
        self.reporter.send_receiver_report(now)
        self.reporter.send_sender_reports(now)

    def _measure(self, now: float) -> None:
        at, received = self._measured or (now - 1.0, 0)
        self._measured = (now, self.bytes_received)
        elapsed = max(0.001, now - at)
        self.rate_in = 8 * (self.bytes_received - received) / elapsed
        for consumer in self.consumers.values():
            consumer.each_second(now, elapsed)

    # --- what it carries ---

    def learn_extensions(self, producer: Producer) -> None:
        self._extensions.update(producer.extension_ids)

    def forget_ssrc(self, ssrc: int) -> None:
        """An SSRC that will not come again gives its place to another."""
        self.ssrcs.discard(ssrc)
        if self.link is not None:
            self.link.forget_inbound(ssrc)

    def forget_sent(self, ssrc: int) -> None:
        """A producer's SSRC that will never be sent again, nor the one of its repairs."""
        self.positions.pop(ssrc, None)
        self.repair_numbers.pop(ssrc, None)
        self.reporter.forget(ssrc)
        if self.link is not None:
            self.link.forget_outbound(ssrc)
            self.link.forget_outbound(ssrc + 1)

    @property
    def round_trip(self) -> float | None:
        """Seconds; to a receiver the shortest that one of his streams tells of: the others waited at his side."""
        found = [consumer.rtt for consumer in self.consumers.values() if consumer.rtt is not None]
        return min(found) if found else self.rtt

    def stats(self) -> Json:
        return {
            "transport_id": self.id,
            "peer": self.peer.id,
            "direction": self.direction,
            "connected": self.connected,
            "packets_received": self.packets_received,
            "bytes_received": self.bytes_received,
            "bitrate_in": round(self.rate_in),
            "bitrate_out": round(sum(consumer.rate for consumer in self.consumers.values())),
            "rtt": self.round_trip,
            **self.budget.stats(),
            **(self.link.stats() if self.link is not None else {}),
        }


_Handler = Callable[[Transport, Any, float], None]
_HANDLERS: dict[type, _Handler] = {
    rtcp.SenderReport: Transport._on_sender_report,
    rtcp.ReceiverReport: Transport._on_receiver_report,
    rtcp.ExtendedReport: Transport._on_extended_report,
    rtcp.Nack: Transport._on_nack,
    TransportFeedback: Transport._on_transport_feedback,
    rtcp.PictureLossIndication: Transport._on_picture_loss,
    rtcp.FullIntraRequest: Transport._on_full_intra_request,
}
