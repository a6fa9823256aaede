"""The log that lives as long as the process: for tests, demos and short-lived commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.eventlog._append_rules import EMPTY_RUN, Head, continue_run
from starling.eventlog._inline import InlineLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event import Event

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

    def _release(self) -> None:
        self._runs.clear()
        self._heads.clear()
