"""A connection that breaks, in whatever way and wherever, is replaced: the next try delivers."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from queue import SimpleQueue
from typing import Any, ClassVar

import httpx
import pytest
import sentry_sdk
import trustme
from sentry_sdk.transport import Transport

from collector import HOST, Collector, Takeover
from faults import OK, dripping, fault, in_turn, reset, silent
from proxy import Proxy, SocksProxy, TlsCollector, Wire, server_context
from sentry_segment import SegmentIntegration
from sentry_segment.guest.log import describe
from sentry_segment.wire.api import SegmentApi
from sentry_segment.wire.network import NetworkOptions
from sentry_segment.wire.verdict import Outcome
from spools import wait_until
from support import Init, capture, some
from virtual import options

resource = pytest.importorskip("resource", reason="descriptors are not limited here")

SEGMENT, PROXY = "segment.test", "proxy.test"


class Nowhere(Transport):
    """Sentry's transport, where only Segment's is looked at."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


# What the tests stand on: names, descriptors, and a way to Segment that can be broken


class Names:
    """Resolves the names of the tests, and fails to on command."""

    def __init__(self) -> None:
        self.unknown: str | None = None
        """Is not found the next time."""
        self._look_up = socket.getaddrinfo

    def getaddrinfo(self, host: Any, *args: Any, **named: Any) -> Any:
        if host == self.unknown:
            self.unknown = None
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._look_up(HOST if host in (SEGMENT, PROXY) else host, *args, **named)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("ca") / "ca.pem")
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module")
def contexts(ca: trustme.CA) -> dict[str, ssl.SSLContext]:
    """Of a server by its name, and of one whose certificate nobody trusts."""
    return {
        SEGMENT: server_context(ca, SEGMENT),
        PROXY: server_context(ca, PROXY),
        "wrong": server_context(trustme.CA(), SEGMENT),
    }


@dataclass
class Way:
    """A way to Segment: client, `front`, perhaps a proxy and `back`, Segment."""

    segment: TlsCollector
    proxy: Proxy | SocksProxy | None
    front: Wire
    """Before whatever the client connects to."""
    back: Wire
    """Before Segment; without a proxy the same."""
    proxy_url: str | None
    names: Names
    untrusted: ssl.SSLContext

    @property
    def host(self) -> str:
        return f"https://{SEGMENT}:{self.back.port}"


@contextlib.contextmanager
def way(route: str, names: Names, contexts: dict[str, ssl.SSLContext]) -> Iterator[Way]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        segment = TlsCollector(contexts[SEGMENT])
        enter(segment)
        back = enter(Wire(segment.port))
        if route == "direct":
            yield Way(segment, None, back, back, None, names, contexts["wrong"])
            return
        proxy: Proxy | SocksProxy
        if route == "socks5":
            proxy = enter(SocksProxy())
        else:
            proxy = enter(Proxy(contexts[PROXY] if route == "https" else None))
        front = enter(Wire(int(proxy.netloc.rpartition(":")[2])))
        url = f"{route}://{PROXY}:{front.port}"
        yield Way(segment, proxy, front, back, url, names, contexts["wrong"])


def descriptors() -> dict[int, tuple[int, int]]:
    """The open descriptors, and what each stands for."""
    found = {}
    for number in range(512):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            found[number] = status.st_dev, status.st_ino
    return found


def descriptor_of(connection: socket.socket) -> int:
    """The descriptor, in this process, of the other end of a connection."""
    names = connection.getpeername(), connection.getsockname()
    for number in descriptors():
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            with socket.socket(fileno=os.dup(number)) as found, contextlib.suppress(OSError):
                if (found.getsockname(), found.getpeername()) == names:
                    return number
    raise AssertionError("this process has no such descriptor")


def mirror_reads() -> bool:
    """Whether the mirror's thread has written what it had to, and waits for an answer."""
    thread = [each for each in threading.enumerate() if each.name == "sentry-segment"][-1]
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_name not in ("read_in_time", "do_handshake"):
        frame = frame.f_back
    return frame is not None


class Thief:
    """Takes the descriptor of a connection, and gives its number to a socket of its own."""

    def __init__(self) -> None:
        self.number = -1
        self._mine, self.other_end = socket.socketpair()
        for end in (self._mine, self.other_end):
            end.setblocking(False)

    def take(self, connection: socket.socket) -> None:
        """From the other end of this connection."""
        self.number = descriptor_of(connection)
        os.dup2(self._mine.fileno(), self.number)

    def __call__(self, connection: socket.socket, closing: threading.Event) -> None:
        # Before, the mirror may be between its look at the descriptor and a write.
        wait_until(mirror_reads)
        self.take(connection)
        silent(connection, closing)

    def look(self) -> None:
        """Nobody has written to what is now another's, read from it or closed it."""
        os.write(self.number, b"mine")
        assert self.other_end.recv(100) == b"mine"
        self.other_end.send(b"still")
        assert os.read(self.number, 100) == b"still"
        os.close(self.number)

    def close(self) -> None:
        self._mine.close()
        self.other_end.close()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Whoever wants to open something has too many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # those that are open stay so
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# The faults. Each is given the way and the wire on it that breaks, and may be undone by what it
# yields to, once the first try has failed.

Break = Callable[["Way", Wire, bool], contextlib.AbstractContextManager[None]]


def closed(connection: socket.socket, closing: threading.Event) -> None:
    """The connection ends in good order: what has come is read first."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        connection.recv(65_536)


def saying(answer: bytes) -> Takeover:
    def say(connection: socket.socket, closing: threading.Event) -> None:
        closed(connection, closing)
        connection.sendall(answer)

    return say


GARBAGE = b"\x00\xff\xfe no protocol of this world\r\n\r\n" * 20
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal: handshake_failure (RFC 5246, section 7.2)


def breaks(takeover: Takeover) -> Break:
    @contextlib.contextmanager
    def break_it(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
        (wire.break_open if is_open else wire.break_next)(takeover)
        yield

    return break_it


@contextlib.contextmanager
def refused(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    wire.break_open(closed)
    wire.refuse()
    yield
    wire.mend()


@contextlib.contextmanager
def wrong_certificate(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    def show(connection: socket.socket, closing: threading.Event) -> None:
        way.untrusted.wrap_socket(connection, server_side=True).close()

    wire.break_open(closed)
    wire.break_next(show)
    yield


@contextlib.contextmanager
def closed_within_the_answer(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    proxy = way.proxy
    if wire is way.back or proxy is None:
        way.segment.answer = in_turn(fault(OK + b"Content-Le"))
        yield
        return

    def half(connection: socket.socket, closing: threading.Event) -> None:
        proxy.instead_of_tunnel = None
        connection.sendall(b"\x05\x00" if isinstance(proxy, SocksProxy) else b"HTTP/1.1 20")

    proxy.instead_of_tunnel = half
    yield


@contextlib.contextmanager
def descriptor_closed(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    def close(connection: socket.socket, closing: threading.Event) -> None:
        os.close(descriptor_of(connection))
        silent(connection, closing)

    with breaks(close)(way, wire, is_open):
        yield


@contextlib.contextmanager
def descriptor_taken(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    thief = Thief()
    with breaks(thief)(way, wire, is_open):
        yield
    thief.look()
    thief.close()


@contextlib.contextmanager
def too_many_open_files(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    wire.break_open(closed)
    with no_descriptors():
        yield


@contextlib.contextmanager
def name_not_found(way: Way, wire: Wire, is_open: bool) -> Iterator[None]:
    wire.break_open(closed)
    way.names.unknown = SEGMENT if wire is way.back else PROXY
    yield


class Fault:
    """How something breaks, and what the error then says: at the client's end, and behind it."""

    # For what lasts until the client has had enough. On a busy machine, a good exchange takes long.
    TIMEOUT: ClassVar[float] = 1.0

    def __init__(self, how: Break, says: str, lasts: bool = False) -> None:
        self.how, self.says = how, says
        self.timeout = self.TIMEOUT if lasts else 10.0


CUT = r"disconnected|EOF|closed|reset|Malformed"
FAULTS = {
    "refused": Fault(refused, f"refused|502|unreachable|{CUT}"),
    "reset": Fault(breaks(reset), CUT),
    "closed": Fault(breaks(closed), CUT),
    "stalled": Fault(breaks(silent), "timed out|timeout", lasts=True),
    "garbage": Fault(breaks(saying(GARBAGE)), rf"illegal|WRONG_VERSION|RECORD|{CUT}"),
    "wrong certificate": Fault(wrong_certificate, rf"CERTIFICATE_VERIFY_FAILED|{CUT}"),
    "TLS alert": Fault(breaks(saying(ALERT)), rf"ALERT|RECORD|{CUT}"),
    "closed within the answer": Fault(closed_within_the_answer, CUT),
    "descriptor closed": Fault(
        descriptor_closed, f"timed out|timeout|descriptor|{CUT}", lasts=True
    ),
    "descriptor taken": Fault(descriptor_taken, "timed out|timeout|descriptor", lasts=True),
    "too many open files": Fault(too_many_open_files, f"Too many open files|{CUT}"),
    "name not found": Fault(name_not_found, f"not known|502|unreachable|{CUT}"),
}
ROUTES = ["direct", "http", "https", "socks5"]
PLACES = ["at the front", "behind the proxy"]
TIMES = ["before the first message", "on an idle connection"]

OF_THE_CLIENT = ("descriptor closed", "descriptor taken", "too many open files")
OF_TLS = ("wrong certificate", "TLS alert")


def why_not(route: str, place: str, name: str, when: str) -> str:
    """Why a cell makes no sense; else empty."""
    if place == "behind the proxy":
        if route == "direct":
            return "there is no proxy"
        if name in OF_THE_CLIENT:
            return "the descriptors are those of this process, wherever the connection leads"
        return ""
    if name in OF_TLS and route in ("http", "socks5"):
        return "no TLS is spoken with that proxy"
    if name == "closed within the answer" and route != "direct" and when == TIMES[1]:
        return "the proxy has answered when the connection was opened"
    return ""


CELLS = [
    pytest.param(*cell, id=", ".join(cell))
    for cell in product(ROUTES, PLACES, FAULTS, TIMES)
    if not why_not(*cell)
]


@pytest.fixture
def problems() -> Iterator[SimpleQueue[str]]:
    lines: SimpleQueue[str] = SimpleQueue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("sentry_segment")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def mirror(
    init: Init, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SegmentIntegration]:
    """`mirror(way, timeout)`: the SDK on that way to Segment, with short backoffs."""
    monkeypatch.setattr(random, "random", lambda: 0.0005)

    def start(way: Way, timeout: float = 10.0) -> SegmentIntegration:
        return init(
            transport=Nowhere,
            auto_enabling_integrations=False,  # a look for each takes its time
            ca_certs=ca_file,
            https_proxy=way.proxy_url,
            segment={"host": way.host, "timeout": timeout},
        )

    return start


Mirror = Callable[..., SegmentIntegration]


@pytest.fixture
def end_mirror() -> Callable[[], None]:
    """`end_mirror()`: closes the client, and waits for the end of the mirror's thread."""
    before = set(threading.enumerate())  # of other tests, which may still try

    def end() -> None:
        sentry_sdk.get_client().close(timeout=2.0)
        for thread in set(threading.enumerate()) - before:
            if thread.name == "sentry-segment":
                thread.join(30.0)
                assert not thread.is_alive()

    return end


@some
@pytest.mark.parametrize(("route", "place", "name", "when"), CELLS)
def test_whatever_broke_the_next_try_delivers(
    route: str,
    place: str,
    name: str,
    when: str,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    problems: SimpleQueue[str],
    end_mirror: Callable[[], None],
) -> None:
    broken = FAULTS[name]
    before = descriptors()
    captured = []
    with way(route, names, contexts) as there:
        integration = mirror(there, broken.timeout)
        is_open = when == TIMES[1]
        if is_open:
            captured.append(capture())
            assert integration.flush(30.0)
        wire = there.front if place == "at the front" else there.back
        with broken.how(there, wire, is_open):
            captured.append(capture())
            assert "could not take" in problems.get(timeout=30.0)
        captured.append(capture())
        assert integration.flush(30.0)

        stats = integration.stats
        assert (stats.mirrored, stats.delivered, stats.queued) == (len(captured),) * 2 + (0,)
        assert sum(stats.dropped.values()) == 0
        assert stats.retries >= 1
        assert re.fullmatch(rf"\w+: .*({broken.says}).*", stats.last_error or "")
        received = [message["messageId"] for message in there.segment.messages]
        if broken.timeout == Fault.TIMEOUT:
            # Where a good exchange was longer than that, a message came again, or after others.
            assert set(received) == set(captured)
        else:
            assert received == captured
        end_mirror()
    assert not descriptors().items() - before.items()


@pytest.mark.parametrize("how", ["closed", "taken"])
def test_a_descriptor_that_was_lost_while_nothing_was_sent_costs_no_try(
    how: str,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    end_mirror: Callable[[], None],
) -> None:
    with way("direct", names, contexts) as there:
        integration = mirror(there)
        captured = [capture()]
        assert integration.flush(30.0)
        thief = Thief()
        if how == "closed":
            os.close(descriptor_of(there.front.open[-1]))
        else:
            thief.take(there.front.open[-1])
        captured.append(capture())
        assert integration.flush(30.0)
        assert (integration.stats.retries, integration.stats.last_error) == (0, None)
        assert [message["messageId"] for message in there.segment.messages] == captured
        if how == "taken":
            thief.look()
        thief.close()
        end_mirror()


def test_a_forked_child_closes_no_descriptor_that_is_anothers_by_now(
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    end_mirror: Callable[[], None],
) -> None:
    with way("direct", names, contexts) as there:
        integration = mirror(there)
        capture()
        assert integration.flush(30.0)
        thief = Thief()
        thief.take(there.front.open[-1])
        child = os.fork()
        if child == 0:
            try:
                os.write(thief.number, b"of the child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert thief.other_end.recv(100) == b"of the child"
        thief.look()
        thief.close()
        end_mirror()


@pytest.mark.parametrize("is_open", [False, True])
def test_the_limit_of_time_holds_for_a_record_that_drips_within_an_https_proxys_tls(
    is_open: bool,
    names: Names,
    contexts: dict[str, ssl.SSLContext],
    mirror: Mirror,
    problems: SimpleQueue[str],
    end_mirror: Callable[[], None],
) -> None:
    def drip(connection: socket.socket, closing: threading.Event) -> None:
        closed(connection, closing)
        kind = 23 if is_open else 22  # application data, handshake (RFC 8446, section 5.1)
        connection.sendall(bytes([kind, 3, 3]) + (16_000).to_bytes(2, "big"))
        dripping(b"\0")(connection, closing)

    with way("https", names, contexts) as there:
        integration = mirror(there, Fault.TIMEOUT)
        if is_open:
            capture()
            assert integration.flush(30.0)
        (there.back.break_open if is_open else there.back.break_next)(drip)
        capture()
        assert "Timeout: " in problems.get(timeout=10.0)
        assert integration.flush(30.0)
        end_mirror()


@pytest.mark.parametrize("kind", [httpx.Client, socket.socket])
def test_a_close_that_fails_is_harmless(
    kind: type, segment: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment.answer = in_turn(fault())
    api = SegmentApi(options(segment), NetworkOptions())
    close = kind.close  # type: ignore[attr-defined]

    def fail(self: Any) -> None:
        close(self)
        if threading.current_thread() is threading.main_thread():  # and not the server's
            raise OSError("a fault in the close")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "close", fail)
        verdicts = [api.send([b'{"messageId": "1"}'], 0, 10.0) for _ in range(2)]
        api.close()
    assert [verdict.outcome for verdict in verdicts] == [Outcome.RETRY, Outcome.DELIVERED]
    assert "disconnected" in verdicts[0].error


# What an error says


class MuteError(Exception):
    """An error without a text."""


def caused(error: Exception, cause: Exception | None, context: Exception | None) -> Exception:
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("its own"), "ValueError: its own"),
        (caused(MuteError(), OSError("its cause"), ValueError("context")), "MuteError: its cause"),
        (caused(MuteError(" "), None, ValueError("context")), "MuteError: context"),
        (caused(MuteError(), MuteError(), None), "MuteError: it has no text"),
        (MuteError(), "MuteError: it has no text"),
    ],
)
def test_an_error_without_a_text_is_told_by_its_cause(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_causes_that_go_round_in_a_circle_have_an_end() -> None:
    first, second = MuteError(), MuteError()
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "MuteError: it has no text"
