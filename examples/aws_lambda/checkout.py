"""A checkout behind API Gateway. The handler's name, for Lambda, is aws_lambda.checkout.handle"""

from __future__ import annotations

import json
import os
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    integrations=[
        AwsLambdaIntegration(),
        SegmentIntegration(host=os.environ.get("SEGMENT_HOST", "https://api.segment.io")),
    ],
)

PRICES = {"cup": 8, "teapot": 40}


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Fails where there is no such article."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if "principalId" in authorizer:
        sentry_sdk.set_user({"id": authorizer["principalId"]})
    price = PRICES[event["queryStringParameters"]["article"]]
    return {"statusCode": 200, "body": json.dumps({"price": price})}
