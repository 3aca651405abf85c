"""Recordings (what a user sees), their tracks (one producer's file) and compositions (one file made of the tracks);
how long they are kept, who was told of them, and who has watched them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse

from classroom.models import Course, Enrolment
from meetings.models import Participant, Room
from recordings import files

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User
    from recordings.storage import Stored


FIRST_QUALITY = "720p"  # is made first, and makes a recording ready


QUALITIES = ("360p", "720p", "1080p")
FORMATS = ("mp4", "webm", "m4a", "hls")


def default_qualities() -> list[str]:
    return ["720p"]


def default_formats() -> list[str]:
    return ["mp4", "m4a"]


class RecordingQuerySet(models.QuerySet["Recording"]):
    def visible_to(self, user: User | AnonymousUser) -> RecordingQuerySet:
        """To watch: everything for staff and admins, else those of one's courses and of one's own rooms."""
        if not user.is_authenticated:
            return self.none()
        if user.is_site_staff:
            return self
        own = Q(room__lesson=None, room__created_by=user)
        return self.filter(own | Q(room__lesson__course__enrolments__user=user)).distinct()

    def managed_by(self, user: User | AnonymousUser) -> RecordingQuerySet:
        """To download and to compose again: staff, the course's teachers, the creator of a room of no course."""
        if not user.is_authenticated:
            return self.none()
        if user.is_site_staff:
            return self
        own = Q(room__lesson=None, room__created_by=user)
        taught = Enrolment.objects.filter(user=user, role=Enrolment.Role.TEACHER).values("course")
        return self.filter(own | Q(room__lesson__course__in=taught))

    def failed(self) -> RecordingQuerySet:
        """What somebody who manages it can try again: `Recording.has_failed`."""
        rest = Q(state=Recording.State.READY, outputs=Recording.Outputs.FAILED)
        return self.filter(Q(state=Recording.State.FAILED) | rest)


class Recording(models.Model):
    """A class, or a part of one, recorded. `recordings.states` is the one place that moves `state`."""

    class State(models.TextChoices):
        RECORDING = "recording", "Recording"
        QUEUED = "queued", "Queued"
        COMPOSING = "composing", "Composing"
        UPLOADING = "uploading", "Uploading"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"

    class Outputs(models.TextChoices):
        """What is made of it besides its first film, once that one is ready."""

        NONE = "none", "None yet"
        WAITING = "waiting", "Waiting"
        MAKING = "making", "Being made"
        MADE = "made", "Made"
        FAILED = "failed", "Failed"

    class Layout(models.TextChoices):
        GRID = "grid", "Everybody in a grid"
        SPEAKER = "speaker", "Whoever speaks, large"
        PRESENTATION = "presentation", "The screen, with cameras beside it"

    class Who(models.TextChoices):
        ALL = "all", "Everybody"
        TEACHERS = "teachers", "Teachers only"

    public_id = models.CharField(max_length=32, unique=True)  # the folder's name, and the id in addresses
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="recordings")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    layout = models.CharField(max_length=12, choices=Layout.choices, default=Layout.GRID)
    qualities = models.JSONField(default=default_qualities, help_text="of the film: 360p, 720p, 1080p")
    formats = models.JSONField(default=default_formats, help_text="mp4, webm, m4a, hls")
    who = models.CharField(max_length=8, choices=Who.choices, default=Who.ALL)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RECORDING, db_index=True)
    outputs = models.CharField(max_length=10, choices=Outputs.choices, default=Outputs.NONE)
    progress = models.PositiveSmallIntegerField(default=0)  # percent of the composition
    segments_done = models.PositiveIntegerField(default=0)  # of the first quality, composed while the class goes on
    segments_total = models.PositiveIntegerField(default=0)  # 0: not known before the class is over
    seconds_left = models.PositiveIntegerField(null=True, blank=True)  # until it is composed; None: not known
    reason = models.CharField(max_length=500, blank=True)  # of a failure
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)  # a composer's: nobody else composes until then
    started_at = models.DateTimeField(auto_now_add=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="while it is paused: since when")
    seconds_paused = models.FloatField(default=0.0, help_text="in the pauses that are over")
    ready_at = models.DateTimeField(null=True, blank=True)
    duration = models.DurationField(null=True, blank=True)
    gap = models.FloatField(default=0.0, help_text="seconds: the longest stretch that no media worker recorded")

    objects = RecordingQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["room"], condition=models.Q(state="recording"), name="one_running_recording_a_room"
            )
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.started_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("recordings:detail", args=[self.public_id])

    def elapsed(self, now: datetime) -> float:
        """Seconds of it that there are so far: pauses do not count."""
        until = self.paused_at or self.stopped_at or now
        return max(0.0, (until - self.started_at).total_seconds() - self.seconds_paused)

    @property
    def folder(self) -> Path:
        """Where the media worker writes, and what composing reads."""
        return Path(settings.RECORDINGS_DIR) / self.public_id

    @property
    def is_unfinished(self) -> bool:
        """Its state goes on changing by itself."""
        return self.state in UNFINISHED

    @property
    def has_failed(self) -> bool:
        """Its film could not be made, or something of what belongs to it."""
        return self.state == self.State.FAILED or (
            self.state == self.State.READY and self.outputs == self.Outputs.FAILED
        )

    @property
    def gets_more(self) -> bool:
        """It can be watched, and other files of it are still being made."""
        return self.state == self.State.READY and self.outputs in (self.Outputs.WAITING, self.Outputs.MAKING)

    @property
    def films(self) -> list[Composition]:
        """What there is to download and to play as one file, the best for every browser first."""
        made = [composition for composition in self.compositions.all() if composition.quality]
        return sorted(made, key=lambda film: (film.quality != FIRST_QUALITY, film.content_type, film.quality))

    @property
    def captions(self) -> list[Composition]:
        return [composition for composition in self.compositions.all() if files.language_of(composition.name)]

    @property
    def words(self) -> str:
        """The state in a few words, as the pages show it."""
        if self.state == self.State.COMPOSING:
            return f"Composing {self.progress} %"
        return str(self.get_state_display())

    @property
    def length(self) -> str:
        """h:mm:ss or m:ss; empty while it is not known."""
        return "" if self.duration is None else clock(self.duration.total_seconds())

    @property
    def time_left(self) -> str:
        """Of the composition, in a few words; empty while it is not known."""
        if self.seconds_left is None:
            return ""
        if self.seconds_left < 60:
            return f"{self.seconds_left} seconds"
        minutes = round(self.seconds_left / 60)
        return "1 minute" if minutes == 1 else f"{minutes} minutes"


def clock(length: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


UNFINISHED = frozenset(
    {Recording.State.RECORDING, Recording.State.QUEUED, Recording.State.COMPOSING, Recording.State.UPLOADING}
)


class Consent(models.Model):
    """What somebody answered who was asked whether he may be recorded. The latest answer counts (`consents`)."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="consents")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="+")
    accepted = models.BooleanField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["at", "pk"]
        verbose_name_plural = "consent"

    def __str__(self) -> str:
        return f"{self.participant.name}: {'yes' if self.accepted else 'no'}"


class Track(models.Model):
    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="tracks")
    producer_id = models.CharField(max_length=64)
    participant_id_on_wire = models.CharField(max_length=32)
    name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=5)
    source = models.CharField(max_length=15)
    file = models.CharField(max_length=200)  # in the recording's folder
    offset = models.FloatField(help_text="seconds after the recording's start")
    duration = models.FloatField(help_text="seconds")

    class Meta:
        ordering = ["recording", "offset"]

    def __str__(self) -> str:
        return f"{self.name} {self.source}"


class CompositionQuerySet(models.QuerySet["Composition"]):
    def note(self, recording_pk: int, name: str, stored: Stored) -> Composition:
        """A file was stored and read back. Noted again, it takes the place of what was noted before."""
        about = {"quality": files.quality_of(name), "content_type": files.content_type_of(name)}
        kept = {"key": stored.key, "size": stored.size, "sha256": stored.sha256}
        made, _ = self.update_or_create(recording_id=recording_pk, name=name, defaults={**about, **kept})
        return made


class Composition(models.Model):
    """One file of a recording. docs/recordings.md lists the names."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="compositions")
    name = models.CharField(max_length=60)
    quality = models.CharField(max_length=10, blank=True)  # of a film; other files have none
    content_type = models.CharField(max_length=60)
    key = models.CharField(max_length=200)  # in the `recordings` storage; deterministic
    size = models.BigIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CompositionQuerySet.as_manager()

    class Meta:
        ordering = ["recording", "name"]
        constraints = [models.UniqueConstraint(fields=["recording", "name"], name="one_composition_a_name")]

    def __str__(self) -> str:
        return f"{self.recording} {self.name}"


class RecordingPolicy(models.Model):
    """What a course says of its recordings. One without a row says what the site says."""

    course = models.OneToOneField(Course, on_delete=models.CASCADE, related_name="recording_policy")
    keep_days = models.PositiveIntegerField(
        "days that recordings are kept", null=True, blank=True, validators=[MaxValueValidator(36500)]
    )  # None: as the site keeps them; 0: for ever
    mail_students = models.BooleanField(
        "tell students by mail", default=False, help_text="Teachers are told in any case when a recording is ready."
    )

    class Meta:
        verbose_name_plural = "recording policies"

    def __str__(self) -> str:
        return f"Recordings of {self.course}"


class LegalHold(models.Model):
    """While it stands, the recording neither expires nor goes with its lesson or course: the database refuses."""

    recording = models.OneToOneField(Recording, on_delete=models.PROTECT, related_name="hold")
    reason = models.CharField(max_length=500)
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Legal hold on {self.recording}"


class Viewing(models.Model):
    """Somebody watched a recording on a day. After ANALYTICS_RETENTION_DAYS it is told of nobody any more."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="viewings")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    day = models.DateField()
    first_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField(auto_now=True)
    seconds = models.PositiveIntegerField(default=0, help_text="of the film that were played")
    furthest = models.PositiveIntegerField(default=0, help_text="seconds: the latest moment of the film that was seen")

    class Meta:
        ordering = ["-first_at"]
        constraints = [
            models.UniqueConstraint(fields=["recording", "user", "day"], name="one_viewing_a_person_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.recording} on {self.day}"

    @property
    def played(self) -> str:
        return clock(self.seconds)

    @property
    def reached(self) -> str:
        return clock(self.furthest)


class Notice(models.Model):
    """A mail to one person about one recording."""

    class Kind(models.TextChoices):
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="notices")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=6, choices=Kind.choices)
    claimed_at = models.DateTimeField(null=True, blank=True)  # the last try began; None: nobody has tried yet
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["recording", "user", "kind"], name="one_notice_a_person_and_kind")
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.user}: {self.recording}"


class Erasure(models.Model):
    """Files of a recording whose row is gone, which are still to be deleted."""

    public_id = models.CharField(max_length=32, unique=True)
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.public_id


from recordings.live.models import Stream as Stream  # noqa: E402  a model of this app, kept beside what works with it
