"""What can be seen of a write key: quotes, and words that stand for one in an example."""

from __future__ import annotations

import re

from sentry_segment.check.advice import Failure

_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
# Segment's keys are letters and digits at random; these are in examples, and in templates that
# nobody has filled in.
_PLACEHOLDER = re.compile(
    r"[<>{}\[\]$%*]|\.\.\.|\u2026|write.?key|place.?holder|change.?me|example|x{4}"
    r"|^(your|my|any|some)\b|^(test|none|null|undefined|todo|secret|key)$",
    re.IGNORECASE,
)

PLACEHOLDER = (
    "It looks like a placeholder, and not like a key. In Segment: Connections > Sources > your "
    "source > Settings > API Keys."
)


def fault(key: str) -> Failure | None:
    """Why this can't be a key, without it; `None` where it may be one."""
    if not any(quote in key for quote in _QUOTES):
        return None
    return Failure(
        "there are quotes in it",
        "They are sent as a part of the key. Take them off: a file for Docker's --env-file, a "
        "systemd unit's Environment= and a CI's settings want the value alone.",
    )


def is_placeholder(key: str) -> bool:
    """Whether it is such as stands in an example."""
    return bool(_PLACEHOLDER.search(key))
