"""Scripts in processes of their own, on the collector: to be ended, killed and forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from collector import PATIENCE, Collector
from support import MEASURED, WRITE_KEY

# What Sentry's SDK and httpx import where it is installed, and no script needs: it would take a
# process longer than all the rest.
LEAN = """
    import sys
    sys.modules.update(dict.fromkeys(["django", "rich"]))
"""
PREAMBLE = (
    LEAN
    + """
    import atexit, os, signal, threading, time
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_segment import SegmentIntegration

    DSN, HOST, SPOOL = sys.argv[1:]

    def init(segment=None, **options):
        given = {{"write_key": "{key}", "host": HOST, "spool": SPOOL or None}}
        integration = SegmentIntegration(**{{**given, **(segment or {{}})}})
        alone = {{"auto_enabling_integrations": False, "integrations": [integration]}}
        sentry_sdk.init(**{{"dsn": DSN, **alone, **options}})
        sentry_sdk.set_user({{"id": "u1"}})
        return integration

    def capture(name):
        sentry_sdk.capture_event({{"exception": {{"values": [{{"type": name}}]}}}})

    def wait_until(condition):
        deadline = time.monotonic() + {patience}
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    def told():
        # Waits until the test has said something.
        sys.stdin.readline()
"""
)

# A file of its own, which the children import.
MULTIPROCESSING = f"""{textwrap.dedent(LEAN)}
import multiprocessing
import sentry_sdk
from sentry_segment import SegmentIntegration

DSN, HOST, SPOOL, METHOD, TIMEOUT = sys.argv[1:]

def work(name):
    if sentry_sdk.get_client().dsn is None:
        init()
    sentry_sdk.set_user({{"id": "u1"}})
    sentry_sdk.capture_event({{"exception": {{"values": [{{"type": name}}]}}}})

def init():
    sentry_sdk.init(
        dsn=DSN,
        integrations=[SegmentIntegration("{WRITE_KEY}", host=HOST, spool=SPOOL or None)],
        auto_enabling_integrations=False,
        shutdown_timeout=float(TIMEOUT),
    )

if __name__ == "__main__":
    init()
    work("parent")
    context = multiprocessing.get_context(METHOD)
    children = [context.Process(target=work, args=(f"child{{n}}",)) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
"""


@dataclass(frozen=True)
class Ended:
    """A script that has come to its end."""

    status: int
    out: str
    err: str


class Script:
    """A process under way. The test talks to it by lines."""

    started: ClassVar[list[Script]] = []
    """Those of the test that runs. What it leaves is ended after it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.started.append(self)

    def tell(self) -> None:
        """Have its `told()` return."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """The next line that it prints, without its end."""
        assert self._process.stdout is not None
        limit = threading.Timer(2 * PATIENCE, self.end_all)
        limit.start()
        line = self._process.stdout.readline()
        limit.cancel()
        if not line:
            raise AssertionError(self.end().err)
        return line.rstrip("\n")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.communicate(timeout=2 * PATIENCE)

    def end_all(self) -> None:
        """Kill it and its children, if there is one left."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def end(self) -> Ended:
        """Wait for its end. What it has printed is whole only where no `line` was read before."""
        out, err = self._process.communicate(timeout=2 * PATIENCE)
        return Ended(self._process.returncode, out, err)


def start(
    collector: Collector,
    script: str,
    dsn: str | None = None,
    spool: Path | str | None = None,
    preamble: str = PREAMBLE,
    measured: bool = True,
) -> Script:
    """Start a script. Where it may not write files, its coverage is not `measured`."""
    begin = preamble.format(key=WRITE_KEY, patience=PATIENCE)
    code = textwrap.dedent(begin) + textwrap.dedent(script)
    return Script(
        subprocess.Popen(
            [sys.executable, "-c", code, dsn or collector.dsn, collector.url, str(spool or "")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
            env={
                name: value
                for name, value in {**os.environ, **(MEASURED if measured else {})}.items()
                if not name.lower().endswith("_proxy")
            },
        )
    )


def run(collector: Collector, script: str, **options: Any) -> Ended:
    """Start a script with the options of `start`, and wait for its end."""
    return start(collector, script, **options).end()


def run_with_children(
    collector: Collector, method: str, folder: Path, timeout: float, spool: Path | str | None = None
) -> Ended:
    """A process that captures the error `parent`, and two of `multiprocessing`, child0 and child1.

    `timeout`: seconds that each has at its end.
    """
    script = folder / "script.py"
    script.write_text(MULTIPROCESSING)
    arguments = (collector.dsn, collector.url, str(spool or ""), method, str(timeout))
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def names(collector: Collector) -> list[str]:
    """The error types of the accepted messages."""
    return [message["properties"]["exceptionType"] for message in collector.messages]
