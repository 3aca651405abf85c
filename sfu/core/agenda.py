"""What the core wants of its shell, and what it wants to be reminded of: shared by all rooms of a worker.

Feed once, drain fully: after packets were given to the core, or after `tick`, the shell takes `take_bursts`,
`take_packets`, `take_reports` and `take_events`, and sends what it finds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from sfu.core.counters import Counters
from sfu.protocol import EVENTS

if TYPE_CHECKING:
    from sfu.core.burst import Burst
    from sfu.core.consumer import Consumer
    from sfu.core.feed import Feed
    from sfu.core.pipe import Pipe
    from sfu.core.router import Router
    from sfu.core.stream import Stream
    from sfu.core.transport import Transport

logger = logging.getLogger(__name__)

TICK = 0.02  # seconds between two calls of `tick`
SLOTS = 50  # each transport has its turn once in so many ticks: once a second


class Agenda:
    def __init__(self, *, random_bits: Callable[[int], int], clock_offset: float = 0.0) -> None:
        self.random_bits = random_bits  # like `secrets.randbits`
        self.clock_offset = clock_offset  # seconds to add to `now` for the time since 1970
        self.open_feeds: list[Feed] = []
        self.nacking: set[Stream] = set()  # streams with packets missing
        self.wanting: set[Stream] = set()  # streams of which a key frame is wanted
        self.arrivals: set[Transport] = set()  # transports with arrivals to report
        self.starting: set[Transport] = set()  # transports whose consumers wait for its keys
        self.probing: set[Transport] = set()  # that padding is sent to
        self.repeating: set[Consumer] = set()  # voices that are sent twice
        self.paced: set[Transport] = set()  # those that have a pacer
        self.talking: set[Router] = set()  # rooms with microphones, whose speakers are told
        self.pipes: set[Pipe] = set()  # to other workers
        self.dropped: Counter[str] = Counter()  # packets by reason
        self.counters = Counters()
        self._bursts: list[Burst] = []
        self._piped: list[tuple[Transport, bytearray]] = []
        self._packets: list[tuple[Transport, bytearray]] = []
        self._reports: list[tuple[Transport, bytes]] = []
        self._events: list[EVENTS] = []
        self._failed: list[Transport] = []
        self._slots: list[dict[Transport, None]] = [{} for _ in range(SLOTS)]
        self._tick = 0

    # --- what the core puts in ---

    def burst(self, burst: Burst) -> None:
        self._bursts.append(burst)

    def bursts_before(self, bursts: list[Burst]) -> None:
        """What waited until now: it leaves before all that came meanwhile."""
        self._bursts[:0] = bursts

    def packet(self, transport: Transport, packet: bytearray) -> None:
        """One RTP packet to one receiver."""
        self._packets.append((transport, packet))

    def pipe(self, transport: Transport, packet: bytearray) -> None:
        """One RTP packet to another worker, whose receivers wait for it: it leaves before what goes to ours."""
        self._piped.append((transport, packet))

    def report(self, transport: Transport, packet: bytes) -> None:
        """One RTCP datagram."""
        self._reports.append((transport, packet))

    def event(self, event: EVENTS) -> None:
        self._events.append(event)

    def add(self, transport: Transport) -> None:
        """Give a transport its turn each second, spread so that they do not all have it at once."""
        min(self._slots, key=len)[transport] = None

    def remove(self, transport: Transport) -> None:
        for slot in self._slots:
            slot.pop(transport, None)
        self.arrivals.discard(transport)
        self.probing.discard(transport)
        self.paced.discard(transport)
        self.starting.discard(transport)

    # --- what the shell takes out ---

    def tick(self, now: float) -> None:
        """To be called every TICK seconds."""
        for stream in list(self.nacking):
            self._do(stream.send_nacks, stream.producer.transport, now)
        # Layers of one picture are asked one after the other: who was not asked for longest comes first.
        for stream in sorted(self.wanting, key=lambda stream: stream.key_frames.asked_at):
            self._do(stream.ask_for_key_frame, stream.producer.transport, now)
        for transport in list(self.arrivals):
            self._do(transport.send_feedback, transport, now)
        for transport in [transport for transport in self.starting if transport.can_send]:
            self.starting.discard(transport)
            self._do(transport.start_consumers, transport, now)
        for transport in list(self.probing):
            self._do(transport.budget.send_padding, transport, now)
        for consumer in list(self.repeating):
            self._do(consumer.repeat, consumer.transport, now)
        for router in self.talking:
            self._do(router.tell_speakers, None, now)
        for pipe in list(self.pipes):
            self._do(pipe.look, pipe, now)
        self._tick = (self._tick + 1) % SLOTS
        for transport in list(self._slots[self._tick]):
            self._do(transport.each_second, transport, now)

    def _do(self, action: Callable[[float], None], transport: Transport | None, now: float) -> None:
        """A bug of ours that one peer's packets led to must not keep the others from their turn."""
        try:
            action(now)
        except Exception:
            logger.exception("a timer failed")
            if transport is not None:
                self._failed.append(transport)

    def take_bursts(self) -> list[Burst]:
        if self.open_feeds:
            for feed in self.open_feeds:
                feed.close_burst()
            self.open_feeds.clear()
        bursts, self._bursts = self._bursts, []
        return bursts

    def take_piped(self) -> list[tuple[Transport, bytearray]]:
        piped, self._piped = self._piped, []
        return piped

    def take_paced(self, now: float) -> list[Burst]:
        """What waited for its turn to a narrow line. To be asked for after the bursts of the moment were sent."""
        return [burst for transport in self.paced if (pacer := transport.lane.pacer) for burst in pacer.due(now)]

    def take_packets(self) -> list[tuple[Transport, bytearray]]:
        packets, self._packets = self._packets, []
        return packets

    def take_reports(self) -> list[tuple[Transport, bytes]]:
        reports, self._reports = self._reports, []
        return reports

    def take_failed(self) -> list[Transport]:
        """Transports whose peers are to be closed: something about them met a bug."""
        failed, self._failed = self._failed, []
        return failed

    def take_events(self) -> list[EVENTS]:
        events, self._events = self._events, []
        return events
