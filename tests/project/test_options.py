"""Every option is checked where it is given, with an error that names it."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sentry_segment import SegmentIntegration
from sentry_segment.options import Options, mask
from support import WRITE_KEY, logged
from token_server import key_pair, other_keys


class BytesPath:
    """A path, but not of a string."""

    def __fspath__(self) -> bytes:
        return b"spool.db"


GOOD: dict[str, list[Any]] = {
    "write_key": [WRITE_KEY, "", None],
    "host": [None, "https://events.eu1.segmentapis.com", "http://127.0.0.1:8080/prefix"],
    "event_name": ["Error Captured", "Fehler"],
    "before_track": [None, lambda message, event: message],
    "on_error": [None, print],
    "max_queue_size": [1, 10_000],
    "rate_limit": [(200, 1.0), [1, 1], (5, 0.5)],
    "timeout": [0.1, 10, 10.0, 10**400],
    "gzip": [True, False],
    "scrub": [True, False],
    "spool": [None, "spool.db", Path("spool.db")],
    "spool_max_bytes": [1_000_000, 100_000_000],
    "anonymous": [True, False],
    "sentry_url": [None, "https://acme.sentry.io", "https://sentry.test/organizations/acme/"],
    "oauth_client_id": [None, "client"],
    "oauth_client_key": [None, key_pair()[0], f"\n{key_pair()[0]}\n"],
    "oauth_key_id": [None, "key", " key\n"],
    "oauth_auth_server": ["https://oauth2.segment.io/", "http://127.0.0.1:8080/prefix"],
    "oauth_scope": ["tracking_api:write", "one two"],
}

CLIENT: dict[str, Any] = {
    "oauth_client_id": "client",
    "oauth_client_key": key_pair()[0],
    "oauth_key_id": "key",
}
"""What belongs together."""

WRONG_TYPE: dict[str, list[Any]] = {
    "write_key": [b"key", 5, ["key"]],
    "host": [b"https://api.segment.io", 5],
    "event_name": [None, 5, b"Error"],
    "before_track": ["call me", 5, {}],
    "on_error": ["call me", 5, {}],
    "max_queue_size": [None, "10", 10.0, True],
    "rate_limit": [None, 200, "200", b"20", ("200", 1.0), (200, "1"), (2.5, 1), (True, 1)],
    "timeout": [None, "10", True],
    "gzip": [None, 1, "yes"],
    "scrub": [None, 0, "no"],
    "spool": [b"spool.db", 5, True, ["spool.db"], io.BytesIO(), BytesPath()],
    "spool_max_bytes": [None, "1000000", 1e6, True],
    "anonymous": [None, 1, "yes"],
    "sentry_url": [5, b"https://acme.sentry.io", True],
    "oauth_client_id": [b"client", 5],
    "oauth_client_key": [b"secret", 5],
    "oauth_key_id": [b"key", 5],
    "oauth_auth_server": [None, b"https://oauth2.segment.io"],
    "oauth_scope": [None, 5, ["tracking_api:write"]],
}

WRONG_VALUE: dict[str, list[Any]] = {
    "write_key": [
        "secret\udcff",
        '"wk_1906"',
        "'wk_1906",
        " wk_1906",
        "wk_1906 ",
        "\u201cwk_1906\u201d",
    ],  # as an environment variable that is no UTF-8 is read
    "host": [
        "",
        "api.segment.io",
        "ftp://api.segment.io",
        "https://",
        "https://:443",
        "https://host:port",
        "https://host:70000",
        "https://host?query",
        "https://host#fragment",
        "https://ho st",
        "https://host\r\nX: y",
        "https://[bad",
        "https://key:@api.segment.io",
        " https://api.segment.io",
        "'https://api.segment.io'",
    ],
    "event_name": ["", "  "],
    "max_queue_size": [0, -1],
    "rate_limit": [(), (200,), (200, 1, 1), (0, 1), (200, 0), (200, -1.0), (200, float("inf"))],
    "timeout": [0, -1.0, float("nan"), float("inf")],
    "spool": ["", "spool\0.db"],
    "spool_max_bytes": [0, -1, 999_999],
    "sentry_url": [
        "",
        "acme.sentry.io",
        "https://u:p@acme.sentry.io",
        "https://a.io/?b",
        '"https://a.io"',
    ],
    "oauth_client_id": ["", "  ", "a\nb"],
    "oauth_client_key": [
        "",
        "secret",
        key_pair()[0].replace("\n", "\\n"),
        key_pair()[1],
        key_pair()[0][:-200],
        "secret\udcff",
        *other_keys(),
    ],
    "oauth_key_id": ["", "a\nb"],
    "oauth_auth_server": [
        *("", "oauth2.segment.io", "ftp://host", "https://host:port", "https://h?q"),
        *("https://h#f", "https://me:secret@h", "https://ho st", "https://[bad"),
    ],
    "oauth_scope": ["", "  ", "a\nb", "caf\u00e9"],
}


def given(option: str, value: Any) -> dict[str, Any]:
    """The options, with those that this one can't be without."""
    others = CLIENT if option in CLIENT and value is not None else {}
    return {"write_key": WRITE_KEY, **others, option: value}


def table(cases: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(option, value) for option, values in cases.items() for value in values]


@pytest.mark.parametrize(("option", "value"), table(GOOD))
def test_what_is_allowed_is_taken(option: str, value: Any) -> None:
    assert SegmentIntegration(**given(option, value)).stats.mirrored == 0


@pytest.mark.parametrize(("option", "value"), table(WRONG_TYPE))
def test_a_wrong_type_is_a_type_error_that_names_the_option(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{option}.*: expected .*; got ") as raised:
        SegmentIntegration(**given(option, value))
    if option != "rate_limit":  # which may name the type of one of its parts
        assert str(raised.value).endswith(f"of type {type(value).__name__}")


@pytest.mark.parametrize(("option", "value"), table(WRONG_VALUE))
def test_a_wrong_value_is_a_value_error_that_names_the_option(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option}.*: expected "):
        SegmentIntegration(**given(option, value))


def test_the_errors_say_type_value_and_what_is_accepted() -> None:
    with pytest.raises(TypeError) as raised:
        SegmentIntegration(WRITE_KEY, timeout="soon")  # type: ignore[arg-type]
    assert str(raised.value) == (
        "timeout: expected a number of seconds greater than 0; got 'soon' of type str"
    )


def test_a_write_key_of_a_wrong_type_is_not_shown() -> None:
    with pytest.raises(TypeError) as raised:
        SegmentIntegration(b"secret")  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)
    assert "bytes" in str(raised.value)


@pytest.mark.parametrize("value", WRONG_VALUE["oauth_client_key"])
def test_a_wrong_oauth_key_is_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match=r"^oauth_client_key: ") as raised:
        SegmentIntegration(**given("oauth_client_key", value))
    shown = str(raised.value)
    assert "secret" not in shown
    assert not any(line in shown for line in key_pair()[0].splitlines()[1:-1])
    assert raised.value.__cause__ is None


def test_what_is_wrong_with_an_oauth_key_is_said() -> None:
    one_line, encrypted, elliptic = key_pair()[0].replace("\n", "\\n"), *other_keys()
    for value, problem in (
        (one_line, "its line breaks must be kept"),
        (encrypted, "an encrypted one"),
        (elliptic, "a key of another kind"),
    ):
        with pytest.raises(ValueError, match=problem):
            SegmentIntegration(**given("oauth_client_key", value))


def test_an_oauth_key_given_as_bytes_or_path_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(TypeError) as raised:
        SegmentIntegration(**given("oauth_client_key", b"secret"))
    assert "secret" not in str(raised.value)
    with pytest.raises(TypeError, match=r"pass path\.read_text\(\)"):
        SegmentIntegration(**given("oauth_client_key", tmp_path))


@pytest.mark.parametrize("missing", CLIENT)
def test_the_options_of_an_oauth_client_belong_together(missing: str) -> None:
    two = {name: value for name, value in CLIENT.items() if name != missing}
    with pytest.raises(ValueError, match=f"^{missing}: expected a value"):
        SegmentIntegration(WRITE_KEY, **two)
    SegmentIntegration("", **two)  # where nothing is sent, a machine without the key works


def test_a_password_in_the_auth_server_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^oauth_auth_server: ") as raised:
        SegmentIntegration(WRITE_KEY, oauth_auth_server="https://me:secret@host")
    assert "secret" not in str(raised.value)


def test_a_write_key_that_is_no_text_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^write_key: ") as raised:
        SegmentIntegration("secret\udcff")
    assert "secret" not in str(raised.value)


def test_a_password_in_host_is_not_shown() -> None:
    with pytest.raises(ValueError, match="host") as raised:
        SegmentIntegration(WRITE_KEY, host="https://me:secret@api.segment.io")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "host", ["https://user:secret@h:99999", "ftp://secret:@h", "http://u:secret@"]
)
def test_a_password_in_a_wrong_host_is_not_shown(host: str) -> None:
    with pytest.raises(ValueError, match=r"^host: ") as raised:
        SegmentIntegration(WRITE_KEY, host=host)
    assert "secret" not in str(raised.value)


def test_options_but_the_write_key_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        SegmentIntegration(WRITE_KEY, "https://api.segment.io")  # type: ignore[call-arg, misc, unused-ignore]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="max_retries"):
        SegmentIntegration(WRITE_KEY, max_retries=3)  # type: ignore[call-arg]


def options(**given: Any) -> Options:
    return SegmentIntegration(**{"write_key": WRITE_KEY, **given})._options


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.segment.io", "https://api.segment.io"),
        ("https://api.segment.io/", "https://api.segment.io"),
        ("https://api.segment.io/v1", "https://api.segment.io"),
        ("https://api.segment.io/v1/", "https://api.segment.io"),
        ("https://collector.test/segment/v1\r\n", "https://collector.test/segment"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://collector.test/v11", "https://collector.test/v11"),
    ],
)
def test_a_host_may_end_as_it_likes(given: str, base: str) -> None:
    assert options(host=given).host == base


@pytest.mark.parametrize("given", ["a/../spool.db", Path("spool.db")])
def test_a_relative_spool_is_where_the_process_is_when_it_is_given(
    given: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = options(spool=given)
    monkeypatch.chdir("/")
    assert made.spool == os.path.join(os.path.realpath(tmp_path), "spool.db")


def test_the_environment_gives_the_write_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", "from_the_environment\n")
    assert SegmentIntegration()._options.write_key == "from_the_environment"
    assert SegmentIntegration("given")._options.write_key == "given"
    assert SegmentIntegration("")._options.write_key == ""


@pytest.mark.parametrize("write_key", ["", "  \n", None])
def test_an_empty_write_key_is_said_once(
    write_key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    SegmentIntegration(write_key)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("sentry_segment", logging.WARNING)
    assert "SEGMENT_WRITE_KEY" in record.getMessage()


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("http://collector.test", True),
        ("http://10.0.0.1", True),
        ("http://localhost:8080", False),
        ("http://app.localhost", False),
        ("http://127.1.2.3", False),
        ("http://[::1]", False),
        ("https://collector.test", False),
    ],
)
def test_plain_http_over_a_network_is_warned_about_once(
    host: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    SegmentIntegration(WRITE_KEY, host=host)
    assert [host in record.getMessage() for record in caplog.records] == [True] * warned


@pytest.mark.parametrize(
    ("write_key", "shown"), [("wk_0123456789", "…6789"), ("12345678", "…5678"), ("1234567", "…")]
)
def test_of_a_write_key_four_characters_are_shown_at_the_most(write_key: str, shown: str) -> None:
    assert mask(write_key) == shown
    integration = SegmentIntegration(write_key)
    for text in (repr(integration), str(integration), repr(integration._options)):
        assert shown in text
        assert write_key not in text


@pytest.mark.parametrize("around", ['"{}"', "'{}", " {} ", "{}\t", "\u201c{}\u201d\n"])
def test_what_is_around_a_write_key_is_told_and_the_key_is_not_shown(
    around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", around.format(WRITE_KEY))
    with pytest.raises(ValueError, match=r"^write_key: .*(quotes|spaces) around it") as raised:
        SegmentIntegration()
    assert WRITE_KEY not in str(raised.value)


def test_the_end_of_a_line_is_no_part_of_a_write_key() -> None:
    assert options(write_key=f"{WRITE_KEY}\r\n").write_key == WRITE_KEY
    assert options(write_key=" \n").write_key == ""


def test_the_host_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_HOST", "https://events.eu1.segmentapis.com/\n")
    assert options(host=None).host == "https://events.eu1.segmentapis.com"
    assert options(host="https://collector.test").host == "https://collector.test"
    monkeypatch.setenv("SEGMENT_HOST", "")
    assert options(host=None).host == "https://api.segment.io"
    monkeypatch.setenv("SEGMENT_HOST", '"https://collector.test"')
    with pytest.raises(ValueError, match=r"^host: .* SEGMENT_HOST; got one with quotes around it"):
        SegmentIntegration(WRITE_KEY)


@pytest.mark.parametrize(
    "key",
    ["your-write-key", "YOUR_WRITE_KEY", "<write key>", "<YOUR KEY>", "changeme", "xxxx", "${KEY}"],
)
def test_a_placeholder_is_warned_of(key: str, caplog: pytest.LogCaptureFixture) -> None:
    SegmentIntegration(key)
    assert "write_key looks like a placeholder" in logged(caplog)


@pytest.mark.parametrize("key", [WRITE_KEY, "writer7Xk2", "key", "bV9xYourKeyzz"])
def test_a_key_is_no_placeholder(key: str, caplog: pytest.LogCaptureFixture) -> None:
    SegmentIntegration(key)
    assert not logged(caplog)
