"""What staff do with recordings: hold them, try many again, see what they take. Teachers try their own again."""

from __future__ import annotations

from functools import wraps
from typing import Any, Protocol

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from recordings import keeping, services
from recordings.forms import HoldForm
from recordings.models import Recording

MOST = 200  # recordings tried again at once


class View(Protocol):
    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase: ...


def for_staff(view: View) -> View:
    @login_required
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not (isinstance(request.user, User) and request.user.is_site_staff):
            raise PermissionDenied("Only staff can do this.")
        return view(request, *args, **kwargs)

    return checked


@for_staff
@require_safe
def stored(request: HttpRequest) -> HttpResponse:
    """What the recordings of each course take."""
    rows = keeping.stored_by_course()
    total = sum(row.size for row in rows)
    context = {
        "rows": rows,
        "most": rows[0].size if rows else 0,
        "total": total,
        "number": sum(row.number for row in rows),
    }
    return render(request, "recordings/storage.html", context)


@for_staff
@require_POST
def hold(request: HttpRequest, public_id: str) -> HttpResponse:
    recording = get_object_or_404(Recording, public_id=public_id)
    form = HoldForm(request.POST)
    assert isinstance(request.user, User)
    if not form.is_valid():
        messages.error(request, "A legal hold needs its reason, in 500 characters.")
    elif keeping.hold(recording, request.user, form.cleaned_data["reason"]):
        messages.success(request, "The recording is held: it neither expires nor can it be deleted.")
    else:
        messages.error(request, "It is held already, or there is nothing left to hold.")
    return redirect(recording)


@for_staff
@require_POST
def release(request: HttpRequest, public_id: str) -> HttpResponse:
    recording = get_object_or_404(Recording, public_id=public_id)
    if keeping.release(recording):
        messages.success(request, "The hold is lifted.")
    return redirect(recording)


@login_required
@require_POST
def retry_many(request: HttpRequest) -> HttpResponse:
    """Those of the chosen ones that have failed, and that the user manages."""
    wanted = [public_id for public_id in request.POST.getlist("id")[:MOST] if "\0" not in public_id]
    found = Recording.objects.managed_by(request.user).failed().filter(public_id__in=wanted)
    queued = sum(services.retry(recording) for recording in found)
    messages.info(request, f"{queued} queued again." if queued else "None of these recordings has failed.")
    return redirect("recordings:list")
