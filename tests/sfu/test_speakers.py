"""Who holds the floor, and whose voices are forwarded: levels in, changes out, on a clock of our own."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.core.speakers import SpeakerChange, Speakers
from tests.sfu.voices import LOUD_SPEECH, ROOM_TONE, SPEECH, talking

SILENCE = 127
PACKET = 0.02


class Room:
    """People who send a packet of voice every 20 ms; what each says is set as they go."""

    def __init__(self, *names: str, limit: int | None = None):
        self.speakers = Speakers(limit)
        self.now = 1000.0
        self.step = 0
        self.says: dict[str, int | None] = dict.fromkeys(names)
        self.steady: set[str] = set()
        self.changes: list[tuple[float, SpeakerChange]] = []
        self.sent: dict[str, list[bool]] = {name: [] for name in names}

    def pass_time(self, seconds: float, **says: int | None) -> None:
        """`says` are levels from now on; None is a silent microphone."""
        self.says.update(says)
        for _ in range(round(seconds / PACKET)):
            for name, level in self.says.items():
                if level is not None and name not in self.steady:
                    level = talking(level, self.step)
                self.sent[name].append(self.speakers.hear(name, ROOM_TONE if level is None else level, self.now))
            change = self.speakers.changes(self.now)
            if change is not None:
                self.changes.append((self.now, change))
            self.step += 1
            self.now += PACKET

    @property
    def actives(self) -> list[str | None]:
        """Who held the floor, one after the other."""
        held: list[str | None] = [None]
        for _, change in self.changes:
            if change.active != held[-1]:
                held.append(change.active)
        return held[1:]


# --- the active speaker ---


def test_whoever_speaks_first_has_the_floor_within_half_a_second():
    room = Room("tina", "sam", "olga")
    room.pass_time(2.0)
    assert room.changes == []
    room.pass_time(0.5, tina=SPEECH)
    assert room.speakers.active == "tina"


def test_a_cough_changes_nothing():
    room = Room("tina", "sam")
    room.pass_time(3.0, tina=SPEECH)
    room.steady.add("sam")
    room.pass_time(0.16, sam=5)
    room.pass_time(2.0, sam=None)
    assert room.actives == ["tina"]


def test_a_cough_in_a_silent_room_gives_nobody_the_floor():
    room = Room("tina", "sam")
    room.steady.add("sam")
    room.pass_time(0.16, sam=5)
    room.pass_time(2.0, sam=None)
    assert room.actives == []


def test_whoever_draws_breath_keeps_the_floor():
    room = Room("tina", "sam")
    for _ in range(5):
        room.pass_time(2.0, tina=SPEECH)
        room.pass_time(0.6, tina=None)
    assert room.actives == ["tina"]


def test_a_short_yes_between_two_sentences_does_not_take_the_floor():
    room = Room("tina", "sam")
    room.pass_time(3.0, tina=SPEECH)
    room.pass_time(0.3, tina=None)
    room.pass_time(0.4, sam=SPEECH)
    room.pass_time(0.3, sam=None)
    room.pass_time(3.0, tina=SPEECH)
    assert room.actives == ["tina"]


def test_an_answer_takes_the_floor_within_one_and_a_half_seconds():
    room = Room("tina", "sam")
    room.pass_time(3.0, tina=SPEECH)
    room.pass_time(0.3, tina=None)
    asked = room.now
    room.pass_time(4.0, sam=SPEECH)
    assert room.actives == ["tina", "sam"]
    took_over = next(at for at, change in room.changes if change.active == "sam")
    assert took_over - asked < 1.5


def test_two_who_speak_at_once_and_equally_loud_do_not_flicker():
    room = Room("tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    room.pass_time(20.0, sam=SPEECH - 3)
    assert room.actives == ["tina"]


def test_a_steady_and_louder_voice_takes_the_floor_from_one_who_goes_on_speaking():
    room = Room("tina", "sam")
    room.pass_time(3.0, tina=SPEECH + 10)
    room.pass_time(4.0, sam=LOUD_SPEECH)
    assert room.actives == ["tina", "sam"]


def test_nobody_has_the_floor_after_two_seconds_of_silence():
    room = Room("tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    room.pass_time(1.5, tina=None)
    assert room.speakers.active == "tina"
    room.pass_time(1.5)
    assert room.actives == ["tina", None]


def test_a_sender_who_stops_sending_in_silence_is_silent():
    room = Room("tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    del room.says["tina"]  # discontinuous transmission: no packets at all
    room.pass_time(3.0)
    assert room.actives == ["tina", None]
    room.pass_time(1.0, tina=SPEECH)
    assert room.speakers.active == "tina"


def test_packets_of_sixty_milliseconds_are_heard_whole():
    speakers = Speakers()
    for step in range(20):
        speakers.hear("tina", SPEECH, 1000 + step * 0.06)
    assert speakers.changes(1001.2).active == "tina"


def test_a_fan_is_not_a_speaker_after_a_while():
    room = Room("tina", "fan")
    room.steady.add("fan")
    room.pass_time(20.0, fan=SILENCE - 79)
    room.changes.clear()
    room.pass_time(5.0)
    assert room.changes == []
    assert room.speakers.active is None


def test_music_that_never_pauses_goes_on_being_heard():
    room = Room("tina", "sam")
    room.steady.add("tina")
    room.pass_time(60.0, tina=25)
    assert room.actives == ["tina"]
    assert room.speakers.active == "tina"


def test_whoever_leaves_has_the_floor_no_more():
    room = Room("tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    room.speakers.remove("tina")
    del room.says["tina"]
    room.pass_time(0.5)
    assert room.actives == ["tina", None]
    assert room.changes[-1][1].levels == {}
    room.speakers.remove("tina")  # twice does no harm


def test_all_who_speak_are_told_with_their_levels():
    room = Room("tina", "sam", "olga")
    room.pass_time(3.0, tina=SPEECH, sam=SPEECH + 10)
    levels = room.changes[-1][1].levels
    assert levels.keys() == {"tina", "sam"}
    assert SILENCE - SPEECH >= levels["tina"] > levels["sam"] > SILENCE - ROOM_TONE


def test_nothing_is_told_while_nothing_changes():
    room = Room("tina", "sam")
    room.pass_time(2.0, tina=SPEECH)
    room.changes.clear()
    room.pass_time(10.0)
    assert room.changes == []


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 127), st.floats(0, 0.3)), max_size=200))
def test_there_are_at_most_five_changes_a_second(packets):
    speakers = Speakers(3)
    now, told = 50.0, []
    for source, level, later in packets:
        now += later
        speakers.hear(source, level, now)
        change = speakers.changes(now)
        if change is not None:
            told.append(now)
            assert change.active is None or change.active in "abcdefgh"
            assert all(0 <= loudness <= 127 for loudness in change.levels.values())
        assert len(speakers.forwarded) <= 3
    assert all(later - earlier >= 0.2 - 1e-9 for earlier, later in pairwise(told))


# --- whose voices are forwarded ---

CROWD = [f"student{number}" for number in range(60)]


def test_all_voices_are_forwarded_without_a_limit():
    room = Room(*CROWD)
    room.pass_time(1.0)
    assert all(all(sent) for sent in room.sent.values())


def test_a_large_room_forwards_nobody_who_is_silent():
    room = Room(*CROWD, limit=5)
    room.pass_time(1.0)
    assert not any(any(sent) for sent in room.sent.values())


def test_a_voice_is_forwarded_from_its_first_loud_packet_on():
    room = Room(*CROWD, limit=5)
    room.steady.add("student7")
    room.pass_time(0.5)
    room.pass_time(2 * PACKET, student7=SPEECH)
    assert room.sent["student7"][-2:] == [True, True]


def test_words_are_not_cut_by_the_pauses_between_them():
    room = Room(*CROWD, limit=5)
    room.pass_time(10.0, **dict.fromkeys(CROWD[:5], SPEECH))
    for name in CROWD[:5]:
        sent = room.sent[name]
        assert all(sent[sent.index(True) :])


def test_no_more_than_the_limit_are_forwarded_however_many_speak():
    room = Room(*CROWD, limit=5)
    room.pass_time(5.0, **dict.fromkeys(CROWD[:20], SPEECH))
    forwarded = [sum(sent[step] for sent in room.sent.values()) for step in range(250)]
    assert max(forwarded) == 5


def test_a_sixth_voice_as_loud_as_the_others_waits():
    room = Room(*CROWD, limit=5)
    room.pass_time(3.0, **dict.fromkeys(CROWD[:5], SPEECH))
    room.pass_time(5.0, student9=SPEECH)
    assert room.speakers.forwarded == frozenset(CROWD[:5])


def test_a_clearly_louder_voice_displaces_the_quietest():
    room = Room(*CROWD, limit=5)
    room.pass_time(3.0, **dict.fromkeys(CROWD[:4], SPEECH), student4=SPEECH + 10)
    room.pass_time(2.0, student9=LOUD_SPEECH)
    assert room.speakers.forwarded == frozenset([*CROWD[:4], "student9"])


def test_a_slammed_door_displaces_nobody():
    room = Room(*CROWD, limit=5)
    room.pass_time(3.0, **dict.fromkeys(CROWD[:5], SPEECH))
    room.steady.add("student9")
    room.pass_time(0.16, student9=3)
    room.pass_time(1.0, student9=None)
    assert room.speakers.forwarded == frozenset(CROWD[:5])


def test_the_place_of_one_who_fell_silent_is_free_after_a_second():
    room = Room(*CROWD, limit=5)
    room.pass_time(3.0, **dict.fromkeys(CROWD[:5], SPEECH))
    room.pass_time(1.3, student2=None)
    room.pass_time(0.1 + 63 * PACKET, student9=SPEECH)
    assert "student9" in room.speakers.forwarded
    assert "student2" not in room.speakers.forwarded


def test_silence_is_not_forwarded_for_long():
    room = Room(*CROWD, limit=5)
    room.pass_time(2.0, student1=SPEECH)
    room.pass_time(2.0, student1=None)
    assert all(room.sent["student1"][-20:])
    room.pass_time(2.0)
    assert not any(room.sent["student1"][-20:])
    assert room.speakers.forwarded == frozenset()


def test_a_limit_that_comes_and_goes_takes_hold_at_once():
    room = Room(*CROWD)
    room.pass_time(1.0, **dict.fromkeys(CROWD[:10], SPEECH))
    room.speakers.limit = 5
    room.pass_time(1.0)
    assert len(room.speakers.forwarded) == 5
    room.speakers.limit = 2
    room.pass_time(1.5)
    assert len(room.speakers.forwarded) == 2
    room.speakers.limit = None
    room.pass_time(PACKET)
    assert all(sent[-1] for sent in room.sent.values())


@pytest.mark.parametrize("limit", [0, 1])
def test_the_smallest_limits_hold(limit):
    room = Room(*CROWD, limit=limit)
    room.pass_time(2.0, **dict.fromkeys(CROWD[:3], SPEECH))
    assert len(room.speakers.forwarded) == limit


def test_a_voice_that_was_removed_is_not_forwarded():
    room = Room(*CROWD, limit=1)
    room.pass_time(1.0, student1=SPEECH)
    room.speakers.remove("student1")
    del room.says["student1"]
    room.pass_time(1.0, student2=SPEECH)
    assert room.speakers.forwarded == frozenset(["student2"])
