"""Pages of recordings: find, watch, follow the composing, download, try again.

A recording that is not yours to see is 404, as if it were not there; one that you may only watch is 403 to download.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from classroom.models import Lesson
from recordings import files, services, storage
from recordings.forms import SearchForm
from recordings.models import Composition, Recording
from recordings.ranges import stream

A_PAGE = 25
OF_A_LESSON = 20  # the latest ones on the lesson's page


def signed_in(request: HttpRequest) -> User:
    """The user of a view behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


def visible(request: HttpRequest, public_id: str) -> Recording:
    found = Recording.objects.visible_to(request.user).select_related("room__lesson__course", "room__created_by")
    return get_object_or_404(found, public_id=public_id)


def may_manage(request: HttpRequest, recording: Recording) -> bool:
    return Recording.objects.managed_by(request.user).filter(pk=recording.pk).exists()


def ready_composition(recording: Recording, quality: str) -> Composition:
    if recording.state != Recording.State.READY:
        raise Http404("There is nothing to play yet, or no more.")
    return get_object_or_404(Composition, recording=recording, name=files.film(quality))


@login_required
@require_safe
def recordings(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    form = SearchForm(user, request.GET)
    page = Paginator(services.find(user, form.wanted()), A_PAGE).get_page(request.GET.get("page"))
    managed = set(
        Recording.objects.managed_by(user).filter(pk__in=[each.pk for each in page]).values_list("pk", flat=True)
    )
    context = {
        "page": page,
        "form": form,
        "is_search": any(value for name, value in request.GET.items() if name != "page"),
        "managed": managed,
    }
    return render(request, "recordings/list.html", context)


@login_required
@require_safe
def detail(request: HttpRequest, public_id: str) -> HttpResponse:
    return render(request, "recordings/detail.html", _about(request, visible(request, public_id)))


@login_required
@never_cache
@require_safe
def state(request: HttpRequest, public_id: str) -> HttpResponse:
    """The part of the detail page that changes while a recording is composed; it asks for itself again until then."""
    return render(request, "recordings/state.html", _about(request, visible(request, public_id)))


def _about(request: HttpRequest, recording: Recording) -> dict[str, object]:
    return {
        "recording": recording,
        "films": recording.films,
        "may_manage": may_manage(request, recording),
        "people": sorted({track.name for track in recording.tracks.all() if track.name}),
        "lesson": recording.room.lesson,
        "course": recording.room.lesson.course if recording.room.lesson else None,
    }


@login_required
@never_cache
@require_safe
def lesson(request: HttpRequest, pk: int) -> HttpResponse:
    """The states of a lesson's recordings, for the lesson's page."""
    shown = get_object_or_404(Lesson.objects.visible_to(request.user), pk=pk)
    found = Recording.objects.filter(room__lesson=shown).select_related("room__lesson__course")
    found = found.prefetch_related("compositions")[:OF_A_LESSON]
    managed = Recording.objects.managed_by(request.user).filter(room__lesson=shown).exists()
    return render(request, "recordings/lesson.html", {"recordings": found, "may_manage": managed})


@login_required
@require_POST
def retry(request: HttpRequest, public_id: str) -> HttpResponse:
    recording = visible(request, public_id)
    if not may_manage(request, recording):
        raise PermissionDenied("Only staff and the course's teachers can do this.")
    if not services.retry(recording):
        messages.info(request, "Nothing to retry: the recording has not failed, or somebody was faster.")
    return redirect(recording)


@login_required
@require_safe
def download(request: HttpRequest, public_id: str, quality: str) -> HttpResponseBase:
    recording = visible(request, public_id)
    if not may_manage(request, recording):
        raise PermissionDenied("Only staff and the course's teachers can download recordings.")
    return give(request, ready_composition(recording, quality), download=True)


@login_required
@require_safe
def watch(request: HttpRequest, public_id: str, quality: str) -> HttpResponseBase:
    """What the player plays, range by range."""
    return give(request, ready_composition(visible(request, public_id), quality), download=False)


@require_safe
def file(request: HttpRequest, token: str) -> HttpResponseBase:
    """A short-lived signed link, for those who have no session: it was given after the access check."""
    found = services.composition_of_link(token)
    if found is None:
        raise Http404("The link is too old, or was never given.")
    return give(request, found[0], download=found[1])


def give(request: HttpRequest, composition: Composition, *, download: bool) -> HttpResponseBase:
    name = services.filename(composition)
    path = storage.local_path(composition.key)
    if path is None:
        return redirect(storage.signed_link(composition.key, name, composition.content_type, download=download))
    if not path.is_file():
        raise Http404("The file is not where it was stored.")
    return stream(
        request,
        path,
        content_type=composition.content_type,
        filename=name,
        download=download,
        etag=composition.sha256,
    )
