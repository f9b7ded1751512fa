"""A Redis that is full, that answers what no script does, or whose answer gets lost: through the
SDK, nothing is lost, nothing is settled twice, and no password is shown."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import trustme

from collector import Collector
from faults import hold
from redis_servers import HOST, Redis
from redis_spools import Answering, let_leases_lapse, refusal, spool_at
from sentry_segment import SegmentIntegration
from sentry_segment.spool import redis_scripts, redis_server
from sentry_segment.spool.contract import SpoolError
from sqlite_spools import adds_up, outage, wait_until
from support import WRITE_KEY, Init, capture


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "WAIT", 60.0)


def test_what_is_claimed_back_after_its_answer_got_lost_is_not_settled_twice(
    collector: Collector, init: Init, shared_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 0.05)
    monkeypatch.setattr("sentry_segment.delivery.spooled._TEND_INTERVAL", 0.05)
    loses = threading.Event()
    run = redis_server.RedisServer.run

    def run_and_lose(self: Any, script: Any, *given: Any) -> Any:
        answer = run(self, script, *given)
        if script is redis_scripts.ADD and loses.is_set():
            loses.clear()
            raise SpoolError("the answer got lost")
        return answer

    monkeypatch.setattr(redis_server.RedisServer, "run", run_and_lose)
    integration = init(segment={"spool": shared_redis.url})
    first = capture()
    assert integration.flush(60.0)
    loses.set()
    second = capture()
    assert integration.flush(60.0)
    assert integration.stats.recovered == 0
    let_leases_lapse(shared_redis)  # of the own writer, which has nothing in it, as far as is known
    wait_until(lambda: integration.stats.recovered == 1)
    wait_until(lambda: integration.stats.spooled == 0)
    ids = [message["messageId"] for message in collector.messages]
    assert ids == [first, second, second]
    outage(collector)
    third = capture()
    assert not integration.flush(0.3)  # which it would have been by another's account
    collector.answer = None
    assert integration.flush(60.0)
    assert collector.messages[-1]["messageId"] == third
    assert adds_up(integration.stats)


def test_one_that_is_full_is_drained_while_new_messages_wait_in_memory(
    collector: Collector,
    init: Init,
    shared_redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sentry_segment.delivery.availability.SPOOL_RETRY", 3_600.0)
    integration = init(segment={"spool": shared_redis.url})
    go = hold(collector)
    captured = [capture()]
    assert collector.wait_for(lambda: bool(collector.calls))
    captured += [capture() for _ in range(3)]  # which nobody has read by the time it is full
    wait_until(lambda: integration.stats.spooled == 4)
    try:
        shared_redis.run("CONFIG", "SET", "maxmemory", 1)
        captured.append(capture())
        wait_until(lambda: "raise its maxmemory" in caplog.text)
        assert (integration.stats.queued, integration.stats.spooled) == (1, 4)
        go.set()
        assert integration.flush(60.0)
    finally:
        shared_redis.run("CONFIG", "SET", "maxmemory", 0)
    arrived = [message["messageId"] for message in collector.messages]
    assert sorted(arrived) == sorted(captured)
    keys = shared_redis.run("KEYS", "{sentry-segment}:messages:*")
    assert [shared_redis.run("XLEN", key) for key in keys] == [0]
    assert integration.stats.queued == 0
    assert caplog.text.count("raise its maxmemory") == 1


ODD = {
    "a text": b"+OK\r\n",
    "nothing": b"$-1\r\n",
    "a number": b":7\r\n",
    "an empty list": b"*0\r\n",
    "another state": b"*2\r\n$3\r\nodd\r\n$1\r\nx\r\n",
    "no text": b"*2\r\n$2\r\nok\r\n$2\r\n\xff\xfe\r\n",
    "too little": b"*2\r\n$2\r\nok\r\n$1\r\nx\r\n",
}


@pytest.mark.parametrize("answer", ODD.values(), ids=list(ODD))
def test_whatever_it_answers_memory_serves_and_the_end_is_a_good_one(
    collector: Collector, init: Init, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = Answering(answer)
    integration = init(segment={"spool": server.url})
    event_id = capture()
    assert integration.flush(60.0)
    integration._worker.leave_spool(0.0)  # type: ignore[union-attr]  # as when the process ends
    server.stop()
    assert [message["messageId"] for message in collector.messages] == [event_id]
    assert "messages wait in memory alone" in caplog.text
    assert "Internal error" not in caplog.text


SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "place",
    [
        f'"redis://:{SECRET}@redis.example:6379/0"',
        f" redis://:{SECRET}@redis.example:6379/0",
        f"redis:/:{SECRET}@redis.example:6379/0",
        f"redis::{SECRET}@redis.example:6379/0",
        f"user:{SECRET}@redis.example:6379/0",
        f"://:{SECRET}@redis.example",
        [f"redis://:{SECRET}@redis.example"],
        f"redis://:{SECRET}@redis.example".encode(),
    ],
)
def test_what_is_nearly_a_url_is_refused_and_shows_no_password(place: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^spool: expected") as raised:
        SegmentIntegration(WRITE_KEY, spool=place)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("place", ["spool.db", "a:b/spool.db", "at@home/spool.db", "redis.db"])
def test_an_odd_path_is_a_path(place: str) -> None:
    SegmentIntegration(WRITE_KEY, spool=place)


def test_a_log_in_that_is_not_known_shows_no_password() -> None:
    quoted = f"'AUTH', with args beginning with: 'shop' '{SECRET}'"
    server = Answering(f"-ERR unknown command {quoted}\r\n".encode())
    text = refusal(spool_at(server.url.replace("//", f"//shop:{SECRET}@")).has_messages)
    server.stop()
    assert "unknown command 'AUTH'" in text
    assert SECRET not in text


@contextmanager
def serving(authority: trustme.CA, name: str) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server with a certificate for this name: its port, and what it was sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    listening = socket.create_server((HOST, 0))
    sent: list[bytes] = []

    def serve() -> None:
        connection, _ = listening.accept()
        with (
            connection,
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as tls,
        ):
            while data := tls.recv(65_536):
                sent.append(data)
                tls.sendall(b"+OK\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], sent
    finally:
        listening.close()
        thread.join()


@pytest.mark.parametrize(("name", "is_told"), [("localhost", True), ("evil.example", False)])
def test_a_password_is_told_to_nobody_whose_certificate_is_for_another_name(
    name: str, is_told: bool, tmp_path: Any
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(authority, name) as (port, sent):
        url = f"rediss://:{SECRET}@localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        text = refusal(spool_at(url).has_messages)
        assert SECRET not in text
    assert (SECRET.encode() in b"".join(sent)) == is_told
