"""Pages of recordings: find, watch, follow the composing, try again, and what a course says of them all.

A recording that is not yours to see is 404, as if it were not there; one that you may only watch is 403 to download.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Sum, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson
from recordings import files, keeping, services
from recordings.captions.services import may_caption
from recordings.captions.views import CaptionsForm
from recordings.forms import HoldForm, PolicyForm, SearchForm
from recordings.models import Composition, LegalHold, Recording, RecordingPolicy
from recordings.playback import playing, watching
from recordings.playback.giving import may_manage, visible

A_PAGE = 25
VIEWERS = 100  # the latest ones that staff are shown
OF_A_LESSON = 20  # the latest ones on the lesson's page


def signed_in(request: HttpRequest) -> User:
    """The user of a view behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


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
        "any_failed": any(each.pk in managed and each.has_failed for each in page),
        "any_ready": any(each.pk in managed and each.state == Recording.State.READY for each in page),
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
    manages, user = may_manage(request, recording), signed_in(request)
    prefetch_related_objects([recording], "compositions")
    hold = LegalHold.objects.filter(recording=recording).select_related("placed_by").first()
    about: dict[str, object] = {
        "recording": recording,
        "films": recording.films,
        "may_manage": manages,
        "people": sorted({track.name for track in recording.tracks.all() if track.name}),
        "lesson": recording.room.lesson,
        "course": recording.room.lesson.course if recording.room.lesson else None,
        "media": playing.media_of(recording),
        "poster": playing.address_of(recording, files.POSTER),
        "downloads": playing.downloads_of(recording) if manages else [],
        "captions": playing.captions_of(recording),
        "speeds": playing.SPEEDS,
        "keys": playing.KEYS,
        "hold": hold,
        "kept_until": keeping.kept_until(recording),
    }
    if may_caption(user, recording):
        about["captions_form"] = CaptionsForm(label_suffix="")
    if manages:
        about["viewings"] = recording.viewings.count()
    if user.is_site_staff:
        about["viewers"] = recording.viewings.select_related("user")[:VIEWERS]
        about["hold_form"] = HoldForm(label_suffix="")
    return about


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
@require_POST
def watched(request: HttpRequest, public_id: str) -> HttpResponse:
    """The player tells how far somebody is."""
    recording = visible(request, public_id)
    form = watching.WatchedForm(request.POST)
    if not form.is_valid():
        return HttpResponse(status=400)
    watching.note(recording, signed_in(request), **form.cleaned_data)
    return HttpResponse(status=204)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def course(request: HttpRequest, slug: str) -> HttpResponse:
    """What a course says of its recordings: how long they are kept, and who is told."""
    user = signed_in(request)
    of = get_object_or_404(Course.objects.visible_to(user), slug=slug)
    if not (user.is_site_staff or of.role_of(user) == Enrolment.Role.TEACHER):
        raise PermissionDenied("Only staff and the course's teachers can do this.")
    policy = RecordingPolicy.objects.filter(course=of).first() or RecordingPolicy(course=of)
    form = PolicyForm(user, request.POST or None, instance=policy)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("recordings:course", slug)
    size = Composition.objects.filter(recording__room__lesson__course=of).aggregate(size=Sum("size"))["size"] or 0
    return render(request, "recordings/course.html", {"form": form, "course": of, "size": size})
