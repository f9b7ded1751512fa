"""The recipes on the page on metrics run, and tell what the stats say."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from collector import PATIENCE, Collector, Reply
from pages import BLOCKS, ROOT
from sentry_segment import SegmentIntegration, Stats
from sentry_segment.stats import DROP_REASONS
from support import Init, capture

PAGE = ROOT / "docs" / "metrics.md"


def code(heading: str) -> str:
    [block] = [
        each.text
        for each in BLOCKS
        if each.page == PAGE and each.heading == heading and each.language == "python"
    ]
    return block


def recipe(heading: str, segment: object) -> dict[str, Any]:
    names: dict[str, Any] = {"segment": segment}
    exec(compile(code(heading), "recipe", "exec"), names)
    return names


@pytest.fixture
def segment(collector: Collector, init: Init) -> SegmentIntegration:
    """With something in each counter that can have it without a fault of ours."""
    dropping: list[str] = []
    made = init(segment={"before_track": lambda message, event: None if dropping else message})
    answers = [Reply(503), Reply(200), Reply(400)]
    collector.answer = lambda call: answers.pop(0) if answers else Reply()
    for _ in range(3):
        capture()
        assert made.flush(PATIENCE)
    dropping.append("from now on")
    capture()
    stats = made.stats
    assert (stats.mirrored, stats.delivered, stats.retries, stats.requests) == (3, 2, 1, 4)
    assert (stats.dropped["send_error"], stats.dropped["before_track"]) == (1, 1)
    return made


FIELDS = {
    "mirrored": "segment_mirrored_total",
    "recovered": "segment_recovered_total",
    "delivered": "segment_delivered_total",
    "requests": "segment_requests_total",
    "retries": "segment_retries_total",
    "bytes_sent": "segment_sent_bytes_total",
    "queued": "segment_queued",
    "spooled": "segment_spooled",
    "oldest_age": "segment_oldest_age_seconds",
    "last_delivery": "segment_last_delivery_timestamp_seconds",
}


def test_the_recipes_tell_all_numbers_of_the_stats() -> None:
    assert {*FIELDS, "dropped", "last_error"} == set(Stats.__dataclass_fields__)


def expected(stats: Stats) -> dict[str, float]:
    found = {name: float(getattr(stats, field) or 0) for field, name in FIELDS.items()}
    for reason, messages in stats.dropped.items():
        found[f'segment_dropped_total{{reason="{reason}"}}'] = messages
    return found


def scraped(text: str) -> dict[str, float]:
    lines = re.findall(r"^(segment_\w+(?:\{.*\})?) (.*)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines if not name.endswith("_created")}


# Prometheus


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    made = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", made)
    return made


def test_a_scrape_reads_the_stats(registry: CollectorRegistry, segment: SegmentIntegration) -> None:
    recipe("Prometheus", segment)
    assert scraped(generate_latest(registry).decode()) == expected(segment.stats)
    capture()
    assert segment.flush(PATIENCE)
    assert scraped(generate_latest(registry).decode()) == expected(segment.stats)


def test_a_scrape_works_before_the_first_message(registry: CollectorRegistry, init: Init) -> None:
    recipe("Prometheus", init())
    assert set(scraped(generate_latest(registry).decode()).values()) == {0.0}


WORKER = """
import sys, sentry_sdk
from sentry_segment import SegmentIntegration
exec(compile(sys.argv[1], "recipe", "exec"))
EVERY = 0.05
segment = SegmentIntegration("key", host=sys.argv[2])
sentry_sdk.init(dsn=sys.argv[3], integrations=[segment])
stop = begin_metrics(segment)
sentry_sdk.set_user({"id": "u1"})
for _ in range(int(sys.argv[4])):
    sentry_sdk.capture_exception(ValueError())
segment.flush(30)
while COUNTERS["delivered"]._value.get() < segment.stats.delivered:
    stop.wait(0.05)
print("copied", flush=True)
sys.stdin.read()
"""


def test_the_workers_of_a_service_are_added_up(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    arguments = [sys.executable, "-c", WORKER, code("Several processes"), collector.url]
    workers = [
        subprocess.Popen(
            [*arguments, collector.dsn, str(errors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for errors in (2, 3)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "copied\n"
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        found = scraped(generate_latest(registry).decode())
    finally:
        for worker in workers:
            worker.communicate(timeout=PATIENCE)
    assert (found["segment_mirrored_total"], found["segment_delivered_total"]) == (5, 5)
    sent = sum(call.raw_size for call in collector.calls)
    assert found["segment_sent_bytes_total"] == sent
    assert found["segment_requests_total"] == len(collector.calls)
    assert found["segment_last_delivery_timestamp_seconds"] > 1_000_000_000
    assert set(found) == set(expected(Stats()))


# OpenTelemetry


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    made = InMemoryMetricReader()
    provider = MeterProvider([made])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield made
    provider.shutdown()


def test_the_instruments_of_opentelemetry_observe_the_stats(
    reader: InMemoryMetricReader, segment: SegmentIntegration
) -> None:
    recipe("OpenTelemetry", segment)
    data = reader.get_metrics_data()
    assert data is not None
    found = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            reason = (point.attributes or {}).get("reason")
            value = point.value  # type: ignore[union-attr]  # there are no histograms
            found[f"{metric.name} {reason}" if reason else metric.name] = value
    stats = segment.stats
    named = {"bytes_sent": "sent"}
    assert found == {
        **{f"segment.{named.get(field, field)}": getattr(stats, field) or 0 for field in FIELDS},
        **{f"segment.dropped {reason}": stats.dropped[reason] for reason in DROP_REASONS},
    }


# StatsD


def test_statsd_is_sent_what_was_counted_since_the_last_time(segment: SegmentIntegration) -> None:
    names = recipe("StatsD", segment)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(PATIENCE)
        stop = RuntimeError("that is enough")
        waits = 0

        class Event:
            def wait(self, seconds: float) -> None:
                nonlocal waits
                waits += 1
                if waits == 2:
                    raise stop
                capture()  # which the hook drops

        names["threading"] = type("threading", (), {"Event": Event})
        with pytest.raises(RuntimeError):
            names["send_for_ever"](segment, agent.getsockname(), 10.0)
        first, second = (agent.recv(65_536).decode().splitlines() for _ in range(2))
    assert "segment.delivered:2|c" in first
    assert "segment.dropped.send_error:1|c" in first
    assert "segment.delivered:0|c" in second
    assert "segment.dropped.before_track:1|c" in second
    assert "segment.dropped.send_error:0|c" in second
    assert all(re.fullmatch(r"segment\.[\w.]+:[\d.]+\|[cg]", line) for line in first + second)


def test_the_thread_for_statsd_sends(segment: SegmentIntegration) -> None:
    names = recipe("StatsD", segment)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(PATIENCE)
        names["begin_statsd"](segment, agent.getsockname(), 1_000_000.0)
        assert agent.recv(65_536).startswith(b"segment.mirrored:3|c\n")


# Alerts


def rules() -> list[dict[str, Any]]:
    [text] = [each.text for each in BLOCKS if each.page == PAGE and each.language == "yaml"]
    [group] = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_the_alerts_are_of_metrics_that_there_are() -> None:
    told = set(expected(Stats()))
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "annotations"}
        used = re.findall(r'segment_\w+(?:\{reason="\w+"\})?', rule["expr"])
        assert used
        assert set(used) <= told, rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_there_is_an_alert_for_whatever_can_go_wrong() -> None:
    text = " ".join(rule["expr"] for rule in rules())
    for_graphs = re.findall(r"`(segment_\w+)`", PAGE.read_text().rsplit("```", 1)[1])
    missing = [name for name in expected(Stats()) if name not in text]
    assert sorted(missing) == sorted(for_graphs)
