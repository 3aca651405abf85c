"""Courses, their lessons, and who belongs to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Coalesce
from django.urls import reverse

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User

DESCRIPTION_LENGTH = 10_000  # characters
# Times that a calendar means. Beyond them, adding a duration or a time zone leaves what a datetime can hold.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=24)


class CourseQuerySet(models.QuerySet["Course"]):
    def visible_to(self, user: User | AnonymousUser) -> CourseQuerySet:
        """Courses that the user is enrolled in; all of them for staff and admins."""
        if not user.is_authenticated:
            return self.none()
        if user.is_site_staff:
            return self
        return self.filter(enrolments__user=user).distinct()

    def taught_by(self, user: User | AnonymousUser) -> CourseQuerySet:
        """Courses that the user may change: those they teach; all of them for admins."""
        if not user.is_authenticated:
            return self.none()
        if user.is_site_admin:
            return self
        return self.filter(enrolments__user=user, enrolments__role=Enrolment.Role.TEACHER).distinct()

    def with_role_of(self, user: User) -> CourseQuerySet:
        """With `own_role`: the user's course role, or None."""
        own = Enrolment.objects.filter(course=models.OuterRef("pk"), user=user).values("role")[:1]
        return self.annotate(own_role=models.Subquery(own))

    def with_numbers(self) -> CourseQuerySet:
        """With `lesson_count` and `people_count`."""
        return self.annotate(lesson_count=number_of(Lesson, "course"), people_count=number_of(Enrolment, "course"))


def number_of(model: type[models.Model], by: str) -> Coalesce:
    """How many rows of `model` name a row by their field `by`, to annotate it with."""
    # By a query of its own: two that are joined would count a row for every pair, of a lesson and a person.
    found = model._default_manager.filter(**{by: models.OuterRef("pk")}).order_by().values(by)
    return Coalesce(models.Subquery(found.annotate(number=models.Count("pk")).values("number")), 0)


class Course(models.Model):
    slug = models.SlugField(unique=True, max_length=80)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=DESCRIPTION_LENGTH)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CourseQuerySet.as_manager()

    class Meta:
        ordering = ["title", "pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("classroom:course", args=[self.slug])

    def role_of(self, user: User | AnonymousUser) -> str | None:
        """The user's course role, or None for somebody who is not enrolled."""
        if not user.is_authenticated:
            return None
        return self.enrolments.filter(user=user).values_list("role", flat=True).first()

    @property
    def tone(self) -> int:
        """Which of the eight colours of site.css the course wears, the same on every page."""
        return (self.pk or 0) % 8


class EnrolmentQuerySet(models.QuerySet["Enrolment"]):
    def visible_to(self, user: User | AnonymousUser) -> EnrolmentQuerySet:
        """Who is in the user's courses."""
        return self.filter(course__in=Course.objects.visible_to(user))

    def taught_by(self, user: User | AnonymousUser) -> EnrolmentQuerySet:
        return self.filter(course__in=Course.objects.taught_by(user))

    def teachers_first(self) -> EnrolmentQuerySet:
        """Teachers, assistants, students; each by name."""
        order = [Enrolment.Role.TEACHER, Enrolment.Role.ASSISTANT, Enrolment.Role.STUDENT]
        ranks = [models.When(role=role, then=rank) for rank, role in enumerate(order)]
        rank = models.Case(*ranks, default=len(order))
        return self.order_by(rank, "user__last_name", "user__first_name", "user__username")


class Enrolment(models.Model):
    class Role(models.TextChoices):
        TEACHER = "teacher", "Teacher"
        ASSISTANT = "assistant", "Assistant"
        STUDENT = "student", "Student"

    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="enrolments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="enrolments")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.STUDENT)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EnrolmentQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["course", "user"], name="one_enrolment_a_person_and_course")]
        ordering = ["course", "role", "user"]

    def __str__(self) -> str:
        return f"{self.user} in {self.course} as {self.role}"


CANNOT_BE_RECORDED = "An end-to-end encrypted class cannot be recorded: the server cannot see or hear it."

# NULL, and so neither before nor after any moment, for a lesson without a time.
PLANNED_END = models.ExpressionWrapper(
    models.F("starts_at") + models.F("planned_duration"), output_field=models.DateTimeField()
)


class LessonQuerySet(models.QuerySet["Lesson"]):
    def visible_to(self, user: User | AnonymousUser) -> LessonQuerySet:
        if not user.is_authenticated:
            return self.none()
        if user.is_site_staff:
            return self
        return self.filter(course__enrolments__user=user).distinct()

    def taught_by(self, user: User | AnonymousUser) -> LessonQuerySet:
        return self.filter(course__in=Course.objects.taught_by(user))

    def not_over(self, now: datetime) -> LessonQuerySet:
        """Lessons that run or are to come, the soonest first; not those without a time."""
        return self.alias(ends=PLANNED_END).filter(ends__gt=now).order_by("starts_at", "pk")

    def over(self, now: datetime) -> LessonQuerySet:
        """The rest of those with a time, the latest first."""
        return self.alias(ends=PLANNED_END).filter(ends__lte=now).order_by("-starts_at", "-pk")


class Lesson(models.Model):
    """One meeting of a course: what is taught, when, for how long, and how its class is held."""

    class Recorded(models.TextChoices):
        ALL = "all", "Everybody"
        TEACHERS = "teachers", "Teachers only"

    class RecordingLayout(models.TextChoices):
        GRID = "grid", "Everybody in a grid"
        SPEAKER = "speaker", "Whoever speaks, large"
        PRESENTATION = "presentation", "The screen, with cameras beside it"

    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="lessons")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=DESCRIPTION_LENGTH)
    starts_at = models.DateTimeField(
        null=True, blank=True, validators=[MinValueValidator(EARLIEST), MaxValueValidator(LATEST)]
    )
    planned_duration = models.DurationField(
        default=timedelta(hours=1), validators=[MinValueValidator(SHORTEST), MaxValueValidator(LONGEST)]
    )
    encrypted = models.BooleanField(
        "end-to-end encrypted",
        default=False,
        help_text=(
            "For small groups: not even this server can see or hear the class. People need a link with a key, which "
            "its teacher makes in the classroom. It cannot be recorded. Counts for classes that have not begun."
        ),
    )
    record_automatically = models.BooleanField(
        default=False,
        help_text="The recording begins when a teacher enters. Nobody is recorded who has not agreed.",
    )
    recorded = models.CharField("who is recorded", max_length=8, choices=Recorded.choices, default=Recorded.ALL)
    recording_layout = models.CharField(max_length=12, choices=RecordingLayout.choices, default=RecordingLayout.GRID)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LessonQuerySet.as_manager()

    class Meta:
        ordering = ["course", "starts_at", "pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("classroom:lesson", args=[self.course.slug, self.pk])

    def clean(self) -> None:
        if self.encrypted and self.record_automatically:
            raise ValidationError({"record_automatically": CANNOT_BE_RECORDED})

    @property
    def ends_at(self) -> datetime | None:
        """The planned end; None for a lesson without a time."""
        return self.starts_at + self.planned_duration if self.starts_at else None

    def is_on(self, now: datetime) -> bool:
        """Whether the plan says that the lesson runs now."""
        return self.starts_at is not None and self.starts_at <= now < self.starts_at + self.planned_duration
