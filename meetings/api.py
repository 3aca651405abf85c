"""/api/v1/ of meetings, their tokens, and attendance: the pages' verbs, for other software."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from meetings import services, tokens
from meetings.limits import too_many_wrong_codes
from meetings.models import Attendance, Room
from meetings.permissions import Role
from meetings.serializers import (
    AttendanceSerializer,
    MeetingSerializer,
    TokenRequestSerializer,
    TokenSerializer,
    link,
)
from meetings.services import Entry, NotAllowed

STATUS: dict[str, int] = {"unknown": 404, "ended": 410, "unauthenticated": 401}
DETAIL: dict[str, str] = {
    "unknown": "There is no such meeting.",
    "forbidden": "This meeting is not open to you.",
    "removed": "You were removed from this meeting.",
    "ended": "This meeting has ended.",
    "guests": "This meeting takes no guests.",
}


class Refusal(exceptions.APIException):
    def __init__(self, reason: str) -> None:
        super().__init__(DETAIL.get(reason, reason), reason)
        self.status_code = STATUS.get(reason, status.HTTP_403_FORBIDDEN)


def entry_for(request: Request, code: str) -> Entry:
    try:
        return services.get_room_for(request.user, code)
    except NotAllowed as refused:
        if refused.reason == "unknown" and too_many_wrong_codes(request.META.get("REMOTE_ADDR", "")):
            raise exceptions.Throttled(wait=60) from None
        raise Refusal(refused.reason) from None


class MeetingViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet
):
    """Meetings that the caller can enter."""

    queryset = Room.objects.none()
    serializer_class = MeetingSerializer
    lookup_field = "code"
    lookup_value_regex = r"[-\w]+"

    def get_queryset(self) -> QuerySet[Room]:
        user = self.request.user
        return services.rooms_visible_to(user) if user.is_authenticated else Room.objects.none()

    def get_object(self) -> Room:
        return entry_for(self.request, self.kwargs["code"]).room

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A room; for a lesson that has an open one already, that one (200)."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        user, lesson = request.user, asked.get("lesson")
        if not user.is_authenticated or not services.may_open_room(user, lesson):
            raise exceptions.PermissionDenied("Only teachers can open a meeting.")
        made = True
        if lesson is None:
            room = Room.objects.create(created_by=user, **asked)
        else:
            asked.pop("lesson")
            room, made = services.open_room(lesson, **asked, created_by=user)
        answer = self.get_serializer(room).data
        return Response(answer, status=status.HTTP_201_CREATED if made else status.HTTP_200_OK)

    @extend_schema(request=TokenRequestSerializer, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def token(self, request: Request, code: str) -> Response:
        """The caller's own meeting token; for a host with a role, a link for one guest."""
        entry = entry_for(request, code)
        asked = TokenRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        room, role = entry.room, wanted.get("role")
        if role is None:
            assert entry.user is not None  # the API knows accounts alone
            token, expires_at = tokens.make(room, role=entry.role, name=entry.name, user_id=entry.user.pk)
        else:
            token, expires_at = self._guest_token(entry, role, wanted)
        answer = {"token": token, "url": link(request, room, token), "expires_at": expires_at}
        return Response(TokenSerializer(answer).data)

    def _guest_token(self, entry: Entry, role: Role, wanted: dict[str, Any]) -> tuple[str, Any]:
        if entry.role != "host":
            raise exceptions.PermissionDenied("Only a host can make links for guests.")
        if not entry.room.guests_allowed:
            raise Refusal("guests")
        seconds = wanted.get("expires_in")
        expires_at = timezone.now() + timedelta(seconds=seconds) if seconds else None
        return tokens.make(entry.room, role=role, name=wanted.get("display_name", ""), expires_at=expires_at)


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("meeting", str), OpenApiParameter("lesson", int)]))
class AttendanceViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Intervals of presence in the classes that the caller teaches or assists, and the caller's own."""

    queryset = Attendance.objects.none()
    serializer_class = AttendanceSerializer

    def get_queryset(self) -> QuerySet[Attendance]:
        user = self.request.user
        if not user.is_authenticated:
            return Attendance.objects.none()
        rows = services.attendance_visible_to(user).order_by("pk")
        if code := self.request.query_params.get("meeting"):
            # No code has a NUL in it, and PostgreSQL takes none.
            rows = rows.filter(participant__room__code=code.replace("\0", "?"))
        if (lesson := self.request.query_params.get("lesson", "")).isdecimal() and len(lesson) < 18:
            rows = rows.filter(participant__room__lesson_id=int(lesson))
        return rows
