"""The DSNs whose envelopes are passed on."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from sentry_sdk.utils import BadDsn, Dsn


@dataclass(frozen=True)
class Target:
    """A project of a Sentry, as a DSN names it."""

    dsn: str
    key: str
    url: str
    """Where its envelopes go."""

    @classmethod
    def of(cls, dsn: str) -> Target:
        """Raises `ValueError` for what is no DSN."""
        try:
            parsed = Dsn(dsn)
            netloc = parsed.host if ":" not in (parsed.host or "") else f"[{parsed.host}]"
            port = urlsplit(dsn).port
        except (BadDsn, ValueError, TypeError, AttributeError):
            raise ValueError("no DSN") from None
        if not parsed.host:
            raise ValueError("no DSN")
        base = f"{parsed.scheme}://{netloc}" + (f":{port}" if port else "")
        path = parsed.path if parsed.path.endswith("/") else f"{parsed.path}/"
        return cls(dsn, parsed.public_key or "", f"{base}{path}api/{parsed.project_id}/envelope/")

    def is_same(self, other: Target) -> bool:
        """Whether it is the same key of the same project, however its DSN is written."""
        return (self.key, self.url) == (other.key, other.url)
