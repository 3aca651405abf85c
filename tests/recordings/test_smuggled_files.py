"""A recording whose names and logs try to have other files read: playlists, paths out of its folder, addresses.

It is composed all the same, shows and sounds what was recorded, and nothing is read or asked for besides.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recordings import outputs
from recordings.composing.compose import compose
from recordings.composing.composition import grid
from recordings.models import Recording
from sfu.manifest import Mark, TrackStarted
from tests.recordings.film import Film
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 2.0
NAMES = [
    "../../../etc/passwd",
    "-i /etc/passwd",
    "a\r\nfile /etc/passwd",
    "movie=/etc/passwd[out]",
    "%{e:1} %{metadata:x}",
    "textfile='/etc/passwd':expansion=normal",
]


@pytest.fixture
def listening() -> socket.socket:
    """Nobody shall come."""
    door = socket.create_server(("127.0.0.1", 0))
    door.setblocking(False)
    return door


def test_no_name_and_no_log_has_another_file_read(ready: Recording, places: Path, listening: socket.socket) -> None:
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    other = SyntheticClass(places / "other", LENGTH)
    person(other, "Sue", 0.0, LENGTH)
    [secret, *_] = sorted(other.write().glob("Sue-camera*.rtpdump"))

    folder = ready.folder
    world = SyntheticClass(folder, LENGTH)
    person(world, "Tina", 0.0, LENGTH)
    for name in NAMES:
        world.join(0.0, name)
    smuggled = {
        "playlist.rtpdump": f"#EXTM3U\n#EXTINF:3,\n{secret}\n#EXTINF:3,\n{address}/x.ts\n#EXT-X-ENDLIST\n",
        "concat.rtpdump": f"ffconcat version 1.0\nfile {secret}\nfile {address}/y.mp4\n",
        "-i": "x",
    }
    for name, text in smuggled.items():
        (folder / name).write_text(text)
    for number, file in enumerate(
        [*smuggled, f"../../other/{secret.name}", str(secret), f"concat:{secret}", f"{address}/z", "", ".", ".."]
    ):
        kinds = [("video", "camera", "video/VP8", 101, 90000), ("audio", "microphone", "audio/opus", 100, 48000)]
        for kind, source, mime_type, payload_type, rate in kinds:
            world.note(
                TrackStarted(
                    at=0.1,
                    producer_id=f"{kind}{number}",
                    peer=f"p-{NAMES[number % len(NAMES)]}",
                    kind=kind,  # type: ignore[arg-type]
                    source=source,  # type: ignore[arg-type]
                    file=file,
                    mime_type=mime_type,
                    payload_type=payload_type,
                    clock_rate=rate,
                )
            )
    world.note(Mark(at=1.0, mark={"kind": "chapter", "title": f"../x\r\n\r\n{address} --> \n#EXTM3U"}))
    ready.formats = ["mp4", "m4a", "hls"]
    ready.save()

    film = folder / "720p.mp4"
    compose(world.write(), film)
    outputs.make(ready, folder, film)

    looked_at = Film(film)
    shown = [looked_at.at(1.5).shows(rect) for rect in grid(1 + len(NAMES))]
    assert shown == ["Tina"] + [None] * len(NAMES)
    assert looked_at.heard(0.5, 1.9) == {"Tina"}
    with pytest.raises(BlockingIOError):
        listening.accept()
    listening.close()
    stored = sorted(path.relative_to(places / "storage").as_posix() for path in (places / "storage").rglob("*.*"))
    assert stored == sorted(made.key for made in ready.compositions.all())
    assert all(path.startswith(f"{ready.public_id}/") and ".." not in path for path in stored)
    assert not [path for path in places.rglob("*.m3u8") if address in path.read_text()]
