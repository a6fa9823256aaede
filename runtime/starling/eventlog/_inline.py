"""What the backends that answer in line have in common.

Their blocking form is the real one; the async form calls it without a thread hop, because a page of memory or one
SQLite statement costs less than the hop (and an append cannot be cancelled half-way).
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from starling.errors import LogClosedError
from starling.eventlog._closing import ClosedAtTheEnd
from starling.eventlog._follow import PAGE_SIZE, Wakeups, follow
from starling.eventlog._int64 import within_int64
from starling.eventlog._paging import RunPageOptions
from starling.eventlog._pruning import Pruning
from starling.eventlog._summary import newest_first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import Position, RunPage
    from starling.eventlog._pruning import PruneBatch, PruneOptions, PruneReport
    from starling.eventlog._summary import RunSummary

__all__ = ["InlineLog"]


class InlineLog(ClosedAtTheEnd, ABC):
    """An `starling.eventlog.EventLog` whose work is done in the caller's thread, under one lock.

    Usable as a context manager, blocking or async; leaving the block closes the log. The async methods do what their
    blocking twins do.
    """

    _poll_s: ClassVar[float | None] = None
    _path: str = ""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakeups = Wakeups()
        self._closed = False

    # -- what a backend supplies; all of it is called with the lock held and the log open

    @abstractmethod
    def _append(self, run_id: str, events: Sequence[Event]) -> None:
        """Check and store a batch."""

    @abstractmethod
    def _read(self, run_id: str) -> list[Event]:
        """A whole run."""

    @abstractmethod
    def _page(self, run_id: str, from_seq: int, limit: int) -> list[Event]:
        """Part of a run."""

    @abstractmethod
    def _runs_held(self) -> Iterable[Sequence[Event]]:
        """Each run's readable events, in any order of runs; none of them is empty."""

    @abstractmethod
    def _page_of_runs(self, options: RunPageOptions) -> RunPage:
        """A page of the listing."""

    @abstractmethod
    def _run_ids(self, after: str, limit: int) -> list[str]:
        """Ids of runs behind ``after``, ascending."""

    @abstractmethod
    def _prunable(self, options: PruneOptions) -> PruneReport:
        """How much the options mean."""

    @abstractmethod
    def _prune_batch(self, options: PruneOptions, after: Position | None, limit: int) -> PruneBatch:
        """Delete the next runs behind ``after``."""

    @abstractmethod
    def _release(self) -> None:
        """Give back what the log holds."""

    # -- the blocking form

    def append_sync(self, run_id: str, events: Sequence[Event]) -> None:
        """Add a batch to a run: `starling.eventlog.EventLog.append`."""
        with self._lock:
            if self._closed:
                raise self._is_closed()
            self._append(run_id, events)
        self._wakeups.wake(run_id)

    def read_sync(self, run_id: str) -> list[Event]:
        """All events of a run: `starling.eventlog.EventLog.read`."""
        with self._open():
            return self._read(run_id)

    def list_runs_sync(self) -> list[RunSummary]:
        """Every run, newest first: `starling.eventlog.RunLister.list_runs`."""
        with self._open():
            return newest_first(self._runs_held())

    def list_runs_page_sync(self, options: RunPageOptions | None = None) -> RunPage:
        """One page of runs: `starling.eventlog.RunPageLister.list_runs_page`."""
        with self._open():
            return self._page_of_runs(options or RunPageOptions())

    def run_ids_page_sync(self, after: str = "", limit: int = PAGE_SIZE) -> list[str]:
        """One page of run ids: `starling.eventlog.EventPager.run_ids_page`."""
        with self._open():
            return self._run_ids(after, within_int64(max(limit, 0)))

    def read_page_sync(self, run_id: str, from_seq: int = 1, limit: int = PAGE_SIZE) -> list[Event]:
        """One page of a run: `starling.eventlog.EventPager.read_page`."""
        with self._open():
            return self._page(run_id, within_int64(from_seq), within_int64(max(limit, 0)))

    def prune_sync(self, options: PruneOptions) -> PruneReport:
        """Delete whole runs: `starling.eventlog.RunPruner.prune`."""
        work = self._pruning(options)
        while work.next_limit:
            time.sleep(self._prune_more(options, work))
        return work.report

    def close_sync(self) -> None:
        """Release what the log holds: `starling.eventlog.EventLog.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._release()
        self._wakeups.wake_all()

    # -- the async form

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Add a batch to a run: `starling.eventlog.EventLog.append`."""
        self.append_sync(run_id, events)

    async def read(self, run_id: str) -> list[Event]:
        """All events of a run: `starling.eventlog.EventLog.read`."""
        return self.read_sync(run_id)

    async def list_runs(self) -> list[RunSummary]:
        """Every run, newest first: `starling.eventlog.RunLister.list_runs`."""
        return self.list_runs_sync()

    def stream(self, run_id: str, from_seq: int = 1) -> AsyncIterator[Event]:
        """History, then live events: `starling.eventlog.EventLog.stream`."""
        with self._open():
            return follow(self.read_page, self._wakeups, run_id, from_seq, self._poll_s)

    async def list_runs_page(self, options: RunPageOptions | None = None) -> RunPage:
        """One page of runs: `starling.eventlog.RunPageLister.list_runs_page`."""
        return self.list_runs_page_sync(options)

    async def run_ids_page(self, after: str = "", limit: int = PAGE_SIZE) -> list[str]:
        """One page of run ids: `starling.eventlog.EventPager.run_ids_page`."""
        return self.run_ids_page_sync(after, limit)

    async def read_page(self, run_id: str, from_seq: int = 1, limit: int = PAGE_SIZE) -> list[Event]:
        """One page of a run: `starling.eventlog.EventPager.read_page`."""
        return self.read_page_sync(run_id, from_seq, limit)

    async def prune(self, options: PruneOptions) -> PruneReport:
        """Delete whole runs: `starling.eventlog.RunPruner.prune`."""
        import asyncio

        work = self._pruning(options)
        while work.next_limit:
            pause_s = self._prune_more(options, work)
            await asyncio.sleep(pause_s)
        return work.report

    async def close(self) -> None:
        """Release what the log holds: `starling.eventlog.EventLog.close`."""
        self.close_sync()

    def _pruning(self, options: PruneOptions) -> Pruning:
        with self._open():
            matched = self._prunable(options)
        return Pruning(options, matched)

    def _prune_more(self, options: PruneOptions, work: Pruning) -> float:
        """Do one batch. Returns the seconds to wait before the next.

        They are as many as it took, so that whoever waits for the lock finds it free half of the time. SQLite's locks
        know no queue.
        """
        began = time.perf_counter()
        with self._open():
            work.add(self._prune_batch(options, work.reached, work.next_limit))
        return time.perf_counter() - began

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise self._is_closed()
            yield

    def _is_closed(self) -> LogClosedError:
        return LogClosedError(f"{self!r} is closed: open it again, or close it later", path=self._path)
