"""Where compositions are kept: the storage `recordings`, local files or S3. Stored counts only when it was read back.

Keys follow from the recording and the file's name alone, so an upload that was cut off is repeated over itself. S3 gets
what is above 8 MB in parts, and a checksum with each (django-storages, boto3).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.http import content_disposition_header

from recordings import files

LINK_LIVES = 300  # seconds
CHUNK = 1024 * 1024  # bytes
ASK_LATER = {408, 429}  # HTTP: the request took too long, or came too soon
READ_AGAIN = 3  # times in a row that a connection may break while an object is read


class NotStored(Exception):
    """The storage refuses the file, or does not give back what it was given. The message is for people."""


class StorageAway(Exception):
    """The storage cannot be reached, or fails for a reason of its own: later is better. The message is for people."""


class WholeFiles(FileSystemStorage):
    """Local files that are there whole or not at all: what replaces another is written beside it first.

    A disk that fills up costs nothing that was there before, and nobody reads a file that is half another.
    """

    def _save(self, name: str, content: File[Any]) -> str:
        part = f"{name}.part"
        try:
            os.replace(self.path(super()._save(part, content)), self.path(name))  # type: ignore[misc]  # no stub has it
        except BaseException:
            self.delete(part)
            raise
        return name


@dataclass(frozen=True)
class Stored:
    key: str
    size: int  # bytes
    sha256: str


def recordings_storage() -> Storage:
    return storages["recordings"]


def key(public_id: str, name: str) -> str:
    """`name` as docs/recordings.md lists them."""
    return f"{public_id}/{name}"


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """What an object store's client raises becomes NotStored or StorageAway."""
    try:
        yield
    except Exception as error:
        if (told := _of_an_object_store(error)) is not None:
            raise told from error
        raise


@_told_apart()
def store(path: Path, key: str) -> Stored:
    """Put a file there and read it back. Raises NotStored, StorageAway, and OSError of a local disk."""
    storage = recordings_storage()
    with path.open("rb") as source:
        size, sha256 = digest(source)
        source.seek(0)
        content = File(source, name=Path(key).name)
        content.content_type = files.content_type_of(key)  # type: ignore[attr-defined]  # S3 is told
        saved = storage.save(key, content)
    if saved != key:
        storage.delete(saved)
        raise NotStored(f"The storage chose another name than {key}.")
    if storage.size(key) != size:
        raise NotStored("The storage holds another size than was sent.")
    if digest(blocks(key)) != (size, sha256):
        raise NotStored("The storage gives back other bytes than were sent.")
    return Stored(key, size, sha256)


def _of_an_object_store(error: Exception) -> NotStored | StorageAway | None:
    """What its client raises, told apart by whether waiting can help. None: another's error."""
    from botocore import exceptions as boto  # local files do without it

    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = StorageAway if status >= 500 or status in ASK_LATER else NotStored
        return kind(f"The object store answers: {error}")
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError | boto.IncompleteReadError):
        return StorageAway(f"The object store cannot be reached: {type(error).__name__}")
    if isinstance(error, boto.BotoCoreError):
        return NotStored(f"The object store cannot be used: {error}")
    return None


def digest(content: IO[bytes] | File[Any] | Iterable[bytes]) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    pieces = iter(lambda: content.read(CHUNK), b"") if hasattr(content, "read") else content
    for piece in pieces:
        size += len(piece)
        sha256.update(piece)
    return size, sha256.hexdigest()


def blocks(key: str) -> Iterator[bytes]:
    """A file piece by piece, without a temporary one. Raises FileNotFoundError, and what the store's client raises."""
    path = local_path(key)
    if path is None:
        yield from _blocks_of_an_object(key)
        return
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _blocks_of_an_object(key: str) -> Iterator[bytes]:
    """A connection that breaks is followed by another, which goes on from there."""
    from botocore import exceptions as boto  # local files do without it

    storage: Any = recordings_storage()
    client, size = storage.connection.meta.client, storage.size(key)
    at = broken = 0
    while at < size:
        try:
            answer = client.get_object(Bucket=storage.bucket_name, Key=key, Range=f"bytes={at}-")
            for piece in answer["Body"].iter_chunks(CHUNK):
                at, broken = at + len(piece), 0
                yield piece
        except (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError):
            broken += 1
            if broken > READ_AGAIN:
                raise


@_told_apart()
def read_text(key: str, at_most: int) -> str:
    """A small file. Raises FileNotFoundError, StorageAway, NotStored where the store refuses, and ValueError for one
    that is larger or no text."""
    text = bytearray()
    for piece in blocks(key):
        text += piece
        if len(text) > at_most:
            raise ValueError(f"{key} has more than {at_most} bytes")
    return text.decode()


def local_path(key: str) -> Path | None:
    """Where the file lies, when it lies on this machine."""
    storage = recordings_storage()
    return Path(storage.path(key)) if isinstance(storage, FileSystemStorage) else None


def signed_link(key: str, filename: str, content_type: str, *, download: bool) -> str:
    """A link to the object store that opens for LINK_LIVES. For local files there is none: a view streams them."""
    disposition = content_disposition_header(download, filename) or "inline"
    storage: Any = recordings_storage()
    parameters = {"ResponseContentDisposition": disposition, "ResponseContentType": content_type}
    return str(storage.url(key, parameters=parameters, expire=LINK_LIVES))


@_told_apart()
def remove(key: str) -> None:
    """Twice does no harm. Raises NotStored where the store refuses, StorageAway, and OSError of a local disk."""
    recordings_storage().delete(key)


def erase(public_id: str) -> None:
    """All of a recording: also what a process has stored that was killed before it could note it."""
    if not public_id:
        raise ValueError("Of no recording, everybody's files would be erased.")
    _erase(recordings_storage(), public_id)


def _erase(storage: Storage, folder: str) -> None:
    try:
        folders, names = storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        storage.delete(f"{folder}/{name}")
    for inner in folders:
        _erase(storage, f"{folder}/{inner}")
    if isinstance(storage, FileSystemStorage):
        storage.delete(folder)  # an object store has none
