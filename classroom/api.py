"""/api/v1/ of courses, lessons and enrolments: the pages' querysets and verbs, for other software.

What the caller may not see is 404; what they see and may not change is 403; what goes against a rule is 409.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, permissions, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from classroom import services
from classroom.models import Course, Enrolment, Lesson
from classroom.serializers import CourseSerializer, EnrolmentSerializer, LessonSerializer

IN_COURSE = OpenApiParameter("course", str, description="Only those of the course with this slug.")


class Conflict(exceptions.APIException):
    status_code = 409
    default_code = "conflict"


def taught_or_403(course: Course, request: Request) -> None:
    if not Course.objects.taught_by(request.user).filter(pk=course.pk).exists():
        raise exceptions.PermissionDenied("Only the course's teachers can do this.")


class CreatesCourses(permissions.BasePermission):
    message = "Only teachers can create courses."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method != "POST" or (request.user.is_authenticated and request.user.may_create_courses)


class CourseViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet,
):
    """The caller's courses; all of them for staff and admins. Courses are deleted in the Django admin alone."""

    queryset = Course.objects.none()
    serializer_class = CourseSerializer
    permission_classes = (permissions.IsAuthenticated, CreatesCourses)
    lookup_field = "slug"
    lookup_value_regex = r"[-\w]+"

    def get_queryset(self) -> QuerySet[Course]:
        user = self.request.user
        if not user.is_authenticated:  # the schema's generator looks without a user
            return Course.objects.none()
        return Course.objects.visible_to(user).with_role_of(user).select_related("created_by")

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        taught_or_403(self.get_object(), request)
        return super().update(request, *args, **kwargs)


class InCourseViewSet(viewsets.ModelViewSet):
    """What belongs to a course: seen by everybody in it, changed by its teachers. `?course=<slug>` picks one."""

    permission_classes = (permissions.IsAuthenticated,)
    lookup_value_regex = r"\d{1,18}"

    def in_course(self, rows: Any) -> Any:
        """`rows`, or those of `?course=`."""
        slug = self.request.query_params.get("course")
        if slug is None:
            return rows
        try:
            validate_slug(slug)
        except ValidationError:
            raise exceptions.ValidationError({"course": "This is not a slug."}) from None
        return rows.filter(course__slug=slug)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.detail and request.method not in permissions.SAFE_METHODS:
            taught_or_403(self.get_object().course, request)

    def perform_create(self, serializer: BaseSerializer) -> None:
        taught_or_403(serializer.validated_data["course"], self.request)
        serializer.save()

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, services.Refused):
            exc = Conflict(exc.message, exc.code)
        return super().handle_exception(exc)


@extend_schema_view(list=extend_schema(parameters=[IN_COURSE]))
class LessonViewSet(InCourseViewSet):
    queryset = Lesson.objects.none()
    serializer_class = LessonSerializer

    def get_queryset(self) -> QuerySet[Lesson]:
        return self.in_course(Lesson.objects.visible_to(self.request.user)).select_related("course")

    def perform_destroy(self, instance: Lesson) -> None:
        services.delete_lesson(instance)


@extend_schema_view(list=extend_schema(parameters=[IN_COURSE]))
class EnrolmentViewSet(InCourseViewSet):
    queryset = Enrolment.objects.none()
    serializer_class = EnrolmentSerializer

    def get_queryset(self) -> QuerySet[Enrolment]:
        return self.in_course(Enrolment.objects.visible_to(self.request.user)).select_related("course", "user")

    def perform_destroy(self, instance: Enrolment) -> None:
        services.remove(instance)
