"""The folder of a long class with many people, in pictures small enough to be written at once.

People come and go, switch their cameras on in turn, and speak one after the other; who is silent sends what Opus sends
in silence. All is drawn from one seed: each run is the same class.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recorded_class import BEGAN, LOOP, Look, clip, complete, started, voice, write_log
from sfu.manifest import ENTRIES, ActiveSpeaker, Joined, Left, Started, TrackEnded

CAMERA = Look(320, 180, 10, 60_000)
STAYS = (600.0, 3000.0)  # seconds from coming to going
AWAY = (60.0, 600.0)
CAMERA_ON = 300.0  # seconds of each camera, one after the other
TURN = (3.0, 20.0)  # seconds that one speaks
SILENT_EVERY = 0.4  # seconds between two packets of a silent voice


@dataclass(frozen=True)
class Stay:
    person: int
    begin: float
    end: float


class LongClass:
    def __init__(self, seconds: float, people: int = 30, cameras: int = 4) -> None:
        self.seconds = seconds
        self.people = people
        self.cameras = cameras  # that are on at a time
        self._random = random.Random(1)
        self.stays = [stay for person in range(people) for stay in self._stays(person)]
        self.turns = list(self._turns())

    def _stays(self, person: int) -> Iterator[Stay]:
        begin = 0.0 if person == 0 else self._random.uniform(0.0, AWAY[0])
        while begin < self.seconds:
            end = self.seconds if person == 0 else min(self.seconds, begin + self._random.uniform(*STAYS))
            yield Stay(person, begin, end)
            begin = end + self._random.uniform(*AWAY)

    def _turns(self) -> Iterator[tuple[int, float, float]]:
        at = 0.0
        while at < self.seconds:
            there = [stay.person for stay in self.stays if stay.begin <= at < stay.end]
            end = at + self._random.uniform(*TURN)
            yield self._random.choice([0, *there]), at, end
            at = end

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        entries: list[ENTRIES] = [Started(at=BEGAN, recording=folder.name, room="bench", epoch="e1")]
        entries += [ActiveSpeaker(at=BEGAN + at, peer=f"p{person}") for person, at, _ in self.turns]
        for number, stay in enumerate(self.stays):
            peer = f"p{stay.person}"
            entries.append(Joined(at=BEGAN + stay.begin, peer=peer, name=f"Person {stay.person}"))
            if stay.end < self.seconds:
                entries.append(Left(at=BEGAN + stay.end, peer=peer))
            about = started(f"voice{number}", stay.person, "microphone", stay.begin)
            write_log(folder / about.file, about.kind, self._speech(stay), stay.begin)
            entries.append(about)
        for number, stay in enumerate(self._cameras()):
            about = started(f"camera{number}", stay.person, "camera", stay.begin)
            write_log(folder / about.file, about.kind, _pictures(stay), stay.begin)
            entries += [about, TrackEnded(at=BEGAN + stay.end, producer_id=about.producer_id)]
        entries.sort(key=lambda entry: entry.at)
        complete(folder, entries, self.seconds)
        return folder

    def _cameras(self) -> Iterator[Stay]:
        at = 0.0
        while at < self.seconds:
            end = min(self.seconds, at + CAMERA_ON)
            there = [stay.person for stay in self.stays if stay.begin <= at and stay.end >= end]
            for person in self._random.sample(there, min(self.cameras, len(there))):
                yield Stay(person, at, end)
            at = end

    def _speech(self, stay: Stay) -> Iterator[tuple[float, bytes]]:
        packets, at = voice(), stay.begin
        turns = [turn for turn in self.turns if turn[0] == stay.person and turn[2] > stay.begin]
        while at < stay.end:
            yield at, packets[int(at * 50) % len(packets)]
            while turns and turns[0][2] <= at:
                turns.pop(0)
            at += 0.02 if turns and turns[0][1] <= at else SILENT_EVERY


def _pictures(stay: Stay) -> Iterator[tuple[float, bytes]]:
    frames = clip(CAMERA, LOOP * CAMERA.fps)
    for number in range(int((stay.end - stay.begin) * CAMERA.fps)):
        yield stay.begin + number / CAMERA.fps, frames[number % len(frames)]
