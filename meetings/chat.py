"""The chat as the database keeps it: stored once however often it is sent, told as it was stored, read in pages."""

from __future__ import annotations

import secrets
from typing import Any

from django.db import IntegrityError, transaction

from meetings.models import ChatMessage, Participant


class UnknownMessage(Exception):
    pass


def store(
    participant: Participant, *, message: str, type: str, reply_to: str | None, metadata: dict[str, Any], client_id: str
) -> ChatMessage:
    """Store it, or find it: the same client_id of the same person is the same message. Raises UnknownMessage."""
    if client_id:
        earlier = _stored(participant, client_id)
        if earlier is not None:
            return earlier
    parent = None
    if reply_to is not None:
        parent = ChatMessage.objects.filter(room_id=participant.room_id, public_id=reply_to, deleted_at=None).first()
        if parent is None:
            raise UnknownMessage(reply_to)
    try:
        with transaction.atomic():
            return ChatMessage.objects.create(
                room_id=participant.room_id,
                participant=participant,
                public_id=secrets.token_urlsafe(12),
                type=type,
                message=message,
                reply_to=parent,
                metadata=metadata,
                client_id=client_id,
            )
    except IntegrityError:  # the same message was on its way by another connection
        earlier = _stored(participant, client_id)
        if earlier is None:
            raise
        return earlier


def _stored(participant: Participant, client_id: str) -> ChatMessage | None:
    return ChatMessage.objects.select_related("reply_to").filter(participant=participant, client_id=client_id).first()


def on_the_wire(message: ChatMessage, participant: Participant) -> dict[str, Any]:
    """As `chat:message` and the history have it."""
    return {
        "message_id": message.public_id,
        "participant_id": participant.public_id,
        "name": participant.name,
        "role": participant.role,
        "message": message.message,
        "type": message.type,
        "sent_at": message.sent_at.isoformat(),
        "reply_to": message.reply_to.public_id if message.reply_to else None,
        "client_id": message.client_id or None,
    }


def history(room_id: int, *, before: str | None = None, after: str | None = None, limit: int = 50) -> dict[str, Any]:
    """{messages: oldest first, more: whether there are others beyond}. Raises UnknownMessage for a foreign id."""
    rows = ChatMessage.objects.filter(room_id=room_id, deleted_at=None).select_related("participant", "reply_to")
    for edge, compare in ((before, "lt"), (after, "gt")):
        if edge is not None:
            pk = ChatMessage.objects.filter(room_id=room_id, public_id=edge).values_list("pk", flat=True).first()
            if pk is None:
                raise UnknownMessage(edge)
            rows = rows.filter(**{f"pk__{compare}": pk})
    # The key rises with the time of storing: the order that all saw, also where two clocks differ.
    found = list(rows.order_by("pk" if after is not None else "-pk")[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if after is None:
        found.reverse()
    return {"messages": [on_the_wire(message, message.participant) for message in found], "more": more}
