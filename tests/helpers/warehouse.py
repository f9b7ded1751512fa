"""A small data warehouse of real messages, as Segment's sync makes one.

The rules are those of https://www.twilio.com/docs/segment/connections/storage/warehouses/schema: a
schema for each source, a table for each track call's name, a column for each property, with nested
objects flattened and names in snake case.
"""

from __future__ import annotations

import re
from typing import Any

import duckdb

_OWN_COLUMNS = {
    "messageId": "id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "sentAt": "sent_at",
}


def row(message: dict[str, Any], received_at: str) -> dict[str, str]:
    """A message as a row of its event's table."""
    columns = {name: message[key] for key, name in _OWN_COLUMNS.items()}
    columns |= {
        "event": snake_case(message["event"]),
        "event_text": message["event"],
        "timestamp": message["timestamp"],
        "original_timestamp": message["timestamp"],
        "received_at": received_at,
    }
    columns |= _flat(message["context"], "context_")
    columns |= _flat(message["properties"], "")
    return columns


def snake_case(name: str) -> str:
    """`"exceptionType"` and `"Exception Type"` as `"exception_type"`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[ -]+", "_", name).lower()


def _flat(nested: dict[str, Any], prefix: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    for key, value in nested.items():
        name = prefix + snake_case(key)
        columns |= _flat(value, name + "_") if isinstance(value, dict) else {name: value}
    return columns


def create_table(
    warehouse: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, str]]
) -> None:
    """Make a table, its schema included. Columns that end in `timestamp` or `_at` are times."""
    columns = {column: _type(column) for each in rows for column in each}
    warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {name.partition('.')[0]}")
    definitions = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    warehouse.execute(f"CREATE TABLE {name} ({definitions})")
    for each in rows:
        values = [each.get(column) for column in columns]
        places = ", ".join("?" * len(columns))
        warehouse.execute(f"INSERT INTO {name} VALUES ({places})", values)


def _type(column: str) -> str:
    return "TIMESTAMP" if column.endswith(("timestamp", "_at")) else "VARCHAR"
