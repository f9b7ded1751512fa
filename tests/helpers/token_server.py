"""A local authorization server, as Segment's: takes signed assertions, and gives tokens.

with TokenServer() as server:
    SegmentIntegration(..., oauth_auth_server=server.url, **server.client)
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from collector import Call, Collector, Reply

CLIENT_ID, KEY_ID = "client-4711", "key-0815"
FORM = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@cache
def key_pair() -> tuple[str, str]:
    """A private key and its public one, as texts in PEM form."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text, public.decode()


@cache
def other_keys() -> tuple[str, str]:
    """Private keys that are of no use here: an encrypted one, and one on an elliptic curve."""
    locked = BestAvailableEncryption(b"password")
    one = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    two = ec.generate_private_key(ec.SECP256R1())
    return (
        one.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode(),
        two.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


class TokenServer(Collector):
    """What is wrong with a request is answered as Segment's server does, and kept in `errors`.

    Attributes:
        issued: the tokens given out, in order.
        assertions: those that came in.
        errors: what was wrong with requests.
        life: `expires_in`, in seconds.
        ahead: seconds by which the server's clock is ahead of ours.
        instead: chooses another answer; `None` is the usual one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.issued: list[str] = []
        self.assertions: list[str] = []
        self.errors: list[str] = []
        self.life: Any = 3600
        self.ahead = 0.0
        self.instead: Callable[[Call], Reply | int | None] | None = None
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.answer = self._answer

    def __enter__(self) -> TokenServer:
        self.start()
        return self

    @property
    def client(self) -> dict[str, Any]:
        """The options of a client that this server knows."""
        return {
            "oauth_client_id": CLIENT_ID,
            "oauth_client_key": key_pair()[0],
            "oauth_key_id": KEY_ID,
            "oauth_auth_server": self.url,
        }

    def knows(self, call: Call) -> bool:
        """Whether a request to Segment has the latest token that was given out."""
        return bool(self.issued) and call.headers["authorization"] == f"Bearer {self.issued[-1]}"

    def _answer(self, call: Call) -> Reply:
        with self._lock:
            error = self._error_in(call)
            reply = self.instead(call) if self.instead is not None else None
            if isinstance(reply, int):
                reply = Reply(reply, body=b'{"error": "as_told"}')
            if reply is not None:
                return reply
            if error:
                self.errors.append(error)
                return self._json(400, error="invalid_request", error_description=error)
            self.issued.append(f"token-{secrets.token_urlsafe(24)}")
            answer = {"access_token": self.issued[-1], "token_type": "Bearer"}
            return self._json(200, **answer, scope="tracking_api:write", expires_in=self.life)

    def _json(self, status: int, **content: Any) -> Reply:
        date = formatdate(time.time() + self.ahead, usegmt=True)
        return Reply(status, {"Date": date}, body=json.dumps(content).encode())

    def _error_in(self, call: Call) -> str:
        """What is wrong with a request, or ""."""
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        assertion = form.pop("client_assertion", "")
        self.assertions.append(assertion)
        if call.path != "/token" or form != {
            "grant_type": "client_credentials",
            "client_assertion_type": FORM,
            "scope": "tracking_api:write",
        }:
            return "wrong form"
        if call.headers["content-type"] != "application/x-www-form-urlencoded":
            return "wrong content type"
        if jwt.get_unverified_header(assertion).get("kid") != KEY_ID:
            return "unknown key"
        try:
            claims = jwt.decode(
                assertion,
                key_pair()[1],
                algorithms=["RS256"],
                audience=self.url,
                issuer=CLIENT_ID,
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat"]},
            )
        except jwt.InvalidTokenError as error:
            return str(error)
        now = time.time() + self.ahead
        if claims["exp"] < now:
            return "Token is expired"
        if claims["iat"] > now:
            return "Token used before issued"
        if claims["exp"] - claims["iat"] > 60 or claims["sub"] != CLIENT_ID:
            return "wrong claims"
        if claims["jti"] in self._seen:
            return "used before"
        self._seen.add(claims["jti"])
        return ""
