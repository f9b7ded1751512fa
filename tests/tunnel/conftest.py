"""Tunnels on a server of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tunnels import Serve, by_asgi, by_wsgi


@pytest.fixture(params=[by_asgi, by_wsgi], ids=["asgi", "wsgi"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """`serve(tunnel)`: its URL, on a server of this kind."""
    with ExitStack() as stack:
        yield lambda tunnel: stack.enter_context(request.param(tunnel))
