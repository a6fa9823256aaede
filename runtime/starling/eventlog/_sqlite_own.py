"""What this library keeps beside the original's tables in a service log: an index for listings, and seals.

A seal is the hash of a run's terminal event, which nothing in the chain covers (wire-format, "Beyond the chain"). It
is written in the transaction that ends the run, and compared when the end of the run is read, so that no byte of a run
that ended here can change unseen. Runs that the original ended have none. Fixtures have neither: they keep head hashes
of their own.

The original takes no notice of either; it keeps the index up to date because SQLite does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import LogCorruptError
from starling.event import event_hash
from starling.eventlog._migrations import EVENTS_TABLE
from starling.eventlog._sql_listing import FIRST_EVENTS_INDEX

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starling.event import Event
    from starling.eventlog._append_rules import Head

__all__ = [
    "FIXTURE_TABLE",
    "SEALS_TABLE",
    "check_seal",
    "create_missing",
    "cut_run",
    "drop_seal",
    "has_seals",
    "rehearse_write",
    "seal",
    "strip_fixture",
]

SEALS_TABLE = "starling_seals"

FIXTURE_TABLE = "starling_fixture"
"""Present in golden fixtures, which are no logs to write to."""

_CREATE: dict[str, str] = {
    FIRST_EVENTS_INDEX: f"INDEX IF NOT EXISTS {FIRST_EVENTS_INDEX} ON {EVENTS_TABLE} (ts, run_id) WHERE seq = 1",
    SEALS_TABLE: f"TABLE IF NOT EXISTS {SEALS_TABLE} (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, "
    "hash BLOB NOT NULL) WITHOUT ROWID",
}
_NAMES = "SELECT name FROM sqlite_master"


def create_missing(connection: sqlite3.Connection) -> None:
    """Create what is missing. On a large log of the original's this takes a second, once."""
    present = {name for (name,) in connection.execute(_NAMES)}
    for name, statement in _CREATE.items():
        if name not in present:
            connection.execute(f"CREATE {statement}")


def has_seals(connection: sqlite3.Connection) -> bool:
    """Whether the log has a table of seals."""
    return (SEALS_TABLE,) in connection.execute(_NAMES)


def seal(connection: sqlite3.Connection, run_id: str, head: Head) -> None:
    """Remember the terminal event of a run, in the transaction that appends it."""
    connection.execute(f"INSERT OR REPLACE INTO {SEALS_TABLE} VALUES (?, ?, ?)", (run_id, head.seq, head.hash))  # noqa: S608


def rehearse_write(connection: sqlite3.Connection) -> None:
    """Insert a row that no event could be, and take it back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"INSERT INTO {EVENTS_TABLE} VALUES ('', 0, NULL, 0, 0, x'')")  # noqa: S608 - a constant
    finally:
        connection.execute("ROLLBACK")


def drop_seal(connection: sqlite3.Connection, run_id: str) -> None:
    """Forget the seal of a run that goes, or whose end does."""
    connection.execute(f"DELETE FROM {SEALS_TABLE} WHERE run_id = ?", (run_id,))  # noqa: S608 - a constant


def cut_run(connection: sqlite3.Connection, run_id: str, before_seq: int) -> int | None:
    """Delete a run's events from ``before_seq`` on, none for 0, and the seal of the end that goes.

    Returns how many went; None if there is no such run. Call it inside a transaction.
    """
    if not connection.execute(f"SELECT 1 FROM {EVENTS_TABLE} WHERE run_id = ? LIMIT 1", (run_id,)).fetchone():  # noqa: S608
        return None
    if before_seq <= 0:
        return 0
    gone = connection.execute(f"DELETE FROM {EVENTS_TABLE} WHERE run_id = ? AND seq >= ?", (run_id, before_seq))  # noqa: S608
    if gone.rowcount and has_seals(connection):
        drop_seal(connection, run_id)
    return gone.rowcount


def strip_fixture(connection: sqlite3.Connection) -> None:
    """Drop what makes a log a golden fixture: a copy that was changed is none."""
    connection.execute(f"DROP TABLE IF EXISTS {FIXTURE_TABLE}")


def check_seal(connection: sqlite3.Connection, path: str, events: Sequence[Event]) -> None:
    """Compare the last of these events with the seal of its run, if it is the one that was sealed.

    Its kind is not asked: that is one of the things that may have changed.

    Raises:
        LogCorruptError: one of the two was changed after it was written.
    """
    if not events:
        return
    last = events[-1]
    row = connection.execute(f"SELECT seq, hash FROM {SEALS_TABLE} WHERE run_id = ?", (last.run_id,)).fetchone()  # noqa: S608
    if row is not None and row[0] == last.seq and row[1] != event_hash(last):
        raise LogCorruptError(
            f"{path}: run {last.run_id} seq {last.seq}: the terminal event is not the one that was sealed when the run "
            "ended: it, or its seal, was changed after it was written. Restore the log from a copy",
            path=path,
            run_id=last.run_id,
            seq=last.seq,
        )
