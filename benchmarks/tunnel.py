"""Envelopes a second through the tunnel's ASGI application, beside a bare forwarder."""

from __future__ import annotations

import asyncio
import json
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

TUNNEL, UNMIRRORED, BARE = "the tunnel", "the tunnel, nothing to mirror", "a bare forwarder"
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
    app = _bare(dsn) if kind == BARE else _tunnel()
    asyncio.run(_post(app, bodies[:_AT_ONCE]))
    cpu, began = time.process_time(), time.perf_counter()
    asyncio.run(_post(app, bodies[_AT_ONCE:]))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    passed = len(bodies) - _AT_ONCE
    return {"rate": passed / seconds, "cpu": cpu / passed}


def _tunnel() -> App:
    from sentry_segment.tunnel import SentryTunnel

    return SentryTunnel()


def _bare(dsn: str) -> App:
    """The same parts: a body read, a client in a thread, and an answer."""
    import anyio
    import anyio.to_thread

    from sentry_segment.tunnel.dsn import Target
    from sentry_segment.tunnel.forward import Forwarder
    from sentry_segment.wire.network import NetworkOptions

    forwarder = Forwarder(NetworkOptions(), Target.of(dsn).url, 10.0, 100)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        answer = await anyio.to_thread.run_sync(
            forwarder.post, body, {}, limiter=anyio.CapacityLimiter(1)
        )
        await send({"type": "http.response.start", "status": answer.status, "headers": []})
        await send({"type": "http.response.body", "body": answer.body})

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
    kinds = (TUNNEL, UNMIRRORED, BARE)
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
        "An envelope has an error with 20 frames. Sentry and Segment are a process beside it.",
    )
    target = Target(
        "envelopes a second, the tunnel against a bare forwarder",
        ratio(rates[TUNNEL], rates[BARE]),
        at_least=0.9,
    )
    return Figure("tunnel", [table], [target], raw=taken)
