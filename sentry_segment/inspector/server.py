"""The inspector, running in a thread.

with Inspector() as inspector:
    sentry_sdk.init(
        dsn=inspector.dsn,
        integrations=[SegmentIntegration(write_key="inspector", host=inspector.url)],
    )
    ...
    inspector.store.wait_for(lambda: len(inspector.store.records) == 2)
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterable
from ipaddress import ip_address
from types import TracebackType
from typing import Any

import uvicorn

from sentry_segment.guest.silence import outside_any_request, silence
from sentry_segment.inspector.app import make_app
from sentry_segment.inspector.store import Store
from sentry_segment.options import is_loopback

DEFAULT_HOST = "127.0.0.1"
_BACKLOG = 1024  # connections that wait to be accepted, of applications with many processes
_PATIENCE = 2  # seconds for requests under way when it is stopped


class Inspector:
    """The inspector on a port of its own, from `start` to `stop` or as a context manager.

    `port=0` has the system choose one. `start` raises `OSError` where the address can't be had.
    It answers to the names of this machine, to addresses, and to `allow_hosts`; pages of this
    machine and of `allow_origins` may send to it.
    """

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int = 0,
        allow_hosts: Iterable[str] = (),
        allow_origins: Iterable[str] = (),
    ) -> None:
        self.host = host
        self.port = port
        self._names = {host.lower(), *(name.lower() for name in allow_hosts)}
        self._origins = [origin.lower() for origin in allow_origins]
        self.store = Store()
        """What has arrived."""
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Inspector:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Of the page, and the `host` of `SegmentIntegration`."""
        return f"http://{self._address}"

    @property
    def dsn(self) -> str:
        """The DSN for `sentry_sdk.init`."""
        return f"http://public@{self._address}/1"

    @property
    def only_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host)

    @property
    def _address(self) -> str:
        """One at which it can be reached: not the one that stands for all of this machine's."""
        host = self.host
        if self._socket is not None and ip_address(self._socket.getsockname()[0]).is_unspecified:
            host = "::1" if self._socket.family == socket.AF_INET6 else "127.0.0.1"
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def start(self) -> None:
        """Listen. Once it returns, requests are answered."""
        self._socket = _listen(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            make_app(self.store, self._names, self._origins),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2 * _PATIENCE,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="sentry_segment.inspector",
            daemon=True,
        )
        outside_any_request(self._thread.start)
        self._server.is_decided.wait()

    def stop(self) -> None:
        """Close the port and every connection, and wait until that is done."""
        if self._server is None or self._thread is None or self._socket is None:
            return
        self._server.should_exit = True
        self.store.close()  # ends the streams
        self._thread.join()
        self._socket.close()
        self._server = self._thread = self._socket = None


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    # With its protocol named, which `create_server` leaves at 0: asyncio sets TCP_NODELAY for
    # connections of IPPROTO_TCP alone. Without it each answer waits 40 ms for the client's
    # delayed acknowledgement of its head.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, made.detach())


class _Server(uvicorn.Server):
    """Says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_decided = threading.Event()
        """Whether it is up: if not, it has failed."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        # In silence: where it runs in the application that it looks at, the SDK would report the
        # inspector's own requests to the inspector, and so on without end.
        with silence():
            try:
                super().run(sockets)
            finally:
                self.is_decided.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # In the next round of the loop, when it has looked whether it should exit already.
        asyncio.get_running_loop().call_soon(self.is_decided.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before uvicorn would cancel the requests that are left, with a traceback for each.
        asyncio.get_running_loop().call_later(_PATIENCE, self._cut_off)
        await super().shutdown(sockets)

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            transport: Any = connection.transport
            transport.abort()
