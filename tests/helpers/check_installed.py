"""Checks an installation in an environment without any extra (see scripts/test).

It mirrors one error to a server of its own, and so needs nothing but what is installed.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import Any

import sentry_sdk

import sentry_segment
from sentry_segment import SegmentIntegration

tracked: list[dict[str, Any]] = []


class Server(BaseHTTPRequestHandler):
    """Stands for Sentry and Segment."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/track":
            tracked.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


assert "site-packages" in str(sentry_segment.__file__), "not the installed package"
assert sentry_segment.__version__ == metadata.version("sentry-segment")
extras = {"flask", "django", "pytest", "mkdocs", "mypy", "starlette", "uvicorn"}
installed = {each.metadata["Name"].lower() for each in metadata.distributions()}
assert not installed & extras, "an extra is installed"
for name in sentry_segment.__all__:
    getattr(sentry_segment, name)

server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"127.0.0.1:{server.server_port}"
segment = SegmentIntegration("write_key", host=f"http://{here}")
sentry_sdk.init(
    f"http://public@{here}/1", integrations=[segment], http_proxy="", shutdown_timeout=10
)
sentry_sdk.set_user({"id": "1906"})
event_id = sentry_sdk.capture_exception(KeyError("address"))
assert segment.flush(timeout=10.0), segment.stats
[message] = tracked
assert (message["messageId"], message["userId"]) == (event_id, "1906"), message
assert message["properties"]["exceptionType"] == "KeyError", message
sentry_sdk.get_client().close()
server.shutdown()
print(f"{sys.argv[1]}: installed without extras, and one error mirrored")
