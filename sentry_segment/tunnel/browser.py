"""What Sentry's servers add to a browser's event, from the request that brings it.

Found by asking Relay (sentry-relay 0.9.0, the last whose binding does it).
"""

from __future__ import annotations

from typing import Any

from sentry_segment.mapping import relay, relay_request

_AUTO = "{{auto}}"
# Whose SDKs run on the machines of users.
_PLATFORMS = frozenset({"javascript", "cocoa", "objc"})


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
    setting = _setting(event)
    if setting not in ("auto", "legacy"):
        return
    user, request = event.get("user"), event.get("request")
    user = dict(user) if isinstance(user, dict) else {}
    env = request.get("env") if isinstance(request, dict) else None
    remote = env.get("REMOTE_ADDR") if isinstance(env, dict) else None
    given = user.get("ip_address")
    is_theirs = relay.ip_address(remote) is None and (
        setting == "auto" or event.get("platform") in _PLATFORMS
    )
    if given == _AUTO or (given is None and (remote == _AUTO or is_theirs)):
        user["ip_address"] = address
    event["user"] = user


def _setting(event: dict[str, Any]) -> object:
    """What the SDK says of addresses: `auto`, `never`, or `legacy`, which is the same as nothing.

    What Sentry does not know counts as `never`
    (https://develop.sentry.dev/sdk/foundations/envelopes/event-payloads/sdk/).
    """
    sdk = event.get("sdk")
    settings = sdk.get("settings") if isinstance(sdk, dict) else None
    setting = settings.get("infer_ip") if isinstance(settings, dict) else None
    return "legacy" if setting is None else setting
