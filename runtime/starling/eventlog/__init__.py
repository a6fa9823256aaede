"""The append-only event log: where the events of runs are kept, and in what order they may be added.

Layout:

* `_protocol`: what a log is (`EventLog`) and what a log with a schema is (`SchemaLog`).
* `_append_rules`: which events may follow a run's tail; pure, shared by every backend.
* `_follow`: history, then live events, no gap, no double.
* `_inline`: what the backends that answer in line (memory, SQLite) have in common.
* `_memory`, `_sqlite`: the backends. `_sql`: events as rows. `_sqlite_open`, `_sqlite_errors`: the edges of SQLite.
* `_summary`: what a listing says of a run.
* `_migrations`: the SQLite schema, version by version. `_schema`: migrate, schema_version, preflight for any log.
* `_open`: URL or path to log.

`SQLiteLog` is loaded on first use, so that importing this package does not import ``sqlite3``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.event import totals as aggregate_run
from starling.eventlog._memory import MemoryLog
from starling.eventlog._open import open_log
from starling.eventlog._protocol import SCHEMA_VERSION, EventLog, MigrationReport, RunLister, SchemaLog
from starling.eventlog._schema import (
    migrate,
    migrate_sync,
    preflight,
    preflight_sync,
    schema_version,
    schema_version_sync,
)
from starling.eventlog._summary import RunSummary

if TYPE_CHECKING:
    from starling.eventlog._sqlite import SQLiteLog

__all__ = [
    "SCHEMA_VERSION",
    "EventLog",
    "MemoryLog",
    "MigrationReport",
    "RunLister",
    "RunSummary",
    "SQLiteLog",
    "SchemaLog",
    "aggregate_run",
    "migrate",
    "migrate_sync",
    "open_log",
    "preflight",
    "preflight_sync",
    "schema_version",
    "schema_version_sync",
]


def __getattr__(name: str) -> Any:
    if name == "SQLiteLog":
        from starling.eventlog._sqlite import SQLiteLog

        globals()[name] = SQLiteLog
        return SQLiteLog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
