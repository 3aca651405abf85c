"""`recording:*` on the classroom's socket, and what begins, changes or ends a recording without being asked."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Literal

from django.utils import timezone
from msgspec import Meta, Struct, structs

from meetings.database import in_database
from meetings.errors import Refused
from meetings.hub import Hub
from meetings.limits import TOLD_TO_ALL
from meetings.media import recording as media
from meetings.media.hooks import on_recording_expected, on_recording_failed, on_recording_found
from meetings.messages import Empty, Key, Message, Name
from meetings.models import Participant, Room
from meetings.registry import on, on_event, on_join, on_layout_changed, on_role_changed, on_room_end
from meetings.session import RoomSession
from recordings import announce, consents, control
from recordings.control import running, running_by_id, was_recorded
from recordings.models import Recording

log = logging.getLogger(__name__)

LANE = "recording"


class RecordingOptions(Struct, forbid_unknown_fields=True, frozen=True):
    layout: Literal["grid", "speaker", "presentation"] = "grid"
    qualities: Annotated[tuple[Literal["360p", "720p", "1080p"], ...], Meta(min_length=1, max_length=3)] = ("720p",)
    formats: Annotated[tuple[Literal["mp4", "webm", "m4a", "hls"], ...], Meta(min_length=1, max_length=4)] = (
        "mp4",
        "m4a",
    )
    who: Literal["all", "teachers"] = "all"

    def fields(self) -> dict[str, Any]:
        """Of the model; what is named twice is meant once."""
        lists = {name: list(dict.fromkeys(getattr(self, name))) for name in ("qualities", "formats")}
        return {**structs.asdict(self), **lists}


class RecordingStart(Message, frozen=True):
    options: RecordingOptions = RecordingOptions()


class RecordingConsent(Message, frozen=True):
    recording_id: Key  # of the one that was asked about: another that has begun meanwhile may be of more people
    accepted: bool


class RecordingMark(Message, frozen=True):
    title: Name = ""


# --- what hosts ask --------------------------------------------------------------------------------------------------


@on("recording:start", RecordingStart, needs="record", lane=LANE)
async def start(session: RoomSession, message: RecordingStart) -> dict[str, Any]:
    recording = await control.begin(session.room, session.participant, message.options.fields())
    await _note_consent(session, True)
    return await _tell_begun(session.hub, recording, session.participant_id)


async def _tell_begun(hub: Hub, recording: Recording, by: str | None) -> dict[str, Any]:
    about = {"recording_id": recording.public_id, "started_at": recording.started_at.isoformat()}
    told = {**about, "elapsed": 0.0, "layout": recording.layout, "who": recording.who}
    await hub.publish("recording:started", {**told, "by": by}, once=f"started:{recording.public_id}")
    return about


async def _running(session: RoomSession) -> Recording:
    recording = await in_database(running)(session.room.pk)
    if recording is None:
        raise Refused("wrong_state", "This class is not being recorded.")
    return recording


@on("recording:pause", Empty, needs="record", lane=LANE, limit=TOLD_TO_ALL)
async def pause(session: RoomSession, message: Empty) -> dict[str, Any]:
    about = await control.pause(await _running(session), session.room.code)
    await session.hub.publish("recording:paused", {**about, "by": session.participant_id})
    return about


@on("recording:resume", Empty, needs="record", lane=LANE, limit=TOLD_TO_ALL)
async def resume(session: RoomSession, message: Empty) -> dict[str, Any]:
    about = await control.resume(await _running(session), session.room.code)
    await session.hub.publish("recording:resumed", {**about, "by": session.participant_id})
    return about


@on("recording:stop", Empty, needs="record", lane=LANE)
async def stop(session: RoomSession, message: Empty) -> dict[str, Any]:
    recording = await _running(session)
    about = await control.finish(recording, session.room.code)
    await session.hub.publish("recording:stopped", {**about, "by": session.participant_id}, once=recording.public_id)
    return about


@on("recording:mark", RecordingMark, needs="record", lane=LANE, limit=TOLD_TO_ALL)
async def mark(session: RoomSession, message: RecordingMark) -> dict[str, Any]:
    """A chapter of the film begins here."""
    recording = await _running(session)
    chapter = {"kind": "chapter", "title": message.title.strip()}
    await media.mark_recording(session.room.code, recording.public_id, chapter)
    return {"recording_id": recording.public_id, "elapsed": round(recording.elapsed(timezone.now()), 3)}


@on_layout_changed
async def layout_changed(session: RoomSession, layout: str) -> None:
    """The film's picture changes with the class's."""
    recording = await in_database(running)(session.room.pk)
    if recording is not None:
        await media.mark_recording(session.room.code, recording.public_id, {"kind": "layout", "layout": layout})


# --- consent ---------------------------------------------------------------------------------------------------------


@on("recording:consent", RecordingConsent, lane=LANE, limit=TOLD_TO_ALL)
async def consent(session: RoomSession, message: RecordingConsent) -> None:
    """Acknowledged when the worker knows. Whoever says no is not recorded, and leaves by himself."""
    recording = await _running(session)
    if recording.public_id != message.recording_id:
        raise Refused("wrong_state", "That recording is over.")
    await in_database(consents.answer)(recording, session.participant, accepted=message.accepted)
    await _note_consent(session, message.accepted)
    await control.tell_of_person(session.room.code, recording, session.participant_id)


async def _note_consent(session: RoomSession, accepted: bool) -> None:
    """In the list of people: hosts see how many have agreed."""
    hub, pid = session.hub, session.participant_id
    await hub.live.update_person(pid, consent=accepted)
    await hub.note(("updated", pid, {"consent": accepted}))


@on_event("recording:started")
def ask_those_who_are_here(hub: Hub, data: dict[str, Any]) -> None:
    hub.hubs.spawn(_ask(hub, data["recording_id"], data["who"]), f"asking for consent in {hub.code}")


async def _ask(hub: Hub, recording_id: str, who: str) -> None:
    sessions = [*hub.sessions.values(), *hub.arriving]
    if not sessions:
        return
    room = sessions[0].room.pk
    agreed = await in_database(consents.who_agreed)(room, who)
    to_less = await in_database(consents.who_agreed)(room, Recording.Who.TEACHERS) - agreed
    for session in sessions:
        if session.participant_id in to_less:
            await _note_consent(session, False)  # hosts see that it does not count for this one
        if session.participant_id not in agreed:
            await session.send("recording:consent_asked", {"recording_id": recording_id})


@on_join
async def ask_who_comes(session: RoomSession, answer: dict[str, Any]) -> None:
    """In the answer: the page sends nothing before this person has agreed."""
    answer["consent_asked"] = None
    shown = await session.hub.live.recording()
    if shown is None:
        return
    agreed = await in_database(consents.has_agreed)(session.participant, shown.get("who", Recording.Who.ALL))
    if agreed:
        await _note_consent(session, True)
    else:
        answer["consent_asked"] = shown["recording_id"]


@on_role_changed
async def role_changed(session: RoomSession, participant: Participant, old_role: str, new_role: str) -> None:
    recording = await in_database(running)(session.room.pk)
    if recording is not None and recording.who != Recording.Who.ALL:
        await control.tell_of_person(session.room.code, recording, participant.public_id)


# --- beginning by itself ---------------------------------------------------------------------------------------------


@on_join
async def begin_automatically(session: RoomSession, answer: dict[str, Any]) -> None:
    """Where the lesson says so: when a host enters, and there was no recording of this class yet."""
    lesson = session.room.lesson
    if session.role != "host" or lesson is None or not lesson.record_automatically or session.settings.encrypted:
        return
    if not await in_database(was_recorded)(session.room.pk):
        hub = session.hub
        session.after_answer(lambda: _spawn(hub, session))


def _spawn(hub: Hub, session: RoomSession) -> None:
    hub.hubs.spawn(_begin_automatically(hub, session), f"recording {hub.code} automatically")


async def _begin_automatically(hub: Hub, session: RoomSession) -> None:
    """As long as this host is here and there is no media worker, it is tried again."""
    lesson = session.room.lesson
    assert lesson is not None
    options = RecordingOptions(layout=lesson.recording_layout, who=lesson.recorded)  # type: ignore[arg-type]
    while session.joined and not session.closing and not await in_database(was_recorded)(session.room.pk):
        try:
            recording = await control.begin(session.room, None, options.fields())
        except Refused as refused:
            log.warning("Class %s cannot be recorded yet: %s", hub.code, refused)
            await asyncio.sleep(TRY_AGAIN)
        else:
            await _tell_begun(hub, recording, None)


TRY_AGAIN = 2.0  # seconds


# --- what ends or changes it without being asked ----------------------------------------------------------------------


@on_room_end
async def class_ended(room: Room) -> None:
    """A class that ends stops its recording. The media part has closed the room by then, and the worker its files."""
    recording = await in_database(running)(room.pk)
    if recording is not None:
        await control.finish(recording, room.code)


@on_recording_failed
async def worker_gave_up(code: str, recording_id: str, reason: str) -> None:
    """The disk is full, or the folder cannot be written. What is there is composed; several processes may say so."""
    recording = await in_database(running_by_id)(code, recording_id)
    if recording is not None:
        log.error("recording %s ends before its class: %s", recording_id, reason)
        about = await control.finish(recording, code)
        await announce.tell_end(code, {**about, "reason": reason if reason in REASONS else "media"})


REASONS = ("disk_full", "disk_slow", "folder", "internal")


@on_recording_expected
async def expected(code: str, recording_id: str) -> None:
    """It goes on at the worker that has the room now, as the database says it is meant."""
    recording = await in_database(running_by_id)(code, recording_id)
    if recording is None:
        log.warning("recording %s: it is over, and shown no more", recording_id)
        await media.stop_recording(code, recording_id)
        return
    try:
        await control.go_on(recording, code)
    except Refused as refused:
        log.error("recording %s cannot go on: %s", recording_id, refused)
        await worker_gave_up(code, recording_id, "media")


@on_recording_found
async def found(code: str, recording_id: str) -> None:
    """Either it runs, and everybody must see that they are recorded; or it should not."""
    recording = await in_database(running_by_id)(code, recording_id)
    if recording is not None:
        await media.show_recording(code, announce.shown(recording, timezone.now()))
        await expected(code, recording_id)
    else:
        log.warning("recording %s: nobody knows of it, it is stopped", recording_id)
        await media.stop_recording(code, recording_id)
