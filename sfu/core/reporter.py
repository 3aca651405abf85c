"""What one transport reports on what it received and sent (RFC 3550, 6.4), and the round trips that answers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.core import rtcp
from sfu.core.burst import NO_SHIFT
from sfu.core.reports import middle, to_ntp
from sfu.core.stream import RTCP_SSRC

if TYPE_CHECKING:
    from sfu.core.transport import Transport

MAX_DELAY = 10.0  # seconds of round trip or jitter: who says more errs or lies
MAX_REPORT = 1200  # bytes of one RTCP datagram


class Reporter:
    """One transport's. Reports leave once a second."""

    __slots__ = ("_references_sent", "_reports_sent", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._reports_sent: dict[int, list[tuple[int, float]]] = {}  # by our SSRC: (middle of NTP, when)
        self._references_sent: list[tuple[int, float]] = []  # the same for the times in our receiver reports

    def forget(self, ssrc: int) -> None:
        """It is never sent again."""
        self._reports_sent.pop(ssrc, None)

    def send_receiver_report(self, now: float) -> None:
        blocks = [
            rtcp.ReportBlock(
                ssrc=stream.ssrc or 0,
                fraction_lost=stream.reception.fraction_lost(),
                packets_lost=stream.reception.lost,
                highest_sequence=(stream.reception.highest or 0) - 0x10000 & 0xFFFFFFFF,
                jitter=int(stream.reception.jitter),
                last_sr=stream.reception.last_report,
                delay_since_last_sr=stream.reception.delay_since_last_report(now),
            )
            for stream in self.transport.streams.values()
            if stream.reception.highest is not None
        ]
        if not blocks:
            return
        # Who only receives learns the round trip by asking for his time back (RFC 3611, 4.4); browsers answer.
        ntp = to_ntp(now + self.transport.agenda.clock_offset)
        self._references_sent.append((middle(ntp), now))
        del self._references_sent[:-3]
        reference = rtcp.ExtendedReport(ssrc=RTCP_SSRC, reference_time=ntp).serialize()
        for start in range(0, len(blocks), 31):
            report = rtcp.ReceiverReport(ssrc=RTCP_SSRC, blocks=blocks[start : start + 31])
            self.transport.agenda.report(self.transport, report.serialize() + reference)

    def send_sender_reports(self, now: float) -> None:
        """All in one datagram, as many as fit: a receiver of fifty streams gets two or three a second."""
        parts: list[bytes] = []
        names: list[tuple[int, str]] = []
        for consumer in self.transport.consumers.values():
            seat = consumer.seat
            if seat is None or consumer.producer.paused:
                continue
            times = seat.feed.report_times(now, seat.shift or NO_SHIFT)
            if times is None:
                continue
            ssrc = consumer.producer.ssrc
            packets, octets = consumer.sent
            sent = self._reports_sent.setdefault(ssrc, [])
            sent.append((middle(times[0]), now))
            del sent[:-3]
            parts.append(
                rtcp.SenderReport(
                    ssrc=ssrc,
                    ntp_timestamp=times[0],
                    rtp_timestamp=times[1],
                    packet_count=packets & 0xFFFFFFFF,
                    octet_count=octets & 0xFFFFFFFF,
                ).serialize()
            )
            names.append((ssrc, consumer.producer.owner.cname))
            if sum(len(part) for part in parts) + len(names) * 32 > MAX_REPORT:
                self._flush(parts, names)
        self._flush(parts, names)

    def _flush(self, parts: list[bytes], names: list[tuple[int, str]]) -> None:
        if parts:
            parts.append(rtcp.SourceDescription(names).serialize())
            self.transport.agenda.report(self.transport, b"".join(parts))
            parts.clear()
            names.clear()

    # --- round trips, smoothed ---

    def trip_of_sender_report(self, before: float | None, block: rtcp.ReportBlock, now: float) -> float | None:
        sent = self._reports_sent.get(block.ssrc, [])
        return self._round_trip(before, sent, block.last_sr, block.delay_since_last_sr, now)

    def trip_of_receiver_report(self, before: float | None, last: int, delay: int, now: float) -> float | None:
        return self._round_trip(before, self._references_sent, last, delay, now)

    def _round_trip(
        self, before: float | None, sent: list[tuple[int, float]], last: int, delay: int, now: float
    ) -> float | None:
        """The smoothed round trip after an answer to one of the times that were `sent`: (middle of NTP, when).

        The other side held it for `delay` (1/65536 s) before it answered (RFC 3550, 6.4.1; RFC 3611, 4.5).
        """
        for ntp_middle, at in sent:
            if ntp_middle == last:
                rtt = now - at - delay / 65536
                if 0 <= rtt < MAX_DELAY:
                    self.transport.agenda.counters.rtt.observe(rtt)
                    return rtt if before is None else 0.7 * before + 0.3 * rtt
        return before
