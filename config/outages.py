"""A part that pages need is away for a moment: said as that, with the time to come again, not as a bug of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

COME_AGAIN = 5  # seconds


class Outages:
    """Middleware: 503 where Redis (failed sign-ins are counted there) or the database does not answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, RedisError | OperationalError):
            return None
        # A statement that the database refuses may be a bug of ours: that is told whole.
        whole = exception if isinstance(exception, OperationalError) else None
        logger.warning("%s was not answered: %s", request.path, type(exception).__name__, exc_info=whole)
        answer: HttpResponse
        if request.path.startswith("/api/"):
            answer = JsonResponse({"detail": "A part of Lectern is starting again. Try again in a moment."}, status=503)
        else:
            answer = HttpResponse(render_to_string("503.html"), status=503)
        answer["Retry-After"] = str(COME_AGAIN)
        return answer
