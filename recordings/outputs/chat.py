"""What was written to all while a class was recorded, at its place in the film: as JSON and as WebVTT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from meetings.chat import on_the_wire
from meetings.models import ChatMessage
from recordings.lines import one_line
from recordings.outputs.webvtt import Cue, escaped, webvtt
from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Joined

SHOWN = 6.0  # seconds that a message stands beside the film
LONGEST_NAME = 40  # characters
LONGEST_LINE = 500  # characters of a message in WebVTT; JSON has all of it

Message = dict[str, Any]  # docs/recordings.md


def messages(room_pk: int, entries: Iterable[ENTRIES], time: RecordedTime, duration: float) -> list[Message]:
    """In the order of writing. Left out is what was deleted, what was written while nothing was recorded, and what was
    written by somebody who is not in the recording: whoever did not agree, and students where teachers are recorded.
    """
    people = {entry.peer for entry in entries if isinstance(entry, Joined)}
    since = datetime.fromtimestamp(time.started_at, UTC)
    written = ChatMessage.objects.filter(room_id=room_pk, deleted_at=None, sent_at__gte=since)
    found = []
    for message in written.select_related("participant", "reply_to").order_by("sent_at", "pk"):
        moment = message.sent_at.timestamp()
        seconds = time.at(moment)
        if seconds >= duration:
            break
        if message.participant.public_id in people and not time.is_paused(moment):
            about = on_the_wire(message, message.participant)
            del about["client_id"]  # the sender's own
            found.append({"seconds": round(seconds, 3), **about})
    return found


def as_json(written: list[Message]) -> str:
    return json.dumps({"messages": written})


def as_webvtt(written: Iterable[Message], duration: float) -> str:
    cues = []
    for message in written:
        name = escaped(one_line(message["name"], LONGEST_NAME)) or "?"
        text = escaped(one_line(message["message"], LONGEST_LINE))
        begin = float(message["seconds"])
        cues.append(Cue(begin, min(begin + SHOWN, duration), f"<v {name}>{text}</v>"))
    return webvtt(cues)
