"""A recording with all that can be made of one: `python -m tests.browser.cinema` puts it into a Lectern that runs.

A minute of FFmpeg's test picture, one colour in its second half, in two qualities. Prints the recording's id.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

LENGTH = 60  # seconds
HALF = LENGTH // 2
CHAPTERS = [
    {"begin": 0.0, "end": 20.0, "title": "Beginning", "kind": "beginning"},
    {"begin": 20.0, "end": 40.0, "title": "Adaeze's screen", "kind": "screen"},
    {"begin": 40.0, "end": 60.0, "title": "Questions", "kind": "marked"},
]
CHAT = [
    (5.0, "Sam", "attendee", "Is this the right room?"),
    (25.0, "Adaeze", "host", "It is. <b>Look</b> at the green."),
    (50.0, "Sam", "attendee", "Why does it swell?"),
]
CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:30.000\nWhat you see is a test.\n\n00:30.000 --> 01:00.000\nNow it is green.\n"


def ffmpeg(*arguments: str) -> None:
    from recordings.programs import ffmpeg_program

    subprocess.run(
        [ffmpeg_program(), "-hide_banner", "-loglevel", "error", "-y", *arguments], check=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def make(folder: Path) -> list[str]:
    """-> the names of the files, as docs/recordings.md lists them"""
    (folder / "hls").mkdir()
    for quality, size in [("360p", "640x360"), ("720p", "1280x720")]:
        picture = f"testsrc2=s={size}:r=4:d={LENGTH},drawbox=c=0x20a020:t=fill:enable='gte(t,{HALF})'"
        ffmpeg(
            "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=440:d={LENGTH}:r=48000", "-c:v", "libx264",
            "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "16", "-c:a", "aac", "-movflags", "+faststart",
            str(folder / f"{quality}.mp4"),
        )  # fmt: skip
    segments = ["-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4",
                "-hls_flags", "single_file"]  # fmt: skip
    for name, source, kind in [("360p", "360p", "-an"), ("720p", "720p", "-an"), ("sound", "360p", "-vn")]:
        at = folder / "hls" / name
        ffmpeg("-i", str(folder / f"{source}.mp4"), kind, "-c", "copy", *segments, "-hls_segment_filename",
               f"{at}.m4s", f"{at}.m3u8")  # fmt: skip
    media = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="Sound",DEFAULT=YES,AUTOSELECT=YES,URI="sound.m3u8"\n'
    levels = [(360, "640x360", 400_000), (720, "1280x720", 1_500_000)]
    master = (
        "#EXTM3U\n#EXT-X-VERSION:7\n"
        + media
        + "".join(
            f'#EXT-X-STREAM-INF:BANDWIDTH={bits},RESOLUTION={size},CODECS="avc1.42c01f,mp4a.40.2",AUDIO="sound"\n{height}p.m3u8\n'
            for height, size, bits in levels
        )
    )
    (folder / "hls" / "master.m3u8").write_text(master)
    ffmpeg(
        "-i",
        str(folder / "360p.mp4"),
        "-vf",
        "fps=1/6,scale=160:90,tile=10x1",
        "-frames:v",
        "1",
        str(folder / "thumbnails-1.jpg"),
    )
    cues = [
        f"00:{at:02}.000 --> 00:{at + 5:02}.999\nthumbnails-1.jpg#xywh={160 * at // 6},0,160,90"
        for at in range(0, LENGTH, 6)
    ]
    (folder / "thumbnails.vtt").write_text("WEBVTT\n\n" + "\n\n".join(cues) + "\n")
    ffmpeg("-ss", "10", "-i", str(folder / "720p.mp4"), "-frames:v", "1", str(folder / "poster.jpg"))
    (folder / "chapters.json").write_text(json.dumps({"chapters": CHAPTERS}))
    said = [
        {"seconds": at, "message_id": str(at), "participant_id": name, "name": name, "role": role, "message": text,
         "type": "text", "sent_at": "2026-11-26T20:00:12.345000+00:00", "reply_to": None}
        for at, name, role, text in CHAT
    ]  # fmt: skip
    (folder / "chat.json").write_text(json.dumps({"messages": said}))
    (folder / "captions.vtt").write_text(CAPTIONS)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def open_cinema() -> str:
    from django.utils import timezone

    from accounts.models import User
    from classroom.models import Course, Lesson
    from meetings.models import Room
    from recordings import storage
    from recordings.models import Composition, Recording

    course, teacher = Course.objects.get(slug="demo-course"), User.objects.get(username="teacher")
    lesson = Lesson.objects.create(course=course, title="Osmosis, and why a raisin swells", starts_at=timezone.now())
    room = Room.objects.create(title=lesson.title, lesson=lesson, created_by=teacher)
    recording = Recording.objects.create(
        public_id="cinema", room=room, started_by=teacher, state=Recording.State.READY, stopped_at=timezone.now(),
        ready_at=timezone.now(), duration=timedelta(seconds=LENGTH),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in make(Path(folder)):
            stored = storage.store(Path(folder) / name, storage.key(recording.public_id, name))
            Composition.objects.note(recording.pk, name, stored)
    return recording.public_id


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    print(open_cinema())
