"""The pages. None of them says to Sentry who the user is: its Django integration does."""

from __future__ import annotations

import json
import logging

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

logger = logging.getLogger(__name__)

PRICES = {"cup": 8, "teapot": 40}


@login_required
def account(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"customer": request.user.pk})


@require_POST
def order(request: HttpRequest, article: str) -> JsonResponse:
    """Fails where there is no such article."""
    pieces = json.loads(request.body)["pieces"]
    return JsonResponse({"price": pieces * PRICES[article]})


def recommend(request: HttpRequest, article: str) -> JsonResponse:
    """Can do without the article, but somebody should know."""
    try:
        limit = PRICES[article]
    except KeyError:
        logger.exception("Nothing to recommend")
        return JsonResponse({"articles": []})
    return JsonResponse({"articles": [name for name, price in PRICES.items() if price <= limit]})
