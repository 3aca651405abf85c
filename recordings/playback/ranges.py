"""Stream a local file, whole or the one range that was asked for (RFC 9110, section 14).

By an async generator: Django under ASGI would read all of a plain iterator, gigabytes of it, before it sends a byte.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

BLOCK = 512 * 1024  # bytes
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """(first byte, byte after the last). None: the whole, since no range was asked for or not one that we serve.

    Raises ValueError for a range that lies outside of the file.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        if int(last) == 0 or size == 0:
            raise ValueError("an empty range")
        return max(0, size - int(last)), size
    begin = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < begin:
        return None  # not a range at all
    if begin >= size:
        raise ValueError("begins behind the end")
    return begin, end


def stream(
    request: HttpRequest, path: Path, *, content_type: str, filename: str, download: bool, etag: str
) -> HttpResponseBase:
    """`etag` without quotes; with If-Range a part of another version is never glued to what the browser has."""
    size = path.stat().st_size
    wanted = None
    if_range = request.headers.get("If-Range")
    if "Range" in request.headers and if_range in (None, f'"{etag}"'):
        try:
            wanted = asked_range(request.headers["Range"], size)
        except ValueError:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    begin, end = wanted or (0, size)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=content_type)
    else:
        response = StreamingHttpResponse(_blocks(path, begin, end), content_type=content_type)
    if wanted is not None:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    response.headers["Content-Length"] = str(end - begin)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = f'"{etag}"'
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = content_disposition_header(download, filename) or "inline"
    return response


async def _blocks(path: Path, begin: int, end: int) -> AsyncIterator[bytes]:
    file = await sync_to_async(lambda: path.open("rb"), thread_sensitive=False)()
    try:
        file.seek(begin)
        left = end - begin
        while left > 0 and (block := await sync_to_async(file.read, thread_sensitive=False)(min(BLOCK, left))):
            left -= len(block)
            yield block
    finally:
        file.close()
