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
    from recordings.composing.composition import FPS, Scene
    from recordings.outputs import hls, poster, thumbnails

    films = {}
    for quality, size in [("360p", "640x360"), ("720p", "1280x720")]:
        picture = f"testsrc2=s={size}:r=4:d={LENGTH},drawbox=c=0x20a020:t=fill:enable='gte(t,{HALF})'"
        films[quality] = folder / f"{quality}.mp4"
        ffmpeg(
            "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=440:d={LENGTH}:r=48000", "-c:v", "libx264",
            "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "16", "-c:a", "aac", "-movflags", "+faststart",
            str(films[quality]),
        )  # fmt: skip
    hls.make(films, LENGTH, folder)
    thumbnails.make(films["720p"], LENGTH, folder)
    poster.make(films["720p"], [Scene(0, HALF * FPS, ())], folder)
    (folder / "chapters.json").write_text(json.dumps({"chapters": CHAPTERS}))
    said = [
        {"seconds": at, "message_id": str(at), "participant_id": name, "name": name, "role": role, "message": text,
         "type": "text", "sent_at": "2026-11-26T20:00:12.345000+00:00", "reply_to": None}
        for at, name, role, text in CHAT
    ]  # fmt: skip
    (folder / "chat.json").write_text(json.dumps({"messages": said}))
    for language in ("de", "en"):
        (folder / f"captions-{language}.vtt").write_text(CAPTIONS)
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
