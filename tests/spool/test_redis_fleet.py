"""A fleet with its spool in Redis: through the SDK, between processes, and with one rate limit."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.redis import RedisIntegration

import scripts
from collector import Collector, Reply
from faults import arrived, hold
from gevent_scripts import PREAMBLE
from redis_servers import KEEPING, Redis, redis_running
from redis_spools import PASSWORD, let_leases_lapse
from scripts import names, run, start
from sentry_segment.__main__ import main
from sentry_segment.spool import redis_server
from sentry_segment.spool.redis import RedisSpool
from sqlite_spools import adds_up, outage, wait_until
from support import WRITE_KEY, Init, capture, logged


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "WAIT", 60.0)


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for takes no seconds."""
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 0.05)
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.05)
    monkeypatch.setattr("random.random", lambda: 0.01)


def kept(server: Redis) -> list[dict[str, Any]]:
    """The messages in the spool."""
    found = []
    for key in sorted(server.run("KEYS", "{sentry-segment}:messages:*")):
        found += [json.loads(entry[1][b"b"]) for entry in server.run("XRANGE", key, "-", "+")]
    return found


# Through the SDK


def test_a_message_is_there_while_it_is_sent_and_gone_when_it_is_delivered(
    collector: Collector, init: Init, shared_redis: Redis
) -> None:
    integration = init(segment={"spool": shared_redis.url})
    go = hold(collector)
    event_id = capture()
    arrived(collector)
    [message] = kept(shared_redis)
    assert message["messageId"] == event_id
    assert integration.stats.spooled == 1
    go.set()
    assert integration.flush(60.0)
    wait_until(lambda: integration.stats.spooled == 0)
    assert kept(shared_redis) == []
    assert adds_up(integration.stats)


def test_nothing_secret_is_in_it(collector: Collector, init: Init, shared_redis: Redis) -> None:
    shared_redis.run("ACL", "SETUSER", "shop", "reset", "on", ">p@ss/w:rd", "allkeys", "+@all")
    url = shared_redis.url.replace("//", f"//shop:{PASSWORD}@")
    integration = init(segment={"spool": url}, before_send=with_token)
    outage(collector)
    capture()
    wait_until(lambda: integration.stats.spooled == 1)
    stored = repr([(key, content(shared_redis, key)) for key in shared_redis.run("KEYS", "*")])
    assert "[Filtered]" in stored
    assert "t0k3n" not in stored
    assert WRITE_KEY not in stored
    assert "p@ss" not in repr(integration) + repr(vars(integration)["_options"])
    collector.answer = None
    assert integration.flush(60.0)
    shared_redis.run("ACL", "DELUSER", "shop")


def with_token(event: Any, hint: Any) -> Any:
    event["request"] = {"url": "https://shop.example/?token=t0k3n"}
    return event


def content(server: Redis, key: bytes) -> Any:
    command = {b"hash": "HGETALL", b"set": "SMEMBERS"}.get(server.run("TYPE", key))
    return (
        server.run(command, key)
        if command
        else server.run("DUMP", key) + repr(kept(server)).encode()
    )


def test_sentry_sees_nothing_of_its_commands(
    collector: Collector, init: Init, shared_redis: Redis
) -> None:
    integration = init(
        segment={"spool": shared_redis.url},
        integrations=[RedisIntegration()],
        traces_sample_rate=1.0,
    )
    with sentry_sdk.start_transaction(name="order"):
        capture()
        assert integration.flush(60.0)
        capture()
    assert integration.flush(60.0)
    sentry_sdk.flush(60.0)
    [transaction] = [each for kind, each in collector.items if kind == "transaction"]
    threads = {span["data"]["thread.name"] for span in transaction["spans"]}
    assert threads <= {"sentry-sdk.BackgroundWorker"}  # Sentry's transport has started in it
    crumbs = [event.get("breadcrumbs", {}).get("values", []) for event in collector.events]
    assert "redis" not in json.dumps(crumbs)


def test_while_it_is_away_memory_serves_and_nothing_is_lost_or_counted_twice(
    collector: Collector,
    init: Init,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    soon_again: None,
) -> None:
    with redis_running(tmp_path, *KEEPING) as server:
        integration = init(segment={"spool": server.url})
        outage(collector)
        first = capture()
        wait_until(lambda: integration.stats.spooled == 1)
        server.kill()
        second = capture()
        wait_until(lambda: "can't be used" in logged(caplog))
        assert f"{server.port}" in logged(caplog)
        assert "Until it can be used, messages wait in memory alone" in logged(caplog)
        collector.answer = None
        collector.wait_for_messages(1)
        server.start()
        third = capture()
        assert integration.flush(60.0)
        wait_until(lambda: integration.stats.spooled == 0)
        assert {m["messageId"] for m in collector.messages} == {first, second, third}
        assert (integration.stats.delivered, sum(integration.stats.dropped.values())) == (3, 0)
        wait_until(lambda: kept(server) == [])


def test_one_that_is_emptied_costs_what_was_in_it_and_says_so(
    collector: Collector,
    init: Init,
    shared_redis: Redis,
    caplog: pytest.LogCaptureFixture,
    soon_again: None,
) -> None:
    integration = init(segment={"spool": shared_redis.url})
    go = hold(collector)
    under_way = capture()
    arrived(collector)
    capture()
    wait_until(lambda: integration.stats.spooled == 2)
    shared_redis.run("FLUSHALL")
    wait_until(lambda: integration.stats.dropped["network_error"] == 1)
    assert "was emptied while it was in use" in logged(caplog)
    go.set()
    event_id = capture()
    assert integration.flush(60.0)
    assert [message["messageId"] for message in collector.messages] == [under_way, event_id]
    assert adds_up(integration.stats)


def test_a_pickled_integration_has_it(
    collector: Collector, init: Init, shared_redis: Redis
) -> None:
    integration = pickle.loads(pickle.dumps(init(segment={"spool": shared_redis.url})))
    sentry_sdk.init(collector.dsn, integrations=[integration])
    capture()
    assert integration.flush(60.0)
    assert shared_redis.run("EXISTS", "{sentry-segment}:meta")


# Between processes


def test_what_a_killed_process_had_spooled_is_sent_by_another(
    collector: Collector, init: Init, shared_redis: Redis, soon_again: None
) -> None:
    # It makes one request, and no other that might be under way when it is killed.
    collector.answer = lambda call: Reply(429, {"Retry-After": "300"})
    script = start(
        collector,
        """
        integration = init()
        for n in range(5):
            capture(f"E{n}")
        wait_until(lambda: integration.stats.spooled == 5 and not integration.stats.queued)
        print("spooled", flush=True)
        told()
        """,
        spool=shared_redis.url,
    )
    assert script.line() == "spooled"
    assert collector.wait_for(lambda: [call.status for call in collector.calls] == [429])
    script.kill()
    collector.answer = None
    integration = init(segment={"spool": shared_redis.url})
    capture()
    assert integration.flush(60.0)
    assert len(collector.messages) == 1
    let_leases_lapse(shared_redis)
    collector.wait_for_messages(6)
    assert names(collector) == ["ValueError", *(f"E{n}" for n in range(5))]
    wait_until(lambda: integration.stats.spooled == 0)
    assert (integration.stats.recovered, integration.stats.delivered) == (5, 6)


def test_what_a_process_could_not_deliver_is_sent_by_the_next(
    collector: Collector, shared_redis: Redis
) -> None:
    outage(collector)
    first = run(
        collector,
        "init(shutdown_timeout=0.5); [capture(f'E{n}') for n in range(5)]",
        spool=shared_redis.url,
    )
    assert first.status == 0, first.err
    assert "could not be delivered" not in first.err
    collector.answer = None
    second = run(
        collector,
        "integration = init(); capture('own'); integration.flush(60)",
        spool=shared_redis.url,
    )
    assert sorted(names(collector)) == [*(f"E{n}" for n in range(5)), "own"], second.err
    assert kept(shared_redis) == []


def test_parent_and_child_of_a_fork_each_send_their_own(
    collector: Collector, shared_redis: Redis
) -> None:
    ended = run(
        collector,
        """
        integration = init()
        capture("before")
        assert integration.flush(60)
        child = os.fork()
        capture("child" if child == 0 else "parent")
        assert integration.flush(60)
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
        spool=shared_redis.url,
    )
    assert ended.status == 0, ended.err
    assert sorted(names(collector)) == ["before", "child", "parent"]
    assert kept(shared_redis) == []


# The command


def test_the_command_shows_drains_and_discards(
    collector: Collector,
    shared_redis: Redis,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--write-key", WRITE_KEY, "--host", collector.url]
    assert main(["spool", shared_redis.url]) == 3
    assert f"There is no spool at {shared_redis.url}" in capsys.readouterr().err
    leave(shared_redis, "a", "b")
    leave(shared_redis, "another's", key="another key")
    assert main(["spool", shared_redis.url, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["messages"], len(shown["writers"])) == (3, 2)
    assert main(["spool", shared_redis.url, "drain", *arguments]) == 0
    told = capsys.readouterr()
    assert "2 message(s) delivered\nnothing is left" in told.out
    assert "1 message(s) for other write keys were left alone" in told.err
    assert [message["userId"] for message in collector.messages] == ["a", "b"]
    leave(shared_redis, "c")
    assert main(["spool", shared_redis.url, "discard", "--yes", *arguments]) == 0
    assert [message["userId"] for message in kept(shared_redis)] == ["another's"]


def leave(server: Redis, *users: str, key: str = WRITE_KEY) -> None:
    spool = RedisSpool(server.url, 1_000_000, key, lambda *_: None)
    bodies = [{"type": "track", "messageId": user, "userId": user, "event": "E"} for user in users]
    assert spool.add([json.dumps(body).encode() for body in bodies]) == len(users)
    spool.release()
    spool.close()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "sentry_segment"):
        yield


def test_greenlets_and_a_fork_among_them_deliver_through_it(
    collector: Collector, shared_redis: Redis
) -> None:
    ended = scripts.start(
        collector,
        """
        integration = init()
        gevent.joinall([gevent.spawn(capture, f"E{n}") for n in range(20)])
        assert integration.flush(60)
        child = gevent.os.fork()
        who = "child" if child == 0 else "parent"
        gevent.joinall([gevent.spawn(capture, f"{who}{n}") for n in range(5)])
        assert integration.flush(60)
        if child == 0:
            os._exit(0)
        assert gevent.os.waitpid(child, 0)[1] == 0
        """,
        spool=shared_redis.url,
        preamble=PREAMBLE.replace("import gevent\n", "import gevent, gevent.os\n"),
        measured=False,
    ).end()
    assert ended.status == 0, ended.err
    each = [f"{who}{n}" for who in ("child", "parent") for n in range(5)]
    assert sorted(names(collector)) == sorted([*(f"E{n}" for n in range(20)), *each])
    assert kept(shared_redis) == []
