"""`python -m sentry_segment spool`: what it tells, what it sends, what it throws away."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pages import BLOCKS, rows
from sentry_segment.__main__ import main
from sentry_segment.spool.sqlite import SqliteSpool
from sentry_segment.spool_command.survey import duration
from spool_commands import OTHER, Command, Ended, message
from sqlite_spools import MAX_BYTES, kept, leave, query, track
from support import WRITE_KEY

# What it tells


def test_it_tells_what_waits(command: Command, path: Path) -> None:
    leave(path, message("u1", timestamp="2020-01-01T00:00:00.000Z"), message("u2"))
    leave(path, message("u3"), write_key=OTHER)
    holder = SqliteSpool(str(path), MAX_BYTES, WRITE_KEY)
    holder.add([b"{}"])
    told = command()
    holder.close()
    years = (datetime.now(timezone.utc) - datetime(2020, 1, 1, tzinfo=timezone.utc)).days
    sizes = query(path, "SELECT SUM(LENGTH(body)) FROM messages")[0][0]
    first, size, oldest, writers, others = told.out.splitlines()
    assert first == f"{path}: 4 message(s) wait"
    assert size == f"  size      {sizes:,} bytes"
    assert oldest.startswith(f"  oldest    {years} d")
    assert writers == (
        "  writers   3: 1 held by a running process, 2 to be sent by whoever comes by"
    )
    assert others == "  of these, 1 are for other write keys"
    assert told.status == 0
    assert len(kept(path)) == 4


def test_it_tells_the_same_as_json(command: Command, path: Path) -> None:
    leave(path, message("u1", timestamp="2020-01-01T00:00:00.000Z"))
    leave(path, message("u2"), write_key=OTHER)
    told = json.loads(command("--json").out)
    assert (told["place"], told["messages"]) == (str(path), 2)
    assert told["oldest_age"] > 1_000_000
    ours, other = told["writers"]
    assert (ours["is_ours"], ours["messages"], ours["lease"]) == (True, 1, 0.0)
    assert (other["is_ours"], other["oldest_age"]) == (False, None)
    assert told["bytes"] == ours["bytes"] + other["bytes"]


def test_it_needs_no_write_key_to_tell(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(path, message("u1"))
    monkeypatch.delenv("SEGMENT_WRITE_KEY")
    told = command()
    assert told.status == 0
    assert "other write keys" not in told.out
    assert json.loads(command("--json").out)["writers"][0]["is_ours"] is None


def test_it_tells_that_nothing_waits(command: Command, path: Path) -> None:
    leave(path, message("u1"))
    query(path, "DELETE FROM messages")
    assert command().out == f"{path}: nothing waits\n"


@pytest.mark.parametrize("timestamp", ["yesterday", 12, None, "2020-01-01T00:00:00"])
def test_a_time_that_is_none_is_told_as_such(
    command: Command, path: Path, timestamp: object
) -> None:
    leave(path, {**track("u1"), "timestamp": timestamp})
    known = timestamp == "2020-01-01T00:00:00"
    assert ("of unknown age" not in command().out) == known


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (86_399, "23 h 59 min"),
        (90_001, "1 d 1 h"),
    ],
)
def test_ages_are_told_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Where it can't be used


@pytest.mark.parametrize("action", ["show", "drain", "discard"])
def test_where_there_is_no_spool_none_is_made(command: Command, path: Path, action: str) -> None:
    ended = command(action)
    assert ended == Ended(3, "", f"There is no spool at {path}\n")
    assert not path.exists()


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        ("PRAGMA user_version = 99", "it has the format 99"),
        ("PRAGMA application_id = 7", "it is a database of another application"),
    ],
)
def test_a_spool_of_another_format_is_told_as_such(
    command: Command, path: Path, prepare: str, text: str
) -> None:
    leave(path, message("u1"))
    query(path, prepare)
    ended = command("drain")
    assert (ended.status, ended.out) == (1, "")
    assert text in ended.err
    assert "update sentry-segment" in ended.err or "another path" in ended.err


def test_what_is_no_spool_is_left_as_it_is(command: Command, path: Path) -> None:
    path.write_text("a shopping list" * 100)
    ended = command("discard", "--yes")
    assert ended.status == 1
    assert "it is no spool, and left as it is" in ended.err
    assert path.read_text().startswith("a shopping list")


def test_a_spool_that_another_program_locks_is_told_as_such(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.spool.sqlite_file._BUSY_TIMEOUT", 0.1)
    leave(path, message("u1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        ended = command()
    assert ended.status == 1
    assert "end the program that has locked it" in ended.err


@pytest.mark.parametrize("action", ["drain", "discard"])
def test_without_a_write_key_nothing_is_sent_or_discarded(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    leave(path, message("u1"))
    monkeypatch.delenv("SEGMENT_WRITE_KEY")
    ended = command(action)
    assert ended.status == 1
    assert "There is no write key: set SEGMENT_WRITE_KEY" in ended.err
    assert len(kept(path)) == 1


# What it throws away


def test_a_discard_asks_first(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(path, message("u1"))
    leave(path, message("u2"), write_key=OTHER)
    for answer, left in [("", 2), ("no", 2), ("y", 1)]:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
        ended = command("discard")
        assert f"Discard 1 message(s) in {path} for good? [y/N]" in ended.err
        assert ended.status == (0 if answer == "y" else 1)
        assert len(kept(path)) == left
    assert ended.out == "1 message(s) discarded\n"
    assert "1 message(s) for other write keys were left alone" in ended.err
    assert command("discard").out == "There is nothing to discard\n"


def test_a_discard_that_nobody_answers_discards_nothing(
    command: Command, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(path, message("u1"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ended = command("discard")
    assert (ended.status, ended.out) == (1, "Nothing was discarded\n")
    assert "give --yes" in ended.err
    assert len(kept(path)) == 1


def test_a_discard_that_is_sure_does_not_ask_and_leaves_what_is_held(
    command: Command, path: Path
) -> None:
    leave(path, *(message(f"u{number}") for number in range(3_000)))
    running = SqliteSpool(str(path), MAX_BYTES, WRITE_KEY)
    running.add([b"{}"])
    running.disconnect()
    ended = command("discard", "--yes")
    assert ended.status == 1
    assert ended.out.splitlines()[0] == "3,000 message(s) discarded"
    assert "1 left in the spool: a running process holds them" in ended.out
    assert kept(path) == [{}]
    ended = command("discard")
    assert ended.status == 1
    assert ended.out.startswith("There is nothing to discard\n1 left in the spool")


# The command line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["spool"], "required: PLACE"),
        (["spool", ""], "spool: expected the path of a file"),
        (["spool", "spool.db", WRITE_KEY], "argument action: invalid choice\n"),
        (["spool", "spool.db", "drain", "--timeout", "0"], "greater than 0"),
        (["spool", "spool.db", "drain", "--timeout", "soon"], "argument --timeout: invalid"),
    ],
)
def test_wrong_usage_is_told(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert text in err
    assert WRITE_KEY not in err


def test_the_exit_statuses_are_in_the_docs_and_in_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["spool", "--help"])
    told = re.findall(r"^  (\d+) +\w", capsys.readouterr().out, re.MULTILINE)
    shown = [cell for cell, _ in rows("docs/spool-command.md", "exit status")]
    assert ", ".join(shown).split(", ") == told


def test_the_output_in_the_docs_is_of_the_same_form(command: Command, path: Path) -> None:
    leave(path, message("u1", timestamp="2020-01-01T00:00:00.000Z"))
    leave(path, message("u2"), write_key=OTHER)
    [shown] = [
        block.text
        for block in BLOCKS
        if block.language == "text" and block.page.name == "spool-command.md"
    ]
    real = command().out.replace(str(path), "/var/lib/shop/segment.db")
    assert same_each_time(real) == same_each_time(shown)


def same_each_time(text: str) -> str:
    return re.sub(r"[\d,]+ (d|h|min)\b", "1 h", re.sub(r"[\d,]*\d", "1", text))


def test_the_place_may_be_in_a_variable(
    command: Command,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave(path, message("u1"))
    monkeypatch.setenv("SHOPS_SPOOL", str(path))
    assert main(["spool", "env:SHOPS_SPOOL"]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 1 message(s) wait")
    with pytest.raises(SystemExit) as raised:
        main(["spool", "env:NO_SUCH"])
    assert raised.value.code == 2
    assert "PLACE: expected a spool in the variable NO_SUCH" in capsys.readouterr().err
