"""The records as Server-Sent Events, for pages that stay connected."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence

from sentry_segment.inspector.store import Record, Store

_PAUSE = 0.05  # seconds between two events: what comes in meanwhile is in one


async def stream(store: Store, last_event_id: str) -> AsyncIterator[str]:
    """Events with what the page does not have yet, until the store is closed.

    `last_event_id` is the id of the last event that the page has: `"{store id}:{number}"`. What is
    sent is taken from the store each time. So a slow page takes no memory here: it gets what is
    still there when it is ready for more.
    """
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wake(_: Sequence[Record]) -> None:
        loop.call_soon_threadsafe(changed.set)

    number = _number(last_event_id, store.id)
    end = store.listen(wake)
    try:
        while not store.closed:
            changed.clear()
            records = store.after(number)
            number = records[-1].number if records else max(number, store.oldest - 1)
            yield _event(store, number, records)
            if not store.after(number):
                await changed.wait()
                await asyncio.sleep(_PAUSE)
    finally:
        end()


def _number(last_event_id: str, store_id: str) -> int:
    match = re.fullmatch(rf"{store_id}:(\d{{1,18}})", last_event_id, re.ASCII)
    return int(match[1]) if match else 0


def _event(store: Store, number: int, records: Sequence[Record]) -> str:
    data = {
        "store": store.id,
        "oldest": store.oldest,
        "others": store.others,
        # The payload as text: a browser's parser would round large numbers.
        "records": [{**record.head(), "text": record.text} for record in records],
    }
    return f"retry: 500\nid: {store.id}:{number}\ndata: {json.dumps(data)}\n\n"
