"""Captions are added and removed on a recording's page, by hosts and co-hosts of the class and by staff."""

from __future__ import annotations

import logging

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST

from accounts.models import User
from recordings import storage
from recordings.captions import services
from recordings.captions.reading import LARGEST, Unreadable
from recordings.errors import is_full_disk
from recordings.models import Recording
from recordings.playback.giving import visible

FORM = 16 * 1024  # bytes of a request around the file
DISK_FULL = "The server's disk is full: nothing can be kept until somebody has made room."

log = logging.getLogger(__name__)


def languages() -> list[tuple[str, str]]:
    """Codes and names as people look for them: in English, then as they are called by who speaks them."""
    named = [(name if name == own else f"{name} ({own})", code) for code, (name, own) in services.LANGUAGES.items()]
    return [(code, name) for name, code in sorted(named)]


class CaptionsForm(forms.Form):
    language = forms.ChoiceField(choices=languages, initial="en")
    file = forms.FileField(
        help_text="WebVTT (.vtt) or SubRip (.srt) in UTF-8, at most 1 MB. What is there in that language is replaced.",
        widget=forms.FileInput(attrs={"accept": ".vtt,.srt,text/vtt,application/x-subrip"}),
    )


def changeable(request: HttpRequest, public_id: str) -> Recording:
    recording = visible(request, public_id)
    assert isinstance(request.user, User)
    if not services.may_caption(request.user, recording):
        raise PermissionDenied("Only staff, hosts and co-hosts can do this.")
    return recording


@csrf_exempt  # to look for the token is to read the file: `_add` does, once it is known who asks and how large it is
@login_required
@require_POST
def add(request: HttpRequest, public_id: str) -> HttpResponse:
    recording = changeable(request, public_id)
    if int(request.headers.get("Content-Length") or 0) > LARGEST + FORM:
        messages.error(request, f"The file is larger than {LARGEST // 1024**2} MB.")
        return redirect(recording)
    return _add(request, recording)


@csrf_protect
def _add(request: HttpRequest, recording: Recording) -> HttpResponse:
    form = CaptionsForm(request.POST, request.FILES)
    if recording.state != Recording.State.READY:
        messages.error(request, "The film is not there yet, or no more.")
    elif not form.is_valid():
        messages.error(request, "Choose a language and a file that is not empty.")
    else:
        language = form.cleaned_data["language"]
        try:
            services.add(recording, language, form.cleaned_data["file"].read())
            messages.success(request, f"Captions are there: {services.name_of(language)}.")
        except (Unreadable, services.CannotBeChanged) as error:
            messages.error(request, str(error))
        except (storage.StorageAway, storage.NotStored, OSError) as error:
            _could_not(request, error)
    return redirect(recording)


@login_required
@require_POST
def remove(request: HttpRequest, public_id: str, language: str) -> HttpResponse:
    recording = changeable(request, public_id)
    try:
        if services.remove(recording, language):
            messages.success(request, f"Captions are removed: {services.name_of(language)}.")
    except services.CannotBeChanged as error:
        messages.error(request, str(error))
    except (storage.StorageAway, storage.NotStored, OSError) as error:
        _could_not(request, error)
    return redirect(recording)


def _could_not(request: HttpRequest, error: Exception) -> None:
    log.warning("captions could not be kept: %s", error)
    messages.error(request, DISK_FULL if is_full_disk(error) else "The storage does not answer. Try again in a moment.")
