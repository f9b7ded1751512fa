"""What Sentry's servers add to a browser's event, from the request that brings it.

As Relay does it, `normalize_ip_addresses` in
https://github.com/getsentry/relay/blob/master/relay-event-normalization/src/event.rs: compared with
what sentry-relay 0.9.0 makes of events, the last whose binding does it.
"""

from __future__ import annotations

from typing import Any

from sentry_segment.mapping import relay, relay_request

_AUTO = "{{auto}}"
# Whose SDKs run on the machines of users.
_PLATFORMS = ("javascript", "cocoa", "objc")


def completed(event: dict[str, Any], address: str | None, agent: str) -> dict[str, Any]:
    """A copy of the event with the client's address and `User-Agent`, where it has none itself."""
    event = {**event}
    if address is not None:
        _set_address(event, address)
    if agent:
        request = event.get("request")
        request = dict(request) if isinstance(request, dict) else {}
        headers = request.get("headers")
        if not relay_request.header(relay_request.last_header(headers, "user-agent")):
            pairs = [[name, value] for name, value in relay.pairs(headers)]
            event["request"] = {**request, "headers": [*pairs, ["User-Agent", agent]]}
    return event


def _set_address(event: dict[str, Any], address: str) -> None:
    setting = relay.infer_ip(event)
    user, request = event.get("user"), event.get("request")
    user = dict(user) if isinstance(user, dict) else {}
    env = request.get("env") if isinstance(request, dict) else None
    remote = env.get("REMOTE_ADDR") if isinstance(env, dict) else None
    given = user.get("ip_address")
    # What is no address, Relay takes out.
    if setting == "never" or relay.ip_address(given, remote) is not None:
        return
    if _AUTO in (given, remote) or setting == "auto" or event.get("platform") in _PLATFORMS:
        event["user"] = {**user, "ip_address": address}
