"""OpenTelemetry's instrumentations show the application's requests and SQL, and none of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import Collector
from scripts import run
from support import some

OBSERVED = """
    import contextlib, sqlite3
    import httpx

    def observe():
        global spans
        from opentelemetry import trace
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(spans))
        trace.set_tracer_provider(provider)
        HTTPXClientInstrumentor().instrument()
        SQLite3Instrumentor().instrument()

    def request():
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            db.cursor().execute("SELECT 'of the application'")
        httpx.get(HOST + "/of-the-application", trust_env=False)

    def tell_spans():
        for span in spans.get_finished_spans():
            print(span.name, dict(span.attributes))
"""
EARLY = """
    observe()
    segment = init()
    capture("Early")
    assert segment.flush(20)
"""
LATE = """
    segment = init()
    capture("First")
    assert segment.flush(20)
    observe()
    capture("Late")
    assert segment.flush(20)
"""
WITHOUT_A_THREAD = """
    def fail(thread):
        raise RuntimeError("can't start new thread")

    observe()
    threading.Thread.start = fail
    segment = init()
    capture("Here")
    assert segment.flush(20)
"""


@some
@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(EARLY, id="instrumented before the mirror's thread is started"),
        pytest.param(LATE, id="instrumented while it runs"),
        pytest.param(WITHOUT_A_THREAD, id="delivered by the application's own thread"),
    ],
)
def test_spans_and_trace_headers_are_the_applications_alone(
    collector: Collector, tmp_path: Path, script: str, spooled: bool
) -> None:
    ended = run(
        collector,
        OBSERVED + script + "\n    request()\n    tell_spans()\n",
        spool=tmp_path / "spool.db" if spooled else None,
    )
    assert ended.status == 0, ended.err
    spans = ended.out.splitlines()
    assert len(spans) == 2, spans
    assert "of the application" in spans[0]
    assert "/of-the-application" in spans[1]
    *of_ours, of_the_application = collector.calls
    assert "traceparent" in of_the_application.headers
    assert of_ours
    for call in of_ours:
        assert not {"traceparent", "tracestate", "baggage"} & set(call.headers)
