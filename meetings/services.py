"""The verbs of a class across rows: who may come in and as what, coming in, leaving, ending. All synchronous."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson
from meetings import tokens
from meetings.messages import RoomSettings, read_settings
from meetings.models import Attendance, Participant, Room
from meetings.permissions import RANK

Reason = Literal["unauthenticated", "unknown", "forbidden", "guests", "removed", "ended", "full"]

COURSE_ROLES: dict[str, str] = {
    Enrolment.Role.TEACHER: Participant.Role.HOST,
    Enrolment.Role.ASSISTANT: Participant.Role.CO_HOST,
    Enrolment.Role.STUDENT: Participant.Role.ATTENDEE,
}


class NotAllowed(Exception):
    """Why somebody stays outside, for the page, the API and the socket alike."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True)
class Entry:
    """Somebody who may come in: an account, or (user None) the bearer of a guest's link."""

    room: Room
    role: str
    name: str
    user: User | None = None
    token_id: str = ""
    known: Participant | None = None  # the row, when they were here before

    def participants(self) -> Any:
        """The query for this person's row of the room."""
        rows = Participant.objects.filter(room=self.room)
        return rows.filter(user=self.user) if self.user else rows.filter(token_id=self.token_id)


def settings_of(room: Room) -> RoomSettings:
    """As stored, but for encryption, which the room's own field says."""
    settings = read_settings(room.settings)
    settings.encrypted = room.is_encrypted
    return settings


def role_of(user: User | AnonymousUser, room: Room) -> str | None:
    """The role an account has by itself, or None: teacher, assistant and student by the course, staff as co-host."""
    if not user.is_authenticated:
        return None
    role = None
    if room.lesson is not None:
        role = COURSE_ROLES.get(room.lesson.course.role_of(user) or "")
    elif room.created_by_id == user.pk:
        role = Participant.Role.HOST
    if user.is_site_staff and RANK.get(role or "", 0) < RANK[Participant.Role.CO_HOST]:
        role = Participant.Role.CO_HOST
    return role


def get_room_for(user: User | AnonymousUser, code: str, token: str = "") -> Entry:
    """Who this is in the room of that code. Raises NotAllowed with the reason."""
    room = Room.objects.select_related("lesson__course").filter(code=code).first()
    if room is None:
        raise NotAllowed("unknown")
    entry = _entry(room, user, token)
    participant = entry.participants().first()
    if participant is not None:
        if participant.removed_at:
            raise NotAllowed("removed")
        entry = replace(entry, role=participant.given_role or entry.role, known=participant)
    if not room.is_open:
        raise NotAllowed("ended")
    return entry


def _entry(room: Room, user: User | AnonymousUser, token: str) -> Entry:
    role = role_of(user, room)
    if role is not None and isinstance(user, User):
        return Entry(room, role, user.display_name, user)
    if not token:
        raise NotAllowed("forbidden" if user.is_authenticated else "unauthenticated")
    try:
        claims = tokens.read(token, room.code)
    except tokens.InvalidToken:
        raise NotAllowed("unauthenticated") from None
    if claims.user_id is not None:
        owner = User.objects.filter(pk=claims.user_id, is_active=True).first()
        role = role_of(owner, room) if owner else None
        if owner is None or role is None:
            raise NotAllowed("forbidden")
        return Entry(room, role, owner.display_name, owner)
    if claims.role not in tokens.GUEST_ROLES:
        raise NotAllowed("unauthenticated")
    if not room.guests_allowed:
        raise NotAllowed("guests")
    return Entry(room, claims.role, claims.name or "Guest", None, claims.token_id)


def participant_for(entry: Entry) -> Participant:
    """This person's row in the room, made when they come for the first time."""
    role, name = entry.role, entry.name[:100]
    participant = entry.known or entry.participants().first()
    if participant is None:
        try:
            with transaction.atomic():
                return Participant.objects.create(
                    room=entry.room,
                    public_id=secrets.token_urlsafe(9),
                    user=entry.user,
                    token_id=entry.token_id,
                    name=name,
                    role=role,
                )
        except IntegrityError:  # the same person came by two tabs at once
            participant = entry.participants().get()
    if participant.role != role:
        participant.role = role
        participant.save(update_fields=["role"])
    return participant


@dataclass(frozen=True)
class Admission:
    """What counts at the moment of entering, whatever was read when the socket was opened."""

    name: str
    role: str
    locks: dict[str, Any]
    mode: str
    encrypted: bool
    started_at: datetime


def admit(participant_id: int, *, display_name: str, session: str) -> Admission:
    """Open an interval of attendance, or go on with the same session's. Raises NotAllowed."""
    now = timezone.now()
    with transaction.atomic():
        # Locked, in the order in which `end` takes them: what somebody decides about the class or this person at the
        # same moment is seen here, or waits and finds the interval. (SQLite has one writer at a time anyway.)
        room = Room.objects.select_for_update(of=("self",), no_key=True).get(participants=participant_id)
        participant = Participant.objects.select_for_update(no_key=True).get(pk=participant_id)
        if participant.removed_at:
            raise NotAllowed("removed")
        if not room.is_open:
            raise NotAllowed("ended")
        if display_name != participant.name:
            participant.name = display_name
            participant.save(update_fields=["name"])
        # Another tab's, or one that a Redis that came back empty knew nothing of: nobody is there twice.
        intervals = Attendance.objects.filter(participant=participant, left_at=None)
        intervals.exclude(session=session).update(left_at=now, reason="replaced")
        if not intervals.filter(session=session).exists():
            Attendance.objects.create(participant=participant, session=session)
        if room.started_at is None:
            room.encrypted, room.started_at = room.is_encrypted, now
            room.save(update_fields=["encrypted", "started_at"])
    role = participant.given_role or participant.role
    return Admission(participant.name, role, dict(participant.locks), room.mode, room.encrypted, room.started_at)


def participant_of_room(room_id: int, public_id: str) -> Participant | None:
    return Participant.objects.filter(room_id=room_id, public_id=public_id).first()


def give_role(participant: Participant, role: str) -> None:
    """Until the class ends: a reload keeps it."""
    Participant.objects.filter(pk=participant.pk).update(role=role, given_role=role)


def bar(participant: Participant) -> None:
    """Removed: neither the account nor the link comes in again until `unbar`."""
    now = timezone.now()
    with transaction.atomic():
        Participant.objects.filter(pk=participant.pk).update(removed_at=now)
        Attendance.objects.filter(participant=participant, left_at=None).update(left_at=now, reason="removed")


def unbar(participant: Participant) -> None:
    Participant.objects.filter(pk=participant.pk).update(removed_at=None)


def end(room: Room) -> None:
    """The class is over for all: nobody gets in again, unless the room is always open."""
    now = timezone.now()
    with transaction.atomic():
        if not room.always_open:
            Room.objects.filter(pk=room.pk, ended_at=None).update(ended_at=now)
        Attendance.objects.filter(participant__room=room, left_at=None).update(left_at=now, reason="ended")
        Participant.objects.filter(room=room).exclude(given_role="").update(given_role="")


def current_room(lesson: Lesson) -> Room | None:
    """The one that is open, else the one that was open last."""
    rooms = list(lesson.rooms.order_by("-created_at"))
    return next((room for room in rooms if room.is_open), rooms[0] if rooms else None)


def room_of_lesson(lesson: Lesson) -> Room:
    """Where its class is, or was; made when there never was one. Whoever comes first, it belongs to the course."""
    return current_room(lesson) or open_room(lesson, title=lesson.title, created_by=lesson.course.created_by)[0]


def open_room(lesson: Lesson, **facts: Any) -> tuple[Room, bool]:
    """The lesson's open room, and whether it was made, with these facts. There is one, however many ask at once."""
    room = current_room(lesson)
    if room is not None and room.is_open:
        return room, False
    return Room.objects.get_or_create(lesson=lesson, ended_at=None, defaults=facts)


def begin_again(lesson: Lesson, *, by: User) -> Room:
    """Another class of the lesson after one has ended, in a new room with the old one's rules. Twice does no harm.

    The old room keeps what happened in it. Who was removed from it may come to the new one; guests need new links.
    """
    last = room_of_lesson(lesson)
    kept = ("capacity", "guests_allowed", "mode", "settings")
    rules = {name: getattr(last, name) for name in kept}
    return open_room(lesson, title=lesson.title, created_by=by, **rules)[0]


def set_mode(room: Room, mode: str) -> None:
    Room.objects.filter(pk=room.pk).update(mode=mode)


def begun_again(code: str, user: User | AnonymousUser) -> Room | None:
    """Where the class goes on whose room of that code has ended, for somebody of the course."""
    ended = Room.objects.select_related("lesson__course").filter(code=code).exclude(lesson=None).first()
    if ended is None or ended.lesson is None or role_of(user, ended) is None:
        return None
    room = current_room(ended.lesson)
    return room if room is not None and room.is_open else None


def may_open_room(user: User, lesson: Lesson | None) -> bool:
    """A lesson's teachers, staff and admins; without a lesson all teachers of the site, staff and admins."""
    if user.is_site_staff:
        return True
    if lesson is None:
        return user.may_create_courses
    return bool(lesson.course.role_of(user) == Enrolment.Role.TEACHER)


def rooms_visible_to(user: User) -> QuerySet[Room]:
    """Those an account can enter by itself."""
    rooms = Room.objects.select_related("lesson__course")
    if user.is_site_staff:
        return rooms
    return rooms.filter(Q(lesson__course__enrolments__user=user) | Q(lesson=None, created_by=user)).distinct()


def attendance_visible_to(user: User) -> QuerySet[Attendance]:
    """Of the classes that one teaches or assists; one's own; all of it for staff and admins."""
    rows = Attendance.objects.select_related("participant__room", "participant__user", "connection")
    if user.is_site_staff:
        return rows
    guides = (Enrolment.Role.TEACHER, Enrolment.Role.ASSISTANT)
    taught = Course.objects.filter(enrolments__user=user, enrolments__role__in=guides)
    return rows.filter(
        Q(participant__room__lesson__course__in=taught)
        | Q(participant__room__lesson=None, participant__room__created_by=user)
        | Q(participant__user=user)
    ).distinct()
