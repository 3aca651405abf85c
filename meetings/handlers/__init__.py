"""What the socket's events do, a module a subject; importing one registers its events. Media have their own folder."""

from meetings.handlers import chat, hands, layout, media_intent, participants, room
from meetings.media import lifecycle, p2p, screens
from meetings.quality import handlers as quality

__all__ = ["chat", "hands", "layout", "lifecycle", "media_intent", "p2p", "participants", "quality", "room", "screens"]
