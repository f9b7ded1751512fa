"""A connection to Redis: made when it is used, followed to where the keys are, and what it lacks.

It is redis-py's connection, below its client: so no instrumentation of that shows the mirror's
commands as the application's, and a command has no wait but its own.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sentry_segment.guest.clock import monotonic
from sentry_segment.guest.foreign import from_signal_handler
from sentry_segment.guest.forks import OwnProcess
from sentry_segment.spool.contract import SpoolError, SpoolFullError
from sentry_segment.spool.redis_scripts import TAG, Script

WAIT = 1.0  # seconds: for a call as a whole; twice as long for one that has to connect first
RULES = "+@read +@write +@scripting +time ~{sentry-segment}:*"
"""What a user must be allowed, as `ACL SETUSER` takes it."""

_MOST_MOVES = 3

# What is open, so that a forked child can close its copy. It says nothing on it.
_open: weakref.WeakSet[Any] = weakref.WeakSet()


def shown(url: str) -> str:
    """The URL without user, password and options."""
    return re.sub("//.*@", "//", url.partition("?")[0], flags=re.DOTALL)


class RedisServer:
    """The server at a URL. May be used from any thread: one at a time."""

    def __init__(self, url: str, warn: Callable[[str, str], None]) -> None:
        self.place = shown(url)
        # Valkey's own names for the same.
        self._url = re.sub("^valkey(?=s?://)", "redis", url)
        self._warn = warn
        self._lock = threading.RLock()
        self._is_busy = False
        self._process = OwnProcess()
        self._connection: Any = None
        self._node: tuple[str, int] | None = None  # of a cluster
        self._is_old = False
        self._was_looked_at = False
        self._end = 0.0  # of the time for the call that is under way

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What a script answers. Whatever fails is a `SpoolError`, and ends the connection."""
        with self._lock:
            if self._is_busy:
                raise SpoolError(f"The spool {self.place} is being used by this thread already")
            self._is_busy = True
            self._end = monotonic() + WAIT
            try:
                return self._run(script, keys, arguments)
            except BaseException as error:
                self._disconnect()
                if isinstance(error, SpoolError) or not isinstance(error, Exception):
                    raise
                if from_signal_handler(error):
                    raise  # in a thread of the application's
                raise self._failure(error) from error
            finally:
                self._is_busy = False

    def disconnect(self) -> None:
        """Close the connection. The next use opens another."""
        with self._lock:
            self._disconnect()

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        from redis.exceptions import NoScriptError, ResponseError

        def call(name: str, text: str | bytes) -> Any:
            return self._call(name, text, len(keys), *keys, *arguments)

        for _ in range(_MOST_MOVES):
            text = script.for_old if self._is_old else script.text
            try:
                try:
                    return call("EVALSHA", text.sha)
                except NoScriptError:
                    return call("EVAL", text.text)
            except ResponseError as error:
                if node := _moved_to(error):
                    self._disconnect()
                    self._node = node
                elif not self._is_old and "compiling script" in str(error):
                    self._is_old = True
                else:
                    raise
        raise SpoolError(f"The spool {self.place}: its cluster sends from one node to another")

    def _call(self, *command: Any) -> Any:
        if not self._process.is_here:  # a copy of the parent's
            self._disconnect()
            self._process = OwnProcess()
        if self._connection is None:
            self._end = monotonic() + 2 * WAIT
            self._connection = self._connected()
            self._look_at_settings()
        return self._answer(*command)

    def _answer(self, *command: Any) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _connected(self) -> Any:
        from redis.backoff import NoBackoff
        from redis.connection import Connection, SSLConnection, parse_url
        from redis.retry import Retry

        given: dict[str, Any] = {
            **parse_url(self._url),  # type: ignore[no-untyped-call]
            "socket_timeout": WAIT,
            "socket_connect_timeout": WAIT,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "decode_responses": False,
            "protocol": 2,
        }
        given.pop("max_connections", None)  # of a pool
        kind = given.pop("connection_class", Connection)
        if issubclass(kind, SSLConnection):  # which redis-py does by itself only from version 6 on
            given.setdefault("ssl_check_hostname", given.get("ssl_cert_reqs") != "none")
        if self._node is not None:
            given["host"], given["port"] = self._node
            self._node = None  # should it be gone by the next time, the first one knows
        connection = _in_time(kind, self._rest)(**given)
        connection.connect()
        _open.add(connection)
        return connection

    def _rest(self) -> float:
        """The seconds that are left of the call's time. Raises where none are."""
        rest = self._end - monotonic()
        if rest <= 0:
            raise TimeoutError("no whole answer in time")
        return rest

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.disconnect()

    def _look_at_settings(self) -> None:
        """Warn, once, of settings by which the server may lose what is in the spool."""
        if self._was_looked_at:
            return
        from redis.exceptions import ResponseError

        try:
            lines = self._answer("INFO").decode("utf-8", "replace").splitlines()
            facts = dict(line.partition(":")[::2] for line in lines)
            policy = facts.get("maxmemory_policy", "")
            if facts.get("maxmemory", "0") != "0" and policy.startswith("allkeys"):
                self._warn(
                    "redis eviction",
                    f"The spool {self.place} may lose messages: Redis removes any key when its "
                    f"memory is full (maxmemory-policy {policy}). Use one with the policy "
                    f"noeviction or volatile-lru",
                )
            if facts.get("aof_enabled") == "0" and self._setting("save") == "":
                self._warn(
                    "redis persistence",
                    f"The spool {self.place} is lost when Redis restarts: it keeps nothing on a "
                    f"disk. Set appendonly yes",
                )
        except ResponseError:  # forbidden, as by providers
            pass
        self._was_looked_at = True

    def _setting(self, name: str) -> str | None:
        found = self._answer("CONFIG", "GET", name)
        return found[1].decode() if found else None

    def _failure(self, error: Exception) -> SpoolError:
        kind = SpoolFullError if _is_full(error) else SpoolError
        return kind(f"The spool {self.place} can't be used ({_text(error)}): {_advice(error)}")

    def misunderstood(self, error: Exception) -> SpoolError:
        """For an answer that no script gives. Ends the connection: what comes next may be odd."""
        self.disconnect()
        return SpoolError(
            f"The spool {self.place} can't be used (it answers with something else, "
            f"{type(error).__name__}): see that it is a Redis, and that nobody else writes to the "
            f"keys {TAG}*"
        )


class _Socket:
    """A connection's socket, which has the rest of a call's time to give what is read from it.

    The socket's own timeout is for each read: who sends a byte now and then would be waited for.
    """

    def __init__(self, socket: Any, rest: Callable[[], float]) -> None:
        self._socket = socket
        self._rest = rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, *arguments: Any) -> Any:
        self._socket.settimeout(self._rest())
        return self._socket.recv(*arguments)

    def recv_into(self, *arguments: Any) -> Any:
        self._socket.settimeout(self._rest())
        return self._socket.recv_into(*arguments)


def _in_time(kind: Any, rest: Callable[[], float]) -> Any:
    """This class of redis-py's connections, with such a socket, and the rest for all addresses."""

    class InTime(kind):  # type: ignore[misc]
        @property
        def socket_connect_timeout(self) -> float:
            return min(rest(), WAIT)

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, value: float) -> None:
            pass

        def _connect(self) -> _Socket:
            return _Socket(super()._connect(), rest)

    return InTime


def _moved_to(error: Exception) -> tuple[str, int] | None:
    """The node of a cluster that has the keys, where another was asked.

    Older versions of redis-py have no error of its own for it.
    """
    found = re.search(r"^(?:MOVED )?\d+ (\S+):(\d+)$", str(error))
    return (found[1], int(found[2])) if found else None


def _text(error: Exception) -> str:
    """Never with what was sent: Redis quotes the arguments of what it does not know or can't run,
    a log-in's too."""
    said = str(error).partition("with args beginning with")[0].strip(" ,")
    return ": ".join([type(error).__name__, *[line[:200] for line in said.splitlines()[:1]]])


def _is_full(error: Exception) -> bool:
    # By name: redis-py may be what is missing.
    return type(error).__name__ == "OutOfMemoryError" or "OOM" in str(error)


def _advice(error: Exception) -> str:
    if isinstance(error, ImportError):  # as where an integration was unpickled
        return 'pip install "sentry-segment[redis]"'
    from redis import exceptions as redis

    text = str(error)
    if isinstance(error, redis.BusyLoadingError):
        return "Redis is reading its data after a start, and is tried again"
    if isinstance(error, (redis.AuthenticationError, redis.AuthorizationError)) or text.startswith(
        ("NOAUTH", "WRONGPASS")
    ):
        return "give the option spool the right user and password, redis://USER:PASSWORD@HOST"
    if isinstance(error, redis.NoPermissionError) or "user executing the script" in text:
        return f"allow the user {RULES}"
    if isinstance(error, redis.ReadOnlyError):
        return "it is a replica, as after a failover: give the option spool the primary's address"
    if _is_full(error):
        return "Redis has no memory left: raise its maxmemory, or lower spool_max_bytes"
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
        return "see that Redis runs and can be reached from here; it is tried again"
    if "unknown command" in text.lower():
        return "Redis 5 or newer is needed"
    return "see what Redis's log says; it is tried again"


def _close_copies() -> None:
    """In a forked child: the connections are its parent's."""
    for connection in list(_open):
        with suppress(Exception):
            connection.disconnect()
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_close_copies)
