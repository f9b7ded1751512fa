"""Several clients of the SDK, and whose messages came from which."""

from __future__ import annotations

from collector import Collector

OTHER_KEY = "wk_other_9876543210"


def keys_by_user(collector: Collector) -> dict[str, str | None]:
    """Whose message came with which write key."""
    return {
        message["userId"]: call.write_key
        for call in collector.calls
        for message in call.json.get("batch", [call.json])
    }
