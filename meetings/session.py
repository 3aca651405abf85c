"""One person's socket in a room, as handlers and hooks see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meetings import permissions, services
from meetings.errors import Refused
from meetings.eventlog import body_of, fleeting
from meetings.limits import Limit, TokenBucket
from meetings.messages import RoomSettings
from meetings.models import Participant, Room
from meetings.wire import Frame, Wire

if TYPE_CHECKING:
    from meetings.hub import Hub


class RoomSession:
    """From connecting until the socket closes. `media` is the media part's own place."""

    def __init__(
        self, *, room: Room, participant: Participant, role: str, socket_id: str, hub: Hub, wire: Wire
    ) -> None:
        self.room = room
        self.participant = participant
        self.role = role
        self.locks: dict[str, Any] = dict(participant.locks)
        self.socket_id = socket_id
        self.session_id = ""  # while this person is in the live room by this socket; the same when the same tab returns
        self.hub = hub
        self.wire = wire
        self.joined = False  # room:join was answered
        self.closing = False  # nothing is done for it any more
        self.returning = False  # the same session came back: its transports may be alive
        self.replaces = False  # another tab, or this page before a reload, had been in: what that had is void
        self.after = 0  # events numbered up to here were sent, or stand in the snapshot
        self.media: Any = None
        self._buckets: dict[str, TokenBucket] = {}
        self._after_answer: list[Callable[[], None]] = []

    @property
    def participant_id(self) -> str:
        return self.participant.public_id

    @property
    def settings(self) -> RoomSettings:
        return services.settings_of(self.room)

    # --- permission --------------------------------------------------------------------------------------------------

    def may(self, permission: str) -> bool:
        return permissions.may(self.role, permission, self.settings.allowed(), self.locks)

    def demand(self, permission: str) -> None:
        if not self.may(permission):
            raise Refused("forbidden", permissions.refusal(permission))
        if permission in permissions.NOT_ENCRYPTED and self.settings.encrypted:
            raise Refused("wrong_state", permissions.NOT_ENCRYPTED[permission])

    def can(self) -> list[str]:
        return permissions.all_of(self.role, self.settings.allowed(), self.locks)

    def is_within(self, limit: Limit, now: float) -> bool:
        """Count one more request of that kind."""
        return self._buckets.setdefault(limit.name, TokenBucket(limit.rate, limit.burst)).take(now)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, event: str, data: dict[str, Any]) -> None:
        """To this one socket, unnumbered."""
        self.wire.write(Frame(fleeting(body_of(event, data))))

    def after_answer(self, step: Callable[[], None]) -> None:
        """Run `step` right behind the acknowledgement of this request. A handler's last call: no await after it."""
        self._after_answer.append(step)

    def answered(self) -> None:
        steps, self._after_answer = self._after_answer, []
        for step in steps:
            step()

    def close(self, code: int) -> None:
        self.closing = True
        self.wire.close(code)
