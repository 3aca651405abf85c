"""A class that is shown to the outside while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from meetings.models import Room

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User


class StreamQuerySet(models.QuerySet["Stream"]):
    def visible_to(self, user: User | AnonymousUser) -> StreamQuerySet:
        """Public ones for everybody who has the link; all of them for staff, for the course, for the room's creator."""
        public = Q(access=Stream.Access.PUBLIC)
        if not user.is_authenticated:
            return self.filter(public)
        if user.is_site_staff:
            return self
        own = Q(room__lesson=None, room__created_by=user)
        return self.filter(public | own | Q(room__lesson__course__enrolments__user=user)).distinct()

    def running(self) -> StreamQuerySet:
        return self.filter(state__in=RUNNING)


class Stream(models.Model):
    """`recordings.live.services` moves `state`, each time from the state it saw."""

    class State(models.TextChoices):
        STARTING = "starting", "Starting"
        LIVE = "live", "Live"
        ENDED = "ended", "Ended"
        FAILED = "failed", "Failed"

    class Target(models.TextChoices):
        HLS = "hls", "Page"
        RTMP = "rtmp", "RTMP"

    class Access(models.TextChoices):
        PUBLIC = "public", "Everybody who has the link"
        COURSE = "course", "The course"

    public_id = models.CharField(max_length=32, unique=True)  # in the page's address: cannot be guessed
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="streams")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.STARTING, db_index=True)
    reason = models.CharField(max_length=300, blank=True)  # of a failure
    target = models.CharField(max_length=4, choices=Target.choices, default=Target.HLS)
    access = models.CharField(max_length=6, choices=Access.choices, default=Access.COURSE)
    qualities = models.JSONField(default=list)  # the best first
    push_url = models.CharField(max_length=500, blank=True)  # with its stream key: forgotten when the stream ends
    starts = models.PositiveIntegerField(default=0)  # of its process; each has packet logs of its own
    keeper = models.CharField(max_length=64, blank=True)  # whose process it is,
    lease_until = models.DateTimeField(null=True, blank=True)  # until then
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["room"], condition=Q(state__in=["starting", "live"]), name="one_running_stream_a_room"
            )
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.started_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("live:page", args=[self.public_id])

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def logs_id(self) -> str:
        """Of the packet logs, at the worker."""
        return f"{self.public_id}-{self.starts}"

    @property
    def logs(self) -> Path:
        return Path(settings.STREAMS_DIR) / self.logs_id

    @property
    def folder(self) -> Path:
        """What viewers get."""
        return Path(settings.LIVE_DIR) / self.public_id


RUNNING = (Stream.State.STARTING, Stream.State.LIVE)
