"""The log that lives as long as the process: for tests, demos and short-lived commands."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from starling.eventlog._append_rules import EMPTY_RUN, Head, continue_run
from starling.eventlog._inline import InlineLog
from starling.eventlog._memory_listing import page_of, prunable
from starling.eventlog._pruning import PruneBatch, PruneReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event import Event
    from starling.eventlog._paging import Position, RunPage, RunPageOptions
    from starling.eventlog._pruning import PruneOptions

__all__ = ["MemoryLog"]


class MemoryLog(InlineLog):
    """Keeps runs in memory; everything is gone when the object is. Safe to use from several threads and event loops."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, list[Event]] = {}
        self._heads: dict[str, Head] = {}

    def __repr__(self) -> str:
        return f"MemoryLog({len(self._runs)} runs)"

    def _append(self, run_id: str, events: Sequence[Event]) -> None:
        batch = tuple(events)
        head = continue_run(run_id, self._heads.get(run_id, EMPTY_RUN), batch)
        if batch:
            self._runs.setdefault(run_id, []).extend(batch)
            self._heads[run_id] = head

    def _read(self, run_id: str) -> list[Event]:
        return list(self._runs.get(run_id, ()))

    def _page(self, run_id: str, from_seq: int, limit: int) -> list[Event]:
        start = max(from_seq, 1) - 1  # events stand at seq - 1, since appends leave no gap
        return self._runs.get(run_id, [])[start : start + limit]

    def _runs_held(self) -> Iterable[Sequence[Event]]:
        return self._runs.values()

    def _page_of_runs(self, options: RunPageOptions) -> RunPage:
        return page_of(self._runs.values(), options)

    def _run_ids(self, after: str, limit: int) -> list[str]:
        return heapq.nsmallest(limit, (run_id for run_id in self._runs if run_id > after))

    def _prunable(self, options: PruneOptions) -> PruneReport:
        sizes = [size for _, size in prunable(self._runs.values(), options)]
        return PruneReport(matched_runs=len(sizes), matched_events=sum(sizes), dry_run=options.dry_run)

    def _prune_batch(self, options: PruneOptions, after: Position | None, limit: int) -> PruneBatch:
        batch = [run for run in prunable(self._runs.values(), options) if after is None or run[0] > after][:limit]
        for position, _ in batch:
            del self._runs[position.run_id], self._heads[position.run_id]
        return PruneBatch(
            runs=len(batch), events=sum(size for _, size in batch), reached=batch[-1][0] if batch else None
        )

    def _release(self) -> None:
        self._runs.clear()
        self._heads.clear()
