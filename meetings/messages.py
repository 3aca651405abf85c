"""What a client may say on the classroom's socket: a Struct for each payload, with its limits; nothing else gets in.

Features and the media part keep their own messages beside their handlers; they inherit `Message`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from meetings.permissions import SETTINGS, Role

MAX_FRAME = 64 * 1024  # bytes
MAX_METADATA = 8 * 1024  # bytes, as JSON

Key = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
# PostgreSQL stores no NUL, and neither a name nor a message needs one.
Text = Annotated[str, Meta(min_length=1, max_length=5000, pattern=r"^[^\x00]*\Z")]
Name = Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Sequence = Annotated[int, Meta(ge=0, le=2**53)]
Measure = Annotated[float, Meta(ge=0, le=1e12)]


class Envelope(Struct, forbid_unknown_fields=True):
    """`data` stays raw until the event's own schema reads it."""

    id: Annotated[int, Meta(ge=0, le=2**53)]
    event: Annotated[str, Meta(min_length=1, max_length=64)]
    data: msgspec.Raw = msgspec.Raw(b"{}")


class EnvelopeId(Struct):
    """What can be read of an envelope that is wrong otherwise, so that even this one is acknowledged."""

    id: Annotated[int, Meta(ge=0, le=2**53)]


class Message(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`meeting_id` may be left out; the socket refuses one that is not its own."""

    meeting_id: str | UnsetType = UNSET


class Empty(Message, frozen=True):
    pass


# --- room ------------------------------------------------------------------------------------------------------------


class RoomJoin(Message, frozen=True):
    display_name: Name = ""
    device: Annotated[str, Meta(max_length=300)] = ""  # a word about the browser, for support; not stored
    session: Key | None = None
    last_seq: Sequence | None = None


class ChangeSettings(Message, frozen=True):
    mode: Literal["p2p", "sfu", "auto"]


class ParticipantsPage(Message, frozen=True):
    after: Key  # the participant_id that the page before ended with
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


# --- participants ----------------------------------------------------------------------------------------------------


class ParticipantMute(Message, frozen=True):
    participant_id: Key  # or "all"
    kind: Literal["audio", "video", "screen"] = "audio"


class ParticipantRemove(Message, frozen=True):
    participant_id: Key
    reason: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*\Z")] = ""


class ParticipantRoleUpdate(Message, frozen=True):
    participant_id: Key
    role: Role


# --- hands, media intent ---------------------------------------------------------------------------------------------


class HandLower(Message, frozen=True):
    participant_id: Key | None = None  # one's own when left out; or "all"


class LayoutChange(Message, frozen=True):
    layout: Literal["grid", "speaker", "presentation"]
    for_all: bool = False


class MediaToggle(Message, frozen=True):
    kind: Literal["audio", "video"]
    enabled: bool


# --- chat ------------------------------------------------------------------------------------------------------------


class ChatSend(Message, frozen=True):
    """`metadata.client_id` makes sending again safe: the same key of the same person is the same message."""

    message: Text
    reply_to: Key | None = None
    type: Literal["text", "emoji"] = "text"
    metadata: dict[str, Any] = {}


class ChatHistory(Message, frozen=True):
    before: Key | None = None
    after: Key | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


# --- statistics ------------------------------------------------------------------------------------------------------


class StatsReport(Message, frozen=True):
    """Milliseconds, percent, bit/s, bytes and counts, as the browser measured them since its last report.

    `voice_loss`: of the voices received, with what came too late; `voice_buffer`: how long they waited to be played.
    """

    rtt: Measure | None = None
    jitter: Measure | None = None
    packet_loss: Annotated[float, Meta(ge=0, le=100)] | None = None
    bitrate: Measure | None = None
    bytes_received: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    bytes_sent: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    voice_loss: Annotated[float, Meta(ge=0, le=100)] | None = None
    voice_buffer: Measure | None = None
    available_bitrate: Measure | None = None
    frames_per_second: Measure | None = None
    frame_width: Measure | None = None
    frame_height: Measure | None = None
    freeze_count: Measure | None = None
    audio_level: Measure | None = None
    limited_by: Literal["none", "cpu", "bandwidth", "other"] | None = None
    path: Literal["udp", "tcp", "relay", "direct"] | None = None


# --- the room's settings, as stored in Room.settings ------------------------------------------------------------------


class Allow(Struct, kw_only=True, omit_defaults=True):
    """None: what the table of roles says by default."""

    unmute: bool | None = None
    camera: bool | None = None
    share: bool | None = None
    chat: bool | None = None
    private_chat: bool | None = None
    draw: bool | None = None
    join_breakout: bool | None = None
    record_here: bool | None = None  # hosts, on a device of their own


class RoomSettings(Struct, kw_only=True):
    """`encrypted` is the room's own field, told beside what is stored here."""

    encrypted: bool = False
    waiting_room: bool = False
    locked: bool = False
    allow: Allow = msgspec.field(default_factory=Allow)
    cameras_to_teachers_only: bool = False

    def allowed(self) -> dict[str, bool | None]:
        return {name: getattr(self.allow, name) for name in SETTINGS}


def read_settings(stored: Any) -> RoomSettings:
    """Unknown or broken fields in the database (an older or newer Lectern, an admin's slip) fall back to defaults."""
    try:
        return msgspec.convert(stored, RoomSettings)
    except msgspec.ValidationError:
        return RoomSettings()
