"""Recordings, tracks and compositions in the Django admin: found, linked, composed again; never edited."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from recordings import files, services
from recordings.live import services as live
from recordings.live.models import Stream
from recordings.models import Composition, LegalHold, Notice, Recording, RecordingPolicy, Track, Viewing


class ReadOnly(admin.ModelAdmin):
    """States move by `recordings.states`, files by the composer: a form could only contradict them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # the row alone would go, and leave its files behind: there is an action for both


class ReadOnlyInline(admin.TabularInline):
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class CompositionInline(ReadOnlyInline):
    model = Composition
    fields = ("name", "content_type", "key", "size", "created_at")
    readonly_fields = fields


class TrackInline(ReadOnlyInline):
    model = Track
    fields = ("name", "kind", "source", "offset", "duration", "file")
    readonly_fields = fields


@admin.register(Recording)
class RecordingAdmin(ReadOnly):
    list_display = ("room", "course_link", "started_at", "length", "state", "progress", "attempts", "short_reason")
    list_filter = ("state", ("hold", admin.EmptyFieldListFilter), "started_at", "room__lesson__course")
    list_select_related = ("room__lesson__course",)
    search_fields = (
        "public_id",
        "room__title",
        "room__code",
        "room__lesson__title",
        "room__lesson__course__title",
        "started_by__username",
    )
    date_hierarchy = "started_at"
    list_per_page = 50
    actions = ("compose_again", "delete_files")
    inlines = (CompositionInline, TrackInline)

    def view_on_site(self, recording: Recording) -> str:
        return recording.get_absolute_url()

    @admin.display(description="Course", ordering="room__lesson__course__title")
    def course_link(self, recording: Recording) -> str:
        if recording.room.lesson is None:
            return "–"
        course = recording.room.lesson.course
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:classroom_course_change", args=[course.pk]), course.title
        )

    @admin.display(description="Reason")
    def short_reason(self, recording: Recording) -> str:
        return recording.reason[:80]

    @admin.action(description="Compose failed recordings again", permissions=["view"])
    def compose_again(self, request: HttpRequest, queryset: QuerySet[Recording]) -> None:
        queued = sum(services.retry(recording) for recording in queryset)
        left = queryset.count() - queued
        if queued:
            messages.success(request, f"{queued} queued.")
        if left:
            messages.warning(request, f"{left} left alone: they have not failed.")

    @admin.action(description="Delete the files of finished recordings now", permissions=["view"])
    def delete_files(self, request: HttpRequest, queryset: QuerySet[Recording]) -> None:
        held = queryset.exclude(hold=None).count()
        expired = sum(services.expire(recording) for recording in queryset)
        messages.success(request, f"{expired} expired; their files go within a minute.")
        if held:
            messages.warning(request, f"{held} left alone: they are under legal hold.")


@admin.register(Track)
class TrackAdmin(ReadOnly):
    list_display = ("recording", "name", "kind", "source", "offset", "duration")
    list_filter = ("kind", "source")
    list_select_related = ("recording__room",)
    search_fields = ("name", "producer_id", "recording__public_id", "recording__room__title")
    list_per_page = 50


@admin.register(Composition)
class CompositionAdmin(ReadOnly):
    list_display = ("recording", "name", "size", "created_at", "download_link")
    list_filter = ("content_type", "created_at")  # a file without a quality would have a choice without a name
    list_select_related = ("recording__room",)
    search_fields = ("key", "sha256", "recording__public_id", "recording__room__title")
    date_hierarchy = "created_at"
    list_per_page = 50

    @admin.display(description="File")
    def download_link(self, composition: Composition) -> str:
        if composition.name != files.film(composition.quality):
            return "–"
        address = reverse("recordings:download", args=[composition.recording.public_id, composition.quality])
        return format_html('<a href="{}">Download</a>', address)


@admin.register(RecordingPolicy)
class RecordingPolicyAdmin(admin.ModelAdmin):
    list_display = ("course", "keep_days", "mail_students")
    list_select_related = ("course",)
    search_fields = ("course__title",)
    autocomplete_fields = ("course",)


@admin.register(LegalHold)
class LegalHoldAdmin(ReadOnly):
    """Placed and lifted on the recording's own page."""

    list_display = ("recording", "reason", "placed_by", "placed_at")
    list_select_related = ("recording__room", "placed_by")
    search_fields = ("reason", "recording__public_id", "recording__room__title")


@admin.register(Viewing)
class ViewingAdmin(ReadOnly):
    list_display = ("recording", "user", "first_at", "last_at", "seconds", "furthest")
    list_select_related = ("recording__room", "user")
    search_fields = ("user__username", "recording__public_id", "recording__room__title")
    date_hierarchy = "first_at"
    list_per_page = 50


@admin.register(Notice)
class NoticeAdmin(ReadOnly):
    list_display = ("recording", "user", "kind", "sent_at")
    list_filter = ("kind",)
    list_select_related = ("recording__room", "user")
    search_fields = ("user__username", "recording__public_id", "recording__room__title")
    list_per_page = 50


@admin.register(Stream)
class StreamAdmin(ReadOnly):
    """Of where it is pushed to nothing is shown: that has the stream key in it."""

    list_display = ("room", "started_at", "ended_at", "state", "target", "access", "reason")
    list_filter = ("state", "target", "access", "started_at")
    list_select_related = ("room",)
    search_fields = ("public_id", "room__title", "room__code")
    exclude = ("push_url",)
    actions = ("end",)

    @admin.action(description="End the stream", permissions=["view"])
    def end(self, request: HttpRequest, queryset: QuerySet[Stream]) -> None:
        ended = [stream for stream in queryset.select_related("room") if live.end(stream.pk)]
        for stream in ended:
            live.tell_end(stream)
        self.message_user(request, f"{len(ended)} ended.", messages.SUCCESS if ended else messages.INFO)
