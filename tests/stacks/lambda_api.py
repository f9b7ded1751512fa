"""The API with which AWS Lambda's own runtime client is handed invocations, on 127.0.0.1."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:checkout"


@dataclass
class Api:
    """Hands out invocations, one after the other, and keeps how each of them ended.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    invocations: Sequence[dict[str, Any]]
    on_end: Callable[[int], object]
    """Called with the invocation's number when it ends: from then on, Lambda may freeze all."""
    endings: list[str] = field(default_factory=list)
    """`response` or `error`, for each that has ended."""
    all_done: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def next(self) -> dict[str, Any] | None:
        """The event of the next invocation; `None` where there are no more."""
        if len(self.endings) == len(self.invocations):
            self.all_done.set()
            return None
        return self.invocations[len(self.endings)]

    def end(self, ending: str) -> None:
        self.on_end(len(self.endings))
        self.endings.append(ending)


@contextmanager
def lambda_api(api: Api) -> Iterator[Api]:
    """Serve it."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            event = api.next()
            if event is None:
                closing.wait()  # as where nobody calls the function any more
                self.close_connection = True
                return
            self.answer(
                200,
                event,
                {
                    "Lambda-Runtime-Aws-Request-Id": f"request-{len(api.endings)}",
                    "Lambda-Runtime-Deadline-Ms": str(int(1000 * (time.time() + 30))),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN,
                },
            )

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            api.end(self.path.rpartition("/")[2])
            self.answer(202, {"status": "OK"}, {})

        def answer(self, status: int, body: object, headers: dict[str, str]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    api.address = f"{HOST}:{server.server_address[1]}"
    try:
        yield api
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
