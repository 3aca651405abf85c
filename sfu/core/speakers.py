"""Who speaks, and whose voices are forwarded in a large room, told by the levels that senders put beside their voice.

Each packet of voice says how loud it is (RFC 6464), so nothing is decoded. As in Volfin and Cohen, "Dominant speaker
identification for multipoint videoconferencing" (2013), a voice is judged over a short, a middle and a long time: a
cough is loud for the short one alone and changes nothing, and whoever speaks is not replaced for drawing breath.
"""

from __future__ import annotations

from typing import NamedTuple

SLOTS_A_SECOND = 50  # one packet of voice each
LONGEST_PACKET = 6  # slots: with none for longer than 120 ms a sender is silent (DTX)

SILENCE = 127  # the level of silence; 0 is the loudest
QUIETEST_SPEECH = 75  # dB above silence; fans and streets are mostly below
ABOVE_NOISE = 10  # dB by which speech is louder than what a microphone always hears
NOISE_AT_FIRST = 60.0
NOISE_AT_MOST = 80.0  # dB: what is louder by ABOVE_NOISE always counts, or music would be taken for noise
NOISE_RISES = 1.0 / SLOTS_A_SECOND  # dB a slot: a noise that stays is no longer taken for speech after some seconds
SMOOTHING = 0.1  # a slot's share in the loudness that voices are compared by

SHORT = 15  # slots, 0.3 s: longer than a cough or a key
MIDDLE = 50  # 1 s: longer than a breath, shorter than an answer
LONG = 100  # 2 s: a sentence
LOUDER = 6  # dB by which one must be louder than another to displace him while he speaks

CHANGE_INTERVAL = 0.2  # seconds between two changes: tiles that jump more often tire
LOOK_INTERVAL = 0.1  # seconds between two looks at all voices where nothing changed
HELD = 0.7  # seconds that one counts as speaking after his last loud packet
RELEASED_AFTER = 3.0  # seconds of silence after which a voice is not forwarded any more
YIELDS_AFTER = 1.0  # seconds of silence after which its place is free for another: longer than pauses between words
STAYS = 1.0  # seconds that a voice is forwarded at least before a louder one may displace it

_ALL = (1 << LONG) - 1
_MIDDLE = (1 << MIDDLE) - 1
_SHORT = (1 << SHORT) - 1


class SpeakerChange(NamedTuple):
    active: str | None  # who holds the floor; None: nobody for two seconds
    levels: dict[str, int]  # of all who speak now: dB above silence (0-127) of the newest packet that was speech


class Voice:
    """One source: a bit for each of the last hundred slots, the newest lowest; set where it spoke."""

    __slots__ = ("admitted_at", "history", "loud_at", "loudness", "noise", "said", "slot")

    def __init__(self) -> None:
        self.history = 0
        self.slot = -LONG
        self.noise = NOISE_AT_FIRST
        self.loudness = 0.0
        self.loud_at = -1e9  # when it last spoke
        self.said = 0  # how loud that was
        self.admitted_at = 0.0  # when it was last begun to be forwarded

    def hear(self, loudness: int, now: float) -> bool:
        """Take a packet's loudness in. True if it is speech."""
        slot = int(now * SLOTS_A_SECOND)
        passed = slot - self.slot
        spoken = loudness >= QUIETEST_SPEECH and loudness >= self.noise + ABOVE_NOISE
        if passed <= 0:  # a second packet in one slot, or a late one
            self.history |= spoken
            passed = 0
        elif passed <= LONGEST_PACKET:
            self.history = (self.history << passed | ((1 << passed) - 1 if spoken else 0)) & _ALL
        else:
            self.history = self.history << min(passed, LONG) & _ALL | spoken
            self.loudness = 0.0
            passed = 1
        self.slot = max(self.slot, slot)
        self.noise = min(loudness, self.noise + NOISE_RISES * passed, NOISE_AT_MOST)
        self.loudness += (loudness - self.loudness) * SMOOTHING * (passed or 1)
        if spoken:
            self.loud_at = now
            self.said = loudness
        return spoken

    def spoken(self, now: float) -> int:
        """The history as of now."""
        passed = int(now * SLOTS_A_SECOND) - self.slot
        return self.history if passed <= LONGEST_PACKET else self.history << min(passed, LONG) & _ALL


class Speakers:
    """The voices of one room. Feed it each packet's level and who left; ask it for changes as often as you like."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit  # how many voices are forwarded; None: all
        # Who is forwarded in the whole room, where another worker judges that; None: we do.
        self.chosen: frozenset[str] | None = None
        self.active: str | None = None
        self._voices: dict[str, Voice] = {}
        self._forwarded: dict[str, Voice] = {}
        self._told: frozenset[str] = frozenset()
        self._told_active: str | None = None
        self._next_look = -1e9

    @property
    def _audible(self) -> dict[str, Voice]:
        """Who can be heard at all: nobody else holds the floor, or is told of."""
        return self._voices if self.limit is None else self._forwarded

    @property
    def forwarded(self) -> frozenset[str]:
        """Those who are forwarded under the limit."""
        return frozenset(self._forwarded)

    def hear(self, source: str, level: int, now: float) -> bool:
        """A packet of `source` with `level` (0 the loudest, 127 silence). Whether to forward it."""
        voice = self._voices.get(source)
        if voice is None:
            voice = self._voices[source] = Voice()
        spoken = voice.hear(SILENCE - (level & SILENCE), now)
        if self.limit is None:
            return True
        if source in self._forwarded:
            if spoken or now - voice.loud_at < RELEASED_AFTER:
                return True
            del self._forwarded[source]
            return False
        if not spoken or not self._make_room(voice, now):
            return False
        voice.admitted_at = now
        self._forwarded[source] = voice
        return True

    def is_chosen(self, source: str) -> bool:
        """Whether who is loud enough here is so in the whole room, or has a place there the moment he is heard."""
        chosen = self.chosen
        return chosen is None or self.limit is None or source in chosen or len(chosen) < self.limit

    def remove(self, source: str) -> None:
        """He left, or muted himself."""
        self._voices.pop(source, None)
        self._forwarded.pop(source, None)
        if self.active == source:
            self.active = None

    def _make_room(self, newcomer: Voice, now: float) -> bool:
        """Whether there is a place among the forwarded for one who begins to speak, if need be another's.

        A free place is taken with the first loud packet, or the word's beginning would be cut.
        """
        forwarded = self._forwarded
        limit = self.limit or 0
        while len(forwarded) > limit:  # it was lowered
            del forwarded[min(forwarded, key=lambda source: forwarded[source].loud_at)]
        if len(forwarded) < limit:
            return True
        if not forwarded:
            return False
        silent = min(forwarded, key=lambda source: forwarded[source].loud_at)
        if now - forwarded[silent].loud_at >= YIELDS_AFTER:
            del forwarded[silent]
            return True
        # All of them speak: only a steady and clearly louder voice displaces one, and none that has just begun.
        if (newcomer.history & _SHORT).bit_count() < SHORT * 2 // 3:
            return False
        settled = [source for source, voice in forwarded.items() if now - voice.admitted_at >= STAYS]
        if not settled:
            return False
        quietest = min(settled, key=lambda source: forwarded[source].loudness)
        if newcomer.loudness < forwarded[quietest].loudness + LOUDER:
            return False
        del forwarded[quietest]
        return True

    def changes(self, now: float) -> SpeakerChange | None:
        """What changed since it was last told, at most five times a second; None: nothing, or not yet."""
        if now < self._next_look:
            return None
        self._next_look = now + LOOK_INTERVAL
        self._choose(now)
        speaking = {source: voice for source, voice in self._audible.items() if now - voice.loud_at < HELD}
        if self.active == self._told_active and speaking.keys() == self._told:
            return None
        self._told, self._told_active = frozenset(speaking), self.active
        self._next_look = now + CHANGE_INTERVAL
        return SpeakerChange(self.active, {source: voice.said for source, voice in speaking.items()})

    def _choose(self, now: float) -> None:
        audible = self._audible
        holder = audible.get(self.active) if self.active is not None else None
        held = holder.spoken(now) if holder is not None else 0
        if not held:
            self.active = None
        best: tuple[int, float] = (0, 0.0)
        for source, voice in audible.items():
            if source == self.active or now - voice.loud_at > HELD:
                continue
            history = voice.spoken(now)
            if (history & _SHORT).bit_count() < SHORT * 2 // 3:
                continue
            middle, long = (history & _MIDDLE).bit_count(), history.bit_count()
            if held and (held & _MIDDLE).bit_count() > MIDDLE // 5:
                # He speaks: who wants the floor is louder than he, and for a whole sentence.
                assert holder is not None
                if long < LONG * 2 // 3 or voice.loudness < holder.loudness + LOUDER:
                    continue
            elif held and middle < MIDDLE // 2:
                continue  # he draws breath: a short word of another is no answer
            if (long, voice.loudness) > best:
                best = (long, voice.loudness)
                chosen = source
        if best[0]:
            self.active = chosen
