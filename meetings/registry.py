"""Where features plug in: an event of the socket -> its schema, its permission, its handler; and hooks for the rest.

    @on("chat:send", ChatSend, needs="chat")
    async def send(session: RoomSession, message: ChatSend) -> dict | None: ...

Registering happens on import, from an AppConfig's `ready()`. Handlers raise `meetings.errors.Refused`. Requests of one
socket and one `lane` are handled in order; a slow lane (media, when a worker is away) holds up no other.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from meetings.errors import Refused
from meetings.limits import Limit
from meetings.messages import Message
from meetings.permissions import TABLE

if TYPE_CHECKING:
    from meetings.hub import Hub
    from meetings.session import RoomSession

log = logging.getLogger(__name__)

Data = dict[str, Any]
Handler = Callable[["RoomSession", Any], Awaitable[Data | None]]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    event: str
    schema: type[Message]
    handler: Handler
    needs: str | None  # a permission of the table; None: everybody who is in
    joined: bool  # only after room:join
    lane: str
    limit: Limit | None


EVENTS: dict[str, Entry] = {}


def on(
    event: str,
    schema: type[Message],
    *,
    needs: str | None = None,
    joined: bool = True,
    lane: str = "room",
    limit: Limit | None = None,
) -> Callable[[F], F]:
    if needs is not None and needs not in TABLE:
        raise ValueError(f"{event} asks for a permission that no role has: {needs}")
    if not schema.__struct_config__.forbid_unknown_fields:
        raise ValueError(f"{schema.__name__} lets unknown fields in")

    def register(handler: F) -> F:
        if event in EVENTS and EVENTS[event].handler is not handler:
            raise ValueError(f"{event} has a handler already")
        EVENTS[event] = Entry(event, schema, handler, needs, joined, lane, limit)
        return handler

    return register


# --- hooks -----------------------------------------------------------------------------------------------------------


class Hook:
    """A list of coroutine functions, called in the order of their registration. `@on_join` registers one.

    One that fails is logged and keeps no other from running: leaving a class must not fail because media did.
    A `Refused` that a hook raises goes through to the caller.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.functions: list[Callable[..., Awaitable[Any]]] = []

    def __call__(self, function: F) -> F:
        if function not in self.functions:
            self.functions.append(function)
        return function

    async def run(self, *args: Any) -> None:
        for function in self.functions:
            try:
                await function(*args)
            except Refused:
                raise
            except Exception:
                log.exception("A hook of %s failed", self.name)


on_join = Hook("join")  # (session, answer): adds to the answer of room:join; `session.returning` tells a resume
on_leave = Hook("leave")  # (session, reason): this person left for good: left, removed, ended, replaced
on_disconnect = Hook("disconnect")  # (session): the socket closed; the person may come back until the lease ends
on_lost = Hook("lost")  # (hub, participant_id): nobody came back within the lease; run in one process of all
on_room_end = Hook("room_end")  # (room)
on_remove = Hook("remove")  # (session of the host, participant): before the removed one's socket is closed
on_mute = Hook("mute")  # (session of the host, list of participant_ids, kind): done before it is acknowledged
on_role_changed = Hook("role_changed")  # (session of the host, participant, old_role, new_role)
on_layout_changed = Hook("layout_changed")  # (session of the host, layout): for everybody
on_hub_open = Hook("hub_open")  # (hub): this process's first socket in a room
on_hub_close = Hook("hub_close")  # (hub): its last one left


Told = Callable[["Hub", Data], None]
TOLD: dict[str, Told] = {}


def on_told(kind: str) -> Callable[[Told], Told]:
    """A plain function (hub, message) for what the hubs of other processes `tell` of the room under that kind."""

    def register(function: Told) -> Told:
        TOLD[kind] = function
        return function

    return register


Reaction = Callable[["Hub", Data], None]
REACTIONS: dict[str, list[Reaction]] = {}


def on_event(event: str) -> Callable[[Reaction], Reaction]:
    """A plain function (hub, data), called in every process when that numbered event reaches it, before its sockets."""

    def register(function: Reaction) -> Reaction:
        REACTIONS.setdefault(event, []).append(function)
        return function

    return register
