"""The room's page, and the page that says why there is none."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from classroom.models import Lesson
from meetings import permissions, services
from meetings.limits import too_many_wrong_codes
from meetings.messages import MAX_FRAME
from meetings.models import Participant
from meetings.redis_client import leases_in
from meetings.services import Entry, NotAllowed

KEPT_LINKS = 5  # a browser: more classes at once nobody visits as a guest

# reason: (status, heading, what to do)
CLOSED: dict[str, tuple[int, str, str]] = {
    "unknown": (404, "There is no such class", "Check the link, or ask your teacher for a new one."),
    "forbidden": (403, "This class is not open to you", "Ask its teacher to enrol you, or to send you a guest's link."),
    "guests": (403, "This class takes no guests", "Sign in with your own account, or ask the teacher."),
    "removed": (403, "You were removed from this class", "Only a host of the class can let you in again."),
    "ended": (410, "This class has ended", "Recordings are on the lesson's page, where its teacher can begin again."),
    "full": (409, "This class is full", "Try again when somebody has left."),
    "unauthenticated": (403, "This link does not work any more", "Links expire. Ask the teacher for a new one."),
    "too_many": (429, "Too many wrong links", "Wait a minute, then open the link that you were given."),
}


@never_cache
@require_GET
def room(request: HttpRequest, code: str) -> HttpResponse:
    given = request.GET.get("token", "")
    token = given or kept_links(request).get(code, "")
    try:
        entry = services.get_room_for(request.user, code, token)
    except NotAllowed as refused:
        if refused.reason == "unauthenticated" and not given:
            return redirect_to_login(request.get_full_path())
        if refused.reason == "ended" and (again := services.begun_again(code, request.user)):
            return redirect(again)  # a link of before, kept or shared
        if refused.reason == "unknown" and too_many_wrong_codes(request.META.get("REMOTE_ADDR", "")):
            return closed(request, "too_many")
        return closed(request, refused.reason)
    participant = entry.known
    if is_full(entry, participant):
        return closed(request, "full")
    if given and entry.user != request.user:  # one's own account needs no link
        keep_link(request, code, given)
    return render(request, "meetings/room.html", {"room": entry.room, "boot": boot(request, entry, participant, token)})


def kept_links(request: HttpRequest) -> dict[str, str]:
    """The links this browser came by, by room: the page takes the token out of its address, a reload needs it."""
    return dict(request.session.get("meeting_links", {}))


def keep_link(request: HttpRequest, code: str, token: str) -> None:
    links = kept_links(request)
    links.pop(code, None)
    request.session["meeting_links"] = dict([*links.items(), (code, token)][-KEPT_LINKS:])


def is_full(entry: Entry, participant: Participant | None) -> bool:
    """As the socket will find it; who is in already (another tab, a reload) and hosts always get the page."""
    if entry.role in ("host", "co-host"):
        return False
    leases = leases_in(entry.room.code) or {}
    here = participant is not None and participant.public_id in leases
    return not here and sum(till > time.time() for till in leases.values()) >= entry.room.places


def boot(request: HttpRequest, entry: Entry, participant: Participant | None, token: str) -> dict[str, Any]:
    """What the page's script starts with."""
    room, own_account = entry.room, entry.user is not None and entry.user == request.user
    locks, settings = participant.locks if participant else {}, services.settings_of(room)
    return {
        "code": room.code,
        "title": room.title,
        "socket_url": f"/ws/meetings/{room.code}/",
        "token": None if own_account else token,
        "name": participant.name if participant else entry.name,
        "role": entry.role,
        "csrf": get_token(request),
        "can": permissions.all_of(entry.role, settings.allowed(), locks),
        "encrypted": settings.encrypted,
        "unavailable": permissions.NOT_ENCRYPTED if settings.encrypted else {},  # by permission, with the reason
        "recording": {"who": room.lesson.recorded, "layout": room.lesson.recording_layout} if room.lesson else {},
        "lesson_url": room.lesson.get_absolute_url() if room.lesson and own_account else None,
        "limits": {"message": 5000, "name": 100, "frame": MAX_FRAME, "capacity": room.places},
    }


def closed(request: HttpRequest, reason: str) -> HttpResponse:
    status, heading, advice = CLOSED[reason]
    context = {"reason": reason, "heading": heading, "advice": advice}
    return render(request, "meetings/closed.html", context, status=status)


def visible_lesson(request: HttpRequest, pk: int) -> Lesson:
    return get_object_or_404(Lesson.objects.visible_to(request.user).select_related("course"), pk=pk)


@require_GET
@login_required
def lesson(request: HttpRequest, pk: int) -> HttpResponse:
    """To the lesson's classroom, which is made when somebody of the course comes for the first time."""
    return redirect(services.room_of_lesson(visible_lesson(request, pk)))


@never_cache
@require_GET
@login_required
def entrance(request: HttpRequest, pk: int) -> HttpResponse:
    """The way into the classroom, for the lesson's page: in, or begin again what has ended."""
    assert isinstance(request.user, User)
    shown = visible_lesson(request, pk)
    room = services.current_room(shown)
    context = {
        "lesson": shown,
        "ended_at": room.ended_at if room and not room.is_open else None,
        "may_begin": services.may_open_room(request.user, shown),
    }
    return render(request, "meetings/entrance.html", context)


@require_POST
@login_required
def begin_again(request: HttpRequest, pk: int) -> HttpResponse:
    assert isinstance(request.user, User)
    found = visible_lesson(request, pk)
    if not services.may_open_room(request.user, found):
        raise PermissionDenied("Only the lesson's teachers can begin its class again.")
    return redirect(services.begin_again(found, by=request.user))
