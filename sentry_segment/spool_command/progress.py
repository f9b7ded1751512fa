"""How far a drain is: a bar, on a terminal alone."""

from __future__ import annotations

import logging
import sys

_WIDTH = 30  # characters
_CLEAR = "\r\x1b[K"


class Progress(logging.Handler):
    """Draws the bar on standard error, and puts log lines above it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = ""

    def show(self, settled: int, of: int, remark: str) -> None:
        """Draw it anew."""
        filled = _WIDTH * settled // of if of else _WIDTH
        bar = "#" * filled + "." * (_WIDTH - filled)
        self._draw(f"[{bar}] {settled:,} of {of:,}{remark and f', {remark}'}")

    def end(self) -> None:
        """Remove it."""
        self._draw("")

    def emit(self, record: logging.LogRecord) -> None:
        bar = self._bar
        self._draw("")
        if sys.stderr is not None:
            print(record.getMessage(), file=sys.stderr, flush=True)
        self._draw(bar)

    def _draw(self, bar: str) -> None:
        if self._is_terminal and bar != self._bar:
            print(f"{_CLEAR}{bar}", end="", file=sys.stderr, flush=True)
        self._bar = bar
