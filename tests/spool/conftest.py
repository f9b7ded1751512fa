"""What the tests of the spool have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spool_kinds import KINDS, Place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture(params=KINDS)
def place(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made: Place = request.param(tmp_path, monkeypatch)
    return made
