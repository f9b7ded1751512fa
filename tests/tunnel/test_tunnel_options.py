"""Every option of the tunnel is checked where it is given, with an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

from sentry_segment.tunnel import SentryTunnel, TunnelRequest

WRONG_TYPE: dict[str, list[Any]] = {
    "dsns": [5, "https://public@sentry.example.com/1", b"x", [5]],
    "trusted_proxies": [None, "1", 1.0, True],
    "allowed_origins": [5, "https://shop.example", [5]],
    "user_id": [5, "jo"],
    "max_body_bytes": [None, "1", 1e6, True],
    "max_concurrent": [None, "1", 1.0, True],
    "timeout": [None, "10", True],
}
WRONG_VALUE: dict[str, list[Any]] = {
    "dsns": [[], ["no dsn"], ["https://sentry.example.com/1"], ["http://public@:80/1"]],
    "trusted_proxies": [-1],
    "allowed_origins": [
        ["shop.example"],
        ["https://shop.example/"],
        ["HTTPS://shop"],
        ["https://[x"],
    ],
    "max_body_bytes": [0, -1],
    "max_concurrent": [0, -1],
    "timeout": [0, -1.0, float("nan"), float("inf")],
}


def table(cases: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(option, value) for option, values in cases.items() for value in values]


@pytest.mark.parametrize(("option", "value"), table(WRONG_TYPE))
def test_a_wrong_type_is_a_type_error_that_names_the_option(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{option}: expected .*; got "):
        SentryTunnel(**{option: value})


@pytest.mark.parametrize(("option", "value"), table(WRONG_VALUE))
def test_a_wrong_value_is_a_value_error_that_names_the_option(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option}: expected "):
        SentryTunnel(**{option: value})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        ("session=abc; basket=7", {"session": "abc", "basket": "7"}),
        (' session = abc ;a="b c";', {"session": "abc", "a": "b c"}),
        (r'a="x\054y\"z\\"', {"a": 'x,y"z\\'}),
        ("token=a=b==", {"token": "a=b=="}),
        ("=; ;flag; \x00; =v", {}),
    ],
)
def test_cookies_are_read_as_frameworks_write_them(header: str, expected: dict[str, str]) -> None:
    assert TunnelRequest({"cookie": header}, None, {}).cookies == expected
    assert TunnelRequest({}, None, {}).cookies == {}


@pytest.mark.parametrize(
    "odd", ["filter[size]=3", "{}=x", "näme=x", "flag", "=", 'a="b', 'json={"a": [1, 2]}', "a,b=1"]
)
def test_an_odd_cookie_does_not_hide_the_others(odd: str) -> None:
    for header in (f"{odd}; session=abc", f"session=abc; {odd}"):
        assert TunnelRequest({"cookie": header}, None, {}).cookies["session"] == "abc"


def test_what_is_allowed_is_taken() -> None:
    SentryTunnel(
        dsns=("https://public@sentry.example.com/path/1", "http://public@[::1]:9000/2"),
        trusted_proxies=2,
        allowed_origins={"https://shop.example", "http://localhost:3000"},
        user_id=lambda request: 1,
        max_body_bytes=1,
        max_concurrent=1,
        timeout=0.5,
    )
