"""What a Postgres log asks its server: reading, walking, pruning. Steps (see `_sql_steps`), no IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.eventlog._migrations import EVENTS_TABLE
from starling.eventlog._paging import Position, RunStatus
from starling.eventlog._pruning import PruneBatch, first_events_worth
from starling.eventlog._sql import COLUMNS, event_of_row
from starling.eventlog._sql_listing import Dialect, Statement, prunable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.eventlog._pruning import PruneOptions
    from starling.eventlog._sql_steps import Steps

__all__ = [
    "PAGE",
    "POSTGRES",
    "TAIL",
    "WHOLE_RUN",
    "can_hold",
    "prune_batch",
    "rehearse_write",
    "run_ids",
    "select",
]

POSTGRES = Dialect(
    run_id='head.run_id COLLATE "C"',
    contains='strpos(lower(head.run_id COLLATE "C"), ?) > 0',
)

_SELECT = f"SELECT {COLUMNS} FROM {EVENTS_TABLE} WHERE run_id = ?"  # noqa: S608 - constants
WHOLE_RUN = f"{_SELECT} ORDER BY seq"
PAGE = f"{_SELECT} AND seq >= ? ORDER BY seq LIMIT ?"
TAIL = f"{_SELECT} ORDER BY seq DESC LIMIT 1"
_RUN_IDS = (
    f'SELECT DISTINCT run_id COLLATE "C" AS id FROM {EVENTS_TABLE} WHERE run_id COLLATE "C" > ? ORDER BY id LIMIT ?'  # noqa: S608
)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))"
_TRY_TO_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))"
_WAIT_BRIEFLY = "SET LOCAL lock_timeout = '5s'"
_STOP_WRITERS = f"LOCK TABLE {EVENTS_TABLE} IN SHARE ROW EXCLUSIVE MODE"
_DELETE = f"DELETE FROM {EVENTS_TABLE} WHERE run_id = ANY(?)"  # noqa: S608 - constants


def can_hold(*texts: str) -> bool:
    """Whether Postgres could have stored these texts: no NUL, no lone surrogate."""
    try:
        return b"\0" not in "".join(texts).encode()
    except UnicodeEncodeError:
        return False


def rehearse_write() -> Steps[None]:
    """Insert a row that no event could be. Carry it out in a transaction that is rolled back."""
    yield Statement(text=f"INSERT INTO {EVENTS_TABLE} VALUES ('', 0, NULL, 0, 0, '')", arguments=())  # noqa: S608


def select(name: str, which: str, run_id: str, *arguments: int) -> Steps[list[Event]]:
    """Events of a run: one of `WHOLE_RUN`, `PAGE` (from a seq on, so many at most) and `TAIL`."""
    if not can_hold(run_id):
        return []
    rows = yield Statement(text=which, arguments=(run_id, *arguments))
    return [event_of_row(row, name) for row in rows]


def run_ids(after: str, limit: int) -> Steps[list[str]]:
    """Ids of runs: `starling.eventlog.EventPager.run_ids_page`."""
    rows = yield Statement(text=_RUN_IDS, arguments=(after, limit))
    return [run_id for (run_id,) in rows]


def prune_batch(options: PruneOptions, after: Position | None, limit: int) -> Steps[PruneBatch]:
    """Delete the next runs behind ``after``, so many at most. Carry it out in a transaction.

    The runs are chosen first and locked then, so what has been written to one meanwhile is looked at again.
    """
    rows = yield prunable(POSTGRES, options, after, limit)
    batch = first_events_worth([(Position(ts, run_id), size) for run_id, ts, size in rows])
    if not batch:
        return PruneBatch()
    lock = _lock_written if RunStatus.IN_PROGRESS in options.statuses() else _lock_ended
    locked = yield from lock([position.run_id for position, _ in batch])
    rows = yield _still(options, locked)
    sizes = {run_id: size for run_id, _, size in rows}
    yield Statement(text=_DELETE, arguments=(list(sizes),))
    return PruneBatch(runs=len(sizes), events=sum(sizes.values()), reached=batch[-1][0])


def _lock_ended(run_ids: Sequence[str]) -> Steps[Sequence[str]]:
    """Lock runs that nobody writes any more."""
    for run_id in sorted(run_ids):  # in one order, so that two prunings cannot wait for each other
        yield Statement(text=_LOCK, arguments=(run_id,))
    return run_ids


def _lock_written(run_ids: Sequence[str]) -> Steps[Sequence[str]]:
    """Lock runs that may be written this very moment, and return those that it locked.

    A run's own lock does not do: an append that waits for it has seen the run already, and would add to what is gone.
    One that waits for the table looks afterwards. Where the table cannot be had soon, because of VACUUM say, the
    pruning fails: every append of every run waits behind it.

    The original's appends look first and wait for the table then, with the run's lock in hand. To wait for that here
    would be a deadlock, so such a run is left as it is.
    """
    yield Statement(text=_WAIT_BRIEFLY, arguments=())
    yield Statement(text=_STOP_WRITERS, arguments=())
    locked = []
    for run_id in run_ids:
        ((is_mine,),) = yield Statement(text=_TRY_TO_LOCK, arguments=(run_id,))
        if is_mine:
            locked.append(run_id)
    return locked


def _still(options: PruneOptions, run_ids: Sequence[str]) -> Statement:
    """Those of these runs that the options still mean, as `prunable` gives them."""
    matching = prunable(POSTGRES, options, None, None)
    return Statement(
        text=f"SELECT run_id, ts, events FROM ({matching.text}) AS still (run_id, ts, events) WHERE run_id = ANY(?)",  # noqa: S608
        arguments=(*matching.arguments, list(run_ids)),
    )
