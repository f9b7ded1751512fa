"""The link from a message to its event in Sentry."""

from __future__ import annotations

import pytest
import sentry_sdk

from collector import Collector
from sentry_segment import SegmentIntegration
from support import WRITE_KEY, Init, capture


@pytest.mark.parametrize(
    ("sentry_url", "base"),
    [
        ("https://acme.sentry.io", "https://acme.sentry.io"),
        ("https://acme.sentry.io/", "https://acme.sentry.io"),
        (
            "https://sentry.example.com/organizations/acme/",
            "https://sentry.example.com/organizations/acme",
        ),
    ],
)
@pytest.mark.parametrize("hook", [None, lambda message, event: message])
def test_a_message_links_to_a_search_for_its_event_in_its_project(
    collector: Collector, init: Init, sentry_url: str, base: str, hook: object
) -> None:
    init(segment={"sentry_url": sentry_url, "before_track": hook})
    event_id = capture()
    sentry_sdk.flush(10.0)
    [message] = collector.wait_for_messages(1)
    project = sentry_sdk.get_client().dsn.rpartition("/")[2]  # type: ignore[union-attr]
    expected = f"{base}/issues/?project={project}&query={event_id}"
    assert message["properties"]["sentryUrl"] == expected


def test_without_the_option_there_is_no_such_field(collector: Collector, init: Init) -> None:
    init()
    capture()
    sentry_sdk.flush(10.0)
    [message] = collector.wait_for_messages(1)
    assert "sentryUrl" not in message["properties"]


def test_of_several_clients_each_links_to_its_own_project(collector: Collector) -> None:
    integration = SegmentIntegration(
        WRITE_KEY, host=collector.url, sentry_url="https://acme.sentry.io"
    )
    projects = {}
    host = collector.url.removeprefix("http://")
    for project in ("7", "8"):
        sentry_sdk.init(f"http://public@{host}/{project}", integrations=[integration])
        projects[capture()] = project
    assert integration.flush(10.0)
    messages = collector.wait_for_messages(2)
    links = {m["messageId"]: m["properties"]["sentryUrl"] for m in messages}
    assert links == {
        event_id: f"https://acme.sentry.io/issues/?project={project}&query={event_id}"
        for event_id, project in projects.items()
    }
