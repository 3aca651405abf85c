"""Rooms, meeting tokens and attendance on the API."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from rest_framework import serializers

from classroom.models import Lesson
from meetings.models import ENCRYPTED_PLACES, Attendance, ConnectionSummary, Room
from meetings.tokens import GUEST_ROLES

MAX_CAPACITY = 10_000
MONTH = 30 * 24 * 3600  # seconds


class MeetingSerializer(serializers.ModelSerializer[Room]):
    """`guests_allowed` is true by default where there is no lesson: nobody but its creator could enter otherwise."""

    lesson = serializers.PrimaryKeyRelatedField(queryset=Lesson.objects.none(), required=False, allow_null=True)
    title = serializers.CharField(max_length=200, required=False)
    capacity = serializers.IntegerField(min_value=1, max_value=MAX_CAPACITY, default=100)
    guests_allowed = serializers.BooleanField(required=False)
    encrypted = serializers.BooleanField(
        required=False, help_text="End-to-end encrypted. A lesson says it for its classes."
    )
    url = serializers.SerializerMethodField()
    socket = serializers.SerializerMethodField()

    class Meta:
        model = Room
        fields = (
            "code", "title", "lesson", "capacity", "guests_allowed", "mode", "encrypted", "always_open", "created_at",
            "started_at", "ended_at", "url", "socket",
        )  # fmt: skip
        read_only_fields = ("code", "always_open", "created_at", "started_at", "ended_at")
        validators = ()  # a lesson that has an open room is no error: that room is the answer

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        request = self.context.get("request")
        if request is not None and request.user.is_authenticated:
            fields["lesson"].queryset = Lesson.objects.visible_to(request.user)  # type: ignore[attr-defined]
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        lesson = attrs.get("lesson")
        if not attrs.get("title"):
            if lesson is None:
                raise serializers.ValidationError({"title": "A class without a lesson needs a title."})
            attrs["title"] = lesson.title
        attrs.setdefault("guests_allowed", lesson is None)
        encrypted = attrs.setdefault("encrypted", lesson is not None and lesson.encrypted)
        if lesson is not None and encrypted != lesson.encrypted:
            raise serializers.ValidationError({"encrypted": "The lesson says whether its classes are encrypted."})
        if encrypted and attrs["capacity"] > ENCRYPTED_PLACES:
            if "capacity" in self.initial_data:
                raise serializers.ValidationError({"capacity": f"An encrypted class takes {ENCRYPTED_PLACES} people."})
            attrs["capacity"] = ENCRYPTED_PLACES
        return attrs

    def to_representation(self, instance: Room) -> dict[str, Any]:
        return {**super().to_representation(instance), "encrypted": instance.is_encrypted}

    def get_url(self, room: Room) -> str:
        address = room.get_absolute_url()
        request = self.context.get("request")
        return request.build_absolute_uri(address) if request else address

    def get_socket(self, room: Room) -> str:
        return f"/ws/meetings/{room.code}/"


class TokenRequestSerializer(serializers.Serializer[None]):
    """Nothing for one's own token; a role for a guest's link."""

    role = serializers.ChoiceField(choices=GUEST_ROLES, required=False)
    display_name = serializers.CharField(max_length=100, required=False)
    expires_in = serializers.IntegerField(min_value=60, max_value=MONTH, required=False, help_text="Seconds.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs and "role" not in attrs:
            raise serializers.ValidationError({"role": "A link for somebody else needs a role."})
        return attrs


class TokenSerializer(serializers.Serializer[dict[str, object]]):
    token = serializers.CharField()
    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


class ConnectionSerializer(serializers.ModelSerializer[ConnectionSummary]):
    class Meta:
        model = ConnectionSummary
        fields = (
            "seconds", "rtt", "worst_rtt", "jitter", "worst_jitter", "loss", "worst_loss", "score", "worst_score",
            "warning_share", "danger_share", "bytes_received", "bytes_sent", "freezes", "used_tcp", "used_relay",
        )  # fmt: skip


class AttendanceSerializer(serializers.ModelSerializer[Attendance]):
    meeting = serializers.CharField(source="participant.room.code")
    lesson = serializers.IntegerField(source="participant.room.lesson_id", allow_null=True)
    participant_id = serializers.CharField(source="participant.public_id")
    name = serializers.CharField(source="participant.name")
    email = serializers.EmailField(source="participant.user.email", default="")
    role = serializers.CharField(source="participant.role")
    seconds = serializers.SerializerMethodField()
    connection = ConnectionSerializer(allow_null=True, default=None, help_text="Milliseconds and percent.")

    class Meta:
        model = Attendance
        fields = (
            "meeting", "lesson", "participant_id", "name", "email", "role", "joined_at", "left_at", "reason", "seconds",
            "connection",
        )  # fmt: skip

    def get_seconds(self, interval: Attendance) -> int | None:
        """None while the interval is open."""
        return round((interval.left_at - interval.joined_at).total_seconds()) if interval.left_at else None


def link(request: Any, room: Room, token: str) -> str:
    return str(request.build_absolute_uri(f"{reverse('meetings:room', args=[room.code])}?token={token}"))
