"""Rooms, participants, attendance and chat in the Django admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from redis.exceptions import RedisError

from classroom.models import number_of
from meetings.eventlog import tell_from_a_page
from meetings.models import Attendance, ChatMessage, ConnectionSummary, Participant, Room


def _link(model: str, pk: Any, text: object) -> str:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:meetings_{model}_change", args=[pk]), text)


def _list_of(model: str, query: str, pk: int, count: int) -> str:
    if not count:  # also of a row that is being added
        return "0"
    return format_html('<a href="{}?{}={}">{}</a>', reverse(f"admin:meetings_{model}_changelist"), query, pk, count)


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):
    list_display = (
        "title", "code", "lesson_link", "created_by", "capacity", "guests_allowed", "mode", "encrypted",
        "always_open", "started_at", "ended_at", "participants_link", "messages_link",
    )  # fmt: skip
    list_filter = (
        "always_open", "guests_allowed", "mode", "encrypted", ("ended_at", admin.EmptyFieldListFilter), "created_at",
    )  # fmt: skip
    list_select_related = ("lesson", "created_by")
    search_fields = ("title", "code", "lesson__title", "lesson__course__title", "created_by__username")
    date_hierarchy = "created_at"
    list_per_page = 50
    autocomplete_fields = ("lesson", "created_by")
    readonly_fields = ("created_at", "participants_link", "messages_link")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        return (
            super()
            .get_queryset(request)
            .annotate(participant_count=number_of(Participant, "room"), message_count=number_of(ChatMessage, "room"))
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Room | None = None) -> tuple[str, ...]:
        """Not changed while a class runs, nor against its lesson."""
        settled = obj is not None and (obj.started_at is not None or obj.lesson is not None)
        return (*self.readonly_fields, "encrypted") if settled else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Room, form: ModelForm[Room], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "mode" in form.changed_data:
            transaction.on_commit(lambda: self._tell_mode(request, obj))

    def _tell_mode(self, request: HttpRequest, room: Room) -> None:
        """As when a host changes it in class: two who are there change over at once."""
        try:
            tell_from_a_page(room.code, "room:updated", {"settings": {"mode": room.mode}})
        except RedisError:
            self.message_user(
                request, "Those who are in class keep the old mode: Redis did not answer.", messages.WARNING
            )

    def view_on_site(self, room: Room) -> str:
        return room.get_absolute_url()

    @admin.display(description="Lesson", ordering="lesson__title")
    def lesson_link(self, room: Room) -> str:
        if room.lesson is None:
            return "-"
        address = reverse("admin:classroom_lesson_change", args=[room.lesson.pk])
        return format_html('<a href="{}">{}</a>', address, room.lesson)

    @admin.display(description="Participants", ordering="participant_count")
    def participants_link(self, room: Room) -> str:
        return _list_of("participant", "room__id__exact", room.pk, getattr(room, "participant_count", 0))

    @admin.display(description="Messages", ordering="message_count")
    def messages_link(self, room: Room) -> str:
        return _list_of("chatmessage", "room__id__exact", room.pk, getattr(room, "message_count", 0))


class AttendanceInline(admin.TabularInline):
    model = Attendance
    fields = ("joined_at", "left_at", "reason")
    extra = 0


@admin.register(Participant)
class ParticipantAdmin(admin.ModelAdmin):
    list_display = ("name", "room_link", "user_link", "role", "given_role", "removed_at", "created_at")
    list_filter = ("role", ("removed_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("room", "user")
    search_fields = ("name", "public_id", "user__username", "user__email", "room__title", "room__code")
    date_hierarchy = "created_at"
    list_per_page = 50
    autocomplete_fields = ("room", "user")
    readonly_fields = ("public_id", "token_id", "created_at")
    inlines = (AttendanceInline,)
    actions = ("admit_again",)

    @admin.display(description="Room", ordering="room__title")
    def room_link(self, participant: Participant) -> str:
        return _link("room", participant.room_id, participant.room)

    @admin.display(description="Account", ordering="user__username")
    def user_link(self, participant: Participant) -> str:
        if participant.user is None:
            return "guest's link"
        address = reverse("admin:accounts_user_change", args=[participant.user.pk])
        return format_html('<a href="{}">{}</a>', address, participant.user)

    @admin.action(description="Let the selected participants in again")
    def admit_again(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        count = queryset.exclude(removed_at=None).update(removed_at=None)
        self.message_user(request, f"{count} participants can come in again.")


@admin.register(Attendance)
class AttendanceAdmin(admin.ModelAdmin):
    list_display = ("joined_at", "participant_link", "room_link", "left_at", "minutes", "reason")
    list_filter = ("reason", ("left_at", admin.EmptyFieldListFilter), "joined_at")
    list_select_related = ("participant__room",)
    search_fields = (
        "participant__name", "participant__user__username", "participant__room__title", "participant__room__code",
    )  # fmt: skip
    date_hierarchy = "joined_at"
    list_per_page = 50
    autocomplete_fields = ("participant",)
    readonly_fields = ("session",)

    @admin.display(description="Participant", ordering="participant__name")
    def participant_link(self, interval: Attendance) -> str:
        return _link("participant", interval.participant_id, interval.participant)

    @admin.display(description="Room", ordering="participant__room__title")
    def room_link(self, interval: Attendance) -> str:
        return _link("room", interval.participant.room_id, interval.participant.room)

    @admin.display(description="Minutes")
    def minutes(self, interval: Attendance) -> str:
        until = interval.left_at or timezone.now()
        return f"{(until - interval.joined_at).total_seconds() / 60:.0f}" + ("" if interval.left_at else " so far")


@admin.register(ConnectionSummary)
class ConnectionSummaryAdmin(admin.ModelAdmin):
    """Measured, so to be read only. Deleting is for whoever must forget sooner than the retention does."""

    list_display = (
        "day", "participant_link", "room_link", "minutes", "round_trip", "lost", "sound", "fair_or_poor", "freezes",
        "used_tcp", "used_relay",
    )  # fmt: skip
    list_filter = ("used_tcp", "used_relay", "day")
    list_select_related = ("attendance__participant", "room")
    search_fields = ("attendance__participant__name", "attendance__participant__user__username", "room__title")
    date_hierarchy = "day"
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ConnectionSummary | None = None) -> bool:
        return False

    @admin.display(description="Participant", ordering="attendance__participant__name")
    def participant_link(self, summary: ConnectionSummary) -> str:
        if summary.attendance is None:
            return "-"
        return _link("participant", summary.attendance.participant_id, summary.attendance.participant)

    @admin.display(description="Room", ordering="room__title")
    def room_link(self, summary: ConnectionSummary) -> str:
        return "-" if summary.room is None else _link("room", summary.room_id, summary.room)

    @admin.display(description="Minutes", ordering="seconds")
    def minutes(self, summary: ConnectionSummary) -> str:
        return f"{summary.seconds / 60:.0f}"

    @admin.display(description="Round trip", ordering="rtt")
    def round_trip(self, summary: ConnectionSummary) -> str:
        return _measured(summary.rtt, summary.worst_rtt, " ms")

    @admin.display(description="Loss", ordering="loss")
    def lost(self, summary: ConnectionSummary) -> str:
        return _measured(summary.loss, summary.worst_loss, " %", digits=1)

    @admin.display(description="Sound quality", ordering="score")
    def sound(self, summary: ConnectionSummary) -> str:
        return _measured(summary.score, summary.worst_score, "", digits=1)

    @admin.display(description="Fair, poor", ordering="danger_share")
    def fair_or_poor(self, summary: ConnectionSummary) -> str:
        return f"{summary.warning_share:.0f} %, {summary.danger_share:.0f} %"


def _measured(mean: float | None, worst: float | None, unit: str, *, digits: int = 0) -> str:
    """`42 ms, worst 180 ms`"""
    if mean is None or worst is None:
        return "-"
    return f"{mean:.{digits}f}{unit}, worst {worst:.{digits}f}{unit}"


@admin.register(ChatMessage)
class ChatMessageAdmin(admin.ModelAdmin):
    list_display = ("__str__", "participant_link", "room_link", "type", "sent_at", "deleted_at")
    list_filter = ("type", ("deleted_at", admin.EmptyFieldListFilter), "sent_at")
    list_select_related = ("participant", "room")
    search_fields = ("message", "participant__name", "participant__user__username", "room__title", "room__code")
    date_hierarchy = "sent_at"
    list_per_page = 50
    autocomplete_fields = ("room", "participant", "reply_to")
    readonly_fields = ("public_id", "client_id")

    @admin.display(description="From", ordering="participant__name")
    def participant_link(self, message: ChatMessage) -> str:
        return _link("participant", message.participant_id, message.participant)

    @admin.display(description="Room", ordering="room__title")
    def room_link(self, message: ChatMessage) -> str:
        return _link("room", message.room_id, message.room)
