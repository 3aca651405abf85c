"""Add, replace and remove a recording's captions. They are files of it as others are, and go with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.conf.locale import LANG_INFO
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from accounts.models import User
from meetings.permissions import may
from meetings.services import role_of
from recordings import files, keeping, storage
from recordings.captions.reading import normalised
from recordings.models import Composition, Recording

LANGUAGES: dict[str, tuple[str, str]] = {  # code: (in English, in itself)
    code: (str(about["name"]), str(about["name_local"])) for code, about in LANG_INFO.items() if "name" in about
}


class CannotBeChanged(Exception):
    """Its message is for people."""


def may_caption(user: User | AnonymousUser, recording: Recording) -> bool:
    return may(role_of(user, recording.room) or "", "caption", {}, {})


def name_of(language: str) -> str:
    """Of a language, in itself."""
    name = LANGUAGES.get(language, ("", language))[1]
    return name[:1].upper() + name[1:]


def add(recording: Recording, language: str, data: bytes) -> None:
    """In place of what was there in that language.

    Raises Unreadable, CannotBeChanged, and what `storage.store` raises.
    """
    text = normalised(data, recording.duration.total_seconds() if recording.duration is not None else None)
    name = files.captions(language)
    if recording.compositions.filter(name=name).exists():
        _not_held(recording)
    with tempfile.NamedTemporaryFile("w", suffix=".vtt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        stored = storage.store(Path(file.name), storage.key(recording.public_id, name))
    with transaction.atomic():
        # The row is locked by writing to it: a recording that expires meanwhile takes what it knows of along.
        ready = Recording.objects.filter(pk=recording.pk, state=Recording.State.READY)
        there = ready.update(state=Recording.State.READY) == 1
        if there:
            Composition.objects.note(recording.pk, name, stored)
    if not there:
        storage.remove(stored.key)
        raise CannotBeChanged("The recording is not there any more.")


def remove(recording: Recording, language: str) -> bool:
    """False: there is none. Raises CannotBeChanged, and what `storage.remove` raises."""
    _not_held(recording)
    found = recording.compositions.filter(name=files.captions(language)).first()
    if found is None:
        return False
    storage.remove(found.key)  # first: of a file that stays behind a row tells, and somebody can try again
    found.delete()
    return True


def _not_held(recording: Recording) -> None:
    if keeping.is_held(recording):
        raise CannotBeChanged("The recording is under legal hold: nothing of it is replaced or removed.")
