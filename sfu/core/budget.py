"""What one receiver's path carries, shared among the pictures that he watches.

Layers are chosen within an estimate of the path (`sfu.core.bandwidth`). It begins low, with the coarsest layers of all,
and is raised by probes as soon as the receiver reports: a path that carries everything shows it within a second. A
picture is taken away whole only where the path has shown that it is too narrow, never because too little is known of
it yet. Who does not report on packets by their transport-wide numbers gets what is of use to him.
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

INITIAL = 300_000.0  # bit/s: on the narrowest line of use, a first picture must not queue for seconds
PACED_BELOW = 5_000_000.0  # bit/s: above it a key frame takes less than a tenth of a second
PATIENCE = 3.0  # seconds that a receiver who is sent pictures has to report on them
NARROW_FOR = 60.0  # seconds that a path counts as narrow after its estimate fell
GUESSED = (150_000.0, 500_000.0, 1_500_000.0)  # bit/s of layers that were not measured yet
SHORT_FOR = 5.0  # seconds that pictures are held down by the line until its owner is told: not by one bad moment
TELL_AGAIN_AFTER = 60.0  # seconds
MAX_PADDING = 255  # bytes that one padding packet holds (RFC 3550, 5.1)


class Budget:
    """One receiving transport's."""

    __slots__ = ("_allocator", "_began", "_deaf", "_narrow_at", "_short_since", "_told_at", "estimator", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.estimator: BandwidthEstimator | None = None
        self._allocator: Allocator[Consumer] = Allocator()
        self._began = 0.0  # when the estimator was made
        self._deaf = False  # he was sent pictures, and never reported
        self._narrow_at: float | None = None
        self._short_since: float | None = None  # since when less is sent than he wants, and there is
        self._told_at: float | None = None

    # --- what happens ---

    def on_feedback(self, feedback: TransportFeedback, now: float) -> None:
        if self.estimator is None:
            self._deaf = False
            self._begin(now)
            return
        before, is_first = self.estimator.estimate, not self.estimator.reported
        self.estimator.on_feedback(feedback, now)
        if self.estimator.estimate < before:
            self._narrow_at = now
        if is_first or self._allocator.due(self.estimator.estimate, now):
            self.allocate(now)

    def _begin(self, now: float) -> None:
        lane = self.transport.lane
        self.estimator = BandwidthEstimator(initial=INITIAL, first_number=lane.sequence, eager=True)
        self._began = now
        lane.sent = self.estimator.sent

    def restart(self, now: float) -> None:
        """Another path: what the one before carried, and what was lost on it, says nothing of it."""
        self._narrow_at = None
        if self.estimator is not None:
            self._begin(now)

    def _give_up(self) -> None:
        self.estimator = self.transport.lane.sent = None
        self._deaf = True

    def on_loss(self, fraction: float, now: float) -> None:
        if self.estimator is not None:
            self.estimator.on_receiver_report(fraction, now)

    def on_rtt(self, rtt: float) -> None:
        if self.estimator is not None:
            self.estimator.on_rtt(rtt)

    def each_second(self, now: float) -> None:
        estimator = self.estimator
        if estimator is not None:
            estimator.tick(now)
            if not estimator.reported:
                if estimator.history.next == estimator.first_number:
                    self._began = now  # nothing to report on yet
                elif now - self._began > PATIENCE:
                    self._give_up()
        self.allocate(now)

    # --- sharing it ---

    def allocate(self, now: float) -> None:
        """Choose a layer for each picture that is watched."""
        consumers = [c for c in self.transport.consumers.values() if c.producer.is_video and not c.paused]
        if self.estimator is None and not self._deaf and any(consumer.is_reported_on for consumer in consumers):
            self._begin(now)
        estimator = self.estimator
        if estimator is None:
            for consumer in consumers:
                consumer.limit_to(consumer.useful, now)
            return
        ladders = {consumer: ladder(consumer.producer.layers, consumer.smoothest) for consumer in consumers}
        demands = [_demand(consumer, rungs, now) for consumer, rungs in ladders.items()]
        budget = estimator.estimate
        exhausted = _lately(estimator.exhausted_at, now)  # voices alone fill it
        narrow = exhausted or _lately(self._narrow_at, now)
        if exhausted:
            budget = 0.0
        elif not narrow:
            budget = max(budget, 1.1 * sum(min(_sent(demand), default=0.0) for demand in demands))
        is_paced = (narrow or estimator.refused) and estimator.estimate < PACED_BELOW
        self.transport.pace(estimator.estimate if is_paced else None, now)
        allocation = self._allocator.allocate(budget, demands, now)
        for demand in demands:
            chosen = allocation.layers[demand.key]
            if chosen is None and not _sent(demand):
                chosen = demand.wanted  # nothing is sent at the moment, as of a still screen: it may come
            demand.key.limit_to(None if chosen is None else ladders[demand.key][chosen], now)
        held = any(_is_held(demand, allocation.layers[demand.key]) for demand in demands)
        self._note_shortage(held and (narrow or estimator.refused or self._short_since is not None), now)
        step = allocation.next_step
        if step is not None and exhausted:
            step = max(step, estimator.estimate)  # less than that was seen not to fit
        elif step is not None and estimator.eager:
            step = max(step, sum(max(_sent(demand), default=0.0) for demand in demands) - allocation.usage)
        if estimator.plan_probe(allocation.usage, step, now):
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
            due -= (due > MAX_PADDING and consumer.send_newest_again(now)) or consumer.send_padding(MAX_PADDING, now)


def _lately(at: float | None, now: float) -> bool:
    return at is not None and now - at <= NARROW_FOR


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
    """The rates of the layers that are sent at the moment, up to the one that is wanted."""
    return [layer.bitrate for layer in demand.layers[: _wanted(demand) + 1] if layer.active_since is not None]


def _wanted(demand: Demand[Consumer]) -> int:
    return -1 if demand.wanted is None else demand.wanted


def _is_held(demand: Demand[Consumer], chosen: int | None) -> bool:
    """Whether a better layer is sent, and wanted, than what was chosen."""
    sent = [i for i, layer in enumerate(demand.layers[: _wanted(demand) + 1]) if layer.active_since is not None]
    return bool(sent) and (chosen is None or chosen < sent[-1])
