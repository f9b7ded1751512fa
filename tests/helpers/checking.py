"""The command `check`, run in this process, and what it printed."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

from collector import Collector
from support import WRITE_KEY

CREDENTIALS = b64encode(f"{WRITE_KEY}:".encode()).decode()


SHORT = "--timeout=1.5"


class Checked(NamedTuple):
    """What a check ended with."""

    status: int
    out: str
    """As printed."""

    @property
    def text(self) -> str:
        """Without the line breaks."""
        return " ".join(self.out.split())

    @property
    def steps(self) -> list[str]:
        return re.findall(r"^([a-zA-Z][a-zA-Z ]*?)  ", self.out, re.MULTILINE)

    @property
    def failed(self) -> str:
        """The step that failed."""
        assert self.status == 1, self.out
        [line] = [line for line in self.out.splitlines() if " FAILED:" in line]
        assert line.startswith(self.steps[-1])
        assert len(set(self.steps)) == len(self.steps) or "is not known there" in self.out
        return self.steps[-1]


Check = Callable[..., Checked]


def netloc(collector: Collector) -> str:
    return collector.url.partition("://")[2]
