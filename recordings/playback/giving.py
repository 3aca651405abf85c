"""Give a recording's files: to watch for those who may see it, to download for those who manage it, one or many.

A file lies on this machine, and is streamed; or in an object store or behind a delivery network, and is redirected to
by a link that opens for five minutes. Playlists and texts come from here in any case: they are small, and scripts of
the page read them.
"""

from __future__ import annotations

import logging
import time

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from recordings import files, services, storage
from recordings.models import Composition, Recording
from recordings.playback import cdn, links, playlists, zips
from recordings.playback.links import ALL, Pass
from recordings.playback.ranges import stream

log = logging.getLogger(__name__)

TEXTS = ("text/vtt", "application/json")
LONGEST_TEXT = 16 * 1024 * 1024  # bytes: a chat of some ten thousand messages
FOR_PLAYER = "player"  # `?for=`: who asks fetches the playlist anew before its links are too old


def visible(request: HttpRequest, public_id: str) -> Recording:
    found = Recording.objects.visible_to(request.user).select_related("room__lesson__course", "room__created_by")
    return get_object_or_404(found, public_id=public_id)


def may_manage(request: HttpRequest, recording: Recording) -> bool:
    return Recording.objects.managed_by(request.user).filter(pk=recording.pk).exists()


def ready_file(recording: Recording, name: str) -> Composition:
    if recording.state != Recording.State.READY or "\0" in name:  # which no database compares with
        raise Http404("There is nothing to play yet, or no more.")
    return get_object_or_404(Composition.objects.select_related("recording__room"), recording=recording, name=name)


@login_required
@require_safe
def download(request: HttpRequest, public_id: str, quality: str) -> HttpResponseBase:
    recording = visible(request, public_id)
    if not may_manage(request, recording):
        raise PermissionDenied("Only staff and the course's teachers can download recordings.")
    return give(request, ready_file(recording, files.film(quality)), download=True)


@login_required
@require_safe
def watch(request: HttpRequest, public_id: str, quality: str) -> HttpResponseBase:
    """What plays without a script of ours, range by range."""
    return give(request, ready_file(visible(request, public_id), files.film(quality)), download=False)


@require_safe
def file(request: HttpRequest, public_id: str, name: str) -> HttpResponseBase:
    """Any file of a recording: for who may see it, or who has a link that was given to such a one.

    `?download=1` is for those who manage it; a link tells itself whether it is one.
    """
    token = request.GET.get("token", "")
    given = links.pass_of(token) if token else None
    if given is not None and given.opens(public_id, name):
        recording = get_object_or_404(Recording, public_id=public_id)
    elif request.user.is_authenticated:
        recording, given, token = visible(request, public_id), None, ""
    elif token:
        raise Http404("The link is too old, or was never given.")
    else:
        return redirect_to_login(request.get_full_path())
    composition = ready_file(recording, name)
    if name.endswith(".m3u8"):
        return playlist(request, composition, token)
    download = given.download if given is not None else "download" in request.GET
    if download and given is None and not may_manage(request, recording):
        raise PermissionDenied("Only staff and the course's teachers can download recordings.")
    return give(request, composition, download=download)


def playlist(request: HttpRequest, composition: Composition, token: str) -> HttpResponse:
    """Its entries open for five minutes where a link brought somebody here, or our own player, which asks again.

    A browser that plays HLS by itself reads a playlist once, and sends its session with each request: for it the
    entries are plain addresses, at each of which the session is asked for.
    """
    recording = composition.recording
    there = {each.name: each for each in recording.compositions.all()}
    for_player = {"for": FOR_PLAYER} if request.GET.get("for") == FOR_PLAYER else {}
    came_by = {"token": token} if token else {}
    # A session is asked for again at the next playlist: what it gives is new whenever that is fetched.
    opens = came_by or ({"token": Pass(recording.public_id, ALL).token()} if for_player else {})

    def link(name: str) -> str:
        if name not in there:
            raise playlists.Unsafe(f"{composition.name} names {name}, which is not stored")
        if name.endswith(".m3u8"):
            return links.address_of(recording.public_id, name, **came_by, **for_player)
        own = links.address_of(recording.public_id, name, **opens)
        return (elsewhere(request, there[name], download=False) if for_player else None) or own

    try:
        text = storage.read_text(composition.key, playlists.LONGEST)
        answer = HttpResponse(playlists.with_links(text, composition.name, link), content_type=composition.content_type)
    except (FileNotFoundError, ValueError, playlists.Unsafe) as error:
        log.error("recording %s: a playlist is not given out: %s", recording.public_id, error)
        raise Http404("The playlist is not as it was stored.") from error
    except (storage.StorageAway, storage.NotStored) as error:
        return away(error)
    answer["Cache-Control"] = "private, no-store"
    return answer


def elsewhere(request: HttpRequest, composition: Composition, *, download: bool) -> str | None:
    """A link to where the file lies, when it does not lie on this machine or need not be fetched from it."""
    if not download and (base_url := cdn.base_url_for(request)):
        return cdn.link(base_url, composition.key, time.time())
    return links.of_the_store(composition, services.filename(composition), download=download)


def give(request: HttpRequest, composition: Composition, *, download: bool) -> HttpResponseBase:
    if composition.content_type not in TEXTS and (link := elsewhere(request, composition, download=download)):
        answer = HttpResponseRedirect(link)
        answer["Cache-Control"] = "private, no-store"
        return answer
    path = storage.local_path(composition.key)
    if path is None:
        return give_text(composition, download=download)
    if not path.is_file():
        raise Http404("The file is not where it was stored.")
    return stream(
        request,
        path,
        content_type=composition.content_type,
        filename=services.filename(composition),
        download=download,
        etag=composition.sha256,
    )


def give_text(composition: Composition, *, download: bool) -> HttpResponse:
    """Of an object store: a page may read its own site's texts without a word from the store."""
    try:
        text = storage.read_text(composition.key, LONGEST_TEXT)
    except (FileNotFoundError, ValueError) as error:
        raise Http404("The file is not as it was stored.") from error
    except (storage.StorageAway, storage.NotStored) as error:
        return away(error)
    answer = HttpResponse(text, content_type=composition.content_type)
    answer["Cache-Control"] = "private, no-cache"
    answer["Content-Disposition"] = content_disposition_header(download, services.filename(composition)) or "inline"
    return answer


def away(error: storage.StorageAway | storage.NotStored) -> HttpResponse:
    """It cannot be reached, or refuses us: a viewer can do nothing about either."""
    level = logging.ERROR if isinstance(error, storage.NotStored) else logging.WARNING
    log.log(level, "a file could not be given: %s", error)
    return HttpResponse("The storage does not answer. Try again in a moment.", status=503, headers={"Retry-After": "5"})


@login_required
@require_safe
def archive(request: HttpRequest) -> HttpResponseBase:
    """`?id=...&id=...`: the films of many recordings, and their captions, as one ZIP."""
    wanted = {public_id for public_id in request.GET.getlist("id") if "\0" not in public_id}
    if not 0 < len(wanted) <= zips.MOST:
        messages.error(request, f"Choose one to {zips.MOST} recordings to download.")
        return redirect("recordings:list")
    found = Recording.objects.filter(pk__in=Recording.objects.managed_by(request.user).values("pk"))
    found = found.filter(public_id__in=wanted).select_related("room").prefetch_related("compositions").order_by("pk")
    if len(found) < len(wanted):
        raise Http404("One of these recordings is not there.")
    ready = [each for each in found if each.state == Recording.State.READY and each.films]
    wanted_files = [file for each in ready for file in (each.films[0], *each.captions)]
    if not ready:
        messages.error(request, "None of these recordings is ready.")
        return redirect("recordings:list")
    names = zips.unique([services.filename(file) for file in wanted_files])
    now = timezone.localtime()
    answer: HttpResponseBase
    if request.method == "HEAD":
        answer = HttpResponse(content_type="application/zip")
    else:
        contents = [(name, storage.blocks(file.key)) for name, file in zip(names, wanted_files, strict=True)]
        answer = StreamingHttpResponse(zips.in_threads(zips.zipped(contents, now)), content_type="application/zip")
    name = f"Recordings {now:%Y-%m-%d %H.%M}.zip"
    answer.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
