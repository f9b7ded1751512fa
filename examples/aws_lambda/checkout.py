"""A checkout behind API Gateway. The handler's name, for Lambda, is aws_lambda.checkout.handle"""

from __future__ import annotations

import json
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        AwsLambdaIntegration(),
        SegmentIntegration(),
    ],
)

PRICES = {"cup": 8, "teapot": 40}


def user_id(event: dict[str, Any]) -> str | None:
    """Whom API Gateway's authorizer has found: Cognito's, one of JWT, or your own of a REST API."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    claims = authorizer.get("claims") or authorizer.get("jwt", {}).get("claims") or {}
    return claims.get("sub") or authorizer.get("principalId")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Fails where there is no such article."""
    if found := user_id(event):
        sentry_sdk.set_user({"id": found})
    price = PRICES[event["queryStringParameters"]["article"]]
    return {"statusCode": 200, "body": json.dumps({"price": price})}
