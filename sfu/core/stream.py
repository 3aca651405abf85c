"""One RTP stream that a peer sends: a voice, a picture, or one layer of a simulcast picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.core.descriptor import Descriptor
from sfu.core.keyframes import KeyFrameRequests
from sfu.core.layout import canonical, payload_offset
from sfu.core.nack import NackGenerator
from sfu.core.packet_cache import AUDIO_AGE, VIDEO_AGE, Packet, PacketCache
from sfu.core.reports import Reception
from sfu.core.rtcp import Nack, PictureLossIndication
from sfu.core.rtp import Buffer, RtpHeader, SequenceUnwrapper
from sfu.core.vp8 import Vp8Descriptor

if TYPE_CHECKING:
    from sfu.core.feed import Feed
    from sfu.core.layers import Layer
    from sfu.core.pipe import Crossing
    from sfu.core.producer import Producer

RTCP_SSRC = 1  # ours in feedback: it sends no media, so any will do
MAX_LEAP = 3000  # numbers between two packets; further, and the sender began anew
RESTART_AFTER = 0.2  # seconds between two such beginnings: each costs as much as a hundred packets


class Stream:
    def __init__(self, producer: Producer, index: int, *, ssrc: int | None, rtx_ssrc: int | None, rid: str) -> None:
        self.producer = producer
        self.index = index  # in the producer's encodings: the higher, the better the picture
        self.ssrc = ssrc  # None until a packet with our RID came
        self.rtx_ssrc = rtx_ssrc
        self.rid = rid
        self.layers: list[Layer] = []  # spatial ones: one, or several that are drawn upon each other
        self.feeds: list[Feed] = []  # that the room gets
        self.key_frames = KeyFrameRequests()
        self.timestamp_shift: int | None = None  # to the timeline of the producer's reference layer
        self.bytes = 0
        self.repaired = 0
        self.crossings: tuple[Crossing, ...] = ()  # to other workers that want this layer
        self._restarted_at = -1e9
        self.begin_anew()

    def begin_anew(self) -> None:
        """A new SSRC, or numbers that have nothing to do with the ones before."""
        self._unwrapper = SequenceUnwrapper()
        self.reception = Reception(self.producer.clock_rate)
        self.cache = PacketCache(VIDEO_AGE if self.producer.is_video else AUDIO_AGE)
        self.nack = NackGenerator()
        self.timestamp_shift = None
        self._picture: int | None = None
        self._reader = self.producer.new_reader()

    def restart(self, now: float) -> bool:
        """The encoder began anew. False if it did so a moment ago: then the packet that says so is dropped."""
        if now - self._restarted_at < RESTART_AFTER:
            return False
        self._restarted_at = now
        self.producer.restart(self)
        return True

    def receive(
        self, data: Buffer, header: RtpHeader, now: float, arrived: float, *, repaired: bool = False
    ) -> Packet | None:
        """Take a packet in; None if it is a repeat, too late or empty (counted), or a picture that nobody looks at.

        `arrived`: when it reached this machine, which may be a while before we have time for it, `now`.
        """
        dropped = self.producer.agenda.dropped
        highest = self.reception.highest
        sequence = self._unwrapper.unwrap(header.sequence_number)
        if highest is not None and abs(sequence - highest) > MAX_LEAP:
            if repaired:
                self._unwrapper.last = highest
                dropped["late"] += 1
                return None
            if not self.restart(now):
                self._unwrapper.last = highest
                dropped["leap"] += 1
                return None
            sequence = self._unwrapper.unwrap(header.sequence_number)
            highest = None
        if sequence in self.cache or sequence <= self.cache.floor:
            dropped["repeated" if sequence in self.cache else "late"] += 1
            return None
        self.bytes += header.payload_end
        if repaired:
            self.repaired += 1
            self.producer.agenda.counters.repaired += 1
        self.reception.packet(sequence, header.timestamp, arrived, repaired=repaired)
        if self.producer.feedback_nack:
            self.nack.receive(sequence, now)
            if self.nack.missing or self.nack.key_frame_needed:
                self.producer.agenda.nacking.add(self)
        if header.payload_end == header.payload_offset and self.producer.skip(self, sequence):
            dropped["empty"] += 1
            return None
        descriptor: Descriptor | None = None
        key_frame = False
        layer, temporal = self.layers[0], 0
        if self._reader is not None:
            descriptor, key_frame = self._reader.read(data, header, self.layers)
            if descriptor is not None:
                layer, temporal = self.layers[min(descriptor.spatial_id, len(self.layers) - 1)], descriptor.temporal_id
        layer.received(temporal, header.payload_end, now)
        if key_frame:
            self.key_frames.answered(now)
        if self.producer.is_video:
            self.producer.look(now)  # the first packet of all may be the one that somebody waits for
            if not self.is_wanted:
                return None
        return self._take_over(data, header, sequence, arrived, descriptor, key_frame)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody gets it or waits for it. Of a picture that nobody looks at not even a packet is kept."""
        if self.crossings:
            return True
        for feed in self.feeds:  # noqa: SIM110 - any() costs more than all else here, for each packet
            if feed.has_audience:
                return True
        return False

    def receive_retransmission(self, data: Buffer, header: RtpHeader, now: float, arrived: float) -> Packet | None:
        """Unpack RTX (RFC 4588) in the header: the original number stands before the original payload."""
        start = header.payload_offset
        if header.payload_end - start < 2:
            return None  # padding, to probe the way
        original = self.producer.repairs.get(header.payload_type)
        if original is None:
            self.producer.agenda.dropped["payload_type"] += 1
            return None
        header.sequence_number = data[start] << 8 | data[start + 1]
        header.payload_offset = start + 2
        header.payload_type = original
        if self.reception.highest is None:
            return None  # a repair before the first packet has no place in the numbers yet
        return self.receive(data, header, now, arrived, repaired=True)

    def _take_over(
        self,
        data: Buffer,
        header: RtpHeader,
        sequence: int,
        arrived: float,
        descriptor: Descriptor | None,
        key_frame: bool,
    ) -> Packet:
        producer = self.producer
        rewritten = canonical(
            data,
            header,
            payload_type=producer.payload_types[header.payload_type],
            ssrc=producer.ssrc,
            mid=producer.consumer_mid,
            numbered=producer.is_video,
            passed_on=producer.passed_on,
        )
        if isinstance(descriptor, Vp8Descriptor) and descriptor.picture_id is not None:
            self._extend_picture_id(rewritten, descriptor)
        packet = Packet(rewritten, sequence, header.timestamp, header.marker, key_frame, descriptor, arrived)
        if producer.dependencies_id in header.extensions:
            at, size = header.extensions[producer.dependencies_id]
            packet.dependencies = bytes(data[at : at + size])
        self.cache.add(packet)
        return packet

    def _extend_picture_id(self, packet: bytearray, vp8: Vp8Descriptor) -> None:
        """Seven bits become fifteen, so that a picture can be numbered anew in its place."""
        picture = vp8.picture_id
        assert picture is not None
        if not vp8.wide:
            if self._picture is not None:
                picture = self._picture + ((picture - self._picture + 64) & 127) - 64 & 0x7FFF
            at = payload_offset(packet) + vp8.picture_id_at
            packet[at : at + 1] = bytes((0x80 | picture >> 8, picture & 0xFF))
            vp8.picture_id = picture
            vp8.wide = True
            if vp8.tl0_picture_index is not None:
                vp8.tl0_picture_index_at += 1
        self._picture = picture

    def each_second(self, now: float) -> None:
        self.cache.expire(now)  # a layer that is not sent any more keeps nothing
        for layer in self.layers:
            layer.each_second(now)

    # --- what is asked of the sender ---

    def send_nacks(self, now: float) -> None:
        """Ask the sender for what is missing. Called each tick while something is."""
        agenda = self.producer.agenda
        if self.producer.is_video and not self.is_wanted:
            self.nack.forget()  # who comes to look begins with a key frame
            agenda.nacking.discard(self)
            return
        lost = self.nack.due(now, self.producer.transport.rtt or 0.0)
        if lost and self.ssrc is not None:
            agenda.counters.nacks_sent += len(lost)
            report = Nack(sender_ssrc=RTCP_SSRC, media_ssrc=self.ssrc, lost=lost)
            agenda.report(self.producer.transport, report.serialize())
        if self.nack.key_frame_needed:
            self.nack.key_frame_needed = False
            if any(feed.running for feed in self.feeds):
                self.want_key_frame(now)
        if not self.nack.missing:
            agenda.nacking.discard(self)

    def want_key_frame(self, now: float) -> None:
        if self.producer.paused:
            return
        self.key_frames.request()
        self.ask_for_key_frame(now)

    def ask_for_key_frame(self, now: float) -> None:
        """Send the request if it is time for it; be reminded as long as none came."""
        agenda = self.producer.agenda
        if self.ssrc is not None and self.producer.may_ask(now) and self.key_frames.due(now):
            self.producer.asked_for_key_frame_at = now
            self.producer.key_frames_requested += 1
            agenda.counters.plis_sent += 1
            report = PictureLossIndication(sender_ssrc=RTCP_SSRC, media_ssrc=self.ssrc)
            agenda.report(self.producer.transport, report.serialize())
        if self.key_frames.pending:
            agenda.wanting.add(self)
        else:
            agenda.wanting.discard(self)
