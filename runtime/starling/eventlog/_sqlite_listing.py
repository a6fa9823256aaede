"""Listing and pruning a SQLite log: the shared statements, run on a connection.

The caller holds the connection's lock and maps the driver's errors. SQLite stores anything anywhere, so a row whose
columns are of other types is left out: a listing shows what there is, and reading the run reports the damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from starling.errors import LogCorruptError
from starling.eventlog import _sql_steps
from starling.eventlog._paging import Position
from starling.eventlog._pruning import PruneBatch, first_events_worth
from starling.eventlog._sql_listing import Dialect, prunable
from starling.eventlog._sqlite_open import transaction
from starling.eventlog._sqlite_own import drop_seal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from starling.eventlog._paging import RunPage, RunPageOptions
    from starling.eventlog._pruning import PruneOptions, PruneReport
    from starling.eventlog._sql_listing import Statement
    from starling.eventlog._sql_steps import Steps

__all__ = ["check_database", "list_page", "prunable_runs", "prune_batch", "run_ids"]

T = TypeVar("T")

_SQLITE = Dialect(
    contains="instr(lower(head.run_id), ?) > 0",
    sound="typeof(head.ts) = 'integer' AND typeof(head.run_id) = 'text'",
)
_RUN_IDS = "SELECT DISTINCT run_id FROM eventlog_events WHERE run_id > ? ORDER BY run_id LIMIT ?"


def list_page(connection: sqlite3.Connection, options: RunPageOptions) -> RunPage:
    """One page: `starling.eventlog.RunPageLister.list_runs_page`."""
    try:
        return _carry_out(connection, _sql_steps.list_page(_SQLITE, options))
    except UnicodeEncodeError:  # a lone surrogate: no run was ever stored under such an id
        return _sql_steps.empty_page(options)


def run_ids(connection: sqlite3.Connection, path: str, after: str, limit: int) -> list[str]:
    """Ids of runs: `starling.eventlog.EventPager.run_ids_page`."""
    found = [run_id for (run_id,) in connection.execute(_RUN_IDS, (after, limit))]
    for run_id in found:
        if not isinstance(run_id, str):
            raise LogCorruptError(
                f"{path}: a row has the run id {run_id!r}, which is no text. It was changed after it was written; "
                "restore the log from a copy",
                path=path,
            )
    return found


def check_database(connection: sqlite3.Connection, path: str) -> None:
    """Raise `LogCorruptError` if tables and indexes do not fit together."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise LogCorruptError(
            f"{path}: the database is damaged, so events may be missing: {verdict}. Restore it from a copy", path=path
        )


def prunable_runs(connection: sqlite3.Connection, options: PruneOptions) -> PruneReport:
    """How much the options mean."""
    return _carry_out(connection, _sql_steps.prunable_runs(_SQLITE, options))


def prune_batch(
    connection: sqlite3.Connection, options: PruneOptions, after: Position | None, limit: int
) -> PruneBatch:
    """Delete the next runs behind ``after`` in one transaction, so many at most."""
    with transaction(connection):
        rows = _rows(connection, prunable(_SQLITE, options, after, limit))
        batch = first_events_worth([(Position(ts, run_id), size) for run_id, ts, size in rows])
        for position, _ in batch:
            connection.execute("DELETE FROM eventlog_events WHERE run_id = ?", (position.run_id,))
            drop_seal(connection, position.run_id)
    return PruneBatch(runs=len(batch), events=sum(size for _, size in batch), reached=batch[-1][0] if batch else None)


def _carry_out(connection: sqlite3.Connection, steps: Steps[T]) -> T:
    try:
        statement = next(steps)
        while True:
            statement = steps.send(_rows(connection, statement))
    except StopIteration as end:
        result: T = end.value
        return result


def _rows(connection: sqlite3.Connection, statement: Statement) -> Iterator[Any]:
    return iter(connection.execute(statement.text, statement.arguments))
