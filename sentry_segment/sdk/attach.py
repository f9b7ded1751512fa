"""How an integration comes to its clients: by the first event of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from sentry_segment.sdk.transport import MirroringTransport


def attaching(capture_event: Callable[..., Any]) -> Callable[..., Any]:
    """`Client.capture_event` that attaches its client first, if that is not done yet.

    It is the one place that every event goes through, whoever gives it to whichever client: an
    event processor is not called without a scope, and is not told which client is capturing.
    """

    # Parameters with names, and those that the SDK may yet add: to take them all as
    # `*args, **kwargs`, and pass them on, takes three times as long as all the rest.
    @wraps(capture_event)
    def attach_and_capture(
        self: Any, event: Any, hint: Any = None, scope: Any = None, *more: Any, **named: Any
    ) -> Any:
        __tracebackhide__ = True  # or Sentry would show this frame, where it shows the stack
        transport = self.transport
        if (
            type(transport) is not MirroringTransport
            # Or it was another client's, and given to this one as an option.
            or transport._mirroring_for is not self.integrations.get("segment")
        ):
            _attach(self)  # not so but for the first event
        if more or named:
            return capture_event(self, event, hint, scope, *more, **named)
        return capture_event(self, event, hint, scope)

    attach_and_capture.attaches = True  # type: ignore[attr-defined]
    return attach_and_capture


def _attach(client: Any) -> None:
    """Attach a client to its integration, where it has one."""
    integration = client.get_integration("segment")
    if integration is not None:
        integration._mirror.guarded(integration.attach, client)
