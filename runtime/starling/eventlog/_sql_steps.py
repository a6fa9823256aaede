"""Listing and pruning as steps: what to ask a SQL database next, given what it has answered so far. No IO.

Each function is a generator that gives statements and is sent their rows; what it returns is the result. Each backend
carries them out in its own way (in line, awaiting, blocking), so that what a listing means is written once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from starling.errors import LogCorruptError
from starling.event import RunTotals
from starling.event import totals as aggregate_run
from starling.eventlog._paging import Position, RunPage
from starling.eventlog._pruning import PruneReport
from starling.eventlog._sql import event_of_row
from starling.eventlog._sql_listing import Dialect, Statement, count_starts, facts, messages, page_of_starts, prunable
from starling.eventlog._summary import Ends, summary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPageOptions
    from starling.eventlog._pruning import PruneOptions
    from starling.eventlog._sql import Row
    from starling.eventlog._summary import RunSummary

__all__ = ["Steps", "empty_page", "list_page", "prunable_runs"]

T = TypeVar("T")
Steps: TypeAlias = Generator[Statement, Iterable[Any], T]
"""Gives statements, is sent the rows of each, returns the result."""

_IDS_AT_ONCE = 256


def list_page(dialect: Dialect, options: RunPageOptions) -> Steps[RunPage]:
    """One page: `starling.eventlog.RunPageLister.list_runs_page`."""
    rows = yield page_of_starts(dialect, options)
    starts = [Position(ts, run_id) for run_id, ts in rows]
    shown = starts[: options.limit]
    total = None
    if options.count:
        ((total,),) = yield count_starts(dialect, options)
    return RunPage(
        runs=tuple((yield from _summaries(shown))),
        total_matching=total,
        limit=options.limit,
        offset=options.offset,
        next_cursor=str(shown[-1]) if len(starts) > len(shown) else "",
    )


def empty_page(options: RunPageOptions) -> RunPage:
    """The page of what no run can match, having a text that the database cannot hold."""
    return RunPage(runs=(), total_matching=0 if options.count else None, limit=options.limit, offset=options.offset)


def prunable_runs(dialect: Dialect, options: PruneOptions) -> Steps[PruneReport]:
    """How much the options mean."""
    rows = yield prunable(dialect, options, None, options.limit or None)
    sizes = [size for _, _, size in rows]
    return PruneReport(matched_runs=len(sizes), matched_events=sum(sizes), dry_run=options.dry_run)


def _summaries(starts: Sequence[Position]) -> Steps[list[RunSummary]]:
    summaries = []
    for begin in range(0, len(starts), _IDS_AT_ONCE):
        some = starts[begin : begin + _IDS_AT_ONCE]
        ids = [start.run_id for start in some]
        rows = yield facts(ids)
        ends = {run_id: _ends(*row) for run_id, *row in rows}
        rows = yield messages(ids)
        spent = _spent(rows)
        for start in some:
            if start.run_id in ends:  # else it was pruned a moment ago
                totals = spent.get(start.run_id, RunTotals())
                summaries.append(summary_of(start.run_id, start.ts, ends[start.run_id], totals))
    return summaries


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
