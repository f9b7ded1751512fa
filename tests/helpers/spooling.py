"""Processes and files of the spool."""

from __future__ import annotations

import threading


def ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("sentry-segment")
