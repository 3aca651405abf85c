"""Where compositions are kept: the storage `recordings`, local files or S3. Stored counts only when it was read back.

Keys follow from the recording alone, so an upload that was cut off is repeated over itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.http import content_disposition_header

LINK_LIVES = 300  # seconds
CHUNK = 1024 * 1024  # bytes
CONTENT_TYPE = "video/mp4"


class NotStored(Exception):
    """The storage does not give back what it was given."""


@dataclass(frozen=True)
class Stored:
    key: str
    size: int  # bytes
    sha256: str


def recordings_storage() -> Storage:
    return storages["recordings"]


def key_of(public_id: str, quality: str) -> str:
    return f"{public_id}/{quality}.mp4"


def store(path: Path, key: str) -> Stored:
    """Put a file there and read it back. Raises NotStored, and whatever the storage raises (it may be away)."""
    storage = recordings_storage()
    with path.open("rb") as source:
        size, sha256 = digest(source)
        source.seek(0)
        saved = storage.save(key, File(source, name=Path(key).name))
    if saved != key:
        storage.delete(saved)
        raise NotStored(f"The storage chose another name than {key}.")
    if storage.size(key) != size:
        raise NotStored("The storage holds another size than was sent.")
    with storage.open(key, "rb") as kept:
        if digest(kept) != (size, sha256):
            raise NotStored("The storage gives back other bytes than were sent.")
    return Stored(key, size, sha256)


def digest(file: IO[bytes] | File[Any]) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    while chunk := file.read(CHUNK):
        size += len(chunk)
        sha256.update(chunk)
    return size, sha256.hexdigest()


def local_path(key: str) -> Path | None:
    """Where the file lies, when it lies on this machine."""
    storage = recordings_storage()
    return Path(storage.path(key)) if isinstance(storage, FileSystemStorage) else None


def signed_link(key: str, filename: str, *, download: bool) -> str:
    """A link to the object store that opens for LINK_LIVES. For local files there is none: a view streams them."""
    disposition = content_disposition_header(download, filename) or "inline"
    storage: Any = recordings_storage()
    parameters = {"ResponseContentDisposition": disposition, "ResponseContentType": CONTENT_TYPE}
    return str(storage.url(key, parameters=parameters, expire=LINK_LIVES))


def remove(key: str) -> None:
    """Twice does no harm."""
    recordings_storage().delete(key)
