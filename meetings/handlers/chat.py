"""Chat: stored first, then numbered and sent to all; sent again with the same key, it is the same message.

Nothing acknowledged is lost or doubled. A crash between storing and telling leaves a message that nobody acknowledged:
its sender sends it again with the same `metadata.client_id`, finds it stored, and the event log (`once`) knows whether
it was told already. With Redis away the message is stored but cannot be told: the sender gets `internal` and sends it
again; until then it stands in the history alone.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import msgspec

from meetings import chat, metrics
from meetings.database import in_database
from meetings.errors import Refused
from meetings.hub import Hub
from meetings.limits import CHAT, LARGE_ANSWER
from meetings.messages import MAX_METADATA, ChatHistory, ChatSend, Key
from meetings.registry import on, on_event
from meetings.session import RoomSession


@on("chat:send", ChatSend, needs="chat", lane="chat", limit=CHAT)
async def send(session: RoomSession, message: ChatSend) -> dict[str, Any]:
    client_id, metadata = _metadata(message)
    if not message.message.strip():
        raise Refused("bad_request", "An empty message.")
    try:
        stored = await in_database(chat.store)(
            session.participant,
            message=message.message,
            type=message.type,
            reply_to=message.reply_to,
            metadata=metadata,
            client_id=client_id,
        )
    except chat.UnknownMessage:
        raise Refused("not_found", "The message you reply to is not there.") from None
    await session.hub.publish("chat:message", chat.on_the_wire(stored, session.participant), once=stored.public_id)
    return {"message_id": stored.public_id, "sent_at": stored.sent_at.isoformat()}


@on_event("chat:message")
def delivered(hub: Hub, data: dict[str, Any]) -> None:
    sent_at = datetime.fromisoformat(data["sent_at"]).timestamp()

    def observe() -> None:
        metrics.CHAT_DELIVERY.observe(max(0.0, time.time() - sent_at))

    asyncio.get_running_loop().call_soon(observe)  # that is behind the writing to the sockets, which does not pause


def _metadata(message: ChatSend) -> tuple[str, dict[str, Any]]:
    metadata = dict(message.metadata)
    try:
        client_id = msgspec.convert(metadata.pop("client_id", None), Key | None)
    except msgspec.ValidationError as error:
        raise Refused("bad_request", f"metadata.client_id: {error}") from None
    text = msgspec.json.encode(metadata)
    if len(text) > MAX_METADATA or b"\\u0000" in text:
        raise Refused("bad_request", "metadata is too large.")
    return client_id or "", metadata


@on("chat:history", ChatHistory, lane="chat", limit=LARGE_ANSWER)
async def history(session: RoomSession, message: ChatHistory) -> dict[str, Any]:
    if message.before is not None and message.after is not None:
        raise Refused("bad_request", "Either before or after.")
    try:
        return await in_database(chat.history)(
            session.room.pk, before=message.before, after=message.after, limit=message.limit
        )
    except chat.UnknownMessage:
        raise Refused("not_found", "There is no such message in this class.") from None
