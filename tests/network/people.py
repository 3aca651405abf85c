"""Tina sends a camera in three layers and a voice, Sam watches: peers that repair, report and ask as browsers do.

They run in the test's loop, on machines of the test's choice, and keep what a browser would tell by its statistics:
when each picture was complete, and which packets of a voice came in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sfu.core import capabilities as uris
from sfu.core.feedback import TransportFeedbackRecorder
from sfu.core.nack import NackGenerator
from sfu.core.reports import to_ntp
from sfu.core.rtcp import Nack, PictureLossIndication, ReceiverReport, ReportBlock, SenderReport
from sfu.core.rtp import SequenceUnwrapper, build_rtp, parse_rtp
from sfu.core.vp8 import parse_vp8
from sfu.protocol import ConsumerMade
from tests.network.links import Client
from tests.sfu.classroom import ROOM, Person, rtx_ssrc_of, ssrc_of
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import EXTENSIONS, VP8_RTX, OpusSender, Vp8Sender, opus_parameters, simulcast_parameters
from tests.waiting import until

FPS = 25
LAYERS = (("q", 1, 750), ("h", 3, 830), ("f", 7, 1070))  # rid, packets a frame, bytes a packet: 150, 500, 1500 kbit/s
KEY_FRAME = 6  # times as large as another frame
KEY_FRAMES_APART = 0.3  # seconds: an encoder makes none sooner, however often it is asked
KEPT = 2.0  # seconds that what was sent can be sent again
CONSENT = 2.0  # seconds between checks, as Chromium's
IN_TIME = 0.3  # seconds after a voice packet would have come on an empty way: what a player waits for late ones
PLI_EVERY = 0.3  # seconds
NO_PICTURE = 3.0  # seconds after which a browser asks for a key frame, though none is known to be needed
RTCP_SSRC = 77
TRANSPORT_CC_ID = 5


class Task:
    """Something that is done again and again, as often as the clock says, until it is closed."""

    def __init__(self, every: float, action: Callable[[], Awaitable[None] | None]) -> None:
        self._every, self._action = every, action
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            done = self._action()
            if done is not None:
                await done
            due += self._every
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class Sender:
    """Tina's side: `camera` and `voice` are her producers' ids once she is `open`."""

    def __init__(self, person: Person, machine: Client, *, layers: int = len(LAYERS), first_ssrc: int = 1000) -> None:
        self.person, self.machine = person, machine
        self.layers = [
            Vp8Sender(first_ssrc + 10 * index, rid=rid, size=size, first_number=1000 * (index + 1))
            for index, (rid, _, size) in enumerate(LAYERS[:layers])
        ]
        self.voice = OpusSender(first_ssrc + 100, level=20)
        self.key_frames = 0
        self.asked: list[float] = []  # when key frames were asked for
        self._kept: dict[tuple[int, int], tuple[float, bytes]] = {}
        self._repair_number = itertools.count(1)
        self._transport_numbers = itertools.count(1)
        self._last_key: dict[int, float] = {}
        self._tasks: list[Task] = []

    async def open(self) -> None:
        self.up: PeerTransport = await self.person.connect("send", make_socket=self.machine.socket)
        self.camera_id = self.person.produce(
            "video", "camera", simulcast_parameters(tuple(layer.rid for layer in self.layers))
        )
        self.voice_id = self.person.produce("audio", "microphone", opus_parameters(self.voice.ssrc))
        self._tasks = [
            Task(1 / FPS, self._send_pictures),
            Task(0.02, self._send_voice),
            Task(1.0, self._report),
            Task(CONSENT, lambda: self.up.send_raw(self.up.stun_request())),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            await task.close()

    def _send_pictures(self) -> None:
        now = time.monotonic()
        self._obey(now)
        for layer, (_, packets, _) in zip(self.layers, LAYERS, strict=False):
            key = layer.ssrc not in self._last_key or self._wants_key(layer.ssrc, now)
            if key:
                self._last_key[layer.ssrc] = now
                self.key_frames += 1
            for packet in layer.frame(packets * KEY_FRAME if key else packets, key=key, ticks=90000 // FPS):
                self._send(packet, now)

    def _wants_key(self, ssrc: int, now: float) -> bool:
        wanted = [p for p in self.up.rtcp if isinstance(p, PictureLossIndication) and p.media_ssrc == ssrc]
        if not wanted or now - self._last_key[ssrc] < KEY_FRAMES_APART:
            return False
        for request in wanted:
            self.up.rtcp.remove(request)
            self.asked.append(now)
        return True

    def _send_voice(self) -> None:
        self._send(self.voice.packet(), time.monotonic())

    def _send(self, packet: bytes, now: float) -> None:
        self._kept[int.from_bytes(packet[8:12], "big"), int.from_bytes(packet[2:4], "big")] = (now, packet)
        with contextlib.suppress(OSError):  # no network just now
            self.up.send_rtp(packet)

    def _obey(self, now: float) -> None:
        """Send again what the worker missed."""
        for nack in [p for p in self.up.rtcp if isinstance(p, Nack)]:
            self.up.rtcp.remove(nack)
            for number in nack.lost:
                at, packet = self._kept.get((nack.media_ssrc, number), (0.0, b""))
                if now - at > KEPT:
                    continue
                if nack.media_ssrc != self.voice.ssrc:
                    packet = self._repair(packet)
                with contextlib.suppress(OSError):
                    self.up.send_rtp(packet)
        if len(self._kept) > 5000:
            self._kept = {key: kept for key, kept in self._kept.items() if now - kept[0] < KEPT}

    def _repair(self, packet: bytes) -> bytes:
        """RFC 4588, told to be of its layer by the repaired stream's RID."""
        header = parse_rtp(packet)
        layer = next(layer for layer in self.layers if layer.ssrc == header.ssrc)
        extensions = {EXTENSIONS[uris.MID]: b"1", EXTENSIONS[uris.REPAIRED_RID]: layer.rid.encode()}
        return build_rtp(
            payload_type=VP8_RTX,
            sequence_number=next(self._repair_number) & 0xFFFF,
            timestamp=header.timestamp,
            ssrc=header.ssrc + 1,
            payload=header.sequence_number.to_bytes(2, "big") + packet[header.payload_offset :],
            marker=header.marker,
            extensions=extensions,
        )

    def _report(self) -> None:
        ntp = to_ntp(time.time())
        sources: list[Vp8Sender | OpusSender] = [*self.layers, self.voice]
        for source in sources:
            with contextlib.suppress(OSError):
                self.up.send_rtcp(SenderReport(ssrc=source.ssrc, ntp_timestamp=ntp, rtp_timestamp=source.timestamp))


class Stream:
    """What comes of one producer, with the repairs in their places."""

    def __init__(self, consumer: ConsumerMade, clock_rate: int) -> None:
        self.consumer = consumer
        self.ssrc = ssrc_of(consumer)
        self.unwrapper = SequenceUnwrapper()
        self.nack = NackGenerator()
        self.first = self.highest = -1
        self.came: dict[int, tuple[float, int]] = {}  # number -> (when, RTP timestamp)
        self.lost_until: tuple[int, int] = (0, 0)  # at the last report: (expected, received)
        self.bytes = 0
        self.clock_rate = clock_rate
        self.last_sr, self.last_sr_at = 0, 0.0

    def take(self, number: int, timestamp: int, now: float) -> int | None:
        """The unwrapped number; None: it came before."""
        number = self.unwrapper.unwrap(number)
        if number in self.came:
            return None
        self.came[number] = now, timestamp
        self.nack.receive(number, now)
        if self.first < 0:
            self.first = number
        self.highest = max(self.highest, number)
        return number

    def report(self, now: float) -> ReportBlock:
        expected, received = self.highest - self.first + 1, len(self.came)
        since = expected - self.lost_until[0]
        lost = max(0, since - (received - self.lost_until[1]))
        self.lost_until = expected, received
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(255, lost * 256 // since) if since else 0,
            packets_lost=expected - received,
            highest_sequence=self.highest & 0xFFFFFFFF,
            last_sr=self.last_sr,
            delay_since_last_sr=int((now - self.last_sr_at) * 65536) if self.last_sr else 0,
        )


class Picture(Stream):
    """A camera as a decoder sees it: a frame is shown when it is whole and the one before it was shown."""

    def __init__(self, consumer: ConsumerMade) -> None:
        super().__init__(consumer, 90_000)
        self.rtx_ssrc = rtx_ssrc_of(consumer)
        self.shown: list[float] = []
        self.sizes: list[int] = []  # packets of each
        self.needs_key = True
        self.asked_at = 0.0
        self._packets: dict[
            int, tuple[bool, bool, bool]
        ] = {}  # number -> (begins a frame, begins a key frame, ends it)
        self._next = -1  # the number that the next frame begins with
        # And key frames after it: the first that is whole is gone on with, whatever is missing before it.
        self._keys: list[int] = []

    def picture(self, number: int, packet: bytes, now: float, *, at: int, end: int, marker: bool) -> None:
        descriptor = parse_vp8(packet, at, end)
        assert descriptor is not None
        begins = bool(packet[at] & 0x10)
        self._packets[number] = begins, descriptor.key_frame, marker
        if descriptor.key_frame:
            self._keys.append(number)
            self.asked_at = now  # who gets one asks for none
        whole = [key for key in self._keys if key > self._next and self._whole(key)]
        if whole:
            self._next, self.needs_key = max(whole), False
        self._keys = [key for key in self._keys if key > self._next]
        while not self.needs_key and (size := self._whole(self._next)):
            for used in range(self._next, self._next + size):
                del self._packets[used]
            self._next += size
            self.shown.append(now)
            self.sizes.append(size)

    def _whole(self, first: int) -> int:
        """How many packets the frame has that begins there; 0: it is not complete."""
        # A number left out at a change of layer belongs to no frame.
        if first not in self._packets:
            following = self._packets.get(first + 1)
            if following is None or not following[1]:
                return 0
            self._next = first = first + 1
        number = first
        while (found := self._packets.get(number)) is not None:
            if found[2]:
                return number - first + 1
            number += 1
        return 0

    def longest_freeze(self, since: float, until: float) -> float:
        """Seconds between two pictures."""
        times = [since, *(at for at in self.shown if since <= at <= until), until]
        return max(after - before for before, after in itertools.pairwise(times))


class Voice(Stream):
    def __init__(self, consumer: ConsumerMade) -> None:
        super().__init__(consumer, 48_000)

    def usable(self, since: float, until: float) -> float:
        """The share of the packets of that time that came while a player could still use them."""
        transits = {n: at - ts / self.clock_rate for n, (at, ts) in self.came.items()}
        least = min(transits.values())
        due = [n for n in range(self.first, self.highest) if since <= self._due(n, least) <= until - 1.0]
        assert due, "nothing was said"
        return sum(1 for n in due if n in transits and transits[n] - least <= IN_TIME) / len(due)

    def _due(self, number: int, least: float) -> float:
        """When a packet would have come on an empty way: 20 ms for each number."""
        known = self.first
        return least + self.came[known][1] / self.clock_rate + (number - known) * 0.02


class Viewer:
    """Sam's side. `picture` and `voice` tell what he saw and heard of the one he watches."""

    def __init__(self, person: Person, machine: Client) -> None:
        self.person, self.machine = person, machine
        self.first_picture_after: float | None = None
        self.streams: dict[int, Stream] = {}
        self.bytes = 0
        self._recorder = TransportFeedbackRecorder(sender_ssrc=RTCP_SSRC, media_ssrc=0)
        self._tasks: list[Task] = []

    async def open(self) -> None:
        self.began = time.monotonic()
        self.down: PeerTransport = await self.person.connect("recv", make_socket=self.machine.socket)
        self.down.on_rtp = self._take
        self._tasks = [
            Task(0.02, self._repair),
            Task(0.05, self._feed_back),
            Task(1.0, self._report),
            Task(CONSENT, lambda: self.down.send_raw(self.down.stun_request())),
        ]

    def watch(self, sender: Sender) -> None:
        camera = self.person.consume(sender.camera_id, resume=False)
        voice = self.person.consume(sender.voice_id, resume=False)
        self.picture, self.voice = Picture(camera), Voice(voice)
        self.streams[self.picture.ssrc] = self.picture
        self.streams[self.picture.rtx_ssrc] = self.picture
        self.streams[self.voice.ssrc] = self.voice
        for made in (camera, voice):
            self.person.media.resume_consumer(ROOM, self.person.name, made.consumer_id)

    async def shows(self) -> None:
        """Until pictures that are sent from now on are shown, five of them."""
        now = time.monotonic()
        while sum(at > now + 0.2 for at in self.picture.shown[-5:]) < 5:
            await asyncio.sleep(0.02)

    def move(self) -> None:
        """Another socket, after the machine got another address; the next check tells the worker."""
        self.down.move()
        self.down.send_raw(self.down.stun_request())

    @property
    def layer(self) -> int | None:
        """The layer that the worker sends him."""
        router = self.person.media.routers[ROOM]
        consumer = router.consumer(router.peer(self.person.name), self.picture.consumer.consumer_id)
        return consumer.seat.feed.layer.index if consumer.seat is not None else None

    async def close(self) -> None:
        for task in self._tasks:
            await task.close()

    def _take(self, packet: bytes) -> None:
        now = time.monotonic()
        header = parse_rtp(packet)
        self.bytes += len(packet)
        place = header.extensions.get(TRANSPORT_CC_ID)
        if place is not None:
            self._recorder.media_ssrc = header.ssrc
            self._recorder.received(int.from_bytes(packet[place[0] : place[0] + 2], "big"), now)
        stream = self.streams.get(header.ssrc)
        if stream is None:
            return
        number, at = header.sequence_number, header.payload_offset
        if isinstance(stream, Picture) and header.ssrc == stream.rtx_ssrc:
            if header.payload_end - at < 2:
                return  # padding
            number, at = int.from_bytes(packet[at : at + 2], "big"), at + 2
        unwrapped = stream.take(number, header.timestamp, now)
        if unwrapped is not None and isinstance(stream, Picture):
            stream.picture(unwrapped, packet, now, at=at, end=header.payload_end, marker=header.marker)

    def _send(self, *packets: Any) -> None:
        with contextlib.suppress(OSError):
            self.down.send_rtcp(*packets)

    def _repair(self) -> None:
        now = time.monotonic()
        for report in [p for p in self.down.rtcp if isinstance(p, SenderReport)]:
            if report.ssrc in self.streams:
                stream = self.streams[report.ssrc]
                stream.last_sr, stream.last_sr_at = report.ntp_timestamp >> 16 & 0xFFFFFFFF, now
        self.down.rtcp.clear()
        for stream in set(self.streams.values()):
            lost = stream.nack.due(now, 0.1)
            if lost:
                self._send(Nack(sender_ssrc=RTCP_SSRC, media_ssrc=stream.ssrc, lost=lost))
            if isinstance(stream, Picture):
                if stream.nack.key_frame_needed:
                    stream.nack.key_frame_needed, stream.needs_key = False, True
                last = stream.shown[-1] if stream.shown else self.began
                stale = stream.needs_key or now - last > NO_PICTURE
                if stale and stream.came and now - stream.asked_at >= PLI_EVERY:
                    stream.asked_at = now
                    self._send(PictureLossIndication(RTCP_SSRC, stream.ssrc))

    def _feed_back(self) -> None:
        for report in self._recorder.due(time.monotonic()):
            self._send(report)

    def _report(self) -> None:
        now = time.monotonic()
        blocks = [stream.report(now) for stream in set(self.streams.values()) if stream.came]
        if blocks:
            self._send(ReceiverReport(ssrc=RTCP_SSRC, blocks=blocks))


@contextlib.asynccontextmanager
async def opened(*people: Sender | Viewer) -> AsyncIterator[None]:
    """All of them connected, and gone at the end."""
    await asyncio.gather(*[person.open() for person in people])
    try:
        yield
    finally:
        for person in people:
            await person.close()


@contextlib.asynccontextmanager
async def watching(sender: Sender, *viewers: Viewer) -> AsyncIterator[None]:
    """All of them there, and pictures shown to each."""
    async with opened(sender, *viewers):
        for viewer in viewers:
            viewer.watch(sender)
        await until(lambda: all(len(viewer.picture.shown) > FPS for viewer in viewers), within=15)
        yield
