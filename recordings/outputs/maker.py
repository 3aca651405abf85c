"""Make a recording's files one after the other, what people see first at first: each is stored, then noted.

One that cannot be made keeps no other from being made. A storage that is away and a disk that is full end the round:
all would wait for them.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.db import transaction

from recordings import files, storage
from recordings.composing.compose import compose
from recordings.composing.composition import SIZES, Scene, plan
from recordings.composing.segments import Segments
from recordings.errors import is_full_disk
from recordings.models import FIRST_QUALITY, Composition, Recording
from recordings.outputs import chapters, chat, hls, poster, sound, thumbnails, webm
from recordings.outputs.media import NICENESS, check, seconds_of
from recordings.timeline import RecordedTime
from sfu.manifest import read_timeline

log = logging.getLogger(__name__)

OUTPUTS = "outputs"  # the folder's subfolder for what is made here


class Gone(Exception):
    """The recording was deleted, or has expired."""


class Maker:
    def __init__(self, recording: Recording, folder: Path, film: Path) -> None:
        self._recording = recording
        self._recorded = folder
        self._film = film
        self._folder = folder / OUTPUTS
        self._seconds = seconds_of(film)
        self._entries = read_timeline(folder)
        self._time = RecordedTime.of(self._entries)
        self._kept: dict[str, str] = {}  # sha256 by name
        self._failed: list[Exception] = []

    def make(self) -> None:
        """Raises the first that went wrong, when all others are done. Two that make the same do so in turn."""
        with Segments(self._recorded).claimed("outputs", wait=True):
            self._kept = dict(self._recording.compositions.values_list("name", "sha256"))
            self._make()

    def _make(self) -> None:
        self._folder.mkdir(exist_ok=True)
        formats = self._recording.formats
        others = [quality for quality in SIZES if quality in self._recording.qualities and quality != FIRST_QUALITY]
        try:
            self._try(files.CHAPTERS_AS_JSON, self._chapters)
            self._try(files.CHAT_AS_JSON, self._chat)
            self._try(files.POSTER, lambda: [poster.make(self._film, self._scenes(), self._folder)])
            self._try(files.THUMBNAILS, lambda: thumbnails.make(self._film, self._seconds, self._folder))
            if "m4a" in formats:
                self._try(files.SOUND, lambda: [sound.make(self._film, self._seconds, self._folder)])
            streamed = "hls" in formats or bool(others)  # several sizes are for a player that chooses among them
            if streamed:
                self._try(files.HLS, lambda: self._hls([]))
            for quality in others:
                self._try(files.film(quality), partial(self._sized, quality))
            if streamed and others:
                self._try(None, lambda: self._hls(others))
            if "webm" in formats:
                self._try(files.film(FIRST_QUALITY, ".webm"), self._webm)
        except Gone:
            log.info("recording %s is no more: nothing else is made of it", self._recording.public_id)
            self._failed.clear()
        if self._failed:
            raise self._failed[0]
        shutil.rmtree(self._folder, ignore_errors=True)

    def _try(self, last: str | None, make: Callable[[], list[Path]]) -> None:
        """`last`: what is kept last of what `make` gives; where it is kept, all is. None: only making it tells."""
        if last in self._kept:
            return
        try:
            for path in make():
                self._keep(path)
        except (Gone, storage.StorageAway):
            raise
        except Exception as error:
            if is_full_disk(error):
                raise  # all would need room
            log.exception("recording %s: %s could not be made", self._recording.public_id, last or files.HLS)
            self._failed.append(error)

    def _keep(self, path: Path) -> None:
        name = path.relative_to(self._folder).as_posix()
        with path.open("rb") as file:
            if self._kept.get(name) == storage.digest(file)[1]:
                return  # by an earlier round that got no further
        pk = self._recording.pk
        still_there = Recording.objects.filter(pk=pk, state=Recording.State.READY)
        if not still_there.exists():
            raise Gone
        stored = storage.store(path, storage.key(self._recording.public_id, name))
        with transaction.atomic():
            if still_there.select_for_update().first() is not None:
                Composition.objects.note(pk, name, stored)
                return
        storage.remove(stored.key)  # deleted or expired meanwhile, when nobody knew of this file
        raise Gone

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _scenes(self) -> list[Scene]:
        return plan(
            self._entries,
            time=self._time,
            duration=self._seconds,
            last_packets={},
            layout=self._recording.layout,
        )

    def _chapters(self) -> list[Path]:
        found = chapters.find(self._scenes(), self._entries, self._time, self._seconds)
        if not found:
            return []
        return [
            self._write(files.CHAPTERS, chapters.as_webvtt(found)),
            self._write(files.CHAPTERS_AS_JSON, chapters.as_json(found)),
        ]

    def _chat(self) -> list[Path]:
        written = chat.messages(self._recording.room_id, self._entries, self._time, self._seconds)
        if not written:
            return []
        return [
            self._write(files.CHAT, chat.as_webvtt(written, self._seconds)),
            self._write(files.CHAT_AS_JSON, chat.as_json(written)),
        ]

    def _sized(self, quality: str) -> list[Path]:
        return [self._other(quality)]

    def _other(self, quality: str) -> Path:
        """The film in another size; by copy where its segments are composed already."""
        path = self._folder / files.film(quality)
        if not path.is_file():
            unchecked = path.with_name(f".{path.name}")
            compose(self._recorded, unchecked, layout=self._recording.layout, quality=quality, niceness=NICENESS)
            check(unchecked, "mp4", self._seconds, {"h264", "aac"})
            unchecked.replace(path)
        return path

    def _hls(self, others: list[str]) -> list[Path]:
        films = {FIRST_QUALITY: self._film, **{quality: self._other(quality) for quality in others}}
        return hls.make(films, self._seconds, self._folder)

    def _webm(self) -> list[Path]:
        return [webm.make(self._film, FIRST_QUALITY, self._seconds, self._folder)]
