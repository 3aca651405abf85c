"""/api/v1/recordings/: find and read them, and get a short-lived link to a file."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from recordings import files, services, storage
from recordings.forms import SearchForm
from recordings.models import FIRST_QUALITY, Composition, Recording
from recordings.playback import links


class CompositionSerializer(serializers.ModelSerializer[Composition]):
    class Meta:
        model = Composition
        fields = ("name", "quality", "content_type", "size", "sha256", "created_at")


class RecordingSerializer(serializers.ModelSerializer[Recording]):
    id = serializers.CharField(source="public_id")
    title = serializers.CharField(source="room.title")
    meeting = serializers.CharField(source="room.code")
    lesson = serializers.IntegerField(source="room.lesson_id", allow_null=True)
    course = serializers.SerializerMethodField()
    duration = serializers.SerializerMethodField(help_text="Seconds; null until it is known.")
    compositions = CompositionSerializer(many=True)

    class Meta:
        model = Recording
        fields = (
            "id",
            "title",
            "meeting",
            "lesson",
            "course",
            "state",
            "progress",
            "started_at",
            "stopped_at",
            "ready_at",
            "duration",
            "compositions",
        )
        read_only_fields = fields

    def get_course(self, recording: Recording) -> str | None:
        return recording.room.lesson.course.slug if recording.room.lesson else None

    def get_duration(self, recording: Recording) -> float | None:
        return recording.duration.total_seconds() if recording.duration is not None else None


class LinkSerializer(serializers.Serializer[Any]):
    url = serializers.URLField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    sha256 = serializers.CharField()


SEARCH = [
    OpenApiParameter("q", str, description="Words of the title of class, lesson or course."),
    OpenApiParameter("course", str, description="A course's slug."),
    OpenApiParameter("teacher", str, description="A teacher's username."),
    OpenApiParameter("since", str, description="The first day, YYYY-MM-DD."),
    OpenApiParameter("until", str, description="The last day, YYYY-MM-DD."),
    OpenApiParameter("state", str, enum=Recording.State.values),
]


LINK = [
    OpenApiParameter("quality", str, default=FIRST_QUALITY, description="Of the MP4."),
    OpenApiParameter("name", str, description="Any other of the compositions, by its name."),
]


@extend_schema_view(list=extend_schema(parameters=SEARCH))
class RecordingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Recordings of the caller's courses and rooms; all of them for staff and admins. Another's is 404."""

    queryset = Recording.objects.none()
    serializer_class = RecordingSerializer
    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_regex = r"[-\w]+"

    def get_queryset(self) -> QuerySet[Recording]:
        user = self.request.user
        if not isinstance(user, User):
            return Recording.objects.none()
        form = SearchForm(user, self.request.query_params)
        if self.action == "list" and not form.is_valid():
            raise exceptions.ValidationError(
                {name: [str(error) for error in errors] for name, errors in form.errors.items()}
            )
        return services.find(user, form.wanted() if self.action == "list" else services.Wanted())

    @extend_schema(responses=LinkSerializer, parameters=LINK)
    @action(detail=True)
    def link(self, request: Request, id: str) -> Response:
        """For staff and the course's teachers: a link that opens for five minutes and asks for no sign-in."""
        recording = self.get_object()
        if not Recording.objects.managed_by(request.user).filter(pk=recording.pk).exists():
            raise exceptions.PermissionDenied("Only staff and the course's teachers can download recordings.")
        wanted = request.query_params.get("name") or files.film(request.query_params.get("quality", FIRST_QUALITY))
        composition = next((made for made in recording.compositions.all() if made.name == wanted), None)
        if composition is None:
            raise exceptions.NotFound("There is no such file.")
        if recording.state != Recording.State.READY:
            raise exceptions.NotFound("There is nothing to download yet, or no more.")
        link = links.to_one_file(composition, services.filename(composition), download=True)
        url = request.build_absolute_uri(link)
        return Response({"url": url, "expires_in": storage.LINK_LIVES, "sha256": composition.sha256})
