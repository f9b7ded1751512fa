"""The options for OAuth 2.0, checked. Their names and defaults are those of Segment's own Python
library. No error shows the key."""

from __future__ import annotations

from pathlib import PurePath

DEFAULT_AUTH_SERVER = "https://oauth2.segment.io"
DEFAULT_SCOPE = "tracking_api:write"

CLIENT = ("oauth_client_id", "oauth_client_key", "oauth_key_id")
"""What belongs together: each of them, or none."""

_INSTALL = 'pip install "sentry-segment[oauth]"'
_KEY = "the RSA private key in PEM form, as a string, or None"


def client_text(option: str, value: object) -> str | None:
    """One of `CLIENT`."""
    if value is None:
        return None
    is_key = option == "oauth_client_key"
    accepted = _KEY if is_key else "a string, as Segment shows it, or None"
    if not isinstance(value, str):
        # Without the value: it may be the key itself, as bytes.
        hint = "; pass path.read_text()" if is_key and isinstance(value, PurePath) else ""
        raise TypeError(
            f"{option}: expected {accepted}; got a value of type {type(value).__name__}{hint}"
        )
    text = value.strip()  # what is read from a file often ends with a newline
    if not text:
        raise ValueError(f"{option}: expected {accepted}; got an empty one")
    if not is_key and not text.isprintable():
        raise ValueError(f"{option}: expected {accepted}; got one that can't be printed")
    return text


def scope(value: object) -> str:
    accepted = f"a scope such as {DEFAULT_SCOPE!r}"
    if not isinstance(value, str):
        raise TypeError(
            f"oauth_scope: expected {accepted}; got {value!r} of type {type(value).__name__}"
        )
    if not value.strip() or not value.isascii() or not value.isprintable():
        raise ValueError(f"oauth_scope: expected {accepted}; got {value!r}")
    return value.strip()


def check_client(values: dict[str, str | None]) -> None:
    """Whether those of `CLIENT` are complete, and the key is one.

    Raises `ValueError`, and `ImportError` where the extra is missing.
    """
    given = [option for option, value in values.items() if value is not None]
    missing = [option for option, value in values.items() if value is None]
    if not given:
        return
    if missing:
        raise ValueError(
            f"{missing[0]}: expected a value, for {' and '.join(given)} was given, and OAuth "
            f"needs {', '.join(CLIENT)} together; got None"
        )
    _check_key(values["oauth_client_key"] or "")


def _check_key(key: str) -> None:
    try:
        import jwt  # noqa: F401 - whether it is there
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise ImportError(
            f"oauth_client_key: OAuth needs PyJWT and cryptography: {_INSTALL}"
        ) from None
    problem = "a text that is no such key"
    try:
        if isinstance(load_pem_private_key(key.encode(), password=None), RSAPrivateKey):
            return
        problem = "a key of another kind"
    except TypeError:
        problem = "an encrypted one"
    except Exception:  # noqa: BLE001, S110 - whose text may show a part of the key
        pass
    hint = "" if "\n" in key else " in one line: its line breaks must be kept"
    raise ValueError(f"oauth_client_key: expected {_KEY}; got {problem}{hint}")
