"""Tracks are made of what is there, by copy, whatever happened to the worker."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from recordings.errors import NothingRecorded
from recordings.tracks import TrackFile, make_tracks
from sfu.manifest import TIMELINE
from tests.recordings.synthetic import BEGAN, DECODERS, SyntheticClass, person, read_bars


def pictures(track: TrackFile) -> list[tuple[float, int]]:
    """(seconds after the recording's start, the number that the picture shows)."""
    with av.open(str(track.path)) as container:
        return [
            (track.offset + float(frame.time or 0), read_bars(frame.to_ndarray()[: frame.height]))
            for frame in container.decode(video=0)
        ]


@pytest.fixture
def world(tmp_path: Path) -> SyntheticClass:
    return SyntheticClass(tmp_path / "recording", 4.0)


@pytest.mark.parametrize(("mime_type", "name"), list(DECODERS.items()))
def test_a_track_is_a_copy_with_the_times_of_the_class(world: SyntheticClass, mime_type: str, name: str) -> None:
    person(world, "Tina", 1.0, 4.0, mime_type=mime_type)
    tracks = {track.kind: track for track in make_tracks(world.write()).tracks}
    with av.open(str(tracks["video"].path)) as container:
        assert container.streams.video[0].codec_context.name == name
    seen = pictures(tracks["video"])
    assert len(seen) == 45
    for seconds, number in seen:
        assert seconds == pytest.approx(number / 15 + 0.03, abs=0.003)
    assert tracks["audio"].offset == pytest.approx(1.03, abs=0.003)
    assert tracks["audio"].duration == pytest.approx(3.0, abs=0.03)


def test_another_size_of_picture_is_another_file(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    world.camera("Tina", 0.0, 4.0, sizes=lambda at: (320, 180) if at < 1.5 or at >= 3 else (160, 90))
    tracks = make_tracks(world.write()).tracks
    assert [(track.width, track.height) for track in tracks] == [(320, 180), (160, 90), (320, 180)]
    assert [track.offset for track in tracks] == pytest.approx([0.12, 23 / 15 + 0.12, 3.12], abs=0.01)
    assert {track.producer_id for track in tracks} == {tracks[0].producer_id}


def test_what_a_killed_worker_left_is_used_to_the_last_packet(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 2.5, ended=False)
    folder = world.write(crashed=True)
    for log in folder.glob("*.rtpdump"):
        log.write_bytes(log.read_bytes()[:-7])
    (folder / TIMELINE).write_bytes((folder / TIMELINE).read_bytes() + b'{"at": 17000000')
    material = make_tracks(folder)
    assert material.duration == pytest.approx(2.6, abs=0.1)
    assert {track.kind: round(track.duration, 1) for track in material.tracks} == {"video": 2.5, "audio": 2.5}


def test_a_second_worker_goes_on_with_files_of_its_own(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    world.camera("Tina", 0.0, 1.5, ended=False)
    world.begin(2.5, epoch="e2")
    world.join(2.5, "Tina")
    world.camera("Tina", 2.6, 4.0, skew=77.0)
    material = make_tracks(world.write())
    first, second = material.tracks
    assert first.offset == pytest.approx(0.12, abs=0.01)
    assert second.offset == pytest.approx(2.72, abs=0.01)
    assert material.last_packets[first.producer_id] == pytest.approx(BEGAN + 1.55, abs=0.05)


def test_retransmissions_of_another_payload_type_are_left_out(world: SyntheticClass) -> None:
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 1.0)
    [log] = world.folder.glob("*.rtpdump")
    data = bytearray(log.read_bytes())
    log.write_bytes(data + data[data.index(b"\n") + 17 :].replace(b"\x80\x64", b"\x80\x65"))
    [track] = make_tracks(world.write()).tracks
    assert track.duration == pytest.approx(1.0, abs=0.03)


def test_a_codec_that_we_do_not_know_costs_its_track_alone(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 1.0)
    for entry in world.entries:
        if getattr(entry, "mime_type", "") == "video/VP8":
            entry.mime_type = "video/AV2"
    assert [track.kind for track in make_tracks(world.write()).tracks] == ["audio"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "missing.rtpdump"])
def test_a_timeline_names_files_of_its_own_folder_alone(world: SyntheticClass, name: str) -> None:
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 0.5)
    for entry in world.entries:
        if hasattr(entry, "file"):
            entry.file = name
    assert make_tracks(world.write()).tracks == []


def test_tracks_can_be_made_again(world: SyntheticClass) -> None:
    person(world, "Tina", 0.0, 1.0)
    folder = world.write()
    first, again = make_tracks(folder), make_tracks(folder)
    assert [track.path.name for track in first.tracks] == [track.path.name for track in again.tracks]


@pytest.mark.parametrize("timeline", [None, b"", b"\xff\x00garbage\n", b'{"type": "joined"}\n'])
def test_a_folder_without_a_recording_says_so(tmp_path: Path, timeline: bytes | None) -> None:
    if timeline is not None:
        (tmp_path / TIMELINE).write_bytes(timeline)
    with pytest.raises(NothingRecorded):
        make_tracks(tmp_path)
