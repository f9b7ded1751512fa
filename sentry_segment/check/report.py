"""What the check prints: a line for each step, aligned, and without secrets."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

from sentry_segment.guest.log import printable

_WIDTH = 100
_INDENT = 25  # where the third column begins


class Report:
    """Prints each line as soon as it is known, so that one sees what takes long."""

    def __init__(self, masked: Callable[[str], str]) -> None:
        self._masked = masked

    def done(self, step: str, text: str, seconds: float | None = None) -> None:
        """A step that went well."""
        took = "" if seconds is None else _duration(seconds)
        self._print(text, f"{step:<13}{took:>9}   ")

    def failed(self, step: str, text: str, advice: str, seconds: float | None = None) -> None:
        """A step that failed, and what to do about it."""
        self.done(step, f"FAILED: {text}", seconds)
        self.remark(advice)

    def remark(self, text: str) -> None:
        """More on the line before."""
        self._print(text, " " * _INDENT)

    def conclude(self, *paragraphs: str) -> None:
        """What follows from it all."""
        for paragraph in paragraphs:
            print()
            self._print(paragraph)

    def _print(self, text: str, before: str = "") -> None:
        lines = textwrap.fill(
            printable(self._masked(text)),
            _WIDTH,
            initial_indent=before,
            subsequent_indent=" " * len(before),
            break_long_words=False,
            break_on_hyphens=False,
        )
        # There is none where the process was started with its standard output closed.
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(lines.encode(encoding, "replace").decode(encoding), flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
