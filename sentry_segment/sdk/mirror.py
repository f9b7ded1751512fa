"""The way of an event: from an envelope of Sentry's into the queue, within the capture."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sentry_segment.delivery.workers import Workers
from sentry_segment.guest.foreign import from_signal_handler, is_injected
from sentry_segment.guest.log import ProblemLog, describe
from sentry_segment.mapping.encoding import MAX_MESSAGE_BYTES, shorten
from sentry_segment.mapping.message import (
    Parts,
    TrackMessage,
    Visitor,
    characters,
    draft,
    parts,
    track_message,
)
from sentry_segment.mapping.visitor import anonymous_id_of
from sentry_segment.options import Options
from sentry_segment.sdk.visitor import anonymous_id_for

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


class Mirror:
    """What one integration makes of that which its clients' transports are handed."""

    workers: Workers | None = None
    """Who get the messages, once the integration is attached to a client."""

    def __init__(self, options: Options, log: ProblemLog) -> None:
        self._options = options
        self._log = log
        self.visitor: Visitor | None = anonymous_id_for if options.anonymous else None
        """Tells an event's anonymous id; `None` where visitors are not mirrored."""
        self._here = threading.local()  # .in_hook: whether this thread is within before_track

    def mirror(self, envelope: Envelope, sentry_link: str = "") -> None:
        """Queue the message for an envelope's event, where there is one. Raises no `Exception`.

        `sentry_link` is what a link to the event in Sentry begins with; `""` for none.
        """
        try:
            for item in envelope.items:
                # As `Envelope.get_event`, in half the time, which is most of what an event costs
                # that is not mirrored.
                if item.headers.get("type") == "event" and item.payload.json is not None:
                    break
            else:
                return
            self.mirror_event(item.payload.json, sentry_link, self.visitor)
        except Exception as error:  # noqa: BLE001 - raised again, or logged
            self._failed(error)

    def mirror_browsers(self, event: dict[str, Any], dsn: str, anonymous_id: str | None) -> None:
        """Queue the message for a browser's event. Raises no `Exception`.

        `anonymous_id` counts with the option `anonymous`, before one in the event.
        """
        visitor = None
        if self._options.anonymous:
            visitor = lambda event: anonymous_id or anonymous_id_of(event.get("request"))  # noqa: E731
        self.mirror_event(event, self._options.sentry_link(dsn), visitor)

    def mirror_event(self, event: Any, sentry_link: str, visitor: Visitor | None) -> None:
        """Queue the message for an event. Raises no `Exception`."""
        try:
            found = parts(event, self._options.event_name, visitor, sentry_link)
            if found is None or self.workers is None:
                return
            if self._options.before_track is None and (made := draft(found, MAX_MESSAGE_BYTES)):
                self.workers.here().put(made)
            elif (message := self._message(found, event)) is not None:
                self.workers.here().put(message)
        except Exception as error:  # noqa: BLE001 - raised again, or logged
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if from_signal_handler(error) or is_injected(error):
            raise error
        # The capture goes on, whatever happened here.
        self.drop("internal_sdk_error", f"An event could not be mirrored: {describe(error)}")

    def _message(self, found: Parts, event: Any) -> TrackMessage | None:
        assert self.workers is not None  # or it was not mirrored
        message = track_message(found, self.workers.here().secrets)
        if characters(message) > MAX_MESSAGE_BYTES:
            message = shorten(message)
            if len(message.get("userId", "")) > MAX_MESSAGE_BYTES:  # which is never cut
                self.drop("send_error", "An error's user id is longer than a message may be")
                return None
        return self._before_track(message, event) if self._options.before_track else message

    def _before_track(self, message: TrackMessage, event: Any) -> TrackMessage | None:
        assert self._options.before_track is not None
        if getattr(self._here, "in_hook", False):
            # Captured by the hook itself: Sentry has it, but to mirror it would call the hook
            # again, and so on without an end.
            self.drop("before_track", "An error captured within before_track was not mirrored")
            return None
        self._here.in_hook = True
        try:
            edited: object = self._options.before_track(message, copy.deepcopy(event))
        except BaseException as error:
            if from_signal_handler(error) or not isinstance(error, Exception):
                self.drop("before_track", "", quiet=True)
                raise  # the application waits for it
            self.drop("before_track", f"before_track raised {describe(error)}")
            return None
        finally:
            self._here.in_hook = False
        if isinstance(edited, dict) and edited:
            return edited  # type: ignore[return-value]
        given = "an empty message" if isinstance(edited, dict) else f"a {type(edited).__name__}"
        text = f"before_track returned {given}: expected the message or None"
        self.drop("before_track", text, quiet=edited is None)
        return None

    def guarded(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        is_theirs: Callable[[BaseException], bool] = from_signal_handler,
    ) -> Any:
        """Call a function of ours; where it fails, log that, and return `None`.

        What the application means to come out of it, which `is_theirs`, travels on.
        """
        try:
            return function(*arguments)
        except Exception as error:
            if is_theirs(error):
                raise
            # Sentry's own work goes on.
            self._log.warn("internal", f"Internal error: {describe(error)}")
            return None

    def drop(self, reason: Any, text: str, quiet: bool = False) -> None:
        """Count what was dropped before it was queued, and unless it is `quiet`, log it."""
        if self.workers is not None:
            self.workers.here().drop(reason)
        if not quiet:
            self._log.warn(reason, text)
