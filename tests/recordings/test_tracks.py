"""Tracks are read from what is there, whatever happened to the worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.composing.compose import Plan, plan
from recordings.composing.pictures import Pictures
from recordings.composing.segments import SECONDS, Segment, Segments
from recordings.composing.tracks import TrackFile
from recordings.errors import NothingRecorded
from sfu.manifest import TIMELINE
from tests.recordings import synthetic
from tests.recordings.synthetic import DECODERS, SyntheticClass, person, read_bars


def planned(folder: Path) -> tuple[Plan, list[Segment]]:
    made = plan(folder)
    return made, [Segments(folder).read(number) for number in range(made.segments)]


def pictures(folder: Path, segment: Segment, producer_id: str) -> list[tuple[float, int, int]]:
    """(seconds after the recording's start, the number that the picture shows, its width), each once."""
    source = Pictures(folder, segment, [one for one in segment.cameras if one.producer_id == producer_id])
    seen: dict[float, tuple[int, int]] = {}
    for step in range(segment.begin * 10, segment.end * 10):
        found = source.at(step / 300)
        if found is not None and found[0] not in seen:
            seen[found[0]] = (read_bars(found[1].to_ndarray()[: found[1].height]), found[1].width)
    return [(seconds, *look) for seconds, look in seen.items()]


def by_kind(tracks: list[TrackFile]) -> dict[str, TrackFile]:
    return {track.kind: track for track in tracks}


@pytest.fixture
def world(tmp_path: Path) -> SyntheticClass:
    return SyntheticClass(tmp_path / "recording", 4.0)


@pytest.mark.parametrize("mime_type", DECODERS)
def test_pictures_of_every_codec_have_the_times_of_the_class(world: SyntheticClass, mime_type: str) -> None:
    camera, _ = person(world, "Tina", 1.0, 4.0, mime_type=mime_type)
    made, [segment] = planned(world.write())
    seen = pictures(world.folder, segment, camera)
    assert len(seen) == 45
    for seconds, number, _ in seen:
        assert seconds == pytest.approx(number / 15 + 0.03, abs=0.003)
    tracks = by_kind(made.tracks)
    assert tracks["audio"].offset == pytest.approx(1.03, abs=0.003)
    assert tracks["audio"].duration == pytest.approx(3.0, abs=0.03)
    assert tracks["video"].file == segment.cameras[0].file


def test_another_size_of_picture_leaves_none_out(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    camera = world.camera("Tina", 0.0, 4.0, sizes=lambda at: (320, 180) if at < 1.5 or at >= 3 else (160, 90))
    _, [segment] = planned(world.write())
    seen = pictures(world.folder, segment, camera)
    assert [number for _, number, _ in seen] == list(range(len(seen)))
    assert len(seen) in (58, 59), "the last two come after the end"
    assert {(number >= 23 and number < 45, width) for _, number, width in seen} == {(False, 320), (True, 160)}


def test_what_a_killed_worker_left_is_used_to_the_last_packet(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 2.5, ended=False)
    folder = world.write(crashed=True)
    for log in folder.glob("*.rtpdump"):
        log.write_bytes(log.read_bytes()[:-7])
    (folder / TIMELINE).write_bytes((folder / TIMELINE).read_bytes() + b'{"at": 17000000')
    made = plan(folder)
    assert made.duration == pytest.approx(2.6, abs=0.1)
    assert {track.kind: round(track.duration, 1) for track in made.tracks} == {"video": 2.5, "audio": 2.5}


def test_a_second_worker_goes_on_with_logs_of_its_own(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    world.camera("Tina", 0.0, 1.5, ended=False)
    world.begin(2.5, epoch="e2")
    world.join(2.5, "Tina")
    world.camera("Tina", 2.6, 4.0, skew=77.0)
    made = plan(world.write())
    first, second = made.tracks
    assert first.offset == pytest.approx(0.12, abs=0.01)
    assert second.offset == pytest.approx(2.72, abs=0.01)
    assert made.gap == pytest.approx(2.5 - 1.55, abs=0.05)


def test_retransmissions_of_another_payload_type_are_left_out(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 1.0)
    [log] = world.folder.glob("*.rtpdump")
    data = bytearray(log.read_bytes())
    log.write_bytes(data + data[data.index(b"\n") + 17 :].replace(b"\x80\x64", b"\x80\x65"))
    [track] = plan(world.write()).tracks
    assert track.duration == pytest.approx(1.0, abs=0.03)


def test_a_codec_that_we_do_not_know_costs_its_track_alone(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 1.0)
    for entry in world.entries:
        if getattr(entry, "mime_type", "") == "video/VP8":
            entry.mime_type = "video/AV2"
    assert [track.kind for track in plan(world.write()).tracks] == ["audio"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "missing.rtpdump"])
def test_a_timeline_names_files_of_its_own_folder_alone(world: SyntheticClass, name: str) -> None:
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 0.5)
    for entry in world.entries:
        if hasattr(entry, "file"):
            entry.file = name
    assert plan(world.write()).tracks == []


def test_what_was_planned_is_not_planned_again(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 1.0)
    folder = world.write()
    first, path = plan(folder), Segments(folder).plan_path(0)
    written = path.stat().st_mtime_ns
    assert plan(folder) == first
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("timeline", [None, b"", b"\xff\x00garbage\n", b'{"type": "joined"}\n'])
def test_a_folder_without_a_recording_says_so(tmp_path: Path, timeline: bytes | None) -> None:
    if timeline is not None:
        (tmp_path / TIMELINE).write_bytes(timeline)
    with pytest.raises(NothingRecorded):
        plan(tmp_path)


# --- while the class goes on -----------------------------------------------------------------------------------------


def test_a_key_frame_that_a_loss_has_broken_is_not_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second segment begins at 32 s: the key frame at 30 s lost a packet, so the one at 25 s is the one."""
    monkeypatch.setattr(synthetic, "MTU", 100)  # a key frame has several packets
    world = SyntheticClass(tmp_path / "recording", 36.0)
    world.join(0.0, "Tina")
    first: list[int] = []  # packet of the key frame at 30 s

    def losing(seconds: float, number: int) -> bool:
        if 29.99 < seconds < 30.01 and not first:
            first.append(number)
        return bool(first) and number == first[0] + 1

    camera = world.camera("Tina", 0.0, 36.0, keys=[25.0, 30.0, 34.0], lost=losing)
    _, segments = planned(world.write())
    assert SECONDS == 32
    assert len(segments) == 2
    before = pictures(world.folder, segments[0], camera)
    after = pictures(world.folder, segments[1], camera)
    assert after[0][:2] == before[-1][:2], "what stands at the border stands there for both"
    assert before[-1][0] == pytest.approx(29.93 + 0.12, abs=0.05)
    assert [round(seconds, 1) for seconds, _, _ in after[1:]] == pytest.approx(
        [round(34.12 + index / 15, 1) for index in range(len(after) - 1)]
    )
