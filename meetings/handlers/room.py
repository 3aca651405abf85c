"""Joining, coming back, leaving, ending."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from meetings import chat, metrics, registry, services
from meetings.database import in_database
from meetings.errors import CLOSE_ENDED, CLOSE_REPLACED, Refused
from meetings.eventlog import LIMIT, Missed
from meetings.hub import Hub
from meetings.limits import JOINS, LARGE_ANSWER, TOLD_TO_ALL
from meetings.live import Entered, shown_pair, shown_recording
from meetings.messages import ChangeSettings, Empty, ParticipantsPage, RoomJoin
from meetings.presence import close_attendance
from meetings.registry import on, on_event
from meetings.session import RoomSession

PAGE = 200  # participants in the answer of room:join, besides those who matter at once
NO_LIMIT = 0
RUSH_KEEPS = 0.25  # seconds


@on("room:join", RoomJoin, joined=False, limit=JOINS)
async def join(session: RoomSession, message: RoomJoin) -> dict[str, Any]:
    if session.joined:
        raise Refused("wrong_state", "You are in already.")
    began = time.monotonic()
    session.hub.arriving.add(session)
    try:
        answer = await _join(session, message)
    except BaseException:
        session.hub.detach(session)
        raise
    metrics.JOIN_LATENCY.observe(time.monotonic() - began)
    return answer


async def _join(session: RoomSession, message: RoomJoin) -> dict[str, Any]:
    hub, pid = session.hub, session.participant_id
    entered = await _enter(session, message)
    session.returning = entered.outcome == "returned"
    session.replaces = entered.outcome == "replaced"
    if entered.old_socket:
        await hub.close_participant(pid, CLOSE_REPLACED, socket=entered.old_socket)
    about = {"name": session.participant.name, "role": session.role, "connected": True}
    if entered.outcome == "joined":
        await hub.note(("joined", pid, {**about, "hand": None, "producers": []}))
    else:
        await hub.note(("updated", pid, about))
    answer: dict[str, Any] = {
        "session": entered.session,
        "resumed": False,
        "you": await _you(session),
        "settings": {**msgspec.to_builtins(session.settings), "mode": session.room.media_mode},
        "rtp_capabilities": None,
        "ice_servers": [],
        "media": None,
    }
    await registry.on_join.run(session, answer)
    missed, after = await _catch_up(session, message, answer)
    session.joined = True
    session.after_answer(lambda: hub.attach(session, after, missed.events))
    return answer


async def _enter(session: RoomSession, message: RoomJoin) -> Entered:
    """Take the place in the live room, then tell the database; give the place back when that fails."""
    live, participant = session.hub.live, session.participant
    name = (message.display_name or participant.name).strip() or participant.name
    always_in = session.role in ("host", "co-host")  # a full class is no reason to lock its teacher out
    entered = await live.enter(
        {
            "participant_id": participant.public_id,
            "name": name,
            "role": session.role,
            "joined_at": int(time.time() * 1000),
        },
        wanted_session=message.session or "",
        new_session=secrets.token_urlsafe(18),
        socket=session.socket_id,
        capacity=NO_LIMIT if always_in else session.room.places,
    )
    if entered.outcome == "full":
        raise Refused("meeting_full", "This class is full.")
    if entered.outcome == "stale":
        session.close(CLOSE_REPLACED)
        raise Refused("wrong_state", "You are in this class in another tab.")
    session.session_id, role, mode = entered.session, session.role, session.room.mode
    try:
        admission = await in_database(services.admit)(participant.pk, display_name=name, session=entered.session)
    except Exception:
        if entered.outcome == "joined":
            await live.leave(participant.public_id, "", entered.session)
            session.session_id = ""
        raise
    participant.name, session.locks = admission.name, admission.locks
    session.room.encrypted, session.room.started_at = admission.encrypted, admission.started_at
    # Given since the socket was opened. A change that is newer still came as an event, and stands.
    if session.room.mode == mode:
        session.room.mode = admission.mode
    if session.role == role and role != admission.role:
        session.role = admission.role
        await live.update_person(participant.public_id, role=admission.role)
    return entered


async def _you(session: RoomSession) -> dict[str, Any]:
    person = await session.hub.live.person(session.participant_id) or {}
    return {
        "participant_id": session.participant_id,
        "name": session.participant.name,
        "role": session.role,
        "can": session.can(),
        "locks": session.locks,
        "mutes": {"audio": not person.get("audio"), "video": not person.get("video")},
        "hand": await session.hub.live.hand_of(session.participant_id),
        "breakout": None,
    }


async def _catch_up(session: RoomSession, message: RoomJoin, answer: dict[str, Any]) -> tuple[Missed, int]:
    """Either the missed events or the whole room, and from which number on the socket gets events."""
    hub = session.hub
    if session.returning and message.last_seq is not None:
        missed = await hub.log.since(message.last_seq)
        if missed.complete and len(missed.events) < LIMIT:
            answer["resumed"] = True
            answer["last_seq"] = missed.events[-1][0] if missed.events else message.last_seq
            return missed, message.last_seq
    history = await in_database(chat.history)(session.room.pk)
    room = await _whole_room(hub)
    participants = room.participants
    if session.participant_id not in room.ids:
        self_json = msgspec.json.encode(on_the_wire(await hub.live.person(session.participant_id) or {}))
        participants = participants + b"," + self_json if participants else self_json
    answer.update(
        participants=msgspec.Raw(b"[" + participants + b"]"),
        participants_total=room.total,
        participants_next=room.next,
        chat=history["messages"],
        recording=room.recording,
        stream=room.stream,
        p2p=room.p2p,
        last_seq=room.seq,
    )
    missed = await hub.log.since(room.seq)
    if not missed.complete:
        raise Refused("internal", "The class cannot be reached at this moment. Try again.")
    return missed, room.seq


@dataclass(frozen=True, slots=True)
class WholeRoom:
    """The room as one who joins gets it; `participants` is ready-made JSON without its brackets."""

    taken_at: float
    seq: int
    participants: bytes
    ids: frozenset[str]
    total: int
    next: str | None
    recording: Any
    stream: Any
    p2p: Any


async def _whole_room(hub: Hub) -> WholeRoom:
    """As it is now; in a rush of joins as it was up to 0.25 s ago: what happened since then follows as events."""
    now = time.monotonic()
    kept, calm = hub.whole_room, hub.joins.take(now)
    if not calm and isinstance(kept, WholeRoom) and now - kept.taken_at < RUSH_KEEPS:
        return kept
    snapshot = await hub.live.snapshot()
    page, rest = snapshot.people[:PAGE], snapshot.people[PAGE:]
    shown = page + [person for person in rest if person["producers"] or person["hand"]]
    hub.whole_room = taken = WholeRoom(
        taken_at=now,
        seq=snapshot.seq,
        participants=b",".join(msgspec.json.encode(on_the_wire(person)) for person in shown),
        ids=frozenset(person["participant_id"] for person in shown),
        total=len(snapshot.people),
        next=page[-1]["participant_id"] if rest else None,
        recording=shown_recording(snapshot.info["recording"], time.time()) if "recording" in snapshot.info else None,
        stream=snapshot.info.get("stream"),
        p2p=shown_pair(snapshot.info["p2p"]) if "p2p" in snapshot.info else None,
    )
    return taken


WIRE_FIELDS = (
    "participant_id", "name", "role", "hand", "connected", "producers", "audio", "video", "screen", "consent",
    "records_here",
)  # fmt: skip


def on_the_wire(person: dict[str, Any]) -> dict[str, Any]:
    wire = {name: person.get(name) for name in WIRE_FIELDS}
    wire["producers"] = wire["producers"] or []
    return wire


@on("participants:page", ParticipantsPage, limit=LARGE_ANSWER)
async def page(session: RoomSession, message: ParticipantsPage) -> dict[str, Any]:
    """The next of a large room's people; from the first again when the one asked from has left."""
    people = (await session.hub.live.snapshot()).people
    ids = [person["participant_id"] for person in people]
    start = ids.index(message.after) + 1 if message.after in ids else 0
    found = people[start : start + message.limit]
    more = start + message.limit < len(people)
    return {
        "participants": [on_the_wire(person) for person in found],
        "next": found[-1]["participant_id"] if more else None,
    }


@on("room:leave", Empty)
async def leave(session: RoomSession, message: Empty) -> None:
    await in_database(close_attendance)(session.session_id, "left")
    await session.hub.live.leave(session.participant_id, "left", session.session_id)
    session.joined, session.session_id = False, ""
    await session.hub.note()
    await registry.on_leave.run(session, "left")
    session.after_answer(lambda: session.hub.detach(session))


@on("room:end", Empty, needs="end")
async def end(session: RoomSession, message: Empty) -> None:
    hub = session.hub
    await in_database(services.end)(session.room)
    await hub.publish("room:closed", {"reason": "ended"})
    await registry.on_room_end.run(session.room)
    await hub.live.clear()
    session.after_answer(lambda: hub.close_all_soon(CLOSE_ENDED))


@on("room:settings", ChangeSettings, needs="settings", limit=TOLD_TO_ALL)
async def change_settings(session: RoomSession, message: ChangeSettings) -> None:
    if session.settings.encrypted and message.mode != "sfu":
        raise Refused(
            "wrong_state", "This class is end-to-end encrypted: its media go by the server, which cannot read them."
        )
    await in_database(services.set_mode)(session.room, message.mode)
    await session.hub.publish("room:updated", {"settings": {"mode": message.mode}})


@on_event("room:updated")
def take_settings(hub: Hub, data: dict[str, Any]) -> None:
    """Each socket has its own copy of the room."""
    for session in {*hub.sessions.values(), *hub.arriving}:
        session.room.mode = data["settings"]["mode"]
