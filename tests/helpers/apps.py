"""A small shop in Flask, in Django and in FastAPI, each served for real on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any

import django.conf
import django.core.wsgi
import django.http
import django.urls
import fastapi
import flask
import sentry_sdk
import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

HOST = "127.0.0.1"

# What the pages do: the same in all shops, at the path of their name.


def crash() -> None:
    raise ValueError("no such article")


def chained() -> None:
    try:
        os.environ["NO_SUCH_ARTICLE"]
    except KeyError as error:
        raise RuntimeError("the order failed") from error


def handled() -> None:
    try:
        crash()
    except ValueError as error:
        sentry_sdk.capture_exception(error)


def message() -> None:
    sentry_sdk.capture_message("sold out")


PAGES: dict[str, Callable[[], None]] = {
    page.__name__: page for page in (crash, chained, handled, message)
}


# All bodies are read: a server that closes a connection with something unread in it resets it.


def log_in(user: str | None) -> None:
    """Who says who they are, by a number or a name, is a known user."""
    if user is not None:
        sentry_sdk.set_user({"id": int(user) if user.isdecimal() else user, "username": "Jo"})


@contextmanager
def flask_shop() -> Iterator[str]:
    app = flask.Flask("shop")

    @app.before_request
    def known_user() -> None:
        flask.request.get_data()
        log_in(flask.request.headers.get("X-User"))

    @app.route("/<page>", methods=["GET", "POST"])
    def show(page: str) -> str:
        PAGES[page]()
        return "done"

    with _wsgi_server(app) as url:
        yield url


@contextmanager
def django_shop() -> Iterator[str]:
    with _wsgi_server(_django_app()) as url:
        yield url


urlpatterns = [django.urls.path("<page>", lambda request, page: _django_view(page))]


def _django_view(page: str) -> Any:
    PAGES[page]()
    return django.http.HttpResponse("done")


def known_django_user(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware."""

    def middleware(request: Any) -> Any:
        _ = request.body
        log_in(request.headers.get("X-User"))
        return get_response(request)

    return middleware


@cache
def configure_django() -> None:
    """For all tests of a process: Django can be configured once in it."""
    django.conf.settings.configure(
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[f"{__name__}.{known_django_user.__name__}"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="secret",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    django.setup()


def _django_app() -> Any:
    configure_django()
    return django.core.wsgi.get_wsgi_application()


@contextmanager
def fastapi_shop() -> Iterator[str]:
    async def known_user(request: fastapi.Request) -> None:
        await request.body()
        log_in(request.headers.get("X-User"))

    app = fastapi.FastAPI(dependencies=[fastapi.Depends(known_user)])

    @app.api_route("/{page}", methods=["GET", "POST"])
    async def show(page: str) -> str:
        PAGES[page]()
        return "done"

    with _asgi_server(app) as url:
        yield url


SHOPS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "flask": flask_shop,
    "django": django_shop,
    "fastapi": fastapi_shop,
}
"""Context managers: a running shop's URL. At the end of the block all its requests are done."""


class _SilentHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """No access log."""


@contextmanager
def _wsgi_server(app: Any) -> Iterator[str]:
    server = make_server(HOST, 0, app, request_handler=_SilentHandler)
    serve = partial(server.serve_forever, poll_interval=0.02)  # shutdown() waits for the end of one
    thread = threading.Thread(target=serve, name="wsgi server")
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _asgi_server(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    # Connections wait here until the server is up.
    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), name="asgi server")
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
