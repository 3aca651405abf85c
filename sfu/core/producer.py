"""A stream that a peer sends to the room, in one layer or in several of the same picture (simulcast)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.core import capabilities as extension_uris
from sfu.core import layout, ortc
from sfu.core.burst import NO_SHIFT
from sfu.core.codec import Reader, reader
from sfu.core.feed import Feed
from sfu.core.keyframes import NOT_BEFORE
from sfu.core.layers import INACTIVE_AFTER, TOP, Layer, Rung
from sfu.core.layout import audio_level
from sfu.core.listener import Listener
from sfu.core.packet_cache import Packet
from sfu.core.rtcp import SenderReport
from sfu.core.speakers import Speakers
from sfu.core.stream import Stream
from sfu.protocol import Json, Kind, ProducerInfo, Source

if TYPE_CHECKING:
    from sfu.core.consumer import Consumer
    from sfu.core.peer import Peer
    from sfu.core.pipe import Pipe, PipeConsumer
    from sfu.core.tap import Tap
    from sfu.core.transport import Transport

# Extensions that are copied as they are, by uri; the first three of a packet are written by us (`sfu.core.layout`).
_PASSED_ON = (
    extension_uris.AUDIO_LEVEL,  # first, where `audio_level` reads it
    extension_uris.VIDEO_ORIENTATION,
    extension_uris.TIME_OFFSET,
    extension_uris.ABS_CAPTURE_TIME,
    extension_uris.PLAYOUT_DELAY,
)


class Producer:
    SILENT_AFTER = 0.5  # the same for the layer that is forwarded, while others go on: the picture stands still
    LOOK_EVERY = 0.1  # seconds between two looks for such silence
    UPGRADE_AFTER = 2.0  # seconds that a better layer must have been there, or pictures flicker between two

    def __init__(
        self,
        *,
        id: str,
        transport: Transport,
        kind: Kind,
        source: Source,
        parameters: Json,
        mapping: Json,
        consumable: Json,
        ssrc: int,
        consumer_mid: bytes,
        paused: bool,
        speakers: Speakers | None = None,
        owner: Peer | None = None,
    ) -> None:
        self.id = id
        self.transport = transport
        self.owner = owner or transport.peer  # who sends it; what came by a pipe is not the pipe's
        self.agenda = transport.agenda
        self.kind: Kind = kind
        self.source: Source = source
        self.paused = paused
        self.consumable = consumable
        self.ssrc = ssrc  # of what consumers get; their repair stream has the next one
        self.consumer_mid = consumer_mid  # under which all its consumers get it, unless theirs was used before
        self.mid: str = parameters.get("mid", "")
        codec = consumable["codecs"][0]
        self.codec: Json = codec
        self.mime_type: str = codec["mimeType"]
        self.payload_type: int = codec["payloadType"]
        self.clock_rate: int = codec["clockRate"]
        self.is_video = kind == "video"
        self.is_vp8 = self.mime_type.lower() == "video/vp8"
        to_router = ortc.payload_type_map(mapping)
        media = [c for c in parameters["codecs"] if not c["mimeType"].lower().endswith("/rtx")]
        self.payload_types: dict[int, int] = {
            # One codec is forwarded: a consumer's parameters name its payload type first.
            c["payloadType"]: self.payload_type
            for c in media
            if to_router[c["payloadType"]] == self.payload_type
        }
        self.repairs: dict[int, int] = {
            c["payloadType"]: c["parameters"]["apt"]
            for c in parameters["codecs"]
            if c["mimeType"].lower().endswith("/rtx")
        }
        feedback = {(f["type"], f.get("parameter", "")) for c in media for f in c.get("rtcpFeedback", [])}
        self.feedback_nack = ("nack", "") in feedback
        self.extension_ids: dict[str, int] = ortc.extension_ids(parameters)
        self.dependencies_id = self.extension_ids.get(extension_uris.DEPENDENCY_DESCRIPTOR)
        ours = ortc.extension_ids(consumable)
        self.passed_on: tuple[tuple[int, int], ...] = tuple(
            (self.extension_ids[uri], ours[uri]) for uri in _PASSED_ON if uri in self.extension_ids and uri in ours
        )
        self.streams = [
            Stream(
                self,
                index,
                ssrc=encoding.get("ssrc"),
                rtx_ssrc=encoding.get("rtx", {}).get("ssrc"),
                rid=encoding.get("rid", ""),
            )
            for index, encoding in enumerate(parameters["encodings"])
        ]
        self.layers = self._make_layers(consumable["encodings"])
        self.reference: Stream | None = None  # the one whose timeline consumers see
        self.consumers: dict[str, Consumer] = {}
        self.feeds: dict[tuple[Layer, int], Feed] = {}  # by spatial layer and highest temporal one
        self.pipe_consumers: dict[Pipe, PipeConsumer] = {}  # on their way to other workers
        self.taps: list[Tap] = []
        self.tap_listener = Listener(self)  # one for all recorders: see `sfu.core.film`
        self.speakers = speakers  # of the room, for a voice: it is forwarded while it is among the loudest
        self.tap_feed: Feed | None = None  # of a voice: recorded is also what the room does not hear
        self._next_look = 0.0
        self.key_frames_requested = 0
        self.asked_for_key_frame_at: float | None = None
        self.closed = False

    def _make_layers(self, encodings: list[Json]) -> list[Layer]:
        """A stream each, or all in one stream (SVC), where its packets tell which they are of."""
        for stream in self.streams:
            stream.layers = [Layer(stream, stream.index)]
        described = self.dependencies_id is not None
        mime_type = self.mime_type.lower()
        if len(self.streams) == 1 and (mime_type == "video/vp9" or (mime_type == "video/av1" and described)):
            layers = self.streams[0].layers
            for spatial in range(1, ortc.spatial_layers(encodings[0])):
                layers.append(Layer(self.streams[0], spatial, spatial, below=layers[-1]))
        if mime_type == "video/av1":  # larger ones cannot be put together by who gets no dependency descriptor
            return [stream.layers[0] for stream in self.streams]
        return [layer for stream in self.streams for layer in stream.layers]

    def new_reader(self) -> Reader | None:
        if not self.is_video:
            return None
        return reader(self.mime_type, self.dependencies_id)

    # --- packets ---

    def receive(self, stream: Stream, packet: Packet, now: float) -> None:
        if self.paused:
            self.agenda.dropped["paused"] += 1
            return
        speakers = self.speakers
        heard = speakers is None or self._is_heard(speakers, packet, now)
        for crossing in stream.crossings:
            crossing.offer(packet, heard=heard)
        feeds = stream.feeds
        if speakers is not None:
            if self.tap_feed is not None:
                self.tap_feed.forward(packet)
            if not heard or not speakers.is_chosen(self.owner.id):
                self.agenda.dropped["not_among_loudest"] += 1
                for feed in feeds:
                    feed.stop()  # its numbers go on without a gap when the voice is heard again
                return
        for feed in feeds:
            if feed.waiting:
                feed.admit(packet)
        for feed in feeds:
            feed.forward(packet)

    def _is_heard(self, speakers: Speakers, packet: Packet, now: float) -> bool:
        """Whether the room gets this packet of a voice.

        Who does not tell his level is not judged, and always heard: browsers tell it, and a teacher with another
        client whom nobody hears is worse than one voice too many.
        """
        level = audio_level(packet.data)
        return level is None or speakers.hear(self.owner.id, level, now)

    def look(self, now: float) -> None:
        """Whoever has no layer yet, or one that has fallen silent, gets another now; else it is done each second."""
        if now < self._next_look or self.paused or len(self.layers) == 1:
            return
        self._next_look = now + self.LOOK_EVERY
        for listener in self.listeners():
            target = listener.target
            if target is None or not target.layer.is_active(now, self.SILENT_AFTER):
                self.aim(listener, now)

    def skip(self, stream: Stream, sequence: int) -> bool:
        """Leave an empty packet out, if all consumers can do without its number."""
        skipped = all(feed.skip(sequence) for feed in self.feeds_of(stream))
        return all(crossing.skip(sequence) for crossing in stream.crossings) and skipped

    def restart(self, stream: Stream) -> None:
        """The sender's numbers began anew: go on after the next key frame, as after a change of layer."""
        self.agenda.dropped["restarted"] += 1
        self.agenda.nacking.discard(stream)
        stream.begin_anew()
        if self.reference is stream:
            self.reference = None
        for crossing in stream.crossings:
            crossing.begin_anew()
        for feed in self.feeds_of(stream):
            feed.begin_anew()
            if self.is_video and feed.has_audience:
                # Asked for with the next tick: the packet at hand may begin one.
                stream.key_frames.request()
                self.agenda.wanting.add(stream)

    def feeds_of(self, stream: Stream) -> list[Feed]:
        return [*stream.feeds, self.tap_feed] if self.tap_feed is not None else stream.feeds

    # --- layers ---

    def listeners(self) -> list[Listener]:
        """All who get the packets, or are to get them."""
        found: list[Listener] = [
            consumer
            for consumer in self.consumers.values()
            if not consumer.paused
            and consumer.limit is not None
            and (consumer.target is not None or consumer.transport.can_send)
        ]
        if self.taps:
            found.append(self.tap_listener)
        return found

    def choose_layers(self, now: float) -> None:
        """To be called about each second: better layers may have come, and the one that was sent have gone."""
        if (len(self.layers) > 1 or self.layers[0].temporal_layers > 1) and not self.paused:
            for listener in self.listeners():
                self.aim(listener, now)

    def aim(self, listener: Listener, now: float) -> None:
        """At the best that is sent and is of use to him."""
        layer = self._choose(listener, now)
        if layer is None:
            return
        if listener is self.tap_listener and self.speakers is not None:
            if self.tap_feed is None:
                self.tap_feed = Feed(self, layer, TOP, self.first_number())
            listener.aim_at(self.tap_feed, now)
            return
        temporal = _next_temporal(listener, layer)
        feed = self.feeds.get((layer, temporal))
        if feed is None:
            feed = self.feeds[layer, temporal] = Feed(self, layer, temporal, self.first_number())
            layer.stream.feeds.append(feed)
        listener.aim_at(feed, now)

    def _choose(self, listener: Listener, now: float) -> Layer | None:
        """None: as it is. A still screen sends nothing for a while, and comes back in the same layer."""
        if len(self.layers) == 1:
            return self.layers[0]
        target = listener.target.layer if listener.target is not None else None
        active = [x for x in self.layers if x.is_active(now, self.SILENT_AFTER if x is target else INACTIVE_AFTER)]
        if not active:
            return None
        floor = target.index if target in active else min(x.index for x in active)
        steady = [x for x in active if x.index <= floor or self._may_go_up(x, now)]
        useful = [x for x in steady if listener.limit is None or x.index <= listener.limit.layer]
        return max(useful, key=lambda x: x.index) if useful else min(steady, key=lambda x: x.index)

    def _may_go_up(self, layer: Layer, now: float) -> bool:
        if layer.active_since is None or now - layer.active_since < self.UPGRADE_AFTER:
            return False
        return self.reference is None or self.timestamp_shift(layer.stream) is not None

    def timestamp_shift(self, stream: Stream) -> int | None:
        """What to add to a layer's timestamps to be on the reference layer's timeline; None: not known yet."""
        reference = self.reference
        if stream is reference or reference is None:
            return stream.timestamp_shift or 0
        if stream.timestamp_shift is None:
            there, here = reference.reception, stream.reception
            if not there.report_ntp or not here.report_ntp:
                return None
            seconds = (here.report_ntp - there.report_ntp) / 4294967296
            expected = there.report_timestamp + (reference.timestamp_shift or 0) + round(seconds * self.clock_rate)
            stream.timestamp_shift = expected - here.report_timestamp & 0xFFFFFFFF
        return stream.timestamp_shift

    def want_key_frame(self, now: float) -> None:
        """Of every layer that somebody sees or is about to."""
        if not self.is_video:
            return
        watched = [stream for stream in self.streams if any(feed.has_audience for feed in stream.feeds)]
        for stream in watched or self.streams[:1]:
            stream.want_key_frame(now)

    def each_second(self, now: float) -> None:
        self.choose_layers(now)
        if not self.is_video:
            return
        for stream in self.streams:
            # Who never had a picture does not ask for one, and requests to a sender that sleeps are not repeated.
            if not stream.crossings and not any(feed.has_audience for feed in stream.feeds):
                stream.key_frames.pending = False  # nobody is left who waits for it
            elif any(feed.wants_key_frame for feed in stream.feeds) and stream.layers[0].is_active(now):
                stream.want_key_frame(now)

    def may_ask(self, now: float) -> bool:
        """Whether a layer may be asked for a key frame: some encoders answer with one in every layer."""
        return self.asked_for_key_frame_at is None or now - self.asked_for_key_frame_at >= NOT_BEFORE

    def first_number(self) -> int:
        """Far from the wrap: see `sfu.core.listener.FIRST_BELOW`."""
        return 0x10000 + 1000 + self.agenda.random_bits(14)

    # --- pausing ---

    def pause(self) -> None:
        self.paused = True
        for stream in self.streams:
            stream.key_frames.pending = False
            self.agenda.wanting.discard(stream)
            self.agenda.nacking.discard(stream)
            stream.cache.clear()  # nothing of it leaves any more, not even as a repair
            for crossing in stream.crossings:
                crossing.stop()
            for feed in self.feeds_of(stream):
                feed.stop()
        if self.speakers is not None:
            self.speakers.remove(self.owner.id)

    def resume(self, now: float) -> None:
        self.paused = False
        self.want_key_frame(now)

    # --- taps ---

    def add_tap(self, tap: Tap, now: float) -> None:
        self.taps.append(tap)
        self.aim(self.tap_listener, now)
        self.want_key_frame(now)

    def aim_taps(self, limit: Rung, now: float) -> None:
        """`limit`: the best layer that is of use to them."""
        if self.tap_listener.limit != limit:
            self.tap_listener.limit = limit
            self.aim(self.tap_listener, now)

    def remove_tap(self, tap: Tap) -> None:
        if tap in self.taps:
            self.taps.remove(tap)
            if not self.taps:
                self.tap_listener.stop()

    def refresh_for_taps(self, now: float) -> None:
        """Have a key frame now and then, though nobody who watches needs one."""
        target = self.tap_listener.target
        if self.taps and self.is_video and target is not None and target.stream.key_frames.is_old(now):
            target.stream.want_key_frame(now)

    def report_to_taps(self, stream: Stream, now: float) -> None:
        """A sender report of the layer that is sent, in the numbering that taps see."""
        seat = self.tap_listener.seat
        if seat is None or seat.feed.stream is not stream:
            return
        times = seat.feed.report_times(now, seat.shift or NO_SHIFT)
        if times is None:
            return
        report = SenderReport(
            ssrc=self.ssrc,
            ntp_timestamp=times[0],
            rtp_timestamp=times[1],
            packet_count=seat.feed.packets,
            octet_count=seat.feed.octets,
        ).serialize()
        for tap in list(self.taps):
            tap.sender_report(self.id, report)

    # --- telling ---

    def info(self) -> ProducerInfo:
        return ProducerInfo(
            producer_id=self.id, peer=self.owner.id, kind=self.kind, source=self.source, paused=self.paused
        )

    def stats(self, now: float) -> Json:
        return {
            "producer_id": self.id,
            "peer": self.owner.id,
            "kind": self.kind,
            "source": self.source,
            "mime_type": self.mime_type,
            "paused": self.paused,
            "rtt": self.transport.rtt,
            "key_frames_requested": self.key_frames_requested,
            "streams": [
                {
                    "rid": stream.rid,
                    "ssrc": stream.ssrc,
                    "forwarded": any(feed.seats for feed in stream.feeds),
                    "active": stream.layers[0].is_active(now),
                    "packets": stream.reception.received,
                    "bytes": stream.bytes,
                    "bitrate": round(best.rate(TOP)),
                    "width": best.size[0] if best.size else None,
                    "height": best.size[1] if best.size else None,
                    "spatial_layers": len(stream.layers),
                    "temporal_layers": best.temporal_layers,
                    "lost": stream.reception.lost,
                    "fraction_lost": stream.reception.lost_lately / 256,
                    "repaired": stream.repaired,
                    "jitter": stream.reception.jitter / self.clock_rate,
                }
                for stream in self.streams
                for best in stream.layers[-1:]
            ],
        }


def _next_temporal(listener: Listener, layer: Layer) -> int:
    """The highest temporal layer to send him of that spatial one."""
    limit, seat = listener.limit, listener.seat
    most = listener.smoothest
    if limit is not None and limit.layer <= layer.index:
        most = min(most, limit.temporal)
    temporals = layer.temporals(most)
    if seat is not None and seat.feed.stream is layer.stream:  # up by one: see `Vp8Descriptor.lets_up`
        return next((temporal for temporal in temporals if temporal > seat.feed.temporal), temporals[-1])
    return temporals[-1]


assert layout.MID_ID == 1  # the router's ids are part of the layout
