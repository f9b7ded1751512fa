"""A function on AWS Lambda's own runtime client, whose API is played locally."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from collector import Collector, Reply
from stacks.arrivals import Mirrored, mirrored, texts_of
from stacks.lambda_api import Api, lambda_api
from stacks.processes import PATIENCE, Process, Stack, stack


def request(
    article: str, user_id: str | None = None, authorizer: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What API Gateway makes of a request."""
    if user_id:
        authorizer = {"principalId": user_id}
    return {
        "httpMethod": "GET",
        "path": "/checkout",
        "headers": {"Host": "shop.example", "User-Agent": f"Browser/{article}"},
        "queryStringParameters": {"article": article},
        "requestContext": {"authorizer": authorizer},
    }


def start(running: Stack, api: Api) -> Process:
    return running.start(
        *("-m", "awslambdaric", "aws_lambda.checkout.handle"),
        AWS_LAMBDA_RUNTIME_API=api.address,
        AWS_LAMBDA_FUNCTION_NAME="checkout",
        AWS_LAMBDA_FUNCTION_VERSION="1",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/checkout",
        AWS_LAMBDA_LOG_STREAM_NAME="1",
        AWS_REGION="eu-central-1",
    )


def invoke(collector: Collector, folder: Path, api: Api) -> None:
    """Run a function until all invocations have ended."""
    with lambda_api(api), stack(collector, folder) as running:
        process = start(running, api)
        assert api.all_done.wait(PATIENCE), process.output


def test_each_error_is_delivered_before_its_invocation_ends(
    collector: Collector, tmp_path: Path
) -> None:
    arrived: list[int] = []
    calls = [
        request("unicorn-7", "7"),
        request("cup", "8"),
        request("ghost"),
        request("unicorn-9", "9"),
        request("ghost"),
    ]
    api = Api(calls, lambda number: arrived.append(len(collector.messages)))
    invoke(collector, tmp_path, api)
    assert api.endings == ["error", "response", "error", "error", "error"]
    assert arrived == [1, 1, 1, 2, 2]
    assert mirrored(collector) == [
        Mirrored("7", "KeyError", "'unicorn-7'", "checkout"),
        Mirrored("9", "KeyError", "'unicorn-9'", "checkout"),
    ]
    pages = [message["context"]["page"] for message in collector.messages]
    assert [page["search"] for page in pages] == ["article=unicorn-7", "article=unicorn-9"]
    agents = [message["context"]["userAgent"] for message in collector.messages]
    assert agents == ["Browser/unicorn-7", "Browser/unicorn-9"]
    assert texts_of(collector.events)["'ghost'"] == 2


def test_the_user_is_whom_any_authorizer_has_found(collector: Collector, tmp_path: Path) -> None:
    authorizers: list[dict[str, Any]] = [
        {"claims": {"sub": "cognito", "email": "someone@example.com"}},
        {"jwt": {"claims": {"sub": "jwt"}, "scopes": None}},
        {"principalId": "own", "integrationLatency": 7},
        {"lambda": {"tenant": "example"}},
        {},
    ]
    calls = [
        request(f"unicorn-{number}", authorizer=each) for number, each in enumerate(authorizers)
    ]
    invoke(collector, tmp_path, Api(calls, lambda number: None))
    assert [each.user for each in mirrored(collector)] == ["cognito", "jwt", "own"]
    assert len(collector.events) == len(authorizers)


def test_a_segment_that_hangs_holds_no_invocation_for_good(
    collector: Collector, tmp_path: Path
) -> None:
    never = threading.Event()  # set when the collector stops
    collector.answer = lambda call: Reply(delay=never)
    api = Api([request("unicorn-7", "7"), request("cup", "7")], lambda number: None)
    invoke(collector, tmp_path, api)
    assert api.endings == ["error", "response"]
    assert len(collector.events) == 1
