"""Listing and pruning runs that are held in memory: the same questions as `_sql_listing` asks in SQL. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from starling.event import Kind
from starling.eventlog._paging import Position, RunPage, ascii_lower, status_of, unix_ns
from starling.eventlog._summary import summarize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPageOptions
    from starling.eventlog._pruning import PruneOptions

__all__ = ["page_of", "prunable"]


def page_of(runs: Collection[Sequence[Event]], options: RunPageOptions) -> RunPage:
    """One page of these runs. Those alone that it shows are folded."""
    matching = [run for run in runs if _matches(run, options)]
    after = Position.parse(options.cursor) if options.cursor else None
    rest = (run for run in matching if after is None or _position(run) < after)
    found = heapq.nlargest(options.offset + options.limit + 1, rest, key=_position)[options.offset :]
    shown = found[: options.limit]
    return RunPage(
        runs=tuple(map(summarize, shown)),
        total_matching=len(matching) if options.count else None,
        limit=options.limit,
        offset=options.offset,
        next_cursor=str(_position(shown[-1])) if len(found) > len(shown) else "",
    )


def prunable(runs: Collection[Sequence[Event]], options: PruneOptions) -> list[tuple[Position, int]]:
    """The runs that the options mean, the oldest first, each with the number of its events."""
    before, statuses = unix_ns(options.before, "before"), options.statuses()
    found = [
        (_position(run), len(run))
        for run in runs
        if status_of(run[-1].kind) in statuses and (before is None or run[0].ts < before)
    ]
    return sorted(found)[: options.limit or None]


def _position(run: Sequence[Event]) -> Position:
    return Position(run[0].ts, run[0].run_id)


def _matches(run: Sequence[Event], options: RunPageOptions) -> bool:
    return all(_answers(run, options))


def _answers(run: Sequence[Event], options: RunPageOptions) -> Iterator[bool]:
    first, last = run[0], run[-1]
    after, before = unix_ns(options.started_after, "started_after"), unix_ns(options.started_before, "started_before")
    yield options.status is None or status_of(last.kind) is options.status
    yield first.run_id.startswith(options.prefix)
    yield ascii_lower(options.query) in ascii_lower(first.run_id)
    yield after is None or first.ts >= after
    yield before is None or first.ts < before
    yield not options.require_tool_calls or any(event.kind == Kind.ToolCallScheduled for event in run)
