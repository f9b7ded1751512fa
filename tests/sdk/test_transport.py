"""The watched transport: which ones are watched, what of an event is mirrored, and what Sentry
receives."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import sentry_sdk.transport
from sentry_sdk.crons import capture_checkin
from sentry_sdk.scope import Scope, add_global_event_processor, global_event_processors
from sentry_sdk.transport import HttpTransport, Transport

from clients import OTHER_KEY, keys_by_user
from collector import Collector
from support import WRITE_KEY, Init, capture

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


class RecordingTransport(Transport):
    """Keeps what it is handed, and what is asked of it."""

    marker = "recording"

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []
        self.asked: list[tuple[Any, ...]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)

    def flush(self, timeout: float, callback: Any = None) -> None:
        self.asked.append(("flush", timeout, callback))

    def kill(self) -> None:
        self.asked.append(("kill",))

    def record_lost_event(self, reason: str, *args: Any, **kwargs: Any) -> None:
        self.asked.append(("record_lost_event", reason))

    def is_healthy(self) -> bool:
        self.asked.append(("is_healthy",))
        return False


@pytest.fixture
def processors() -> Iterator[list[Any]]:
    """The SDK's global event processors, put back as they were after the test."""
    kept = list(global_event_processors)
    yield global_event_processors
    global_event_processors[:] = kept


# Which transports


def test_a_transport_given_as_an_instance_is_watched(collector: Collector, init: Init) -> None:
    transport = RecordingTransport()
    init(transport=transport)
    event_id = capture()
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in transport.events] == [event_id]


def test_a_transport_given_as_a_class_is_watched(collector: Collector, init: Init) -> None:
    init(transport=RecordingTransport)
    event_id = capture()
    [message] = collector.wait_for_messages(1)
    transport: Any = sentry_sdk.get_client().transport
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in transport.events] == [event_id]


def test_a_transport_given_as_a_function_is_watched(collector: Collector, init: Init) -> None:
    events: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer SDKs
        init(transport=events.append)
        event_id = capture()
    [message] = collector.wait_for_messages(1)
    assert message["messageId"] == event_id
    assert [event["event_id"] for event in events] == [event_id]


def test_an_instance_shared_by_two_clients_mirrors_each_event_to_its_clients_key(
    collector: Collector, init: Init
) -> None:
    transport = RecordingTransport()
    init(transport=transport)
    capture(id="first")
    init(transport=transport, segment={"write_key": OTHER_KEY})
    capture(id="second")
    collector.wait_for_messages(2)
    assert keys_by_user(collector) == {"first": WRITE_KEY, "second": OTHER_KEY}
    assert len(collector.messages) == len(transport.events) == 2


def test_a_transport_taken_from_another_client_mirrors_to_the_new_clients_key_too(
    collector: Collector, init: Init
) -> None:
    init()
    capture(id="first")
    integration = init(
        transport=sentry_sdk.get_client().transport, segment={"write_key": OTHER_KEY}
    )
    capture(id="second")
    assert integration.flush(10.0)
    assert integration.stats.delivered == 1
    sent = [(call.write_key, each["userId"]) for call in collector.calls for each in call.messages]
    assert (OTHER_KEY, "second") in sent


def test_with_envelopes_printed_errors_are_mirrored_once(
    collector: Collector, init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_PRINT_ENVELOPES", "1")
    integration = init()
    event_id = capture()
    sentry_sdk.flush(10.0)
    assert integration.flush(10.0)
    assert [message["messageId"] for message in collector.messages] == [event_id]
    assert [event["event_id"] for event in collector.events] == [event_id]
    assert isinstance(sentry_sdk.get_client().transport, HttpTransport)


def test_the_watched_transport_is_an_instance_of_its_own_class(init: Init) -> None:
    init()
    capture()
    transport: Any = sentry_sdk.get_client().transport
    assert isinstance(transport, HttpTransport)
    assert transport.__class__ is HttpTransport


def test_what_the_watched_transport_has_beside_is_its_own(init: Init) -> None:
    inner = RecordingTransport()
    init(transport=inner)
    capture()
    transport: Any = sentry_sdk.get_client().transport
    assert transport is not inner  # it is watched
    assert transport.marker == "recording"
    assert transport.asked is inner.asked
    assert transport.parsed_dsn is inner.parsed_dsn
    with pytest.raises(AttributeError, match="no_such"):
        _ = transport.no_such


def test_the_sdks_own_worker_is_still_found_on_the_transport(init: Init) -> None:
    """Applications and the SDK's own tests look at the depth of its queue."""
    init()
    bare: Any = sentry_sdk.get_client().transport
    worker = bare._worker
    capture()
    watched: Any = sentry_sdk.get_client().transport
    assert watched is not bare
    assert watched._worker is worker


def test_what_is_asked_of_the_transport_reaches_it(init: Init) -> None:
    def progress(pending: int, timeout: float) -> None: ...

    inner = RecordingTransport()
    init(transport=inner, sample_rate=0.0)
    sentry_sdk.capture_exception(ValueError())
    client = sentry_sdk.get_client()
    assert client.transport is not None
    assert client.transport is not inner
    assert client.transport.is_healthy() is False
    client.flush(timeout=1.5, callback=progress)
    client.close(timeout=2.5)
    asked = [call for call in inner.asked if call[:2] != ("record_lost_event", "event_processor")]
    assert asked == [
        ("record_lost_event", "sample_rate"),
        ("is_healthy",),
        ("flush", 1.5, progress),
        ("flush", 2.5, None),
        ("kill",),
    ]


# What of an event


def test_what_event_processors_before_and_after_ours_edit_is_mirrored_edited(
    collector: Collector, init: Init, processors: list[Any]
) -> None:
    def name_the_user(event: Any, hint: Any) -> Any:
        event["user"] = {"id": "named"}
        return event

    def name_the_release(event: Any, hint: Any) -> Any:
        event["release"] = f"of {event['user']['id']}"
        return event

    processors.insert(0, name_the_user)
    init()
    add_global_event_processor(name_the_release)
    capture(id="replaced")
    [message] = collector.wait_for_messages(1)
    assert (message["userId"], message["properties"]["release"]) == ("named", "of named")


@pytest.mark.parametrize("place", ["before", "after"])
def test_what_an_event_processor_drops_is_not_mirrored(
    init: Init, processors: list[Any], place: str
) -> None:
    def drop(event: Any, hint: Any) -> None:
        return None

    integration = init()
    processors.insert(0 if place == "before" else len(processors), drop)
    with sentry_sdk.new_scope() as scope:
        scope.set_user({"id": "u1"})
        sentry_sdk.capture_exception(ValueError())
    assert integration.stats.mirrored == 0


# What Sentry receives


def test_sentry_receives_the_same_envelopes_as_without_the_integration(
    collector: Collector, init: Init
) -> None:
    options: dict[str, Any] = {"release": "1.0", "traces_sample_rate": 1.0}
    sentry_sdk.init(dsn=collector.dsn, **options)
    _capture_all_kinds()
    sentry_sdk.get_client().close(timeout=10.0)
    without = collector.envelopes
    integration = init(**options)
    _capture_all_kinds()
    sentry_sdk.flush(10.0)
    with_it = collector.envelopes[len(without) :]

    assert integration.stats.mirrored == 3
    assert len(without) == 6
    assert [_comparable(each) for each in with_it] == [_comparable(each) for each in without]
    assert b'"segment"' in with_it[0]
    assert b'"segment"' not in without[0]


def _capture_all_kinds() -> None:
    with sentry_sdk.isolation_scope():  # without a local variable, which the frames would show
        sentry_sdk.set_user({"id": "u1", "email": "someone@example.com"})
        sentry_sdk.set_tag("shop", "berlin")
        try:
            raise ValueError("plain")
        except ValueError as error:
            sentry_sdk.capture_exception(error)
        try:
            try:
                raise KeyError("the cause")
            except KeyError as error:
                raise RuntimeError("chained") from error
        except RuntimeError as error:
            sentry_sdk.capture_exception(error)
        sentry_sdk.capture_message("just so", level="warning")
        with (
            sentry_sdk.start_transaction(name="checkout", op="task"),
            sentry_sdk.start_span(op="pay"),
        ):
            pass
        capture_checkin(monitor_slug="nightly", status="ok", duration=1.5)
        sentry_sdk.add_breadcrumb(category="cart", message="added", data={"sku": 7})
        Scope.get_isolation_scope().add_attachment(bytes=b"\x00\xff attached", filename="cart.bin")
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            sentry_sdk.capture_exception(error)


_OF_EACH_RUN = {
    "check_in_id",
    "event_id",
    "length",  # of a payload with one more name in sdk.integrations
    "parent_span_id",
    "sample_rand",
    "sent_at",
    "span_id",
    "start_timestamp",
    "timestamp",
    "trace_id",
}


def _comparable(envelope: bytes) -> list[str | bytes]:
    """An envelope's lines without what is another in each run; JSON with its order kept."""
    return [_comparable_line(line) for line in envelope.split(b"\n")]


def _comparable_line(line: bytes) -> str | bytes:
    try:
        return json.dumps(_without_run(json.loads(line)))
    except ValueError:
        return line


def _without_run(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "..." if key in _OF_EACH_RUN else _without_run(part) for key, part in value.items()
        }
    if isinstance(value, list):
        # The integration's own name, in sdk.integrations.
        return [_without_run(part) for part in value if part != "segment"]
    return value
