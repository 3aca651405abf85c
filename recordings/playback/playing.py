"""What the player of a recording needs to know: the addresses of what there is."""

from __future__ import annotations

from django.urls import reverse

from recordings import files
from recordings.captions.services import name_of
from recordings.models import Recording
from recordings.playback import links

SPEEDS = ("0.5", "0.75", "1", "1.25", "1.5", "1.75", "2")
KEYS = (  # static/js/player/keys.js
    ("Space", "play, pause"),
    ("← →", "5 seconds back, on"),
    ("J L", "10 seconds back, on"),
    ("< >", "slower, faster"),
    ("M", "sound"),
    ("C", "captions"),
    ("F", "full screen"),
)


def address_of(recording: Recording, name: str) -> str:
    """Empty: there is no such file."""
    there = any(each.name == name for each in recording.compositions.all())
    return links.address_of(recording.public_id, name) if there else ""


def downloads_of(recording: Recording) -> list[dict[str, object]]:
    """What there is to download besides the MP4s: what it is, size (bytes), address."""
    labels = {each.name: f"{each.quality} WebM" for each in recording.films if each.content_type == "video/webm"}
    labels[files.SOUND] = "Sound (M4A)"
    labels |= {files.captions(each["language"]): f"Captions ({each['label']})" for each in captions_of(recording)}
    return [
        {
            "label": labels[each.name],
            "size": each.size,
            "address": links.address_of(recording.public_id, each.name, download="1"),
        }
        for each in recording.compositions.all()
        if each.name in labels
    ]


def media_of(recording: Recording) -> dict[str, object]:
    """As static/js/player/main.js reads it."""
    films = [
        {"quality": film.quality, "url": reverse("recordings:watch", args=[recording.public_id, film.quality])}
        for film in recording.films
        if film.name == files.film(film.quality)
    ]
    return {
        "id": recording.public_id,
        "films": films,
        "hls": address_of(recording, files.HLS),
        "thumbnails": address_of(recording, files.THUMBNAILS),
        "chapters": address_of(recording, files.CHAPTERS_AS_JSON),
        "chat": address_of(recording, files.CHAT_AS_JSON),
        "watched": reverse("recordings:watched", args=[recording.public_id]),
    }


def captions_of(recording: Recording) -> list[dict[str, str]]:
    """Language, its name and the address, by name."""
    found = [
        {
            "language": language,
            "label": name_of(language),
            "address": links.address_of(recording.public_id, files.captions(language)),
        }
        for language in (files.language_of(each.name) for each in recording.captions)
    ]
    return sorted(found, key=lambda each: each["label"])
