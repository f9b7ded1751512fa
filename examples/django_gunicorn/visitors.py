"""Visitors, who are known to Segment by its cookie."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from sentry_segment import anonymous_id_from, set_anonymous_id

Handler = Callable[[HttpRequest], HttpResponse]


def who_is_it(get_response: Handler) -> Handler:
    """Middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        set_anonymous_id(anonymous_id_from(request.COOKIES))
        return get_response(request)

    return middleware
