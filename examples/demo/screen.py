"""Prints what arrives, Sentry's side and Segment's next to each other, and the result."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Sequence
from typing import Any

from demo.check import Check, at, exception_types
from demo.visits import Visit
from sentry_segment.inspector.store import Record

BOLD, DIM, GREEN, RED = "1", "2", "32", "31"
ID_WIDTH = 10
MOST_PROBLEMS = 3


class Screen:
    """A table that grows with each arrival. May be used from any thread."""

    def __init__(self) -> None:
        width = min(max(shutil.get_terminal_size().columns, 80), 120)
        self._width = width
        self._cell_width = (width - ID_WIDTH) // 2
        self._coloured = sys.stdout.isatty()
        self._lock = threading.Lock()
        self._events: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, dict[str, Any]] = {}

    def say(self, text: str = "", style: str = "") -> None:
        """A line of its own."""
        with self._lock:
            self._print(text, style)

    def head(self) -> None:
        """The table's first line."""
        self.say()
        self._row(["EVENT"], ["SENTRY RECEIVED"], ["SEGMENT RECEIVED"], BOLD)

    def visit(self, visit: Visit) -> None:
        """Announce a request."""
        name = visit.visitor.name if visit.logged_in else f"{visit.visitor.name}, not logged in"
        self.say(f"{name}: {visit.method} {visit.target}", BOLD)

    def only_transaction(self) -> None:
        """What came of a request without an event."""
        self._row(["-"], ["a transaction, no error"], ["nothing: only errors are mirrored"], DIM)

    def arrival(self, records: Sequence[Record]) -> None:
        """Events and messages. A row is printed as soon as both sides of it are known."""
        for record in records:
            event_id = str(record.id)
            with self._lock:
                side = self._events if record.side == "sentry" else self._messages
                side[event_id] = record.payload
                event, message = self._events.get(event_id), self._messages.get(event_id)
            if event is not None and (message is not None or reason_for_nothing(event)):
                self._pair(event_id, event, message)

    def rest(self) -> None:
        """The rows that were still waiting for their other side."""
        with self._lock:
            events, messages = dict(self._events), dict(self._messages)
        for event_id, event in events.items():
            if event_id not in messages and not reason_for_nothing(event):
                self._pair(event_id, event, None)
        for event_id in messages.keys() - events.keys():
            self._pair(event_id, None, messages[event_id])

    def result(self, done: Sequence[Check]) -> None:
        """The checks, one a line, with what was wrong."""
        for check in done:
            passed = check.looked_at - len(check.problems)
            mark, style = ("FAILED", RED) if check.problems else ("ok", GREEN)
            self.say(f"  {mark:6}  {check.what:55} {max(passed, 0):3} of {check.looked_at}", style)
            for problem in check.problems[:MOST_PROBLEMS]:
                self.say(" " * 10 + cut(problem, self._width - 10), RED)
            if len(check.problems) > MOST_PROBLEMS:
                self.say(" " * 10 + f"and {len(check.problems) - MOST_PROBLEMS} more", RED)

    def _pair(
        self, event_id: str, event: dict[str, Any] | None, message: dict[str, Any] | None
    ) -> None:
        reason = reason_for_nothing(event) if event is not None else None
        as_it_should_be = event is not None and (message is not None) != (reason is not None)
        self._row(
            [event_id[:8]],
            sentry_cell(event),
            segment_cell(message, reason),
            "" if as_it_should_be else RED,
        )

    def _row(self, first: list[str], left: list[str], right: list[str], style: str = "") -> None:
        width = self._cell_width
        with self._lock:
            for i in range(max(len(left), len(right))):
                cells = [cell[i] if i < len(cell) else "" for cell in (first, left, right)]
                middle = cut(cells[1], width - 2)
                last = cut(cells[2], width)
                self._print(f"{cells[0]:{ID_WIDTH}}{middle:{width}}{last}".rstrip(), style)

    def _print(self, text: str, style: str) -> None:
        if self._coloured and style and text:
            text = f"\x1b[{style}m{text}\x1b[0m"
        print(text, flush=True)


def sentry_cell(event: dict[str, Any] | None) -> list[str]:
    """What Sentry has, in two lines."""
    if event is None:
        return ["NOTHING, but it should have"]
    what = " > ".join(exception_types(event)) or f'"{event.get("message")}"'
    user_id = at(event, "user.id")
    who = "no user id" if user_id is None else f"user {user_id}"
    return [what, f"{who}, in {event.get('transaction')}"]


def segment_cell(message: dict[str, Any] | None, reason: str | None) -> list[str]:
    """What Segment has, in two lines, or why it has nothing."""
    if message is None:
        return [f"nothing: {reason}" if reason else "NOTHING, but it should have"]
    what = f"{message.get('event')}: {at(message, 'properties.exceptionType')}"
    transaction = at(message, "properties.transaction")
    return [what, f"user {message.get('userId')}, in {transaction}"]


def reason_for_nothing(event: dict[str, Any]) -> str | None:
    """Why Segment has nothing of this event; `None` where it must have something."""
    if not exception_types(event):
        return "a message, no exception"
    if at(event, "user.id") is None:
        return "nobody known, no user id"
    return None


def cut(text: str, width: int) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= width else text[: width - 4] + " ..."
