"""The command `spool` in the tests: what it ended with, and what it may find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlite_spools import track

OTHER = "wk_another_key_4321"


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Ended]


def message(user_id: str, **fields: str) -> dict[str, Any]:
    return {**track(user_id), **fields}
