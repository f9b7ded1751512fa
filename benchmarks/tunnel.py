"""Envelopes a second through the tunnel's ASGI application on one core, beside bare forwarders."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from benchmarks.child import Child
from benchmarks.collector import Collector
from benchmarks.events import error
from benchmarks.figures import Effort, Figure, Table, Target
from benchmarks.spread import Spread, ratio

TUNNEL, UNMIRRORED = "the tunnel", "the tunnel, nothing to mirror"
BARE, IN_THREADS = "a bare forwarder", "a bare forwarder, in threads"
_AT_ONCE = 8

App = Callable[[Any, Any, Any], Awaitable[None]]
Result = dict[str, float]


def measure(collector: Collector, folder: str, kind: str, envelopes: int) -> Result:
    """Envelopes a second, and seconds of the process's time for each."""
    import sentry_sdk

    from sentry_segment import SegmentIntegration

    dsn = f"http://public@127.0.0.1:{collector.port}/1"
    segment = SegmentIntegration("key", host=collector.url, max_queue_size=envelopes + 1000)
    sentry_sdk.init(dsn, integrations=[segment], auto_enabling_integrations=False)
    bodies = [_envelope(dsn, number, kind != UNMIRRORED) for number in range(envelopes)]
    app = {BARE: _bare, IN_THREADS: _bare_in_threads}.get(kind, _tunnel)(dsn)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return asyncio.run(_timed(app, bodies))


async def _timed(app: App, bodies: list[bytes]) -> Result:
    await _post(app, bodies[:_AT_ONCE])
    cpu, began = time.process_time(), time.perf_counter()
    await _post(app, bodies[_AT_ONCE:])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    passed = len(bodies) - _AT_ONCE
    return {"rate": passed / seconds, "cpu": cpu / passed}


def _tunnel(dsn: str) -> App:
    from sentry_segment.tunnel import SentryTunnel

    return SentryTunnel(dsns=[dsn])


def _bare(dsn: str) -> App:
    """As one would write it: a body read, httpx's asynchronous client, and an answer."""
    import httpx

    from sentry_segment.tunnel.dsn import Target

    url, client = Target.of(dsn).url, httpx.AsyncClient()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = await client.post(url, content=(await receive())["body"])
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})

    return app


def _bare_in_threads(dsn: str) -> App:
    """The faster way, which is the tunnel's: httpx's other client, in threads."""
    import anyio.to_thread
    import httpx

    from sentry_segment.tunnel.dsn import Target

    url, client = Target.of(dsn).url, httpx.Client()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        answer = await anyio.to_thread.run_sync(lambda: client.post(url, content=body))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})

    return app


def _envelope(dsn: str, number: int, is_error: bool) -> bytes:
    event = {**error(number), "event_id": uuid4().hex, "platform": "javascript"}
    kind = "event" if is_error else "transaction"
    body = json.dumps(event).encode()
    header = json.dumps({"dsn": dsn}).encode()
    return b"\n".join([header, json.dumps({"type": kind, "length": len(body)}).encode(), body])


async def _post(app: App, bodies: list[bytes]) -> None:
    waiting = iter(bodies)
    headers = [(b"content-type", b"text/plain"), (b"user-agent", b"Browser/7")]
    scope = {"type": "http", "method": "POST", "headers": headers, "client": ("192.0.2.1", 1)}

    async def browser() -> None:
        for body in waiting:
            sent: list[Any] = []

            async def receive(body: bytes = body) -> Any:
                return {"type": "http.request", "body": body}

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            await app(scope, receive, send)
            assert sent[0]["status"] == 200, sent

    await asyncio.gather(*(browser() for _ in range(_AT_ONCE)))


def run(effort: Effort) -> Figure:
    rounds, envelopes = effort.pick(5, 1), effort.pick(3_000, 100)
    kinds = (TUNNEL, UNMIRRORED, BARE, IN_THREADS)
    taken: dict[str, list[Result]] = {kind: [] for kind in kinds}
    shuffled = random.Random(1)
    for number in range(rounds):
        effort.say(f"round {number + 1} of {rounds}")
        for kind in shuffled.sample(kinds, len(kinds)):
            taken[kind].append(Child(measure, kind=kind, envelopes=envelopes).result())
    rates = {kind: [each["rate"] for each in of] for kind, of in taken.items()}
    table = Table(
        "Browsers' envelopes through the tunnel",
        ["", "envelopes a second", "CPU an envelope, microseconds"],
        [
            [
                kind,
                Spread.of(rates[kind]).text(),
                Spread.of([each["cpu"] for each in of]).text(1e6),
            ]
            for kind, of in taken.items()
        ],
        "On one core. An envelope has an error with 20 frames. Sentry and Segment are a process "
        "beside it. The bare forwarders are httpx's clients in an ASGI application.",
    )
    targets = [
        Target(
            "thousands of envelopes a second through the tunnel, on one core",
            Spread.of([rate / 1_000 for rate in rates[TUNNEL]]),
            at_least=1.0,
        ),
        Target(
            "envelopes a second, the tunnel against a bare forwarder",
            ratio(rates[TUNNEL], rates[BARE]),
            at_least=0.9,
        ),
        Target(
            "the same, with nothing to mirror against the one in threads",
            ratio(rates[UNMIRRORED], rates[IN_THREADS]),
            at_least=0.9,
        ),
    ]
    return Figure("tunnel", [table], targets, raw=taken)
