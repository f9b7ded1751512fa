"""Any Redis: its settings, users, sockets, clusters, versions, and the processes that use it."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from redis_servers import HOST, KEEPING, Redis, redis_running
from redis_spools import (
    PASSWORD,
    Warnings,
    refusal,
    spool_at,
)
from sentry_segment import SegmentIntegration
from sentry_segment.spool import redis_server
from sentry_segment.spool.contract import Spool
from spool_kinds import begin, bodies, delete, read
from support import WRITE_KEY


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, too."""
    monkeypatch.setattr(redis_server, "WAIT", 60.0)


# Its settings


def test_settings_by_which_it_may_lose_messages_are_warned_of_once(tmp_path: Path) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with redis_running(tmp_path, *options) as server:
        warnings: Warnings = []
        spool = spool_at(server.url, warnings)
        for _ in range(2):
            begin(spool, b"1")
            spool.disconnect()
    assert [name for name, _ in warnings] == ["redis eviction", "redis persistence"]
    assert "maxmemory-policy allkeys-lru" in warnings[0][1]
    assert "appendonly yes" in warnings[1][1]


@pytest.mark.parametrize(
    "options",
    [
        KEEPING,
        ("--save", "60 1"),
        ("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru", "--appendonly", "yes"),
        ("--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"),  # without a bound
        ("--rename-command", "CONFIG", ""),  # as providers do
        ("--rename-command", "INFO", ""),
    ],
    ids=["append-only", "snapshots", "volatile", "unbounded", "no CONFIG", "no INFO"],
)
def test_settings_that_keep_them_are_not_warned_of(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    with redis_running(tmp_path, *options) as server:
        warnings: Warnings = []
        begin(spool_at(server.url, warnings), b"1")
    assert warnings == []


# Passwords, sockets, clusters, and older ones


def test_a_user_and_a_password_of_any_characters_open_it(shared_redis: Redis) -> None:
    rules = "+@read +@write +@scripting +time ~{sentry-segment}:*"  # as the advice says
    shared_redis.run("ACL", "SETUSER", "shop", "reset", "on", ">p@ss/w:rd", *rules.split())
    assert rules.split() == redis_server.RULES.split()
    url = shared_redis.url.replace("//", f"//shop:{PASSWORD}@")
    spool = spool_at(url)
    assert bodies(spool, begin(spool, b"1")) == [b"1"]
    wrong = spool_at(url.replace(PASSWORD, "another"))
    text = refusal(lambda: wrong.add([b"1"]))
    shared_redis.run("ACL", "SETUSER", "shop", "-time")
    assert redis_server.RULES in refusal(lambda: spool.add([b"1"]))
    shared_redis.run("ACL", "DELUSER", "shop")
    assert "the right user and password" in text
    assert "another" not in text


def test_a_unix_socket_leads_to_it_as_well(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with redis_running(tmp_path, "--unixsocket", str(path)):
        spool = spool_at(f"unix://:@{path}?db=1")
        assert spool.place == f"unix://{path}"
        assert bodies(spool, begin(spool, b"1")) == [b"1"]


def test_another_database_is_another_spool(shared_redis: Redis) -> None:
    begin(spool_at(shared_redis.url), b"1")
    assert not spool_at(shared_redis.url.replace("/0", "/1")).has_messages()
    assert spool_at(shared_redis.url.replace("redis:", "valkey:")).has_messages()


def test_a_cluster_is_followed_to_the_node_that_has_the_keys(tmp_path: Path) -> None:
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
    cluster = ("--cluster-enabled", "yes")
    with redis_running(folders[0], *cluster) as one, redis_running(folders[1], *cluster) as two:
        slot = int(one.run("CLUSTER", "KEYSLOT", "{sentry-segment}:meta"))
        one.run("CLUSTER", "ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
        two.run("CLUSTER", "ADDSLOTS", slot)
        one.run("CLUSTER", "MEET", HOST, two.port)
        is_up = threading.Event()
        while not all(
            b"cluster_state:ok" in as_bytes(s.run("CLUSTER", "INFO")) for s in (one, two)
        ):
            is_up.wait(0.05)
        spool = spool_at(one.url)
        writer = begin(spool, b"1")
        spool.disconnect()  # the next call begins with the first node again
        assert bodies(spool, writer) == [b"1"]
        assert spool.tend([writer]) == ({}, set())
        assert two.run("DBSIZE") > 0


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_one_that_has_forgotten_the_scripts_is_told_them_again(shared_redis: Redis) -> None:
    spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1")
    shared_redis.run("SCRIPT", "FLUSH")
    assert begin(spool, b"2") == writer
    assert bodies(spool, writer) == [b"1", b"2"]


def test_an_old_one_that_cannot_read_the_scripts_first_line_gets_them_without_it(
    shared_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = redis_server.RedisServer._call

    def call(self: Any, name: str, text: Any, *rest: Any) -> Any:
        from redis.exceptions import ResponseError

        if name == "EVAL" and text.startswith(b"#!"):
            raise ResponseError("Error compiling script (new function): unexpected symbol near '#'")
        return real(self, name, text, *rest)

    monkeypatch.setattr(redis_server.RedisServer, "_call", call)
    shared_redis.run("SCRIPT", "FLUSH")
    spool: Spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1", b"2")
    rows = read(spool, writer)
    delete(spool, rows[:1])
    assert spool.tend([writer]) == ({}, set())
    assert [each.messages for each in spool.survey() or ()] == [1]
    spool.release()
    assert spool.has_messages()
    assert bodies(spool, writer) == [b"2"]


def test_a_later_format_is_left_alone(shared_redis: Redis) -> None:
    begin(spool_at(shared_redis.url), b"1")
    shared_redis.run("HSET", "{sentry-segment}:meta", "generation", "2:later")
    text = refusal(spool_at(shared_redis.url).has_messages)
    assert re.search("format 2.*knows 1: update sentry-segment", text)


def test_what_another_application_has_under_these_names_is_left_alone(shared_redis: Redis) -> None:
    shared_redis.run("SET", "{sentry-segment}:meta", "theirs")
    assert "WRONGTYPE" in refusal(lambda: spool_at(shared_redis.url).add([b"1"]))
    assert shared_redis.run("GET", "{sentry-segment}:meta") == b"theirs"


# Processes


def test_a_child_of_a_fork_leaves_its_parents_connection_alone(shared_redis: Redis) -> None:
    spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1")
    connection = spool._server._connection
    child = os.fork()
    if child == 0:
        is_closed = connection._sock is None
        mine = spool_at(shared_redis.url)
        os._exit(0 if is_closed and mine.add([b"child's"]) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert begin(spool, b"2") == writer
    assert spool._server._connection is connection
    assert bodies(spool, writer) == [b"1", b"2"]


def test_a_child_that_was_forked_without_hooks_connects_by_itself(
    shared_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1")
    parents, pid = spool._server._connection, os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert begin(spool, b"2") == writer
    assert spool._server._connection is not parents


def test_a_call_within_another_is_refused(shared_redis: Redis) -> None:
    """As by a signal handler that flushes."""
    spool = spool_at(shared_redis.url)
    begin(spool, b"1")
    spool._server._is_busy = True
    assert "used by this thread already" in refusal(lambda: spool.add([b"2"]))


# The option


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://host:port",
        "redis://host:70000",
        f"redis://user:{PASSWORD}@host/name",
        "redis://user:p/w@host",
        "redis://ho st",
        "unix://",
        "unix:///",
        "postgres://host/1",
        "file:///var/lib/spool.db",
        "rediss+sentinel://host",
    ],
)
def test_a_url_that_no_redis_can_have_is_a_value_error_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^spool: expected .*Redis") as raised:
        SegmentIntegration(WRITE_KEY, spool=url)
    assert PASSWORD not in str(raised.value)
    assert "p/w" not in str(raised.value)


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sentry_segment.spool_options.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "sentry-segment\[redis\]"'):
        SegmentIntegration(WRITE_KEY, spool="redis://localhost")
    SegmentIntegration("", spool="redis://localhost")  # a developer's machine has no key


def test_where_the_package_is_missing_after_all_memory_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where an integration was unpickled."""
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)
    text = refusal(spool_at("redis://localhost").has_messages)
    assert text.endswith('pip install "sentry-segment[redis]"')
