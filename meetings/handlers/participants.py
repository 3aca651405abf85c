"""What a host does to others: mute, remove, change a role."""

from __future__ import annotations

from typing import Any

from meetings import permissions, registry, services
from meetings.database import in_database
from meetings.errors import CLOSE_REMOVED, Refused
from meetings.hub import Hub
from meetings.live import Json
from meetings.messages import ParticipantMute, ParticipantRemove, ParticipantRoleUpdate
from meetings.models import Participant
from meetings.registry import on, on_event
from meetings.session import RoomSession


async def _target(session: RoomSession, participant_id: str) -> Participant:
    """Somebody of this very room, present or not, of a lower role than the one who acts."""
    target = await in_database(services.participant_of_room)(session.room.pk, participant_id)
    if target is None:
        raise Refused("not_found", "There is no such participant in this class.")
    if not permissions.outranks(session.role, target.role):
        raise Refused("forbidden", "You cannot do this to somebody of your own or a higher role.")
    return target


@on("participant:mute", ParticipantMute, needs="mute")
async def mute(session: RoomSession, message: ParticipantMute) -> dict[str, Any]:
    live = session.hub.live
    if message.participant_id == "all":
        below = [p for p in await live.people() if permissions.outranks("co-host", p["role"])]
        targets = [p for p in below if p["participant_id"] != session.participant_id]
    else:
        person = await live.person(message.participant_id)
        if person is None:
            raise Refused("not_found", "There is no such participant in this class.")
        own = message.participant_id == session.participant_id
        # A co-host mutes other co-hosts too (somebody forgot the microphone), but not the host.
        if not own and permissions.RANK[person["role"]] > permissions.RANK[session.role]:
            raise Refused("forbidden", "You cannot mute somebody of a higher role.")
        targets = [person]
    ids = [person["participant_id"] for person in targets]
    # The media part pauses the producers in the worker: only then it is acknowledged.
    await registry.on_mute.run(session, ids, message.kind)
    for person in targets:
        await _tell_muted(session, person, message.kind)
    return {"participant_ids": ids}


async def _tell_muted(session: RoomSession, person: Json, kind: str) -> None:
    hub, pid = session.hub, person["participant_id"]
    if kind != "screen" and person.get(kind):  # that a screen stopped is told by the media part, which closed it
        await hub.live.update_person(pid, **{kind: False})
        await hub.publish("participant:media:updated", {"participant_id": pid, "kind": kind, "enabled": False})
    by = {"participant_id": session.participant_id, "name": session.participant.name}
    await hub.send_to(pid, "muted:by-host", {"kind": kind, "by": by, "reason": ""})


@on("participant:remove", ParticipantRemove, needs="remove")
async def remove(session: RoomSession, message: ParticipantRemove) -> None:
    target = await _target(session, message.participant_id)
    hub = session.hub
    await in_database(services.bar)(target)
    await hub.send_to(target.public_id, "removed:from-meeting", {"reason": message.reason})
    await registry.on_remove.run(session, target)
    await hub.close_participant(target.public_id, CLOSE_REMOVED)  # Redis may be away, the removed goes all the same
    await hub.live.leave(target.public_id, "removed")
    await hub.note()


@on("participant:role:update", ParticipantRoleUpdate, needs="change_roles")
async def change_role(session: RoomSession, message: ParticipantRoleUpdate) -> None:
    target = await _target(session, message.participant_id)
    old_role = target.role
    if not permissions.may_give_role(session.role, old_role, message.role):
        raise Refused("forbidden", "You cannot give this role.")
    if old_role == message.role:
        return
    await in_database(services.give_role)(target, message.role)
    await session.hub.live.update_person(target.public_id, role=message.role)
    await session.hub.publish(
        "participant:role:changed",
        {
            "participant_id": target.public_id,
            "old_role": old_role,
            "new_role": message.role,
            "can": permissions.all_of(message.role, session.settings.allowed(), target.locks),
        },
    )
    await registry.on_role_changed.run(session, target, old_role, message.role)


@on_event("participant:role:changed")
def take_role(hub: Hub, data: Json) -> None:
    """In whatever process the person's socket is, it asks for permission by its new role from now on."""
    for session in hub.sessions_of(data["participant_id"]):
        session.role = data["new_role"]
