"""Voices on the fake network: who is told to speak, and whose voice reaches whom in a large room."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core import capabilities as uris
from sfu.core.layout import payload_offset
from sfu.core.router import LARGE_ROOM, LOUDEST
from sfu.core.rtcp import Nack
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.protocol import SpeakersChanged
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import EXTENSIONS, OPUS, OpusSender, opus_parameters
from tests.sfu.voices import LOUD_SPEECH, ROOM_TONE, SPEECH, Conversation

LEVEL, MID = EXTENSIONS[uris.AUDIO_LEVEL], EXTENSIONS[uris.MID]


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def changes(network: FakeNetwork) -> list[SpeakersChanged]:
    return [event for event in network.events if isinstance(event, SpeakersChanged)]


def speak(network: FakeNetwork, peer: FakePeer, voice: OpusSender, level: int, seconds: float = 0.6) -> None:
    voice.level = level
    for _ in range(round(seconds / 0.02)):
        peer.send_rtp(voice.packet())
        network.advance(0.02)


# --- who speaks ---


def test_the_room_is_told_who_speaks_and_when_nobody_does_any_more(network: FakeNetwork) -> None:
    room = Conversation(network, "tina", "sam")
    room.pass_time(2.0)
    assert room.told == []
    room.pass_time(1.0, tina=SPEECH)
    _, event = room.told[-1]
    assert (event.room, event.speaker, event.levels) == ("room", "tina", {"tina": 127 - SPEECH})
    room.pass_time(4.0, tina=None)
    assert (room.told[-1][1].speaker, room.told[-1][1].levels) == (None, {})


def test_a_short_yes_is_told_as_a_level_and_does_not_take_the_floor(network: FakeNetwork) -> None:
    room = Conversation(network, "tina", "sam")
    room.pass_time(3.0, tina=SPEECH)
    room.pass_time(0.4, sam=SPEECH)
    room.pass_time(3.0, sam=None)
    assert room.speakers == ["tina"]
    assert any("sam" in event.levels for _, event in room.told)
    room.pass_time(4.0, tina=None, sam=SPEECH)  # but an answer does
    assert room.speakers == ["tina", "sam"]


def test_in_the_liveliest_talk_the_room_is_told_at_most_five_times_a_second(network: FakeNetwork) -> None:
    names = [f"p{number}" for number in range(8)]
    room = Conversation(network, *names)
    for turn in range(80):
        room.pass_time(0.1 + turn % 3 * 0.1, **dict.fromkeys(names))
        room.pass_time(0.1, **{names[turn * 5 % 8]: LOUD_SPEECH, names[turn * 3 % 8]: SPEECH})
    times = [at for at, _ in room.told]
    assert len(times) > 20
    # The network's ticks are 20 ms apart, and so is what they bring.
    assert all(later - earlier >= 0.2 - 0.021 for earlier, later in pairwise(times))
    assert len(times) <= 5 * (times[-1] - times[0]) + 1


@pytest.mark.parametrize("ending", ["mute", "close", "leave"])
def test_whoever_is_muted_or_gone_holds_the_floor_no_longer(network: FakeNetwork, ending: str) -> None:
    room = Conversation(network, "tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    assert room.speakers == ["tina"]
    del room.says["tina"]
    if ending == "mute":
        network.router.pause_producer(room.producers["tina"])
    elif ending == "close":
        network.router.close_producer(room.producers["tina"], "closed")
    else:
        network.router.close_peer("tina", "left")
    room.pass_time(0.3)
    assert (room.told[-1][1].speaker, room.told[-1][1].levels) == (None, {})


def test_what_a_muted_microphone_still_sends_is_nobodys_speech(network: FakeNetwork) -> None:
    room = Conversation(network, "tina")
    network.router.pause_producer(room.producers["tina"])
    room.pass_time(2.0, tina=SPEECH)
    assert room.told == []
    network.router.resume_producer(room.producers["tina"], network.now)
    room.pass_time(1.0)
    assert room.speakers == ["tina"]


def test_the_sound_of_a_shared_screen_is_not_a_speaker(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    network.router.create_producer(
        tina.transport, kind="audio", source="screen_audio", rtp_parameters=opus_parameters(1), paused=False,
        now=network.now,
    )  # fmt: skip
    speak(network, tina, OpusSender(1), SPEECH, 2.0)
    assert changes(network) == []


@pytest.mark.parametrize(
    ("extensions", "two_byte"),
    [({MID: b"0", LEVEL: bytes((0x80 | SPEECH,))}, False), ({MID: b"0", LEVEL: bytes((SPEECH,))}, True)],
)
def test_a_level_counts_with_the_voice_bit_and_in_either_form_of_extensions(
    network: FakeNetwork, extensions: dict[int, bytes], two_byte: bool
) -> None:
    assert _said(network, extensions, two_byte) == ["tina"]


@pytest.mark.parametrize("extensions", [{MID: b"0"}, {MID: b"0", LEVEL: bytes((SPEECH, 0))}, {MID: b"0", LEVEL: b""}])
def test_a_voice_with_no_level_or_a_broken_one_is_forwarded_and_not_judged(
    network: FakeNetwork, extensions: dict[int, bytes]
) -> None:
    assert _said(network, extensions, two_byte=True) == []
    assert len(network.peers[network.router.peers["sam"].transports.popitem()[1]].rtp) == 50


def _said(network: FakeNetwork, extensions: dict[int, bytes], two_byte: bool) -> list[str | None]:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "audio", opus_parameters(1)))
    for number in range(50):
        tina.send_rtp(
            build_rtp(
                payload_type=OPUS, sequence_number=number, timestamp=960 * number, ssrc=1, payload=b"word",
                extensions=extensions, two_byte=two_byte,
            )
        )  # fmt: skip
        network.advance(0.02)
    return [event.speaker for event in changes(network) if event.speaker]


# --- large rooms ---


class Hall:
    """A large room: some have microphones, Olga listens to all of them, the others are just there."""

    def __init__(self, network: FakeNetwork, *names: str, peers: int = LARGE_ROOM + 1) -> None:
        self.network = network
        self.room = Conversation(network, *names)
        self.olga = network.join("olga", "recv")
        self.consumers = {name: network.consume(self.olga, producer) for name, producer in self.room.producers.items()}
        for number in range(peers - len(network.router.peers)):
            network.router.open_peer(f"quiet{number}", "")

    def heard(self, name: str) -> list[int]:
        """The sender's numbers of what Olga got of a voice: they are its payload."""
        ssrc = self.room.producers[name].ssrc
        packets = [packet for packet in self.olga.rtp if parse_rtp(packet).ssrc == ssrc]
        return [int.from_bytes(packet[(at := payload_offset(bytearray(packet))) : at + 2], "big") for packet in packets]

    def numbers(self, name: str) -> list[int]:
        ssrc = self.room.producers[name].ssrc
        return [header.sequence_number for header in self.olga.headers() if header.ssrc == ssrc]

    def audible(self) -> set[str]:
        """Whose voices arrive in the next 100 ms."""
        before = {name: len(self.heard(name)) for name in self.consumers}
        self.room.pass_time(0.1)
        return {name for name in self.consumers if len(self.heard(name)) > before[name]}


NAMES = tuple(f"p{number}" for number in range(8))


def test_in_a_room_of_fifty_every_voice_is_forwarded_and_above_it_the_loudest(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES, peers=LARGE_ROOM)
    hall.room.pass_time(2.0, **dict.fromkeys(NAMES, SPEECH))
    assert hall.audible() == set(NAMES)
    network.router.open_peer("one-more", "")
    hall.room.pass_time(1.0)
    assert len(hall.audible()) == LOUDEST
    network.router.close_peer("one-more", "left")
    assert hall.audible() == set(NAMES)


def test_silent_microphones_of_a_large_room_cost_nobody_anything(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    hall.room.pass_time(2.0)
    assert hall.olga.rtp == []
    assert network.agenda.dropped["not_among_loudest"] == 8 * 100


def test_a_word_is_not_cut_neither_at_its_beginning_nor_between_two(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    hall.room.pass_time(2.0)
    first = hall.room.voices["p3"].number
    hall.room.step = 0  # p3 begins with a syllable
    hall.room.pass_time(5.0, p3=SPEECH)
    assert hall.heard("p3") == list(range(first, first + 250))


def test_when_a_voice_comes_back_its_numbers_go_on_and_its_time_has_passed(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    hall.room.pass_time(1.0, p0=SPEECH)
    hall.room.pass_time(6.0, p0=None)
    hall.room.pass_time(1.0, p0=SPEECH)
    numbers, heard = hall.numbers("p0"), hall.heard("p0")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    pauses = [index for index, (one, two) in enumerate(pairwise(heard)) if two != one + 1]
    assert len(pauses) == 1
    ssrc = hall.room.producers["p0"].ssrc
    timestamps = [header.timestamp for header in hall.olga.headers() if header.ssrc == ssrc]
    left_out = heard[pauses[0] + 1] - heard[pauses[0]]
    assert left_out > 100
    assert timestamps[pauses[0] + 1] - timestamps[pauses[0]] == 960 * left_out


def test_a_clearly_louder_voice_takes_a_place_and_who_lost_his_speaks_no_longer(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    hall.room.pass_time(3.0, **dict.fromkeys(NAMES[:5], SPEECH))
    assert hall.audible() == set(NAMES[:5])
    hall.room.pass_time(2.0, p7=SPEECH - 12)
    audible = hall.audible()
    assert len(audible) == LOUDEST
    assert "p7" in audible
    hall.room.pass_time(1.0)
    assert set(hall.room.told[-1][1].levels) == audible


def test_what_a_receiver_did_not_get_it_cannot_ask_for(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    hall.room.pass_time(1.0, p0=SPEECH)
    last = hall.numbers("p0")[-1]
    hall.room.pass_time(4.0, p0=None)
    last = hall.numbers("p0")[-1]
    before = len(hall.olga.rtp)
    ssrc = hall.room.producers["p0"].ssrc
    hall.olga.send_rtcp(Nack(sender_ssrc=1, media_ssrc=ssrc, lost=[last + 1, last + 2]))
    assert len(hall.olga.rtp) == before


def test_a_recorder_hears_every_voice_of_a_large_room_whole(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    recorded: dict[str, list[int]] = {}
    told: list[str | None] = []

    class Recorder:
        def __init__(self, told: list[str | None]) -> None:
            self.speaker_changed = told.append

        def rtp(self, producer_id: str, packet: memoryview, now: float) -> None:
            recorded.setdefault(producer_id, []).append(parse_rtp(packet).sequence_number)

        def wants(self, peer: str) -> bool:
            return True

        def __getattr__(self, name: str):
            return lambda *arguments: None

    recorder: Any = Recorder(told)
    network.router.add_tap(recorder, network.now)
    network.on_tapped = recorder.rtp
    hall.room.pass_time(2.0, **dict.fromkeys(NAMES[:7], SPEECH))
    hall.room.pass_time(2.0, p7=SPEECH, p0=None)
    for name in NAMES:
        numbers = recorded[hall.room.producers[name].id]
        assert numbers == list(range(numbers[0], numbers[0] + 200)), name
    assert told == hall.room.speakers != []
    late: list[str | None] = []
    latecomer: Any = Recorder(late)
    network.router.add_tap(latecomer, network.now)
    assert late == told[-1:]


def test_who_does_not_tell_his_level_is_heard_in_a_large_room_too(network: FakeNetwork) -> None:
    hall = Hall(network, *NAMES)
    tina = network.join("tina", "send")
    network.consume(hall.olga, network.produce(tina, "audio", opus_parameters(5555)))
    voice = OpusSender(5555)
    for _ in range(10):
        tina.send_rtp(voice.packet())
    assert len(hall.olga.rtp) == 10


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, LOUD_SPEECH, SPEECH, ROOM_TONE]), min_size=1),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_said_a_receiver_sees_no_gap_no_repeat_and_no_more_than_the_loudest(
    turns: list[dict[str, int | None]],
) -> None:
    hall = Hall(FakeNetwork(), *NAMES)
    for says in turns:
        hall.room.pass_time(0.5, **says)
        assert len(hall.audible()) <= 2 * LOUDEST  # within 100 ms one may have given way to another
        assert len(hall.network.router.speakers.forwarded) <= LOUDEST
    for name in NAMES:
        heard, numbers = hall.heard(name), hall.numbers(name)
        assert heard == sorted(set(heard))
        assert numbers == [numbers[0] + index for index in range(len(numbers))]
