"""The live place and what is remembered of it: rooms, participants, when they were there, and what they said."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from classroom.models import Lesson

# People in an encrypted class: what so many know is hardly a secret, and each browser decrypts every frame by itself.
ENCRYPTED_PLACES = 50


def new_room_code() -> str:
    """16 bytes of randomness: a code cannot be guessed."""
    return secrets.token_urlsafe(16)


class Room(models.Model):
    """The live place of a lesson, or of no lesson at all (then it belongs to its creator).

    A class that has ended keeps its room, with chat, attendance and recordings; beginning again makes another.
    """

    class Mode(models.TextChoices):
        AUTO = "auto", "automatic: direct while there are two"
        P2P = "p2p", "direct while there are two"
        SFU = "sfu", "always by the media worker"

    code = models.SlugField(unique=True, max_length=64, default=new_room_code)
    title = models.CharField(max_length=200)
    lesson = models.ForeignKey(Lesson, null=True, blank=True, on_delete=models.CASCADE, related_name="rooms")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    capacity = models.PositiveIntegerField(default=100)
    guests_allowed = models.BooleanField(default=False)
    mode = models.CharField(
        "media",
        max_length=4,
        choices=Mode.choices,
        default=Mode.AUTO,
        help_text="Directly, two people learn each other's network address.",
    )
    always_open = models.BooleanField(
        default=False, help_text="'End class for all' empties this room and leaves it open."
    )
    encrypted = models.BooleanField(
        "end-to-end encrypted",
        default=False,
        help_text="The server forwards what it cannot see or hear. A lesson says it for its classes; once somebody has "
        "joined, it stays.",
    )
    settings = models.JSONField(default=dict, blank=True)  # RoomSettings in meetings.messages
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["lesson"], condition=Q(ended_at=None), name="one_open_room_a_lesson")
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("meetings:room", args=[self.code])

    @property
    def is_open(self) -> bool:
        return self.ended_at is None or self.always_open

    @property
    def is_encrypted(self) -> bool:
        """What a lesson says of its classes counts until the first person joins; then it is settled."""
        if self.lesson is not None and self.started_at is None:
            return self.lesson.encrypted
        return self.encrypted

    @property
    def media_mode(self) -> str:
        """How media may go now: what is encrypted goes by the worker, which cannot read it, and not directly."""
        return self.Mode.SFU if self.is_encrypted else self.mode

    @property
    def places(self) -> int:
        return min(self.capacity, ENCRYPTED_PLACES) if self.is_encrypted else self.capacity


class Participant(models.Model):
    """A person in a room, once a room and person (or guest link), however often they come and go."""

    class Role(models.TextChoices):
        HOST = "host", "Host"
        CO_HOST = "co-host", "Co-host"
        PRESENTER = "presenter", "Presenter"
        ATTENDEE = "attendee", "Attendee"
        GUEST = "guest", "Guest"

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="participants")
    public_id = models.CharField(max_length=32, unique=True)  # participant_id on the wire, and the worker's peer id
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    token_id = models.CharField(max_length=64, blank=True)  # `jti` of a guest's link
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=10, choices=Role.choices)
    # What a host made of this person in class: stays over a reload, ends with the class.
    given_role = models.CharField(max_length=10, choices=Role.choices, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)  # barred until a host admits again
    locks = models.JSONField(default=dict, blank=True)  # this person's own locks: {"unmute": false, ...}
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["room", "created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["room", "user"], condition=Q(user__isnull=False), name="one_participant_a_user"
            ),
            models.UniqueConstraint(
                fields=["room", "token_id"], condition=~Q(token_id=""), name="one_participant_a_guest_link"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.role})"


class Attendance(models.Model):
    """An interval of presence, opened on joining and closed on leaving; nobody clicks for it."""

    class Reason(models.TextChoices):
        STILL_HERE = "", "still here"
        LEFT = "left", "left"
        REMOVED = "removed", "removed"
        ENDED = "ended", "the class ended"
        LOST = "lost", "connection lost"
        REPLACED = "replaced", "came in by another tab"

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="attendance")
    session = models.CharField(max_length=64, db_index=True)
    joined_at = models.DateTimeField(default=timezone.now)
    left_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField("ended because", max_length=20, blank=True, choices=Reason.choices)

    class Meta:
        ordering = ["joined_at"]
        verbose_name_plural = "attendance"

    def __str__(self) -> str:
        return f"{self.participant} from {self.joined_at:%H:%M:%S}"


class ConnectionSummary(models.Model):
    """How good somebody's connection was during an interval of attendance, written when it is over.

    Milliseconds and percent; empty where nothing of the kind was measured. After a while the row is told of nobody any
    more: it stays, without its interval and room.
    """

    attendance = models.OneToOneField(
        Attendance, null=True, blank=True, on_delete=models.SET_NULL, related_name="connection"
    )
    room = models.ForeignKey(Room, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    day = models.DateField(db_index=True)
    seconds = models.PositiveIntegerField(help_text="with media flowing")
    rtt = models.FloatField("round trip", null=True, blank=True)
    worst_rtt = models.FloatField("longest round trip", null=True, blank=True)
    jitter = models.FloatField(null=True, blank=True)
    worst_jitter = models.FloatField(null=True, blank=True)
    loss = models.FloatField(null=True, blank=True)
    worst_loss = models.FloatField(null=True, blank=True)
    score = models.FloatField("sound quality", null=True, blank=True, help_text="1 to 4.4, by the E-model")
    worst_score = models.FloatField("worst sound quality", null=True, blank=True)
    warning_share = models.FloatField("fair", help_text="percent of the time")
    danger_share = models.FloatField("poor", help_text="percent of the time")
    bytes_received = models.BigIntegerField()
    bytes_sent = models.BigIntegerField()
    freezes = models.PositiveIntegerField(help_text="of all pictures received")
    used_tcp = models.BooleanField("by TCP")
    used_relay = models.BooleanField("by a relay")

    class Meta:
        ordering = ["-day", "-pk"]
        verbose_name_plural = "connection summaries"

    def __str__(self) -> str:
        return f"Connection of {self.attendance.participant if self.attendance else 'somebody'} on {self.day}"


class ChatMessage(models.Model):
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="messages")
    public_id = models.CharField(max_length=32, unique=True)  # message_id on the wire
    type = models.CharField(max_length=10, default="text")
    message = models.CharField(max_length=5000)
    reply_to = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    metadata = models.JSONField(default=dict, blank=True)
    client_id = models.CharField(max_length=64, blank=True)  # the sender's own key: sent again, it is the same message
    sent_at = models.DateTimeField(default=timezone.now, db_index=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["sent_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "client_id"], condition=~Q(client_id=""), name="one_message_a_client_id"
            )
        ]

    def __str__(self) -> str:
        return self.message[:60]
