"""What the socket's events do, a module a subject; importing one registers its events."""

from meetings.handlers import chat, hands, media_intent, participants, room, screen

__all__ = ["chat", "hands", "media_intent", "participants", "room", "screen"]
