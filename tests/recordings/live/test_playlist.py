"""Playlists by the letter of RFC 8216bis, and over a restart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from recordings.live import playlist
from recordings.live.encode import PARTS, Part
from recordings.live.playlist import SOUND
from recordings.live.shelf import WINDOW, Shelf, close

BEGAN = 1_700_000_000.0


def part(second: int, number: int, data: bytes = b"x") -> Part:
    return Part(second, number, second + number / PARTS, 1 / PARTS, number == 0, data)


def shelf(folder: Path) -> Shelf:
    made = Shelf(folder, BEGAN)
    for name, codec in (("720p", "avc1.4d401f"), ("360p", "avc1.4d401e"), (SOUND, "mp4a.40.2")):
        made.open(name, codec, 1000, 1 / PARTS, b"header")
    return made


def put(made: Shelf, second: int, parts: int = PARTS) -> None:
    for number in range(parts):
        for name in ("720p", "360p", SOUND):
            made.put(name, part(second, number))


def lines(folder: Path, name: str = "720p") -> list[str]:
    return (folder / f"{name}.m3u8").read_text().splitlines()


def test_each_part_is_told_when_it_is_there_and_the_next_one_is_hinted_at(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    put(made, 7)
    put(made, 8, parts=2)
    told = lines(tmp_path)
    assert told[0] == "#EXTM3U"
    assert "#EXT-X-TARGETDURATION:1" in told
    assert "#EXT-X-PART-INF:PART-TARGET=0.33333" in told
    assert "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.00000,HOLD-BACK=3.0" in told
    assert told[-1] == '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="720p-1.2.m4s"'
    assert told[-3:-1] == [
        '#EXT-X-PART:DURATION=0.33333,URI="720p-1.0.m4s",INDEPENDENT=YES',
        '#EXT-X-PART:DURATION=0.33333,URI="720p-1.1.m4s"',
    ]
    assert "720p-0.m4s" in told
    assert f"#EXT-X-PROGRAM-DATE-TIME:{playlist.clock(BEGAN + 7)}" in told
    assert (tmp_path / "720p-0.m4s").read_bytes() == b"x" * PARTS
    for line in told:
        if "URI=" in line and "HINT" not in line:
            assert (tmp_path / line.partition('URI="')[2].partition('"')[0]).exists()


def test_the_multivariant_playlist_has_every_quality_with_its_sound(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    put(made, 0)
    told = (tmp_path / "live.m3u8").read_text()
    assert 'TYPE=AUDIO,GROUP-ID="sound"' in told
    for name, size in (("720p", "1280x720"), ("360p", "640x360")):
        assert f"RESOLUTION={size}" in told
        assert f"\n{name}.m3u8\n" in told


def test_the_folder_holds_the_last_half_minute(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    for second in range(80):
        put(made, second)
    assert f"#EXT-X-MEDIA-SEQUENCE:{80 - WINDOW}" in lines(tmp_path)
    assert len(list(tmp_path.iterdir())) < 3 * (WINDOW + 20 + 3 * 20)


def test_a_process_that_goes_on_uses_no_number_twice_and_says_that_it_is_another(tmp_path: Path) -> None:
    first = shelf(tmp_path)
    put(first, 3)
    put(first, 4, parts=2)  # and killed
    second = shelf(tmp_path)
    put(second, 9)
    told = lines(tmp_path)
    assert told.count("#EXT-X-DISCONTINUITY") == 1
    before, after = "\n".join(told).split("#EXT-X-DISCONTINUITY\n")
    assert "720p-1.m4s" in before
    assert "#EXTINF:0.66667," in before
    assert after.startswith('#EXT-X-MAP:URI="720p-init1.mp4"')
    assert "720p-2.m4s" in after
    for later in range(10, 10 + WINDOW):
        put(second, later)
    told = lines(tmp_path)
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1" in told
    assert "#EXT-X-DISCONTINUITY" not in told


def test_an_end_is_told(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    put(made, 0)
    put(made, 1, parts=1)
    made.end()
    told = lines(tmp_path)
    assert told[-1] == "#EXT-X-ENDLIST"
    assert "HINT" not in "".join(told)
    assert "720p-1.m4s" in told


def test_an_end_is_told_in_place_of_a_process_that_was_killed(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    put(made, 0)
    put(made, 1, parts=2)
    close(tmp_path)
    told = lines(tmp_path)
    assert told[-2:] == ["720p-0.m4s", "#EXT-X-ENDLIST"]
    assert not [line for line in told if "720p-1." in line]
    manifest = ET.fromstring((tmp_path / "live.mpd").read_text())  # noqa: S314  of our own making
    assert manifest.get("minimumUpdatePeriod") is None
    assert "ENDLIST" not in (tmp_path / "live.m3u8").read_text()
    close(tmp_path)
    assert lines(tmp_path) == told

    made.end()  # it lived longer than was thought
    whole = {path.name: path.read_text() for path in (*tmp_path.glob("*.m3u8"), tmp_path / "live.mpd")}
    close(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in whole} == whole


def test_an_end_is_told_also_before_the_first_segment_was_whole(tmp_path: Path) -> None:
    put(shelf(tmp_path), 0, parts=1)
    close(tmp_path)
    told = lines(tmp_path)
    assert told[-1] == "#EXT-X-ENDLIST"
    assert "m4s" not in "".join(told)


def test_dash_tells_of_the_same_segments(tmp_path: Path) -> None:
    made = shelf(tmp_path)
    for second in (5, 6, 7):
        put(made, second)
    space = {"d": "urn:mpeg:dash:schema:mpd:2011"}
    manifest = ET.fromstring((tmp_path / "live.mpd").read_text())  # noqa: S314  of our own making
    assert manifest.get("type") == "dynamic"
    assert manifest.get("availabilityStartTime") == playlist.clock(BEGAN)
    timing = manifest.find("d:UTCTiming", space)
    assert timing.get("value") == manifest.get("publishTime") == playlist.clock(BEGAN + 8)  # what there is ends there
    names = [one.get("id") for one in manifest.iterfind(".//d:Representation", space)]
    assert names == ["720p", "360p", SOUND]
    template = manifest.find(".//d:SegmentTemplate", space)
    assert template.get("media") == "720p-$Number$.m4s"
    assert template.get("startNumber") == "0"
    assert [(line.get("t"), line.get("d")) for line in template.iterfind(".//d:S", space)] == [
        ("5000", "1000"), ("6000", "1000"), ("7000", "1000"),
    ]  # fmt: skip
