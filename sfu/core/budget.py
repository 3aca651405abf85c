"""What one receiver's path carries, shared among the pictures that he watches.

Until his browser has reported on packets by their transport-wide numbers, everyone gets what is of use to him. From
then on the estimate is kept (`sfu.core.bandwidth`), and layers are chosen within it; a picture is taken away whole
only where the path has shown that it is too narrow, never because too little is known of it yet.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from sfu.core import layers
from sfu.core.bandwidth.allocation import Allocator, Demand, Layer, Priority
from sfu.core.bandwidth.estimator import BandwidthEstimator
from sfu.core.layers import Rung, ladder
from sfu.core.transport_feedback import TransportFeedback
from sfu.protocol import Json, QualityWarning

if TYPE_CHECKING:
    from sfu.core.consumer import Consumer
    from sfu.core.transport import Transport

INITIAL = 3_000_000.0  # bit/s: a teacher's camera and a few tiles, which most schools' lines carry
NARROW_FOR = 60.0  # seconds that a path counts as narrow after its estimate fell
GUESSED = (150_000.0, 500_000.0, 1_500_000.0)  # bit/s of layers that were not measured yet
SHORT_FOR = 5.0  # seconds that pictures are held down by the line until its owner is told: not by one bad moment
TELL_AGAIN_AFTER = 60.0  # seconds
MAX_PADDING = 255  # bytes that one padding packet holds (RFC 3550, 5.1)


class Budget:
    """One receiving transport's."""

    __slots__ = ("_allocator", "_narrow_at", "_short_since", "_told_at", "estimator", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.estimator: BandwidthEstimator | None = None
        self._allocator: Allocator[Consumer] = Allocator()
        self._narrow_at: float | None = None
        self._short_since: float | None = None  # since when less is sent than he wants, and there is
        self._told_at: float | None = None

    # --- what happens ---

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        transport = self.transport
        if self.estimator is None:
            self.estimator = BandwidthEstimator(initial=INITIAL, first_number=transport.lane.sequence)
            transport.lane.sent = self.estimator.sent
            return
        before = self.estimator.estimate
        self.estimator.on_feedback(feedback, now)
        if self.estimator.estimate < before:
            self._narrow_at = now
        if self._allocator.due(self.estimator.estimate, now):
            self.allocate(now)

    def on_loss(self, fraction: float, now: float) -> None:
        if self.estimator is not None:
            self.estimator.on_receiver_report(fraction, now)

    def on_rtt(self, rtt: float) -> None:
        if self.estimator is not None:
            self.estimator.on_rtt(rtt)

    def each_second(self, now: float) -> None:
        if self.estimator is not None:
            self.estimator.tick(now)
        self.allocate(now)

    # --- sharing it ---

    def allocate(self, now: float) -> None:
        """Choose a layer for each picture that is watched."""
        consumers = [c for c in self.transport.consumers.values() if c.producer.is_video and not c.paused]
        estimator = self.estimator
        if estimator is None:
            for consumer in consumers:
                consumer.limit_to(consumer.useful, now)
            return
        ladders = {consumer: ladder(consumer.producer.layers, consumer.smoothest) for consumer in consumers}
        demands = [_demand(consumer, rungs, now) for consumer, rungs in ladders.items()]
        budget = estimator.estimate
        narrow = self._narrow_at is not None and now - self._narrow_at <= NARROW_FOR
        if not narrow:
            budget = max(budget, 1.1 * sum(min(_sent(demand), default=0.0) for demand in demands))
        allocation = self._allocator.allocate(budget, demands, now)
        for demand in demands:
            chosen = allocation.layers[demand.key]
            if chosen is None and not _sent(demand):
                chosen = demand.wanted  # nothing is sent at the moment, as of a still screen: it may come
            demand.key.limit_to(None if chosen is None else ladders[demand.key][chosen], now)
        held = any(_is_held(demand, allocation.layers[demand.key]) for demand in demands)
        self._note_shortage(held and (narrow or self._short_since is not None), now)
        if estimator.plan_probe(allocation.usage, allocation.next_step, now):
            self.transport.agenda.probing.add(self.transport)

    def _note_shortage(self, short: bool, now: float) -> None:
        """Tell whose line it is, when his pictures have been worse than they could be for a while."""
        if not short:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        elif now - self._short_since >= SHORT_FOR and (
            self._told_at is None or now - self._told_at >= TELL_AGAIN_AFTER
        ):
            self._told_at = now
            peer = self.transport.peer
            self.transport.agenda.event(QualityWarning(room=peer.room, peer=peer.id, issue="bandwidth"))

    def stats(self) -> Json:
        """`estimate`: bit/s; `queue`: seconds that packets wait on the way; `loss`: a share. None: nothing reported."""
        known = self.estimator
        return {
            "estimate": None if known is None else round(known.estimate),
            "queue": None if known is None else known.queue,
            "loss": None if known is None else known.loss,
            "short": self._short_since is not None,
        }

    # --- trying for more ---

    def send_padding(self, now: float) -> None:
        """Called each tick while a probe is under way."""
        estimator = self.estimator
        consumer = next((c for c in self.transport.consumers.values() if c.can_pad), None)
        if estimator is None or consumer is None or not estimator.probing:
            self.transport.agenda.probing.discard(self.transport)
            return
        due = estimator.padding_due(now)
        while due > 0:
            due -= consumer.send_padding(MAX_PADDING, now)


def _demand(consumer: Consumer, rungs: list[Rung], now: float) -> Demand[Consumer]:
    producer = consumer.producer
    preference = consumer.preference
    if preference is not None:
        priority = Priority(max(Priority.OTHER, min(Priority.SCREEN, preference.priority)))
    else:
        priority = Priority.SCREEN if producer.source == "screen" else Priority.OTHER
    seat = consumer.seat
    return Demand(
        key=consumer,
        priority=priority,
        layers=[_cost(producer.layers[rung.layer], rung.temporal, now) for rung in rungs],
        wanted=_place(rungs, Rung(consumer.useful.layer)),
        current=None if seat is None else _place(rungs, Rung(seat.feed.layer.index, seat.feed.temporal)),
    )


def _place(rungs: list[Rung], rung: Rung) -> int:
    """The index of the best one that is no better."""
    return max(0, bisect_right(rungs, rung) - 1)


def _cost(layer: layers.Layer, temporal: int, now: float) -> Layer:
    rate = layer.rate(temporal) or GUESSED[min(layer.index, len(GUESSED) - 1)]
    return Layer(rate, layer.active_since if layer.is_active(now) else None)


def _sent(demand: Demand[Consumer]) -> list[float]:
    """The rates of the layers that are sent at the moment."""
    return [layer.bitrate for layer in demand.layers if layer.active_since is not None]


def _is_held(demand: Demand[Consumer], chosen: int | None) -> bool:
    """Whether a better layer is sent, and wanted, than what was chosen."""
    wanted = -1 if demand.wanted is None else demand.wanted
    sent = [i for i, layer in enumerate(demand.layers[: wanted + 1]) if layer.active_since is not None]
    return bool(sent) and (chosen is None or chosen < sent[-1])
