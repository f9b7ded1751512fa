"""A way to Segment that can be broken: directly or through proxies, in any way and anywhere."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pytest
from sentry_sdk.transport import Transport

from collector import HOST, Takeover
from faults import OK, fault, in_turn, reset, silent
from proxy import Proxy, SocksProxy, TlsCollector, Wire
from sentry_segment import SegmentIntegration
from sqlite_spools import wait_until

resource = pytest.importorskip("resource", reason="descriptors are not limited here")


SEGMENT, PROXY = "segment.test", "proxy.test"


class Nowhere(Transport):
    """Sentry's transport, where only Segment's is looked at."""

    def capture_envelope(self, envelope: Any) -> None:
        pass


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
    """The open descriptors but for files', which a thread of an earlier test may just have open;
    and what each stands for."""
    found = {}
    for number in range(512):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
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


Mirror = Callable[..., SegmentIntegration]
