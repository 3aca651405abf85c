"""Courses, lessons and enrolments on the wire of /api/v1/."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import User
from classroom import services
from classroom.models import CANNOT_BE_RECORDED, Course, Enrolment, Lesson


class CourseSerializer(serializers.ModelSerializer):
    created_by: serializers.SlugRelatedField = serializers.SlugRelatedField(slug_field="username", read_only=True)
    role = serializers.SerializerMethodField(help_text="Your role in the course; null when you are not enrolled.")

    class Meta:
        model = Course
        fields = ("slug", "title", "description", "created_by", "created_at", "role")
        read_only_fields = ("slug", "created_at")

    @extend_schema_field(serializers.ChoiceField(choices=Enrolment.Role.choices, allow_null=True))
    def get_role(self, course: Course) -> str | None:
        if hasattr(course, "own_role"):  # a list's query has it already
            return str(course.own_role) if course.own_role else None
        return course.role_of(self.context["request"].user)

    def create(self, validated_data: dict[str, Any]) -> Course:
        return services.create_course(by=self.context["request"].user, **validated_data)


class VisibleCourseField(serializers.SlugRelatedField):
    """A course by its slug, for people who may see it: others' courses do not exist."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="slug", queryset=Course.objects.all(), **kwargs)

    def get_queryset(self) -> Any:
        return Course.objects.visible_to(self.context["request"].user)

    def to_internal_value(self, data: Any) -> Course:
        if not isinstance(data, str) or "\0" in data:
            self.fail("invalid")
        course: Course = super().to_internal_value(data)
        return course


EITHER = ("encrypted", "record_automatically")  # not both


class LessonSerializer(serializers.ModelSerializer):
    course = VisibleCourseField(help_text="The course's slug; it cannot be changed later.")

    class Meta:
        model = Lesson
        fields = (
            "id", "course", "title", "description", "starts_at", "planned_duration", "record_automatically", "recorded",
            "recording_layout", "encrypted", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def validate(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """What `Lesson.clean` says, of what will be there."""
        wanted = {name: attributes.get(name, getattr(self.instance, name, False)) for name in EITHER}
        if all(wanted.values()):
            raise serializers.ValidationError({"record_automatically": CANNOT_BE_RECORDED})
        return attributes

    def update(self, instance: Lesson, validated_data: dict[str, Any]) -> Lesson:
        validated_data.pop("course", None)  # a lesson stays where its classroom and recordings are
        lesson: Lesson = super().update(instance, validated_data)
        return lesson


class UsernameField(serializers.SlugRelatedField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="username", queryset=User.objects.filter(is_active=True), **kwargs)

    def to_internal_value(self, data: Any) -> User:
        if not isinstance(data, str) or "\0" in data:
            self.fail("invalid")
        user: User = super().to_internal_value(data)
        return user


class EnrolmentSerializer(serializers.ModelSerializer):
    course = VisibleCourseField(help_text="The course's slug; it cannot be changed later.")
    user = UsernameField(help_text="The username; it cannot be changed later.")
    name = serializers.CharField(source="user.display_name", read_only=True)

    class Meta:
        model = Enrolment
        fields = ("id", "course", "user", "name", "role", "created_at")
        read_only_fields = ("created_at",)
        validators: list[Any] = []  # enrolled already: services.enrol says so, without a race

    def create(self, validated_data: dict[str, Any]) -> Enrolment:
        role = validated_data.get("role", Enrolment.Role.STUDENT)
        return services.enrol(validated_data["course"], validated_data["user"], role)

    def update(self, instance: Enrolment, validated_data: dict[str, Any]) -> Enrolment:
        return services.change_role(instance, validated_data.get("role", instance.role))
