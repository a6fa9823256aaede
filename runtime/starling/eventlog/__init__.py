"""The append-only event log: where the events of runs are kept, and in what order they may be added.

Layout:

* `_protocol`: what a log is (`EventLog`) and what a log with a schema is (`SchemaLog`).
* `_append_rules`: which events may follow a run's tail; pure, shared by every backend.
* `_follow`: history, then live events, no gap, no double.
* `_inline`: what the backends that answer in line (memory, SQLite) have in common.
* `_memory`, `_sqlite`: the backends. `_sql`: events as rows. `_sqlite_open`, `_sqlite_errors`: the edges of SQLite.
* `_summary`: what a listing says of a run. `_paging`: which runs a page shows. `_memory_listing`, `_sql_listing`,
  `_sqlite_listing`: finding them. `_sqlite_own`: what we keep beside the original's tables.
* `_pruning`: retention. `_fork`: branching a SQLite log. `_metrics`: a log that is observed.
* `_postgres`: the backend for many hosts. `_postgres_jobs`, `_postgres_steps`, `_postgres_schema`: what it asks the
  server, without IO; `_sql_steps`: what both SQL backends ask. `_postgres_client`, `_postgres_insert`: asking it.
  `_postgres_connect`, `_postgres_pool`, `_postgres_errors`: its edges.
* `_whole`: every run and every event, in pages. `_ndjson`, `_export`: out and in again. `_blocking`: blocking twins.
* `_migrations`: the SQLite schema, version by version. `_schema`: migrate, schema_version, preflight for any log.
* `_open`: URL or path to log. `_closing`: logs as contexts. `_int64`: what a database's integers hold.

`SQLiteLog` and `PostgresLog` are loaded on first use, so that importing this package imports no database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.event import totals as aggregate_run
from starling.eventlog._export import ImportReport, export_runs, export_runs_sync, import_runs, import_runs_sync
from starling.eventlog._fork import fork_sqlite, fork_sqlite_sync
from starling.eventlog._memory import MemoryLog
from starling.eventlog._metrics import AppendObserver, with_metrics
from starling.eventlog._open import load_postgres, load_sqlite, open_log
from starling.eventlog._paging import RunPage, RunPageOptions, RunStatus
from starling.eventlog._protocol import (
    SCHEMA_VERSION,
    EventLog,
    EventPager,
    MigrationReport,
    RunLister,
    RunPageLister,
    SchemaLog,
    StorageChecker,
    WriteChecker,
)
from starling.eventlog._pruning import PruneOptions, PruneReport, RunPruner, prune_runs, prune_runs_sync
from starling.eventlog._schema import (
    migrate,
    migrate_sync,
    preflight,
    preflight_sync,
    schema_version,
    schema_version_sync,
)
from starling.eventlog._summary import RunSummary
from starling.eventlog._whole import events_of, events_of_sync, run_ids, run_ids_sync

if TYPE_CHECKING:
    from starling.eventlog._postgres import PostgresLog
    from starling.eventlog._sqlite import SQLiteLog

__all__ = [
    "SCHEMA_VERSION",
    "AppendObserver",
    "EventLog",
    "EventPager",
    "ImportReport",
    "MemoryLog",
    "MigrationReport",
    "PostgresLog",
    "PruneOptions",
    "PruneReport",
    "RunLister",
    "RunPage",
    "RunPageLister",
    "RunPageOptions",
    "RunPruner",
    "RunStatus",
    "RunSummary",
    "SQLiteLog",
    "SchemaLog",
    "StorageChecker",
    "WriteChecker",
    "aggregate_run",
    "events_of",
    "events_of_sync",
    "export_runs",
    "export_runs_sync",
    "fork_sqlite",
    "fork_sqlite_sync",
    "import_runs",
    "import_runs_sync",
    "migrate",
    "migrate_sync",
    "open_log",
    "preflight",
    "preflight_sync",
    "prune_runs",
    "prune_runs_sync",
    "run_ids",
    "run_ids_sync",
    "schema_version",
    "schema_version_sync",
    "with_metrics",
]


def __getattr__(name: str) -> Any:
    load = {"SQLiteLog": load_sqlite, "PostgresLog": load_postgres}.get(name)
    if load is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, load())
