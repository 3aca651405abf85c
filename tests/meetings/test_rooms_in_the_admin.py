"""The list of rooms in the Django admin."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import RequestFactory

from meetings.models import ChatMessage, Participant, Room

pytestmark = pytest.mark.django_db


def test_people_and_messages_are_counted_apart(tina):
    room = Room.objects.create(title="Cells", created_by=tina)
    Room.objects.create(title="Empty", created_by=tina)
    people = [Participant.objects.create(room=room, public_id=f"p{n}", token_id=f"t{n}", name="Gina") for n in range(2)]
    for number in range(3):
        ChatMessage.objects.create(room=room, participant=people[0], public_id=f"m{number}", message="Hello")
    listed = admin.site._registry[Room].get_queryset(RequestFactory().get("/"))
    numbers = {each.title: (each.participant_count, each.message_count) for each in listed}
    assert numbers == {"Cells": (2, 3), "Empty": (0, 0)}
    # Joined, a class of 2,000 with 5,000 messages would be ten million rows to count.
    assert "JOIN" not in str(listed.query)
