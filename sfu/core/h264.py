"""What a `profile-level-id` says: whether two H264 codecs are one, and at which level (RFC 6184, 8.1 and 8.2.2)."""

from __future__ import annotations

import re
from typing import Any

Parameters = dict[str, Any]  # a codec's format parameters

_DEFAULT = "42e01f"  # what an absent profile-level-id means to browsers; the RFC's own would be baseline at level 1
_LEVEL_1B = 10.5  # between 1 and 1.1; written as 1.1 with constraint_set3
_CONSTRAINT_SET3 = 0x10
_LEVELS = {10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52}  # what browsers know

_PROFILES = (
    # profile_idc, which constraint bits matter, what they must be (RFC 6184, table 5)
    (0x42, 0b0100_1111, 0b0100_0000, "constrained baseline"),
    (0x4D, 0b1000_1111, 0b1000_0000, "constrained baseline"),
    (0x58, 0b1100_1111, 0b1100_0000, "constrained baseline"),
    (0x42, 0b0100_1111, 0b0000_0000, "baseline"),
    (0x58, 0b1100_1111, 0b1000_0000, "baseline"),
    (0x4D, 0b1010_1111, 0b0000_0000, "main"),
    (0x64, 0b1111_1111, 0b0000_0000, "high"),
    (0x64, 0b1111_1111, 0b0000_1100, "constrained high"),
    (0xF4, 0b1111_1111, 0b0000_0000, "high 4:4:4 predictive"),
)
_WRITTEN = {  # profile_idc and constraint bits as browsers write them
    "constrained baseline": 0x42E0,
    "baseline": 0x4200,
    "main": 0x4D00,
    "high": 0x6400,
    "constrained high": 0x640C,
    "high 4:4:4 predictive": 0xF400,
}
_WRITTEN_1B = {"constrained baseline": "42f00b", "baseline": "42100b", "main": "4d100b"}


def profile(parameters: Parameters) -> str | None:
    """The profile's name; None where the profile-level-id is none that browsers know."""
    found = _parse(parameters)
    return None if found is None else found[0]


def answer(own: Parameters, other: Parameters) -> str | None:
    """The profile-level-id to go on with, of two codecs of one profile: at the own level, or at the lower of both
    where one of them does not allow them to differ. None where neither says any."""
    if not own.get("profile-level-id") and not other.get("profile-level-id"):
        return None
    here, there = _parse(own), _parse(other)
    if here is None or there is None:
        return None
    name, level = here
    if not (_asymmetric(own) and _asymmetric(other)):
        level = min(level, there[1])
    if level == _LEVEL_1B:
        return _WRITTEN_1B.get(name)
    return f"{_WRITTEN[name]:04x}{int(level):02x}"


def _asymmetric(parameters: Parameters) -> bool:
    return str(parameters.get("level-asymmetry-allowed")) == "1"


def _parse(parameters: Parameters) -> tuple[str, float] | None:
    """The profile and the level."""
    # It may come as a number: clients turn a value of digits alone into one.
    text = str(parameters.get("profile-level-id") or _DEFAULT)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", text):
        return None
    profile_idc, constraints, level = bytes.fromhex(text)
    if level not in _LEVELS:
        return None
    for idc, mask, value, name in _PROFILES:
        if profile_idc == idc and constraints & mask == value:
            return name, _LEVEL_1B if level == 11 and constraints & _CONSTRAINT_SET3 else level
    return None
