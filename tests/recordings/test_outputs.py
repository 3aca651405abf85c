"""What is made of a film: each format shows and sounds the same at the same time, and nothing foreign gets in.

One film is shot: Tina's camera with a frame counter, a flash and a beep every two seconds, for 13.5 seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from recordings.composing.composition import FPS, HD, SIZES, Rect, Scene, Tile, grid
from recordings.errors import CompositionFailed
from recordings.outputs import hls, poster, sound, thumbnails, webm
from recordings.outputs.media import check, seconds_of
from recordings.outputs.webvtt import Cue, escaped, webvtt
from recordings.programs import BASE_DIR
from tests.recordings.film import RATE, Film, Picture, shoot, sound_of

LENGTH = 13.5
WHOLE = Rect(0, 0, HD.width, HD.height)
SMALL = Rect(0, 0, SIZES["360p"].width, SIZES["360p"].height)
READ_HLS = {"allowed_extensions": "ALL", "allowed_segment_extensions": "ALL", "extension_picky": "0"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    sizes = {"720p": (HD.width, HD.height), "360p": (SMALL.width, SMALL.height)}
    return {quality: shoot(folder / f"{quality}.mp4", "Tina", LENGTH, size) for quality, size in sizes.items()}


@pytest.fixture(scope="module")
def made(films: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HLS first of one film, then of both, as qualities come one after the other."""
    folder = tmp_path_factory.mktemp("made")
    hls.make({"720p": films["720p"]}, LENGTH, folder)
    hls.make(films, LENGTH, folder)
    return folder


def same_film(film: Film, rect: Rect) -> None:
    assert film.duration == pytest.approx(LENGTH, abs=1 / FPS)
    assert film.times == pytest.approx([index / FPS for index in range(len(film.pictures))], abs=2e-3)
    for index in range(0, len(film.pictures), 7):
        assert film.pictures[index].number(rect) == round((index + 0.5) / FPS * 15) % 256, index
    assert film.sound_begins + len(film.sound) / RATE == pytest.approx(LENGTH, abs=1 / FPS)
    assert film.sound_begins == pytest.approx(0, abs=0.01)
    flashes, beeps = film.flashes(rect, 1.0, LENGTH), film.beeps()
    assert [round(at) for at in flashes] == [round(at) for at in beeps] == list(range(2, 14, 2))
    for flash, beep in zip(flashes, beeps, strict=True):
        assert abs(flash - beep) < 0.04


# --- HLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quality", "rect"), [("720p", WHOLE), ("360p", SMALL)])
def test_hls_shows_and_sounds_the_whole_film_in_each_quality(made: Path, quality: str, rect: Rect) -> None:
    """Read by FFmpeg's own HLS reader, from the master playlist."""
    master = (made / hls.MASTER).read_text()
    others = re.sub(r"#EXT-X-STREAM-INF[^\n]*\n(?!" + quality + r")[^\n]*\n", "", master)
    alone = made / "hls" / f"only-{quality}.m3u8"
    alone.write_text(others)
    film = Film(alone, **READ_HLS)
    assert film.size == (rect.width, rect.height)
    same_film(film, rect)


def test_the_master_lists_all_qualities_lowest_first_with_their_sizes_rates_and_codecs(made: Path) -> None:
    lines = (made / hls.MASTER).read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["360p.m3u8", "720p.m3u8"]
    assert [found for line in lines for found in re.findall(r"RESOLUTION=(\d+x\d+)", line)] == ["640x360", "1280x720"]
    rates = [int(found) for line in lines for found in re.findall(r":BANDWIDTH=(\d+)", line)]
    whole = [(made / "hls" / f"{name}.m4s").stat().st_size * 8 / LENGTH for name in ("360p", "720p", "sound")]
    assert rates[0] > whole[0] + whole[2] * 0.9
    assert rates[1] > whole[1] + whole[2] * 0.9
    told = re.compile(r'.*,CODECS="avc1\.[0-9A-F]{6},mp4a\.40\.2",AUDIO="sound"')
    assert all(told.fullmatch(line) for line in lines if line.startswith("#EXT-X-STREAM-INF"))


def parts(playlist: Path) -> Iterator[tuple[hls.Segment, bytes]]:
    """Each segment with what a player puts in front of it."""
    file = playlist.with_suffix(".m4s").read_bytes()
    found = hls.segments(playlist.read_text())
    for segment in found:
        yield segment, file[: found[0].begin] + file[segment.begin : segment.begin + segment.size]


@pytest.mark.parametrize("quality", ["360p", "720p"])
def test_segments_begin_with_key_frames_and_add_up(made: Path, tmp_path: Path, quality: str) -> None:
    pictures, begins = 0, 0.0
    for segment, data in parts(made / "hls" / f"{quality}.m3u8"):
        part = tmp_path / "part.mp4"
        part.write_bytes(data)
        with av.open(str(part)) as container:
            frames = list(container.decode(video=0))
        assert frames[0].key_frame
        assert frames[0].time == pytest.approx(begins, abs=1e-3)
        assert segment.seconds == pytest.approx(len(frames) / FPS, abs=1e-3)
        assert segment.seconds <= 2 * hls.SEGMENT
        pictures += len(frames)
        begins += segment.seconds
    assert pictures == round(LENGTH * FPS)


def test_qualities_are_cut_at_the_same_moments(made: Path) -> None:
    one, other = (hls.segments((made / "hls" / f"{quality}.m3u8").read_text()) for quality in ("360p", "720p"))
    assert [segment.seconds for segment in one] == [segment.seconds for segment in other]


def test_a_playlist_that_does_not_add_up_is_not_kept(films: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CompositionFailed, match="lasts"):
        hls.make({"720p": films["720p"]}, LENGTH + 1, tmp_path)
    assert not list(tmp_path.glob("hls/[!.]*.m3u8"))


MAKE_HLS = """
import sys
from pathlib import Path
from recordings.outputs import hls
hls.make({"720p": Path(sys.argv[1])}, float(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("there", [1, 3, 4])
def test_what_a_killed_process_left_is_made_whole(
    films: dict[str, Path], made: Path, tmp_path: Path, there: int
) -> None:
    """Killed with all that it had started, when so many files are there and the last of them is being written."""
    arguments = [sys.executable, "-c", MAKE_HLS, str(films["720p"]), str(LENGTH), str(tmp_path)]
    with subprocess.Popen(arguments, cwd=BASE_DIR, start_new_session=True) as process:
        while process.poll() is None and sum(1 for _ in tmp_path.glob("hls/*")) < there:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    hls.make({"720p": films["720p"]}, LENGTH, tmp_path)
    for name in ("720p.m4s", "720p.m3u8", "sound.m4s", "sound.m3u8"):
        assert (tmp_path / "hls" / name).read_bytes() == (made / "hls" / name).read_bytes()


# --- other formats ---------------------------------------------------------------------------------------------------


def test_webm_shows_and_sounds_the_same_in_vp9_and_opus(films: dict[str, Path], tmp_path: Path) -> None:
    film = Film(webm.make(films["360p"], "360p", LENGTH, tmp_path))
    assert film.codecs == ("vp9", "opus")
    assert film.size == (640, 360)
    same_film(film, SMALL)


def test_the_sound_alone_is_the_films_own(films: dict[str, Path], tmp_path: Path) -> None:
    made = sound.make(films["720p"], LENGTH, tmp_path)
    (began, heard), (begins, samples) = sound_of(films["720p"]), sound_of(made)
    assert (begins, len(samples)) == (began, len(heard))
    assert np.array_equal(samples, heard)
    with av.open(str(made)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
    assert made.read_bytes().find(b"moov") < made.read_bytes().find(b"mdat"), "its index is in front"


@pytest.mark.parametrize("cut", [0, 200, 100_000])
def test_what_is_cut_off_is_noticed(films: dict[str, Path], tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(films["720p"].read_bytes()[:cut])
    with pytest.raises(CompositionFailed):
        check(broken, "mp4", LENGTH, {"h264", "aac"})
    with pytest.raises(CompositionFailed):
        sound.make(broken, LENGTH, tmp_path)


# --- pictures --------------------------------------------------------------------------------------------------------


def jpeg(path: Path) -> Picture:
    with av.open(str(path), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0)).reformat(format="yuv420p", dst_color_range="MPEG")
    planes = [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : plane.width].copy()
        for plane in frame.planes
    ]
    return Picture(*planes)


def test_thumbnails_show_what_the_film_shows_at_their_time_and_cover_it(films: dict[str, Path], tmp_path: Path) -> None:
    *sheets, told = thumbnails.make(films["720p"], LENGTH, tmp_path)
    assert [sheet.name for sheet in sheets] == ["thumbnails-1.jpg"]
    sheet = jpeg(sheets[0])
    assert sheet.luma.shape == (900, 1600)
    cues = cues_of(told.read_text())
    assert len(cues) >= LENGTH // 4
    assert cues[0][0] == 0
    assert cues[-1][1] == pytest.approx(LENGTH, abs=0.001)
    assert [end for _, end, _ in cues[:-1]] == [begin for begin, _, _ in cues[1:]]
    for begin, _, text in cues:
        file, _, place = text.partition("#xywh=")
        rect = Rect(*(int(number) for number in place.split(",")))
        assert file == "thumbnails-1.jpg"
        assert sheet.number(rect) == round((begin + 0.5 / FPS) * 15)


def test_of_a_long_film_there_are_not_more_thumbnails_than_sheets_can_bear() -> None:
    moments = [index * 4.0 for index in range(2700)]
    kept = thumbnails.chosen(moments, 10800 / thumbnails.MOST)
    assert len(kept) <= thumbnails.MOST
    places = [cue.text for cue in thumbnails.cues(kept, 10800.0)]
    assert len(set(places)) == len(places)
    assert places[100] == "thumbnails-2.jpg#xywh=0,0,160,90"
    assert places[111] == "thumbnails-2.jpg#xywh=160,90,160,90"


def scene(begin: float, end: float, *sources: str) -> Scene:
    tiles = [
        Tile(rect, "x", "p", source.removesuffix(" off"), None if "off" in source else f"p-{source}-{number}")
        for number, (rect, source) in enumerate(zip(grid(len(sources)), sources, strict=True))
    ]
    return Scene(round(begin * FPS), round(end * FPS), tuple(tiles))


def test_the_poster_is_a_shared_screen_or_else_the_most_people() -> None:
    alone, three = scene(0, 10, "camera"), scene(10, 14, "camera", "camera", "camera off", "camera")
    screen, glimpse = scene(14, 18, "screen", "camera"), scene(18, 19, "screen", "camera", "camera", "camera")
    assert poster.moments([alone, three, glimpse])[0] == 12.0, "a second is no time to take a picture in"
    assert poster.moments([alone, three, screen])[0] == 16.0


def test_a_poster_is_one_large_picture_of_its_moment(films: dict[str, Path], tmp_path: Path) -> None:
    picture = jpeg(poster.make(films["720p"], [scene(0, 4, "camera"), scene(4, 8, "screen")], tmp_path))
    assert picture.luma.shape == (720, 1280)
    assert picture.shows(WHOLE) == "Tina"
    assert picture.number(WHOLE) == pytest.approx(6.0 * 15, abs=1)


def test_a_poster_is_no_black_picture_where_there_is_another(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for index in range(8 * FPS):
            luma = np.full((270, 320), 16, np.uint8) if index < 4 * FPS else np.full((270, 320), 128, np.uint8)
            if index >= 4 * FPS:
                luma[:180, 160:] = 235
            frame = av.VideoFrame.from_ndarray(luma, format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    picture = jpeg(poster.make(film, [scene(0, 4, "screen"), scene(4, 8, "camera")], tmp_path))
    assert picture.luma[:, 200:].mean() > 200


# --- WebVTT ----------------------------------------------------------------------------------------------------------

CUE = re.compile(r"(\d\d):(\d\d):(\d\d\.\d\d\d) --> (\d\d):(\d\d):(\d\d\.\d\d\d)\n(.*)")


def cues_of(text: str) -> list[tuple[float, float, str]]:
    """Read strictly: a head, then blocks of one line of times and one of text, each after an empty line."""
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    cues = []
    for block in blocks:
        match = CUE.fullmatch(block)
        assert match is not None, block
        begin, end = (
            int(match[first]) * 3600 + int(match[first + 1]) * 60 + float(match[first + 2]) for first in (1, 4)
        )
        assert begin < end
        cues.append((begin, end, match[7]))
    assert cues == sorted(cues, key=lambda cue: cue[0])
    return cues


def test_cues_rise_and_are_never_empty() -> None:
    text = webvtt([Cue(3723.4567, 3724, "later"), Cue(1, 1, "now"), Cue(59.9999, 61, "a minute")])
    assert cues_of(text) == [
        (1.0, 1.001, "now"),
        (60.0, 61.0, "a minute"),
        (3723.457, 3724.0, "later"),
    ]


def test_text_is_neither_markup_nor_an_arrow() -> None:
    assert escaped("<b>1 --> 2</b> & <c>") == "&lt;b&gt;1 --&gt; 2&lt;/b&gt; &amp; &lt;c&gt;"


# --- what is smuggled in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "concat:/etc/passwd|/etc/hosts",
    ],
)
def test_a_playlist_that_calls_itself_a_film_is_not_read_as_one(tmp_path: Path, content: str) -> None:
    film = tmp_path / "720p.mp4"
    film.write_text(content)
    for make in (
        lambda: seconds_of(film),
        lambda: sound.make(film, 10.0, tmp_path),
        lambda: thumbnails.make(film, 10.0, tmp_path),
        lambda: poster.make(film, [scene(0, 10, "camera")], tmp_path),
        lambda: hls.make({"720p": film}, 10.0, tmp_path),
        lambda: webm.make(film, "720p", 10.0, tmp_path),
    ):
        with pytest.raises((CompositionFailed, av.FFmpegError)):
            make()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "root:" in path.read_text(errors="replace")]


def test_a_folder_whose_name_looks_like_an_option_or_an_address_is_a_folder(
    films: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("-i", "http:", "concat:a|b", "%d", "a'b;c"):
        folder = tmp_path / name
        folder.mkdir()
        film = folder / "720p.mp4"
        film.symlink_to(films["360p"])
        monkeypatch.chdir(tmp_path)
        assert sound.make(Path(name) / film.name, LENGTH, folder).is_file()
        assert poster.make(Path(name) / film.name, [scene(0, 10, "camera")], folder).is_file()
