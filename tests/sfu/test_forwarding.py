"""The whole path on real sockets: what one peer sends arrives at those who watch, and only at those."""

from __future__ import annotations

from aiortc.rtcdtlstransport import SRTP_AES128_CM_SHA1_80

from sfu.core.layout import payload_offset
from sfu.core.rtcp import Nack, PictureLossIndication, ReceiverReport, SenderReport
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.core.transport_feedback import TransportFeedback
from sfu.protocol import ConsumerClosed, ProducerClosed
from tests.sfu.classroom import ROOM, Classroom, rtx_ssrc_of, ssrc_of
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import H264, OPUS, OpusSender, Vp8Sender, h264_parameters, vp8_parameters
from tests.waiting import until


def payloads(transport: PeerTransport, ssrc: int) -> list[bytes]:
    found = []
    for packet in transport.rtp:
        header = parse_rtp(packet)
        if header.ssrc == ssrc:
            found.append(packet[header.payload_offset : header.payload_end])
    return found


def payload_of(packet: bytes) -> bytes:
    header = parse_rtp(packet)
    return packet[header.payload_offset : header.payload_end]


def report(ssrc: int, sender: Vp8Sender) -> SenderReport:
    return SenderReport(ssrc=ssrc, ntp_timestamp=0xE000_0000_0000_0000, rtp_timestamp=sender.timestamp)


async def key_frame_wanted(transport: PeerTransport) -> None:
    await transport.until(lambda: any(isinstance(p, PictureLossIndication) for p in transport.rtcp))


async def test_two_receivers_get_a_camera_and_a_voice_as_they_were_sent(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    down = [await sam.connect("recv"), await olga.connect("recv")]
    camera, microphone = tina.camera(), tina.microphone()
    pictures = [sam.consume(camera), olga.consume(camera)]
    voices = [sam.consume(microphone), olga.consume(microphone)]

    picture, voice = Vp8Sender(1111), OpusSender(2222)
    sent_frames = [packet for i in range(10) for packet in picture.frame(6, key=i == 0)]
    sent_voice = [voice.packet() for _ in range(10)]
    for packet in [*sent_frames, *sent_voice]:
        up.send_rtp(packet)

    for transport, video, audio in zip(down, pictures, voices, strict=True):
        assert len(await transport.packets(70)) == 70
        assert payloads(transport, ssrc_of(video)) == [payload_of(p) for p in sent_frames]
        assert payloads(transport, ssrc_of(audio)) == [payload_of(p) for p in sent_voice]
        headers = transport.headers(ssrc_of(video))
        assert {h.payload_type for h in headers} == {video.rtp_parameters["codecs"][0]["payloadType"]}
        first = headers[0].sequence_number
        assert [h.sequence_number for h in headers] == list(range(first, first + 60))
        assert 1000 <= first <= 32767
        assert sum(h.marker for h in headers) == 10
        assert transport.unauthentic == 0


async def test_each_receiver_sees_the_mid_he_was_told_and_running_transport_wide_numbers(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    sams, olgas = await sam.connect("recv"), await olga.connect("recv")
    microphone, camera = tina.microphone(), tina.camera()
    olga.consume(microphone)
    olga.consume(camera)  # once before: an m-line keeps its MID, so the next one gets another
    video = [sam.consume(camera), olga.consume(camera)]
    for packet in Vp8Sender(1111).frame(5, key=True):
        up.send_rtp(packet)

    for transport, consumer in zip((sams, olgas), video, strict=True):
        await transport.packets(5)
        mids, numbers = set(), []
        for packet in transport.rtp:
            extensions = parse_rtp(packet).extensions
            offset, size = extensions[1]
            mids.add(packet[offset : offset + size].decode())
            offset, size = extensions[5]
            numbers.append(int.from_bytes(packet[offset : offset + size], "big"))
        assert mids == {consumer.rtp_parameters["mid"]}
        assert numbers == [0, 1, 2, 3, 4]
    assert video[0].rtp_parameters["mid"] != video[1].rtp_parameters["mid"]


async def test_who_connects_after_he_asked_for_a_picture_is_given_one_that_begins_with_a_key_frame(
    classroom: Classroom,
) -> None:
    """As browsers do: the handshake goes on while the page asks to resume, and what is sent meanwhile is lost."""
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up = await tina.connect("send")
    down = sam.make("recv")
    consumer = sam.consume(tina.camera())
    sender = Vp8Sender(1111)
    for index in range(5):
        for packet in sender.frame(3, key=index == 0):
            up.send_rtp(packet)
    await until(lambda: classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]["packets"] == 15)
    up.rtcp.clear()
    classroom.media.connect_transport(ROOM, "sam", down.made.transport_id, down.dtls_parameters)
    await down.connect()
    await key_frame_wanted(up)
    for packet in (*sender.frame(3), *(sent := sender.frame(3, key=True))):
        up.send_rtp(packet)
    await down.packets(3)
    assert payloads(down, ssrc_of(consumer)) == [payload_of(p) for p in sent]


async def test_h264_goes_through(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.produce("video", "camera", h264_parameters(1111)))

    def packet(number: int, payload: bytes) -> bytes:
        return build_rtp(payload_type=H264, sequence_number=number, timestamp=0, ssrc=1111, payload=payload)

    stap_a = b"\x78\x00\x04\x67\x42\xe0\x1f\x00\x02\x68\xce"  # parameter sets
    up.send_rtp(packet(9, b"\x41\x9a"))  # not decodable without them
    up.send_rtp(packet(10, stap_a))
    up.send_rtp(packet(11, b"\x65\x88"))
    await down.until(lambda: len(down.rtp) == 2)
    assert payloads(down, ssrc_of(consumer)) == [stap_a, b"\x65\x88"]


async def test_packets_of_different_sizes_arrive_whole(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.camera())
    sender = Vp8Sender(1111)
    sent = []
    for index, size in enumerate((1000, 1000, 999, 1000, 20, 20, 1100, 1100, 1100, 300, 1250)):
        sender.size = size
        sent += sender.frame(2, key=index == 0)
    for packet in sent:
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == len(sent))
    assert [payload_of(p) for p in down.rtp] == [payload_of(p) for p in sent]


async def test_a_receiver_without_gcm_is_served_beside_one_with_it(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    sams = await sam.connect("recv")
    olgas = await olga.connect("recv", profiles=[SRTP_AES128_CM_SHA1_80])
    camera = tina.camera()
    sam.consume(camera)
    olga.consume(camera)
    sent = Vp8Sender(1111).frame(4, key=True)
    for packet in sent:
        up.send_rtp(packet)
    for transport in (sams, olgas):
        await transport.packets(4)
        assert [payload_of(p) for p in transport.rtp] == [payload_of(p) for p in sent]
        assert transport.unauthentic == 0


async def test_media_goes_both_ways_over_tcp(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send", protocol="tcp"), await sam.connect("recv", protocol="tcp")
    consumer = sam.consume(tina.camera())
    sent = Vp8Sender(1111).frame(8, key=True)
    for packet in sent:
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == 8)
    assert payloads(down, ssrc_of(consumer)) == [payload_of(p) for p in sent]
    assert {t["protocol"] for t in classroom.media.stats(ROOM).transports} == {"tcp"}


async def test_what_is_lost_on_the_way_down_is_repaired_by_rtx(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    ssrc, rtx = ssrc_of(consumer), rtx_ssrc_of(consumer)
    counted = iter(range(1000))
    down.lose = lambda packet: parse_rtp(packet).ssrc == ssrc and next(counted) in (3, 4, 9)
    sent = Vp8Sender(1111).frame(12, key=True)
    for packet in sent:
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == 9)
    first = down.headers()[0].sequence_number

    down.send_rtcp(Nack(sender_ssrc=5, media_ssrc=ssrc, lost=[first + 3, first + 4, first + 9]))
    await down.until(lambda: len(down.headers(rtx)) == 3)
    repairs = [p for p in down.rtp if parse_rtp(p).ssrc == rtx]
    for repair, number in zip(repairs, (3, 4, 9), strict=True):
        header = parse_rtp(repair)
        body = repair[header.payload_offset : header.payload_end]
        assert int.from_bytes(body[:2], "big") == first + number
        assert body[2:] == payload_of(sent[number])
        assert header.timestamp == parse_rtp(sent[number]).timestamp
        assert header.payload_type == 102
        assert header.marker == parse_rtp(sent[number]).marker


async def test_a_lost_voice_packet_is_sent_again_exactly_as_it_was(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.microphone())
    lost: list[bytes] = []

    def lose_the_third(packet: bytes) -> bool:
        if len(down.rtp) == 2 and not lost:
            lost.append(packet)
            return True
        return False

    down.lose = lose_the_third
    raw: list[bytes] = []
    down.on_datagram = raw.append
    sender = OpusSender(2222)
    for _ in range(5):
        up.send_rtp(sender.packet())
    await down.until(lambda: len(down.rtp) == 4)
    number = parse_rtp(lost[0]).sequence_number
    # The same numbers with other bytes under one key would give AES-GCM's key away, so the cipher text must be equal.
    original = next(d for d in raw if d[2:4] == number.to_bytes(2, "big") and d[1] & 127 == 100)
    raw.clear()
    down.send_rtcp(Nack(sender_ssrc=5, media_ssrc=ssrc_of(consumer), lost=[number]))
    await down.until(lambda: raw)
    assert raw == [original]


async def test_what_is_lost_on_the_way_up_is_asked_for_and_its_repair_forwarded_as_the_original(
    classroom: Classroom,
) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    sent = Vp8Sender(1111, first_number=65530).frame(12, key=True)
    missing = {4, 5, 6, 10}
    for index, packet in enumerate(sent):
        if index not in missing:
            up.send_rtp(packet)

    def asked() -> list[int]:
        return [n for p in up.rtcp if isinstance(p, Nack) and p.media_ssrc == 1111 for n in p.lost]

    await up.until(lambda: len(set(asked())) == 4)
    numbers = {parse_rtp(sent[index]).sequence_number: index for index in missing}
    assert set(asked()) == set(numbers)
    for rtx_number, index in enumerate(sorted(missing)):
        header = parse_rtp(sent[index])
        up.send_rtp(
            build_rtp(
                payload_type=97,
                sequence_number=rtx_number,
                timestamp=header.timestamp,
                ssrc=1112,
                marker=header.marker,
                payload=header.sequence_number.to_bytes(2, "big") + payload_of(sent[index]),
            )
        )
    await down.until(lambda: len(down.rtp) == 12)
    got = sorted(down.rtp, key=lambda p: parse_rtp(p).sequence_number)
    assert [payload_of(p) for p in got] == [payload_of(p) for p in sent]
    assert {parse_rtp(p).ssrc for p in got} == {ssrc_of(consumer)}
    stats = classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]
    assert stats["repaired"] == 4
    assert stats["lost"] == 0


async def test_a_consumer_starts_paused_and_begins_with_a_key_frame_that_was_asked_for(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    camera = tina.camera()
    consumer = sam.consume(camera, resume=False)
    sender = Vp8Sender(1111)
    for packet in sender.frame(3, key=True):
        up.send_rtp(packet)
    await until(lambda: classroom.media.stats(ROOM, "tina").transports[0]["packets_received"] == 3)
    up.rtcp.clear()
    classroom.media.resume_consumer(ROOM, "sam", consumer.consumer_id)
    await key_frame_wanted(up)
    for packet in [*sender.frame(3), *sender.frame(3, key=True)]:
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == 3)
    assert payload_of(down.rtp[0])[5] == 0, "the key frame's first packet"


async def test_a_newcomer_does_not_disturb_those_who_watch(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    sams, olgas = await sam.connect("recv"), await olga.connect("recv")
    camera = tina.camera()
    sam.consume(camera)
    sender = Vp8Sender(1111)
    for packet in sender.frame(4, key=True):
        up.send_rtp(packet)
    await sams.until(lambda: len(sams.rtp) == 4)
    olga.consume(camera)
    for packet in [*sender.frame(4), *sender.frame(4, key=True), *sender.frame(4)]:
        up.send_rtp(packet)
    await sams.until(lambda: len(sams.rtp) == 16)
    numbers = [h.sequence_number for h in sams.headers()]
    await olgas.until(lambda: len(olgas.rtp) >= 8 and olgas.headers()[-1].sequence_number == numbers[-1])
    assert numbers == list(range(numbers[0], numbers[0] + 16))
    assert [h.sequence_number for h in olgas.headers()] == numbers[-len(olgas.rtp) :], "both share one numbering"


async def test_a_consumer_that_comes_back_goes_on_from_its_last_number(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    sams, olgas = await sam.connect("recv"), await olga.connect("recv")
    camera = tina.camera()
    consumer = sam.consume(camera)
    olga.consume(camera)
    sender = Vp8Sender(1111)
    for packet in sender.frame(4, key=True):
        up.send_rtp(packet)
    await sams.until(lambda: len(sams.rtp) == 4)
    classroom.media.pause_consumer(ROOM, "sam", consumer.consumer_id)
    for packet in sender.frame(50):
        up.send_rtp(packet)
    await olgas.until(lambda: len(olgas.rtp) == 54)
    assert len(sams.rtp) == 4
    classroom.media.resume_consumer(ROOM, "sam", consumer.consumer_id)
    for packet in sender.frame(4, key=True):
        up.send_rtp(packet)
    await sams.until(lambda: len(sams.rtp) == 8)
    await olgas.until(lambda: len(olgas.rtp) == 58)
    numbers = [h.sequence_number for h in sams.headers()]
    assert numbers == list(range(numbers[0], numbers[0] + 8))
    numbers = [h.sequence_number for h in olgas.headers()]
    assert numbers == list(range(numbers[0], numbers[0] + 58))
    # What is lost now is found by his numbers, not by hers.
    sams.send_rtcp(Nack(sender_ssrc=5, media_ssrc=ssrc_of(consumer), lost=[sams.headers()[-1].sequence_number]))
    await sams.until(lambda: sams.headers(rtx_ssrc_of(consumer)))
    assert payload_of(sams.rtp[-1])[2:] == payload_of(sams.rtp[-2])


async def test_nothing_of_a_paused_producer_leaves_any_more(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    microphone = tina.microphone()
    consumer = sam.consume(microphone)
    sender = OpusSender(2222)
    for _ in range(3):
        up.send_rtp(sender.packet())
    await down.until(lambda: len(down.rtp) == 3)
    first = down.headers()[0].sequence_number
    classroom.media.pause_producer(ROOM, "tina", microphone)
    for _ in range(5):
        up.send_rtp(sender.packet())
    down.send_rtcp(Nack(sender_ssrc=5, media_ssrc=ssrc_of(consumer), lost=[first, first + 1]))
    await until(lambda: classroom.media.dropped["paused"] == 5)
    classroom.media.resume_producer(ROOM, "tina", microphone)
    up.send_rtp(sender.packet())
    await down.until(lambda: len(down.rtp) == 4)
    assert [h.sequence_number for h in down.headers()] == [first, first + 1, first + 2, first + 3]


async def test_a_producer_that_closes_takes_its_consumers_along_and_everybody_is_told(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    await tina.connect("send")
    await sam.connect("recv")
    camera = tina.camera()
    consumer = sam.consume(camera)
    classroom.media.close_peer(ROOM, "tina")
    closed = [e for e in classroom.events if isinstance(e, ProducerClosed)]
    assert [(e.peer, e.producer_id, e.reason) for e in closed] == [("tina", camera, "left")]
    gone = [e for e in classroom.events if isinstance(e, ConsumerClosed)]
    assert [(e.peer, e.consumer_id) for e in gone] == [("sam", consumer.consumer_id)]
    assert classroom.media.peer_state(ROOM, "sam").consumers == []
    assert classroom.media.room_state(ROOM).producers == []


async def test_receivers_get_sender_reports_of_the_senders_own_clock(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    sender = Vp8Sender(1111)
    up.send_rtcp(report(1111, sender))
    for packet in sender.frame(3, key=True):
        up.send_rtp(packet)
    await down.until(lambda: any(isinstance(p, SenderReport) for p in down.rtcp))
    got = next(p for p in down.rtcp if isinstance(p, SenderReport))
    assert got.ssrc == ssrc_of(consumer)
    assert got.packet_count == 3
    elapsed = (got.ntp_timestamp - 0xE000_0000_0000_0000) / 2**32
    assert 0 <= elapsed < 3, "the sender's clock, a little later"
    ticks = got.rtp_timestamp - (sender.timestamp - 3000) & 0xFFFFFFFF
    assert abs(ticks - elapsed * 90000) < 10


async def test_a_sender_gets_receiver_reports_and_transport_wide_feedback(classroom: Classroom) -> None:
    tina = classroom.person("tina")
    up = await tina.connect("send")
    tina.camera()
    sender = Vp8Sender(1111)
    packets = sender.frame(10, key=True)
    del packets[4]
    for packet in packets:
        up.send_rtp(packet)
    await up.until(lambda: any(isinstance(p, ReceiverReport) and p.blocks for p in up.rtcp))
    block = next(p for p in up.rtcp if isinstance(p, ReceiverReport)).blocks[0]
    assert (block.ssrc, block.packets_lost, block.fraction_lost) == (1111, 1, 25)
    assert block.highest_sequence & 0xFFFF == 65009
    await up.until(lambda: any(isinstance(p, TransportFeedback) for p in up.rtcp))
    feedback = [p for p in up.rtcp if isinstance(p, TransportFeedback)]
    reported = [sequence for f in feedback for sequence, _ in f.received]
    assert reported == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert {f.media_ssrc for f in feedback} == {1111}, "libwebrtc drops reports that name no SSRC of its own"


async def test_a_repeated_consume_replaces_the_consumer_and_keeps_numbers_running(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    camera = tina.camera()
    before = sam.consume(camera)
    sender = Vp8Sender(1111)
    for packet in sender.frame(3, key=True):
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == 3)
    after = sam.consume(camera)
    for packet in sender.frame(3, key=True):
        up.send_rtp(packet)
    await down.until(lambda: len(down.rtp) == 6)
    assert before.consumer_id != after.consumer_id
    numbers = [h.sequence_number for h in down.headers()]
    assert numbers == list(range(numbers[0], numbers[0] + 6)), "SRTP must not see a number twice"
    assert down.unauthentic == 0


async def test_extensions_that_the_sender_negotiated_are_passed_on(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    parameters = vp8_parameters(1111)
    parameters["headerExtensions"].append({"uri": "urn:3gpp:video-orientation", "id": 13})
    sam.consume(tina.produce("video", "camera", parameters))
    up.send_rtp(
        build_rtp(
            payload_type=96,
            sequence_number=1,
            timestamp=0,
            ssrc=1111,
            payload=b"\x10\x00picture",
            extensions={13: b"\x03"},
        )
    )
    await down.until(lambda: down.rtp)
    header = parse_rtp(down.rtp[0])
    offset, size = header.extensions[8]
    assert down.rtp[0][offset : offset + size] == b"\x03"
    assert header.payload_offset == payload_offset(bytearray(down.rtp[0]))


async def test_opus_packets_before_the_producer_exists_are_not_held_against_it(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sender = OpusSender(2222)
    up.send_rtp(sender.packet())
    await until(lambda: classroom.media.dropped["unknown_stream"] == 1)
    parameters = tina.produce(
        "audio",
        "microphone",
        {
            "mid": "0",
            "codecs": [
                {"mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48000, "channels": 2, "parameters": {}}
            ],
            "headerExtensions": [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4}],
            "encodings": [{}],
            "rtcp": {"cname": "x"},
        },
    )
    sam.consume(parameters)
    up.send_rtp(sender.packet())
    await down.until(lambda: down.rtp)
    assert classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]["ssrc"] == 2222
