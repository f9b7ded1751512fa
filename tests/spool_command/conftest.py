"""The command `spool`, with a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentry_segment.__main__ import main
from spool_commands import Command, Ended
from support import WRITE_KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def command(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """`command("drain")` runs that with the path and the write key, which it never shows."""
    monkeypatch.setenv("SEGMENT_WRITE_KEY", WRITE_KEY)

    def run(*arguments: str) -> Ended:
        status = main(["spool", str(path), *arguments])
        ended = Ended(status, *capsys.readouterr())
        assert WRITE_KEY not in ended.out + ended.err
        return ended

    return run
