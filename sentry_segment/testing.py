"""For users' own tests: the messages for Segment, collected instead of sent.

    from sentry_segment.testing import capture_messages

    with capture_messages() as messages:
        client.post("/checkout")
    assert [message["userId"] for message in messages] == ["1906"]

Production knows nothing of it: while a block is open, some methods are replaced by those below.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope
from sentry_sdk.transport import Transport

from sentry_segment.delivery.worker import Worker
from sentry_segment.delivery.workers import Workers
from sentry_segment.guest.log import warn
from sentry_segment.integration import SegmentIntegration
from sentry_segment.mapping import relay
from sentry_segment.mapping.encoding import EncodingError, MessageTooLongError, encode
from sentry_segment.mapping.message import Draft, TrackMessage, parts
from sentry_segment.sdk.mirror import Mirror
from sentry_segment.sdk.transport import MirroringTransport
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


@contextmanager
def capture_messages() -> Iterator[list[TrackMessage]]:
    """Collect, while the block runs, the messages of every integration in this process.

    The list has them in the order of their captures, as Segment would get them: from any thread,
    edited by `before_track`, normalised, and cut to 32 KB. Nothing is sent to Segment, and no
    thread is started for it. An integration needs no write key for it, and its client no DSN.
    Where blocks overlap, each gets every message.

    `integration.stats` counts what is collected under `mirrored` and `delivered`;
    `integration.flush` has nothing to wait for. What was waiting before the block is sent as ever.
    Why an event was not mirrored is logged, on the logger `sentry_segment`.
    """
    messages: list[TrackMessage] = []
    _open(messages)
    try:
        yield messages
    finally:
        _close(messages)
    if not messages and Scope.get_client().get_integration(SegmentIntegration) is None:
        warn(
            "No messages for Segment: the active Sentry client has no SegmentIntegration. "
            "Have the test call sentry_sdk.init(integrations=[SegmentIntegration()]), "
            "or what calls that; it needs neither a DSN nor a write key"
        )


@contextmanager
def scopes_of_its_own(test_case: object = None) -> Iterator[None]:
    """Run the block without what others have set on Sentry's scopes, and leave nothing there.

    That is a user, and what Django's test client leaves of each request: it goes round the WSGI
    handler, in which Sentry's SDK opens a scope for it.

    `test_case` is the test's object, if it has one: from Python 3.11 on, that of a
    `unittest.IsolatedAsyncioTestCase` runs the test in a copy of the context that it made before
    any fixture.
    """
    isolation, current = Scope(ty=ScopeType.ISOLATION), Scope(ty=ScopeType.CURRENT)
    # In the oldest SDKs a scope that was forked has no such attribute.
    isolation.set_client(getattr(Scope.get_isolation_scope(), "client", None))
    current.set_client(getattr(Scope.get_current_scope(), "client", None))
    copies = [v for v in getattr(test_case, "__dict__", {}).values() if isinstance(v, Context)]
    with ExitStack() as entered:
        entered.enter_context(_scopes(isolation, current))
        for copy in copies:
            scopes = _scopes(isolation, current)
            copy.run(scopes.__enter__)
            entered.callback(copy.run, scopes.__exit__, None, None, None)
        yield


@contextmanager
def _scopes(isolation: Scope, current: Scope) -> Iterator[None]:
    with use_isolation_scope(isolation), use_scope(current):
        yield


_lock = threading.RLock()
_lists: list[list[TrackMessage]] = []  # of the open blocks
_detach: list[tuple[Any, Transport | None, Any]] = []  # client, its transport before, and since


def _open(messages: list[TrackMessage]) -> None:
    with _lock:
        _lists.append(messages)
        if len(_lists) == 1:
            _put_in_place([(owner, name, ours) for owner, name, ours, _ in _replaced])


def _close(messages: list[TrackMessage]) -> None:
    with _lock:
        # Not by `remove`, which takes lists for the same that are equal.
        _lists[:] = [each for each in _lists if each is not messages]
        if _lists:
            return
        while _detach:
            client, before, since = _detach.pop()
            if client.transport is since:  # and the client was not closed
                client.transport = before
            if type(since) is MirroringTransport:
                since._release()
        _put_in_place([(owner, name, usual) for owner, name, _, usual in _replaced])


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have held the other one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _put_in_place(functions: Sequence[tuple[type, str, Any]]) -> None:
    # Not `mock.patch`: an application's `mock.patch.stopall()` would end it, and have us send.
    for owner, name, function in functions:
        setattr(owner, name, function)


# What stands in the place of the methods


def _put(worker: Worker, message: Draft | TrackMessage) -> None:
    try:
        body = encode(message, worker.secrets)
    except EncodingError as error:
        too_long = isinstance(error, MessageTooLongError)
        worker.drop("send_error" if too_long else "internal_sdk_error")
        warn(f"A message can't be sent and was not collected: {error}")
        return
    worker.count_collected()
    for messages in _lists.copy():
        messages.append(json.loads(body))


def _resume(worker: Worker) -> None:
    """What other processes left in the spool waits until the block is over."""


def _attach(integration: SegmentIntegration, client: Any) -> None:
    """As `SegmentIntegration.attach`, without a need for a DSN or a write key."""
    with _lock:
        before = client.transport
        if not _lists or (before is None and client.options["dsn"]):
            return  # the block is over, or the client is closed
        options = integration._options
        if not options.write_key:
            bare = replace(options, spool=None)
            log = integration._log

            def idle(users: set[Hashable]) -> Worker:
                api = SegmentApi(bare, NetworkOptions())
                return _Idle(bare, api, None, log, 0.0, users, secrets=integration._secrets)

            integration._mirror.__dict__.setdefault("workers", Workers(idle))
        if before is None:
            integration._workers_for(client.options)
            client.transport = _Nowhere(client.options, integration)
        else:
            integration.watch(client)
        since = client.transport
        if before is None or (type(since) is MirroringTransport and not options.write_key):
            _detach.append((client, before, since))


def _mirror(mirror: Mirror, envelope: Envelope, sentry_link: str = "") -> None:
    _usual_mirror(mirror, envelope, sentry_link)
    event = envelope.get_event()
    reason = mirror.guarded(_why_not, mirror, event)
    if reason:
        warn(f"An event was not mirrored to Segment: {reason}")


_usual_mirror = Mirror.mirror


def _drop(mirror: Mirror, reason: Any, text: str, quiet: bool = False) -> None:
    """Says each, even the same for a second time, and that `before_track` returned `None`."""
    if mirror.workers is not None:
        mirror.workers.here().drop(reason)
    if text:
        warn(text)


def _why_not(mirror: Mirror, event: Any) -> str | None:
    if event is None or parts(event, "", mirror.visitor) is not None:
        return None
    if relay.first_exception(event.get("exception")) is None:
        return "it has no exception"
    if mirror.visitor is not None:
        return (
            "neither its user nor its visitor has an id; have sentry_sdk.set_user or "
            "sentry_segment.set_anonymous_id set one"
        )
    return "its user has no id; have sentry_sdk.set_user set one"


_replaced = (
    (Worker, "put", _put, Worker.put),
    (Worker, "resume", _resume, Worker.resume),
    (SegmentIntegration, "attach", _attach, SegmentIntegration.attach),
    (Mirror, "mirror", _mirror, _usual_mirror),
    (Mirror, "drop", _drop, Mirror.drop),
)


class _Idle(Worker):
    """The worker of an integration without a write key, which must never send anything."""

    def put(self, message: Draft | TrackMessage) -> None:
        if _lists:
            _put(self, message)


class _Nowhere(Transport):
    """In the place of the transport that a client without a DSN does not have."""

    def __init__(self, options: Any, integration: SegmentIntegration) -> None:
        super().__init__(options)
        # So production does not wrap it, should somebody put it back after the block, as pytest's
        # `monkeypatch` may.
        self.mirroring_for = integration

    def capture_envelope(self, envelope: Envelope) -> None:
        if _lists:
            self.mirroring_for._mirror.mirror(envelope)

    def flush(self, timeout: float, callback: Any = None) -> None:
        pass

    def kill(self) -> None:
        pass
