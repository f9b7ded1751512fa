"""Redis on its bad days: what a spool in it says, and that nothing is lost or sent for another."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from redis_servers import HOST, KEEPING, Redis, redis_running
from redis_spools import (
    PASSWORD,
    Answering,
    breaking_proxy,
    refusal,
    spool_at,
    spool_bytes,
)
from sentry_segment.spool import redis_server
from sentry_segment.spool.contract import LEASE, SpoolError, SpoolLostError
from sentry_segment.spool.redis import RedisSpool
from spool_kinds import begin, bodies, delete, read


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "WAIT", 0.2)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is to succeed on a busy machine."""
    monkeypatch.setattr(redis_server, "WAIT", 60.0)


# It is not there


def test_one_that_is_absent_at_the_start_is_used_once_it_is_there(
    tmp_path: Path, patient: None
) -> None:
    with redis_running(tmp_path) as server:
        server.kill()
        spool = spool_at(server.url)
        text = refusal(spool.has_messages)
        assert f"{HOST}:{server.port}" in text
        assert text.endswith("see that Redis runs and can be reached from here; it is tried again")
        server.start()
        writer = begin(spool, b"1")
        assert bodies(spool, writer) == [b"1"]


def test_one_that_is_killed_and_started_again_has_kept_everything(
    tmp_path: Path, patient: None
) -> None:
    with redis_running(tmp_path, *KEEPING) as server:
        spool = spool_at(server.url)
        writer = begin(spool, b"1")
        server.kill()
        refusal(lambda: spool.add([b"2"]))
        server.start()
        assert begin(spool, b"3") == writer
        assert bodies(spool, writer) == [b"1", b"3"]
        assert spool.tend([writer]) == ({}, set())


def test_one_that_starts_again_without_its_data_is_begun_anew(
    tmp_path: Path, patient: None
) -> None:
    with redis_running(tmp_path) as server:
        spool = spool_at(server.url)
        lost = begin(spool, b"1")
        under_way = read(spool, lost)
        server.kill()
        server.start()
        with suppress(SpoolLostError):
            refusal(lambda: spool.tend([lost]))  # or it is the connection that is noticed first
            spool.tend([lost])
        writer = begin(spool, b"2")
        assert writer != lost
        delete(spool, under_way)
        assert bodies(spool, writer) == [b"2"]


def test_one_that_goes_back_to_a_backup_begins_no_writer_twice(
    tmp_path: Path, patient: None
) -> None:
    with redis_running(tmp_path, "--dbfilename", "backup.rdb") as server:
        first = spool_at(server.url)
        old = begin(first, b"1")
        server.run("SAVE")
        second = spool_at(server.url)
        newer = begin(second, b"2")
        under_way = read(second, newer)
        begin(first, b"after the backup")
        later = read(first, old)[1:]
        server.kill()
        server.start()
        for spool in (first, second):
            with suppress(SpoolError):
                spool.has_messages()
        third = spool_at(server.url)
        assert begin(third, b"3") not in (old, newer)
        assert begin(first, b"4") == old  # whose number was used by then
        delete(second, under_way)
        delete(first, later)
        assert bodies(third, old, third.writer or 0) == [b"1", b"4", b"3"]
        assert second.tend([newer]) == ({}, {newer})


# It hangs, or a connection drops


def test_what_was_added_without_an_answer_is_added_once(shared_redis: Redis) -> None:
    spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1")
    with shared_redis.stopped():
        assert "TimeoutError" in refusal(lambda: spool.add([b"2", b"3"]))
    assert others_see(shared_redis, writer) == [b"1", b"2", b"3"]
    assert bodies(spool, writer) == [b"1"]
    assert begin(spool, b"2", b"4") == writer
    assert bodies(spool, writer) == others_see(shared_redis, writer) == [b"1", b"2", b"4"]
    rows = read(spool, writer)
    assert len({row.id for row in rows}) == 3
    delete(spool, rows)
    assert spool_bytes(shared_redis) == 0


def others_see(server: Redis, writer: int) -> list[bytes]:
    """What is there, once the server has done what it was told to while it hung."""
    return bodies(spool_at(server.url), writer)


def test_what_was_deleted_without_an_answer_can_be_deleted_again(shared_redis: Redis) -> None:
    spool = spool_at(shared_redis.url)
    writer = begin(spool, b"1", b"2")
    rows = read(spool, writer)[:1]
    with shared_redis.stopped():
        refusal(lambda: delete(spool, rows))
    delete(spool, rows)
    assert bodies(spool, writer) == [b"2"]
    assert spool_bytes(shared_redis) == 1 + 128


def test_what_was_claimed_without_an_answer_can_be_claimed_again(shared_redis: Redis) -> None:
    now = 1000.0
    dead, alive = (
        RedisSpool(shared_redis.url, 1_000_000, "key", lambda *_: None, now=lambda: now)
        for _ in range(2)
    )
    writer = begin(dead, b"1")
    assert alive.tend([]) == ({}, set())
    now += LEASE
    with shared_redis.stopped():
        refusal(lambda: alive.tend([]))
    assert alive.has_messages()
    assert alive.tend([]) == ({}, set())
    now += LEASE
    assert alive.tend([]) == ({writer: 1}, set())


ANSWERS = {
    b"-LOADING Redis is loading the dataset in memory": "reading its data after a start",
    b"-NOAUTH Authentication required.": "the right user and password",
    b"-WRONGPASS invalid username-password pair": "the right user and password",
    b"-NOPERM User x has no permissions to run the 'eval' command": "allow the user +@read",
    b"-READONLY You can't write against a read only replica.": "the primary's address",
    b"-OOM command not allowed when used memory > 'maxmemory'.": "raise its maxmemory",
    b"-MASTERDOWN Link with MASTER is down": "what Redis's log says",
    b"-CLUSTERDOWN The cluster is down": "what Redis's log says",
    b"-NOREPLICAS Not enough good replicas to write.": "what Redis's log says",
    b"-MISCONF Redis is configured to save RDB snapshots": "what Redis's log says",
    b"-BUSY Redis is busy running a script.": "what Redis's log says",
    b"-ERR unknown command `EVALSHA`": "Redis 5 or newer",
    b"-MOVED 1234 127.0.0.1:{port}": "from one node to another",
    b"HTTP/1.1 400 Bad Request": "it is tried again",
    b"*1\r\n$4\r\n????": "the right user",
    b"": "can be reached from here",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[1:9].decode() or "nothing")
def test_whatever_it_answers_is_said_with_what_to_do(answer: bytes) -> None:
    server = Answering(b"")
    port = server.url.rpartition(":")[2].encode()
    server._answer = answer and answer.replace(b"{port}", port) + b"\r\n"
    spool = spool_at(server.url.replace("//", f"//user:{PASSWORD}@"))
    spool._server._was_looked_at = True
    text = refusal(spool.has_messages)
    server.stop()
    assert ANSWERS[answer] in text
    assert "p@ss" not in text
    assert PASSWORD not in text + repr(spool) + spool.place


@pytest.mark.parametrize("credentials", ["", f"user:{PASSWORD}@"], ids=["a command", "a log-in"])
def test_an_answer_that_drips_is_waited_for_no_longer_than_another(credentials: str) -> None:
    server = Answering(b"+" + b"." * 100 + b"\r\n", drips=True)
    text = refusal(spool_at(server.url.replace("//", f"//{credentials}")).has_messages)
    server.stop()
    assert "TimeoutError" in text


def test_a_connection_that_ends_within_an_answer_costs_that_call_alone(
    shared_redis: Redis, patient: None
) -> None:
    """A proxy breaks once."""
    with breaking_proxy(shared_redis) as (url, breaks):
        spool = spool_at(url)
        writer = begin(spool, b"1")
        breaks.set()
        refusal(lambda: spool.add([b"2"]))
        breaks.clear()
        assert begin(spool, b"3") == writer
        assert bodies(spool, writer) == [b"1", b"3"]


# It is full


@pytest.mark.parametrize("is_old", [False, True], ids=["Redis 7", "as before Redis 7"])
def test_one_that_is_full_takes_nothing_and_gives_back_what_is_there(
    shared_redis: Redis, patient: None, is_old: bool
) -> None:
    spool, other = spool_at(shared_redis.url), spool_at(shared_redis.url)
    spool._server._is_old = other._server._is_old = is_old
    writer = begin(spool, *[b"x" * 100] * 100)
    try:
        shared_redis.run("CONFIG", "SET", "maxmemory", 1)
        assert "raise its maxmemory" in refusal(lambda: spool.add([b"2"]))
        assert "raise its maxmemory" in refusal(lambda: other.add([b"2"]))
        assert spool.tend([writer]) == ({}, set())
        rows = read(spool, writer)
        delete(spool, rows[:99])
        assert [row.body for row in read(spool, writer)] == [b"x" * 100]
        spool.release()
        assert other.tend([]) == ({writer: 1}, set())
        delete(other, rows)
    finally:
        shared_redis.run("CONFIG", "SET", "maxmemory", 0)
    assert spool_bytes(shared_redis) == 0
    assert begin(spool, b"2") != writer


def test_what_is_evicted_does_not_count_for_ever(shared_redis: Redis, patient: None) -> None:
    now = 1000.0
    spool = RedisSpool(shared_redis.url, 200_000, "key", lambda *_: None, now=lambda: now)
    writer = begin(spool, b"x" * 150_000)
    shared_redis.run("DEL", f"{{sentry-segment}}:messages:{writer}")
    assert read(spool, writer) == []
    now += LEASE
    other = RedisSpool(shared_redis.url, 200_000, "key", lambda *_: None, now=lambda: now)
    assert other.tend([]) == ({}, set())
    assert begin(other, b"x" * 150_000) != writer


def test_the_clocks_of_the_machines_do_not_matter(
    shared_redis: Redis, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases run by Redis's."""
    ours, theirs = spool_at(shared_redis.url), spool_at(shared_redis.url)
    writer = begin(ours, b"1")
    for moved in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda moved=moved: 1_795_000_000 + moved)
        monkeypatch.setattr(time, "monotonic", lambda moved=moved: 2e9 + moved)
        assert theirs.tend([]) == ({}, set())
        assert ours.tend([writer]) == ({}, set())
    [waiting] = theirs.survey() or []
    assert 0 < waiting.lease <= LEASE
