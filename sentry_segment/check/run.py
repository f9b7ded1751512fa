"""Whether this machine can deliver to Segment: one test message, sent as the mirror sends errors.

What is checked is what runs: the same options, HTTP client, headers and verdict.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from uuid import uuid4

from sentry_segment._version import __version__
from sentry_segment.check import advice
from sentry_segment.check.report import Report
from sentry_segment.check.route import Route, find_route, resolve
from sentry_segment.check.steps import Steps
from sentry_segment.guest.silence import silence
from sentry_segment.mapping.encoding import encode
from sentry_segment.mapping.message import TrackMessage
from sentry_segment.options import DEFAULT_HOST, Options
from sentry_segment.wire.api import Answer, SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.oauth import TokenError, Tokens
from sentry_segment.wire.verdict import Outcome

EVENT_NAME = "Sentry Segment Check"
USER_ID = "sentry-segment-check"

_EXCERPT = 200  # characters of what a server says


def check(options: Options, key_source: str) -> bool:
    """Send a test message and print each step; whether the message was taken.

    `key_source` is where the write key is from. The option `timeout` holds for all of it.
    """
    return _Check(options).run(key_source)


class _Check:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._end = time.monotonic() + options.timeout
        self._api = SegmentApi(options, NetworkOptions())
        self._report = Report(self._api.masked if options.write_key else str)

    def run(self, key_source: str) -> bool:
        options, report = self._options, self._report
        if not options.write_key:
            report.failed("write key", "there is none", advice.NO_KEY)
            return False
        report.done("write key", f"{options.masked_write_key} from {key_source}")
        if options.is_placeholder:
            report.remark(advice.PLACEHOLDER)
        try:
            with silence():
                return self._get_token() and self._deliver()
        finally:
            self._api.close()

    def _get_token(self) -> bool:
        """Where OAuth is in use, the way to the authorization server comes first."""
        tokens, options = self._api.tokens, self._options
        if tokens is None:
            return True
        self._report.done("client", f"{options.oauth_client_id}, key {options.oauth_key_id}")
        self._report.done("token server", options.oauth_auth_server)
        if options.has_plain_auth_server:
            self._report.remark("Plain http: tokens cross the network unencrypted.")
        route = self._find_route(options.oauth_auth_server, tokens.prepare)
        return route is not None and self._resolve(route) and self._exchange(tokens, route)

    def _exchange(self, tokens: Tokens, route: Route) -> bool:
        steps = Steps(self._report, route)
        try:
            life = tokens.exchange(self._seconds_left(), steps.trace)
        except TokenError as error:
            what = self._api.masked(str(error))[:_EXCERPT]
            self._report.failed("token", what, advice.for_token(error.status), steps.seconds)
            return False
        except Exception as error:  # noqa: BLE001 - reported
            failure = advice.for_exchange(error, steps.name, steps.tunnel_status, route)
            self._report.failed(steps.name, *failure, steps.seconds)
            return False
        self._report.done("token", f"good for {life:.0f} s", steps.seconds)
        return True

    def _deliver(self) -> bool:
        self._report.done("host", self._options.host)
        if self._options.is_plain_http:
            self._report.remark(
                "Plain http: messages and the write key cross the network unencrypted."
            )
        route = self._find_route(self._options.host, self._api.prepare)
        return route is not None and self._resolve(route) and self._send(route)

    def _find_route(self, host: str, prepare: Callable[[], None]) -> Route | None:
        """Also builds the HTTP client, which looks at the proxy and the certificates."""
        try:
            prepare()
        except (ValueError, ImportError) as error:
            self._report.failed("proxy", *advice.for_proxy(error))
            return None
        except OSError as error:
            self._report.failed("certificates", *advice.for_certificates(error, _certificates()))
            return None
        route = find_route(host, NetworkOptions())
        proxy = f"{route.proxy} from {route.proxy_variable}" if route.proxy else "none"
        self._report.done("proxy", proxy)
        if route.is_tls:
            self._report.done("certificates", _certificates())
        return route

    def _resolve(self, route: Route) -> bool:
        name, port = route.name_to_resolve, route.peer[1]
        if name is None:
            return True
        begun = time.perf_counter()
        try:
            addresses = resolve(name, port, self._seconds_left())
        except Exception as error:  # noqa: BLE001 - `OSError`, `UnicodeError`, or no answer
            seconds = time.perf_counter() - begun
            self._report.failed("name", *advice.for_look_up(error, route), seconds)
            return False
        more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
        found = f"{name} is {', '.join(addresses[:4])}{more}"
        self._report.done("name", found, time.perf_counter() - begun)
        return True

    def _send(self, route: Route) -> bool:
        message = _test_message()
        steps = Steps(self._report, route)
        try:
            answer = self._api.exchange([encode(message)], 0, self._seconds_left(), steps.trace)
        except Exception as error:  # noqa: BLE001 - reported
            failure = advice.for_exchange(error, steps.name, steps.tunnel_status, route)
            self._report.failed(steps.name, *failure, steps.seconds)
            return False
        if not self._judge(answer, steps.seconds, route):
            return False
        self._report.conclude(self._taken(), message["messageId"])
        return True

    def _taken(self) -> str:
        if self._options.host not in (DEFAULT_HOST, advice.EU_HOST):
            return (
                f'Taken. Look for "{EVENT_NAME}" where that server shows what arrives, with this '
                f"messageId:"
            )
        return (
            f"Taken. That shows the way there, and not that Segment keeps it: it answers 200 to "
            f'nearly all requests, also with a wrong write key. Look for "{EVENT_NAME}" in the '
            f"source's debugger (Connections > Sources > your source > Debugger), with this "
            f"messageId:"
        )

    def _judge(self, answer: Answer, seconds: float, route: Route) -> bool:
        verdict = self._api.judge(answer)
        # Masked before it is cut: else the cut may leave the half of a write key.
        excerpt, location = (
            self._api.masked(text)[:_EXCERPT] for text in (answer.text, answer.location)
        )
        excerpt = excerpt and f": {excerpt}"
        if verdict.outcome is not Outcome.DELIVERED:
            failure = advice.for_answer(verdict, location, route, self._api.tokens is not None)
            self._report.failed("answer", failure.what + excerpt, failure.advice, seconds)
            return False
        if answer.text.startswith("<"):
            what = f"HTTP {answer.status}, with a web page{excerpt}"
            self._report.failed("answer", what, advice.WEB_PAGE, seconds)
            return False
        self._report.done("answer", f"HTTP {answer.status}{excerpt}", seconds)
        if answer.path == "/v1/batch":
            self._report.remark(advice.BATCH_ALONE)
        if not answer.is_whole:
            self._report.remark(advice.NOT_WHOLE)
        elif not _is_json(answer.text):
            self._report.remark(advice.NOT_JSON)
        return True

    def _seconds_left(self) -> float:
        return max(self._end - time.monotonic(), 0.001)


def _certificates() -> str:
    path, variable = NetworkOptions().ca_file
    return f"{path} from {variable}" if variable else "those of certifi"


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")  # 204 has none
    except (ValueError, RecursionError):
        return False
    return True


def _test_message() -> TrackMessage:
    return {
        "type": "track",
        "messageId": f"{USER_ID}-{uuid4().hex}",
        "userId": USER_ID,
        "event": EVENT_NAME,
        "timestamp": datetime.now(timezone.utc)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z"),
        "properties": {"test": True, "sentBy": "python -m sentry_segment check"},
        "context": {"library": {"name": "sentry", "version": __version__}},
        "integration": {"name": "sentry", "version": __version__},
    }
