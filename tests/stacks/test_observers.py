"""With an APM agent on, the mirror's requests and its SQL are not shown as the application's."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector import Collector
from scripts import PREAMBLE, names, run

# Each defines `watching`, to be entered around what a request does, and `seen`, what of it the
# agent has recorded. No agent is to talk to anybody.
DDTRACE = """
    import os
    os.environ.update(
        DD_TRACE_AGENT_URL="http://127.0.0.1:9",
        DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
        DD_REMOTE_CONFIGURATION_ENABLED="false",
        DD_TRACE_STARTUP_LOGS="false",
    )
    import ddtrace
    from ddtrace.trace import TraceFilter, tracer

    seen = []

    class Keeping(TraceFilter):
        def process_trace(self, trace):
            seen.extend(f"{span.resource} {span.get_tag('http.url')}" for span in trace)

    tracer.configure(trace_processors=[Keeping()])
    ddtrace.patch(httpx=True, sqlite3=True)

    def watching():
        return tracer.trace("request")
"""
NEW_RELIC = """
    import os
    os.environ.update(NEW_RELIC_LICENSE_KEY="0" * 40, NEW_RELIC_DEVELOPER_MODE="true")
    os.environ.update(NEW_RELIC_LOG="stderr", NEW_RELIC_LOG_LEVEL="error")
    import newrelic.agent
    newrelic.agent.initialize()
    application = newrelic.agent.register_application(timeout=30)
    from newrelic.api.database_trace import DatabaseTrace
    from newrelic.api.external_trace import ExternalTrace

    seen = []

    def keeping(of, text):
        enter = of.__enter__

        def entered(self):
            seen.append(getattr(self, text))
            return enter(self)

        of.__enter__ = entered

    keeping(DatabaseTrace, "sql")
    keeping(ExternalTrace, "url")

    def watching():
        return newrelic.agent.BackgroundTask(application, "request")
"""
ELASTIC = """
    import elasticapm
    from contextlib import contextmanager

    seen = []

    class Keeping(elasticapm.Client):
        def queue(self, event_type, data, flush=False):
            if event_type == "span":
                seen.append(data["name"] + " " + str(data["context"]))

    client = Keeping(
        service_name="shop",
        server_url="http://127.0.0.1:9",
        transport_class="elasticapm.transport.base.Transport",
        central_config=False,
        cloud_provider=False,
        metrics_interval="0ms",
        disable_metrics="*",
    )
    elasticapm.instrument()

    @contextmanager
    def watching():
        client.begin_transaction("request")
        yield
        client.end_transaction("request")
"""
AWS_XRAY = """
    from aws_xray_sdk.core import patch, xray_recorder
    from aws_xray_sdk.core.emitters.udp_emitter import UDPEmitter

    seen = []

    class Keeping(UDPEmitter):
        def send_entity(self, entity):
            # It keeps no text of SQL, but the database's name.
            seen.append(entity.serialize().replace(":memory:", "of the application"))

    xray_recorder.configure(emitter=Keeping(), sampling=False, plugins=())
    patch(["httpx", "sqlite3"])

    def watching():
        return xray_recorder.in_segment("request")
"""
# What the application does, and what the mirror does beside it: in its own thread, and in the one
# that flushes, where no other can be started.
REQUEST = """
    import contextlib, json, sqlite3
    import httpx

    def request(url):
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            db.cursor().execute("SELECT 'of the application'")
        httpx.get(url + "/of-the-application", trust_env=False)

    def fail(thread):
        raise RuntimeError("can't start new thread")

    with watching():
        request(HOST)
        segment = init()
        capture("InTheThread")
        sentry_sdk.get_client().close(20)
        start, threading.Thread.start = threading.Thread.start, fail
        segment = init()
        capture("WhereItIsFlushed")
        assert segment.flush(20)
        threading.Thread.start = start
    print(json.dumps([str(each) for each in seen]))
"""
TRACE_HEADERS = {
    "traceparent",
    "tracestate",
    "newrelic",
    "elastic-apm-traceparent",
    "x-amzn-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "baggage",
    "sentry-trace",
}


@pytest.mark.parametrize("order", ["the agent first", "the mirror first"])
@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(DDTRACE, id="ddtrace"),
        pytest.param(NEW_RELIC, id="New Relic"),
        pytest.param(ELASTIC, id="Elastic APM"),
        pytest.param(AWS_XRAY, id="AWS X-Ray"),
    ],
)
def test_an_agent_sees_the_applications_work_and_not_the_mirrors(
    collector: Collector, tmp_path: Path, agent: str, spooled: bool, order: str
) -> None:
    first = agent.replace("{", "{{").replace("}", "}}") + PREAMBLE
    agent_first = order == "the agent first"
    ended = run(
        collector,
        REQUEST if agent_first else agent + REQUEST,
        preamble=first if agent_first else PREAMBLE,
        spool=tmp_path / "spool.db" if spooled else None,
    )
    assert ended.status == 0, ended.err
    seen = ended.out
    assert "of-the-application" in seen
    assert "of the application" in seen
    assert names(collector) == ["InTheThread", "WhereItIsFlushed"]
    for text in ("/v1/", "spool.db", "messages", "writers", "PRAGMA", "BEGIN"):
        assert text not in seen
    of_the_application, *of_ours = collector.calls
    assert TRACE_HEADERS & set(of_the_application.headers)
    for call in of_ours:
        assert not TRACE_HEADERS & set(call.headers)
