"""`check` with OAuth: the way to the authorization server comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from checking import SHORT, Check, Checked
from collector import Collector, Reply
from token_server import CLIENT_ID, KEY_ID, TokenServer


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def oauth(tokens: TokenServer, tmp_path: Path) -> list[str]:
    """The arguments of a client that the server knows."""
    file = tmp_path / "key.pem"
    file.write_text(tokens.client["oauth_client_key"])
    return [
        f"--oauth-client-id={CLIENT_ID}",
        f"--oauth-client-key-file={file}",
        f"--oauth-key-id={KEY_ID}",
        f"--oauth-auth-server={tokens.url}",
    ]


def without_secrets(checked: Checked, tokens: TokenServer) -> Checked:
    lines = tokens.client["oauth_client_key"].splitlines()[1:-1]
    assert not any(each in checked.out for each in [*tokens.issued, *tokens.assertions, *lines])
    return checked


def test_with_oauth_the_way_to_the_token_comes_first(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.status == 0
    exchange = ["proxy", "connection", "request", "answer"]
    before = ["write key", "client", "token server"]
    assert checked.steps == [*before, *exchange[:3], "token", "host", *exchange]
    assert f"POST {tokens.url}/token, " in checked.text
    assert "good for 3600 s" in checked.text
    [call] = segment.calls
    assert tokens.knows(call)
    assert tokens.errors == []


def test_a_clock_that_is_off_takes_two_tries(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    tokens.ahead = 3600.0
    checked = check(segment.url, *oauth)
    assert checked.status == 0
    assert "HTTP 400; the next try:" in checked.text


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "The client was refused"),
        (404, "Check --oauth-auth-server"),
        (429, "takes no more requests"),
        (500, "the authorization server has a problem"),
    ],
)
def test_a_token_that_is_not_given_is_explained(
    segment: Collector,
    tokens: TokenServer,
    oauth: list[str],
    check: Check,
    status: int,
    advice: str,
) -> None:
    tokens.instead = lambda call: Reply(status, body=call.body)  # which echoes the assertion
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.failed == "token"
    assert f"HTTP {status}" in checked.text
    assert advice in checked.text
    assert segment.calls == []


def test_a_token_server_that_is_not_there_is_explained(
    segment: Collector, oauth: list[str], check: Check, closed_port: int
) -> None:
    checked = check(segment.url, *oauth, f"--oauth-auth-server=http://127.0.0.1:{closed_port}")
    assert checked.failed == "connection"


def test_a_token_that_segment_refuses_is_explained(
    segment: Collector, tokens: TokenServer, oauth: list[str], check: Check
) -> None:
    segment.answer = lambda call: Reply(401, body=call.headers["authorization"].encode())
    checked = without_secrets(check(segment.url, *oauth), tokens)
    assert checked.status == 1
    assert "A new OAuth token was refused." in checked.text
    assert len(tokens.issued) == 2


def test_a_token_server_over_plain_http_is_remarked(
    segment: Collector, oauth: list[str], check: Check
) -> None:
    given = "--oauth-auth-server=http://auth.invalid"
    checked = check(segment.url, *oauth, given, SHORT)
    assert "Plain http: tokens cross the network unencrypted." in checked.text


def test_a_key_file_that_can_not_be_used_is_a_wrong_argument(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str], oauth: list[str]
) -> None:
    other = tmp_path / "other.pem"
    other.write_text("secret")
    for path, said in ((tmp_path / "none.pem", "No such file"), (other, "no such key")):
        with pytest.raises(SystemExit) as raised:
            check("http://127.0.0.1", *oauth, f"--oauth-client-key-file={path}")
        assert raised.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert "secret" not in error
