"""Listing and pruning a SQLite log: the shared statements, run on a connection.

The caller holds the connection's lock and maps the driver's errors. SQLite stores anything anywhere, so a row whose
columns are of other types is left out: a listing shows what there is, and reading the run reports the damage.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from starling.errors import LogCorruptError
from starling.event import RunTotals
from starling.event import totals as aggregate_run
from starling.eventlog._paging import Position, RunPage
from starling.eventlog._pruning import PruneBatch, PruneReport, first_events_worth
from starling.eventlog._sql import event_of_row
from starling.eventlog._sql_listing import Dialect, count_starts, facts, messages, page_of_starts, prunable
from starling.eventlog._sqlite_open import transaction
from starling.eventlog._sqlite_own import drop_seal
from starling.eventlog._summary import Ends, summary_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPageOptions
    from starling.eventlog._pruning import PruneOptions
    from starling.eventlog._sql import Row
    from starling.eventlog._sql_listing import Statement
    from starling.eventlog._summary import RunSummary

__all__ = ["check_database", "list_page", "prunable_runs", "prune_batch", "run_ids"]

_SQLITE = Dialect(
    contains="instr(lower(head.run_id), ?) > 0",
    sound="typeof(head.ts) = 'integer' AND typeof(head.run_id) = 'text'",
)
_IDS_AT_ONCE = 256
_RUN_IDS = "SELECT DISTINCT run_id FROM eventlog_events WHERE run_id > ? ORDER BY run_id LIMIT ?"


def list_page(connection: sqlite3.Connection, options: RunPageOptions) -> RunPage:
    """One page: `starling.eventlog.RunPageLister.list_runs_page`."""
    starts = [Position(ts, run_id) for run_id, ts in _rows(connection, page_of_starts(_SQLITE, options))]
    shown = starts[: options.limit]
    total = next(_rows(connection, count_starts(_SQLITE, options)))[0] if options.count else None
    return RunPage(
        runs=tuple(_summaries(connection, shown)),
        total_matching=total,
        limit=options.limit,
        offset=options.offset,
        next_cursor=str(shown[-1]) if len(starts) > len(shown) else "",
    )


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
    sizes = [size for _, _, size in _rows(connection, prunable(_SQLITE, options, None, options.limit or None))]
    return PruneReport(matched_runs=len(sizes), matched_events=sum(sizes), dry_run=options.dry_run)


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


def _summaries(connection: sqlite3.Connection, starts: Sequence[Position]) -> Iterator[RunSummary]:
    for begin in range(0, len(starts), _IDS_AT_ONCE):
        some = starts[begin : begin + _IDS_AT_ONCE]
        ids = [start.run_id for start in some]
        ends = {run_id: _ends(*row) for run_id, *row in _rows(connection, facts(ids))}
        spent = _spent(_rows(connection, messages(ids)))
        for start in some:
            if start.run_id in ends:  # else it was pruned a moment ago
                yield summary_of(start.run_id, start.ts, ends[start.run_id], spent.get(start.run_id, RunTotals()))


def _ends(last_seq: object, turns: int, calls: int, last_ts: object, last_kind: object) -> Ends:
    last_seq, last_ts, last_kind = (value if type(value) is int else 0 for value in (last_seq, last_ts, last_kind))
    return Ends(last_seq=last_seq, last_ts=last_ts, last_kind=last_kind, turns=turns, tool_calls=calls)


def _spent(rows: Iterable[Row]) -> dict[str, RunTotals]:
    """Tokens and money of each run, from the rows of its messages; those of one run are held at a time."""
    return {run_id: aggregate_run(list(run)) for run_id, run in groupby(_readable(rows), key=attrgetter("run_id"))}


def _readable(rows: Iterable[Row]) -> Iterator[Event]:
    for row in rows:
        with suppress(LogCorruptError):
            yield event_of_row(row, "")


def _rows(connection: sqlite3.Connection, statement: Statement) -> Iterator[Any]:
    return iter(connection.execute(statement.text, statement.arguments))
