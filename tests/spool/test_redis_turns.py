"""One rate limit for a fleet that has its spool in Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import Collector
from redis_servers import Redis, redis_running
from scripts import run, start
from sentry_segment.delivery.rate_limit import RateLimit
from sentry_segment.spool import redis_server
from sentry_segment.spool.redis import RedisSpool
from support import many


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "WAIT", 60.0)


def test_the_rate_limit_is_that_of_all_processes_together(
    collector: Collector, tmp_path: Path
) -> None:
    """Ten requests in an hour: they are made at once, whoever makes them."""
    with redis_running(tmp_path) as server:
        scripts = [
            start(
                collector,
                """
                integration = init({"rate_limit": (10, 3600)})
                for n in range(100):
                    capture(f"E{n}")
                    if not integration.flush(0.2):
                        break
                print("waits", flush=True)
                told()
                os._exit(0)
                """,
                spool=server.url,
            )
            for _ in range(3)
        ]
        assert [each.line() for each in scripts] == ["waits"] * 3
        assert 3 <= len(collector.calls) <= 10
        server.kill()  # from now on each has a limit of its own
        alone = run(
            collector,
            """
            integration = init({"rate_limit": (10, 3600)})
            for n in range(10):
                capture(f"ALONE-{n}")
                assert integration.flush(60)
            """,
            spool=server.url,
        )
        assert alone.status == 0, alone.err
        for each in scripts:
            each.tell()
            each.end()


limits = st.tuples(st.integers(1, 40), st.sampled_from([0.5, 1.0, 60.0]))


def test_never_more_than_the_limit_in_any_stretch(shared_redis: Redis) -> None:
    now = 0.0
    spools = [
        RedisSpool(shared_redis.url, 1_000_000, "key", lambda *_: None, now=lambda: now)
        for _ in range(3)
    ]

    @settings(max_examples=many(100), deadline=None, database=None)
    @given(limits, st.lists(st.tuples(st.integers(0, 2), st.floats(0, 0.2)), max_size=80))
    def run(limit: tuple[int, float], asked: list[tuple[int, float]]) -> None:
        nonlocal now
        now += 1_000_000.0
        requests, stretch = limit
        rule = RateLimit(requests, stretch)
        turns = []
        for asking, passed in asked:
            now += passed
            turn = spools[asking].turn(rule.at_once, rule.spacing, rule.seconds)
            if turn.is_given:
                turns.append(now + turn.seconds)
        assert turns == sorted(turns)
        for first, after in zip(turns, turns[requests:], strict=False):
            assert after - first >= stretch * (1 - 1e-9)

    run()


def test_while_a_deploy_changes_the_limit_the_higher_one_holds(shared_redis: Redis) -> None:
    now = 0.0
    spools = [
        RedisSpool(shared_redis.url, 1_000_000, "key", lambda *_: None, now=lambda: now)
        for _ in range(2)
    ]
    steps = st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.0, 0.001, 0.05]))

    @settings(max_examples=many(100), deadline=None, database=None)
    @given(st.tuples(st.integers(1, 10), st.integers(1, 10)), st.lists(steps, min_size=30))
    def run(limits: tuple[int, int], asked: list[tuple[int, float]]) -> None:
        nonlocal now
        now += 1_000_000.0
        rules = [RateLimit(requests, 1.0) for requests in limits]
        turns = []
        for asking, passed in asked:
            now += passed
            rule = rules[asking]
            turn = spools[asking].turn(rule.at_once, rule.spacing, rule.seconds)
            if turn.is_given:
                turns.append(now + turn.seconds)
        for first, after in zip(turns, turns[max(limits) :], strict=False):
            assert after - first >= 1.0 - 1e-9

    run()


def test_one_process_waits_no_longer_than_by_its_own_limit(shared_redis: Redis) -> None:
    now = 1_000_000.0
    spool = RedisSpool(shared_redis.url, 1_000_000, "key", lambda *_: None, now=lambda: now)
    rule = RateLimit(20, 1.0)
    for _ in range(60):
        turn = spool.turn(rule.at_once, rule.spacing, rule.seconds)
        own = max(0.0, rule.ready_at() - now)
        assert turn.is_given
        assert turn.seconds == pytest.approx(own, abs=1e-6)
        now += turn.seconds
        rule.note(now)


def test_a_turn_that_is_far_off_is_asked_for_again(shared_redis: Redis) -> None:
    now = 1_000_000.0
    spool = RedisSpool(shared_redis.url, 1_000_000, "key", lambda *_: None, now=lambda: now)
    rule = RateLimit(1, 3600.0)
    assert spool.turn(rule.at_once, rule.spacing, rule.seconds) == (0.0, True)
    turn = spool.turn(rule.at_once, rule.spacing, rule.seconds)
    assert not turn.is_given
    assert 0 < turn.seconds <= 10
    now += 3595
    assert spool.turn(rule.at_once, rule.spacing, rule.seconds).is_given
    now -= 1_000  # Redis's clock was set back
    assert spool.turn(rule.at_once, rule.spacing, rule.seconds) == (0.0, True)
