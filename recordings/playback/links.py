"""Links that open for five minutes without a sign-in, given after the access check; one recording's open no other's.

The token stands in the query, never in the path: paths reach logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.core import signing
from django.urls import reverse

from recordings import storage
from recordings.models import Composition

SALT = "recordings.file"
ALL = "*"  # every file of the recording: what a player fetches


@dataclass(frozen=True)
class Pass:
    """What a token opens."""

    recording: str  # its public id
    name: str  # of one file, of a folder with its slash, or ALL
    download: bool = False

    def opens(self, public_id: str, name: str) -> bool:
        of_folder = self.name.endswith("/") and name.startswith(self.name)
        return self.recording == public_id and (self.name in (ALL, name) or of_folder)

    def token(self) -> str:
        return signing.dumps([self.recording, self.name, self.download], salt=SALT)


def pass_of(token: str) -> Pass | None:
    """None: forged, or too old."""
    try:
        recording, name, download = signing.loads(token, salt=SALT, max_age=storage.LINK_LIVES)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Pass(str(recording), str(name), bool(download))


def address_of(public_id: str, name: str, **query: str) -> str:
    path = reverse("recordings:file", args=[public_id, name])
    return f"{path}?{urlencode(query)}" if query else path


def of_the_store(composition: Composition, filename: str, *, download: bool) -> str | None:
    """The object store's own link. None: the file lies on this machine."""
    if storage.local_path(composition.key) is not None:
        return None
    return storage.signed_link(composition.key, filename, composition.content_type, download=download)


def to_one_file(composition: Composition, filename: str, *, download: bool) -> str:
    """A link for somebody without a session: the store's own, or a path of ours."""
    public_id, name = composition.recording.public_id, composition.name
    if name.endswith(".m3u8"):  # which is given out here, and leads to what lies beside it
        return address_of(public_id, name, token=Pass(public_id, name.rpartition("/")[0] + "/").token())
    given = Pass(public_id, name, download)
    return of_the_store(composition, filename, download=download) or address_of(public_id, name, token=given.token())
