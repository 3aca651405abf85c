"""Who may do what in a class: the table of roles, as data. The socket, the API and the pages all ask here.

A cell is YES, NO, or `Setting(name, default)`: decided by the person's own lock, else by the room's setting of that
name, else by the default that stands in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["host", "co-host", "presenter", "attendee", "guest"]
ROLES: tuple[Role, ...] = ("host", "co-host", "presenter", "attendee", "guest")  # highest first
RANK: dict[str, int] = {role: len(ROLES) - place for place, role in enumerate(ROLES)}

SETTINGS = ("unmute", "camera", "share", "chat", "private_chat", "draw", "join_breakout", "record_here")


@dataclass(frozen=True)
class Setting:
    name: str  # one of SETTINGS
    default: bool


Cell = bool | Setting
YES, NO = True, False


def _on(name: str) -> Setting:
    return Setting(name, default=True)


def _off(name: str) -> Setting:
    return Setting(name, default=False)


#                       host co-host presenter attendee guest
TABLE: dict[str, tuple[Cell, Cell, Cell, Cell, Cell]] = {
    "end":             (YES, NO,  NO,  NO,                NO),
    "stream":          (YES, NO,  NO,  NO,                NO),
    "focus":           (YES, NO,  NO,  NO,                NO),
    "make_co_host":    (YES, NO,  NO,  NO,                NO),
    "admit":           (YES, YES, NO,  NO,                NO),
    "mute":            (YES, YES, NO,  NO,                NO),
    "lock":            (YES, YES, NO,  NO,                NO),
    "remove":          (YES, YES, NO,  NO,                NO),
    "change_roles":    (YES, YES, NO,  NO,                NO),
    "record":          (YES, YES, NO,  NO,                NO),
    "caption":         (YES, YES, NO,  NO,                NO),
    "record_here":     (_on("record_here"), _on("record_here"), NO, NO, NO),
    "breakouts":       (YES, YES, NO,  NO,                NO),
    "spotlight":       (YES, YES, NO,  NO,                NO),
    "settings":        (YES, YES, NO,  NO,                NO),
    "lower_hands":     (YES, YES, NO,  NO,                NO),
    "quality":         (YES, YES, NO,  NO,                NO),
    "share":           (YES, YES, YES, _off("share"),     NO),
    "slides":          (YES, YES, YES, _off("share"),     NO),
    "poll":            (YES, YES, YES, NO,                NO),
    "microphone":      (YES, YES, YES, _on("unmute"),     _off("unmute")),
    "camera":          (YES, YES, YES, _on("camera"),     _off("camera")),
    "chat":            (YES, YES, YES, _on("chat"),       _off("chat")),
    "draw":            (YES, YES, YES, _off("draw"),      NO),
    "raise_hand":      (YES, YES, YES, YES,               NO),
    "vote":            (YES, YES, YES, YES,               YES),
    "watch":           (YES, YES, YES, YES,               YES),
}  # fmt: skip

REFUSALS: dict[str, str] = {
    "end": "Only a host can end the class for all.",
    "make_co_host": "Only a host can make a co-host.",
    "mute": "Only a host can mute others.",
    "remove": "Only a host can remove others.",
    "change_roles": "Only a host can change roles.",
    "record": "Only a host can record the class.",
    "spotlight": "Only a host can change what everybody sees.",
    "record_here": "You may not record this class on your device.",
    "lower_hands": "Only a host can lower another's hand.",
    "share": "You may not share your screen in this class.",
    "microphone": "Your microphone is locked by the host.",
    "camera": "Your camera is locked by the host.",
    "chat": "You may not write in this chat.",
    "raise_hand": "Guests cannot raise a hand.",
}

# What takes a server that sees and hears the class: nobody may do it in an end-to-end encrypted one.
NOT_ENCRYPTED: dict[str, str] = {
    "record": "This class is end-to-end encrypted: the server cannot see or hear it, and so not record it.",
    "stream": "This class is end-to-end encrypted: the server cannot see or hear it, and so not stream it.",
}

# Which permission a source of media takes.
SOURCE_NEEDS: dict[str, str] = {
    "microphone": "microphone",
    "camera": "camera",
    "screen": "share",
    "screen_audio": "share",
}


def may(role: str, permission: str, allow: Mapping[str, bool | None], locks: Mapping[str, bool | None]) -> bool:
    """`allow`: the room's settings; `locks`: the person's own. A role or permission not in the table may nothing."""
    row = TABLE.get(permission)
    if row is None or role not in RANK:
        return False
    cell = row[ROLES.index(role)]
    if isinstance(cell, bool):
        return cell
    for source in (locks, allow):
        value = source.get(cell.name)
        if isinstance(value, bool):
            return value
    return cell.default


def all_of(role: str, allow: Mapping[str, bool | None], locks: Mapping[str, bool | None]) -> list[str]:
    """Every permission that this person has now, sorted: what the page shows buttons for."""
    return sorted(name for name in TABLE if may(role, name, allow, locks))


def refusal(permission: str) -> str:
    return REFUSALS.get(permission, "You may not do this in this class.")


def outranks(role: str, other: str) -> bool:
    """May somebody of `role` act upon somebody of `other`? A host upon all but hosts, a co-host upon those below."""
    return RANK.get(role, 0) > RANK.get(other, 0)


def may_give_role(giver: str, target: str, new_role: str) -> bool:
    """A host gives every role but its own; a co-host moves those below itself among the roles below its own."""
    return (
        may(giver, "change_roles", {}, {})
        and outranks(giver, target)
        and outranks(giver, new_role)
        and (new_role != "co-host" or may(giver, "make_co_host", {}, {}))
    )
