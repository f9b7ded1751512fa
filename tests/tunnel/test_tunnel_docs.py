"""The examples of the page on the tunnel pass on a browser's envelope, and tell who it is."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httpx
import pytest
import sentry_sdk
from asgiref.sync import sync_to_async
from django.conf import settings
from flask import session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from werkzeug.test import Client

from apps import configure_django
from collector import Collector
from pages import BLOCKS, ROOT, rows
from sentry_segment import SegmentIntegration
from sentry_segment.tunnel import SentryTunnel
from support import WRITE_KEY, Init
from tunnels import EVENT, envelope

PAGE = ROOT / "docs" / "tunnel.md"


@pytest.fixture
def body(collector: Collector, init: Init) -> bytes:
    """An envelope for the active client."""
    init()
    dsn = sentry_sdk.get_client().dsn
    assert dsn is not None
    return envelope(dsn, ("event", EVENT))


def example(part: str, collector: Collector | None = None) -> dict[str, Any]:
    """What the example with this text in it defines."""
    [code] = [
        block.text
        for block in BLOCKS
        if block.page == PAGE and block.language == "python" and part in block.text
    ]
    if collector is not None:
        assert "https://public@sentry.example.com/1" in code
        code = code.replace("https://public@sentry.example.com/1", collector.dsn)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), names)
    return names


def asked(app: Any, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The answers of an ASGI application to one browser. A request: method, path, options."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as browser:
            return [
                await browser.request(method, path, **options) for method, path, options in requests
            ]

    return asyncio.run(ask())


def ids(collector: Collector) -> list[str]:
    """Once each envelope that was passed on has been looked at."""
    sentry_sdk.flush(10.0)
    return [message["userId"] for message in collector.messages]


def test_fastapi(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = SegmentIntegration.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "host", collector.url)
    monkeypatch.setenv("SEGMENT_WRITE_KEY", WRITE_KEY)
    app = example("FastAPI()", collector)["app"]
    sent = envelope(collector.dsn, ("event", EVENT))
    [answer] = asked(app, ("POST", "/tunnel", {"content": sent}))
    assert answer.status_code == 200
    assert ids(collector) == ["1906"]
    assert [body for _, _, body in collector.sentry_requests].count(sent) == 1


def test_flask(collector: Collector, body: bytes) -> None:
    app = example('{"/tunnel": SentryTunnel().wsgi}')["app"]
    browser = Client(app)
    assert browser.post("/tunnel", data=body).status_code == 200
    assert browser.get("/nothing").status_code == 404  # Flask's
    assert ids(collector) == ["1906"]


def test_django_in_wsgi(collector: Collector, body: bytes) -> None:
    def django(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"Django"]

    browser = Client(example("def application(environ, start_response)")["with_tunnel"](django))
    assert browser.post("/tunnel", data=body).data == b"{}"
    assert browser.get("/").data == b"Django"
    assert ids(collector) == ["1906"]


def test_django_in_asgi(collector: Collector, body: bytes) -> None:
    django = PlainTextResponse("Django")
    application = example("async def application")["with_tunnel"](django)
    answers = asked(application, ("POST", "/tunnel", {"content": body}), ("GET", "/", {}))
    assert [answer.text for answer in answers] == ["{}", "Django"]
    assert ids(collector) == ["1906"]


def test_starlettes_session_says_who_it_is(collector: Collector, body: bytes) -> None:
    async def login(request: Request) -> PlainTextResponse:
        request.session["user_id"] = "7"
        return PlainTextResponse("")

    app = Starlette(middleware=[Middleware(SessionMiddleware, secret_key="secret")])
    app.add_route("/login", login)
    app.add_route("/tunnel", example('request.scope.get("session"')["tunnel"])
    post = ("POST", "/tunnel", {"content": body})
    asked(app, post, ("GET", "/login", {}), post)
    assert ids(collector) == ["7"]
    assert [passed for _, _, passed in collector.sentry_requests].count(body) == 2


def test_flasks_session_says_who_it_is(collector: Collector, body: bytes) -> None:
    app = example("with app.request_context")["app"]

    def login() -> str:
        session["user_id"] = "7"
        return ""

    app.add_url_rule("/login", view_func=login)
    browser = Client(app)
    browser.post("/tunnel", data=body)
    browser.get("/login")
    assert browser.post("/tunnel", data=body).status_code == 200
    assert ids(collector) == ["7"]
    assert [passed for _, _, passed in collector.sentry_requests].count(body) == 2


class Backend:
    """Knows user 7, without a database."""

    def get_user(self, user_id: int) -> Any:
        from django.contrib.auth.models import User

        return User(pk=7) if user_id == 7 else None


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_djangos_session_says_who_it_is(
    collector: Collector, body: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_django()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.signed_cookies import SessionStore

    login = SessionStore()
    login[SESSION_KEY] = "7"
    login[BACKEND_SESSION_KEY] = f"{__name__}.Backend"
    login[HASH_SESSION_KEY] = User(pk=7).get_session_auth_hash()
    login.save()
    monkeypatch.setattr(settings, "AUTHENTICATION_BACKENDS", [f"{__name__}.Backend"])
    assert "from asgiref.sync import sync_to_async" in PAGE.read_text()
    user_id = example("django_request = HttpRequest()")["user_id"]
    cookies = [f"sessionid={login.session_key}", "sessionid=forged", ""]
    if kind == "wsgi":
        browser = Client(SentryTunnel(user_id=user_id).wsgi, use_cookies=False)
        for cookie in cookies:
            browser.post("/", data=body, headers={"Cookie": cookie})
    else:
        tunnel = SentryTunnel(user_id=sync_to_async(user_id))
        for cookie in cookies:
            asked(tunnel, ("POST", "/", {"content": body, "headers": {"Cookie": cookie}}))
    assert ids(collector) == ["7"]
    assert [passed for _, _, passed in collector.sentry_requests].count(body) == 3


def test_each_option_is_in_the_table_with_its_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows("docs/tunnel.md", "option")}
    given = inspect.signature(SentryTunnel).parameters
    assert {name: each.default for name, each in given.items()} == {
        name: eval(default) for name, default in shown.items()
    }
