"""The SQLite schema, version by version (wire-format, "SQLite").

The tables and the two versions are the original's, so that either program can open the other's logs. Nothing here may
ever go above version 2 or add a column: an old reader would refuse the file.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starling.errors import LogCorruptError, LogError
from starling.eventlog._protocol import SCHEMA_VERSION
from starling.eventlog._sql import COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = [
    "EVENTS_TABLE",
    "LEGACY_TABLE",
    "MIGRATIONS_TABLE",
    "apply_pending",
    "create_tables",
    "pending",
    "stored_version",
    "tables",
]

EVENTS_TABLE = "eventlog_events"
MIGRATIONS_TABLE = "eventlog_schema_migrations"
LEGACY_TABLE = "events"

_CREATE_EVENTS = f"""
CREATE TABLE IF NOT EXISTS {EVENTS_TABLE} (
    run_id TEXT NOT NULL, seq INTEGER NOT NULL, prev_hash BLOB, ts INTEGER NOT NULL,
    kind INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (run_id, seq))
"""
_CREATE_MIGRATIONS = f"""
CREATE TABLE IF NOT EXISTS {MIGRATIONS_TABLE} (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Create both tables where they are missing. For a new file, or inside a migration's transaction."""
    connection.execute(_CREATE_EVENTS)
    connection.execute(_CREATE_MIGRATIONS)


def tables(connection: sqlite3.Connection) -> frozenset[str]:
    """The names of all tables in the database."""
    return frozenset(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


def stored_version(connection: sqlite3.Connection, path: str) -> int:
    """The schema version that the database is at; 0 before the first migration."""
    if MIGRATIONS_TABLE not in tables(connection):
        return 0
    (version,) = connection.execute(f"SELECT max(version) FROM {MIGRATIONS_TABLE}").fetchone()  # noqa: S608 - a constant
    if version is not None and type(version) is not int:
        raise LogCorruptError(f"{path}: {MIGRATIONS_TABLE} holds the version {version!r}, not a number", path=path)
    return version or 0


def pending(version: int) -> tuple[int, ...]:
    """The versions still to be applied to a database at ``version``."""
    return tuple(range(version + 1, SCHEMA_VERSION + 1))


def apply_pending(connection: sqlite3.Connection, path: str) -> tuple[int, ...]:
    """Apply what is pending and return it. Call it inside a transaction, so that it happens whole or not at all.

    Raises:
        LogError: the database has a table called ``events`` that is no log's.
        LogCorruptError: the legacy table contradicts the events that are there already.
    """
    versions = pending(stored_version(connection, path))
    for version in versions:
        _STEPS[version](connection, path)
        connection.execute(f"INSERT INTO {MIGRATIONS_TABLE} VALUES (?, ?)", (version, time.time_ns()))  # noqa: S608
    return versions


def _create(connection: sqlite3.Connection, path: str) -> None:
    del path
    create_tables(connection)


def _carry_legacy_over(connection: sqlite3.Connection, path: str) -> None:
    if LEGACY_TABLE not in tables(connection):
        return
    found = [name for (_, name, *_) in connection.execute(f"PRAGMA table_info({LEGACY_TABLE})")]
    if sorted(found) != sorted(COLUMNS.split(", ")):
        raise LogError(
            f"{path}: the table {LEGACY_TABLE!r} is not that of an early event log (its columns are "
            f"{', '.join(found)}), and migrating would drop it. Keep the event log in a file of its own",
            path=path,
        )
    connection.execute(f"INSERT OR IGNORE INTO {EVENTS_TABLE} ({COLUMNS}) SELECT {COLUMNS} FROM {LEGACY_TABLE}")  # noqa: S608
    lost = connection.execute(
        f"SELECT run_id, seq FROM (SELECT {COLUMNS} FROM {LEGACY_TABLE} EXCEPT SELECT {COLUMNS} FROM {EVENTS_TABLE})"  # noqa: S608
    ).fetchone()
    if lost is not None:
        run_id, seq = lost
        raise LogCorruptError(
            f"{path}: run {run_id} seq {seq} stands in {LEGACY_TABLE!r} and, with another content, in "
            f"{EVENTS_TABLE!r}. Nothing was changed; remove the wrong one and open the log again",
            path=path,
            run_id=str(run_id),
            seq=seq if type(seq) is int else None,
        )
    connection.execute(f"DROP TABLE {LEGACY_TABLE}")


_STEPS: dict[int, Callable[[sqlite3.Connection, str], None]] = {1: _create, 2: _carry_legacy_over}
