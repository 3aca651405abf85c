"""What people say of their microphone and camera, for others to see; the streams themselves are the media part's."""

from __future__ import annotations

from meetings.limits import TOLD_TO_ALL
from meetings.messages import MediaToggle
from meetings.registry import on
from meetings.session import RoomSession

NEEDS = {"audio": "microphone", "video": "camera"}


@on("media:toggle", MediaToggle, limit=TOLD_TO_ALL)
async def toggle(session: RoomSession, message: MediaToggle) -> None:
    if message.enabled:  # switching off is never forbidden
        session.demand(NEEDS[message.kind])
    pid = session.participant_id
    person = await session.hub.live.person(pid)
    if person is not None and person.get(message.kind) == message.enabled:
        return  # all know
    await session.hub.live.update_person(pid, **{message.kind: message.enabled})
    await session.hub.publish(
        "participant:media:updated", {"participant_id": pid, "kind": message.kind, "enabled": message.enabled}
    )
