"""The tunnel's options, checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sentry_segment.options import positive_number, whole_number, wrong_type
from sentry_segment.tunnel.dsn import Target
from sentry_segment.tunnel.request import TunnelRequest

Id = str | int | None
UserId = Callable[[TunnelRequest], Id | Awaitable[Id]]


@dataclass(frozen=True)
class TunnelOptions:
    """What `SentryTunnel` was given, checked and brought into one form."""

    dsns: tuple[Target, ...] | None
    trusted_proxies: int
    allowed_origins: frozenset[str] | None
    user_id: UserId | None
    max_body_bytes: int
    max_concurrent: int
    timeout: float


def checked(
    dsns: object,
    trusted_proxies: object,
    allowed_origins: object,
    user_id: UserId | None,
    max_body_bytes: object,
    max_concurrent: object,
    timeout: object,
) -> TunnelOptions:
    """Raises `TypeError` and `ValueError`, which name the option."""
    if user_id is not None and not callable(user_id):
        wrong_type("user_id", user_id, "a callable or None")
    return TunnelOptions(
        _targets(dsns),
        whole_number("trusted_proxies", trusted_proxies, 0),
        _origins(allowed_origins),
        user_id,
        whole_number("max_body_bytes", max_body_bytes, 1),
        whole_number("max_concurrent", max_concurrent, 1),
        positive_number("timeout", timeout),
    )


def _targets(value: object) -> tuple[Target, ...] | None:
    accepted = "a list of DSNs, or None for that of the active Sentry client"
    if value is None:
        return None
    targets = [_target(dsn, accepted) for dsn in _texts("dsns", value, accepted)]
    if not targets:
        raise ValueError(f"dsns: expected {accepted}; got an empty one")
    return tuple(targets)


def _target(dsn: str, accepted: str) -> Target:
    try:
        return Target.of(dsn)
    except ValueError:
        raise ValueError(f"dsns: expected {accepted}; got {dsn!r} in it") from None


def _origins(value: object) -> frozenset[str] | None:
    accepted = "a list of origins such as 'https://shop.example', or None for any"
    if value is None:
        return None
    origins = _texts("allowed_origins", value, accepted)
    for origin in origins:
        try:
            parts = urlsplit(origin)
            _ = parts.port
            is_origin = parts.scheme in ("http", "https") and origin == origin.lower()
            is_origin &= f"{parts.scheme}://{parts.netloc}" == origin and bool(parts.hostname)
        except ValueError:
            is_origin = False
        if not is_origin:
            raise ValueError(f"allowed_origins: expected {accepted}; got {origin!r} in it")
    return frozenset(origins)


def _texts(option: str, value: object, accepted: str) -> list[str]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        wrong_type(option, value, accepted)
    texts = list(value)
    for text in texts:
        if not isinstance(text, str):
            wrong_type(option, value, accepted)
    return texts
