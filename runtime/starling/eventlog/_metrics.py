"""A log that tells an observer how its appends went. No metrics library: the observer feeds whichever one it likes.

Source: seed, "Wrapping a backend with metrics".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from starling.eventlog._closing import ClosedAtTheEnd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starling.event import Event
    from starling.eventlog._protocol import EventLog

__all__ = ["AppendObserver", "with_metrics"]


class AppendObserver(Protocol):
    """Hears of every append. It is called in the appending thread, and must be quick."""

    def append_done(self, run_id: str, events: int, seconds: float, error: BaseException | None) -> None:
        """One append has ended. What this raises reaches the caller of append, so it should raise nothing.

        Args:
            run_id: the run.
            events: the size of the batch.
            seconds: how long it took, by a clock that never goes back.
            error: what it raised, a cancellation included; None when it is in the log.
        """
        ...


def with_metrics(log: EventLog, observer: AppendObserver) -> EventLog:
    """Return a log that is ``log`` in every other respect, whose appends are told to ``observer``.

    Whatever else the log can do (list, prune, migrate, the blocking twins), the returned one can as well.
    """
    return _ObservedLog(log, observer)


_PASSED_ON = (
    "list_runs",
    "list_runs_page",
    "run_ids_page",
    "read_page",
    "prune",
    "check_storage",
    "check_writable",
    "schema_version",
    "migrate",
)
"""The methods of the optional protocols; each may have a blocking twin. Those that the log has become the wrapper's."""


class _ObservedLog(ClosedAtTheEnd):
    """See `with_metrics`. Closing it closes the log."""

    def __init__(self, log: EventLog, observer: AppendObserver) -> None:
        self._log: Any = log
        self._observer = observer
        for name in (*_PASSED_ON, *(f"{name}_sync" for name in (*_PASSED_ON, "read", "close"))):
            if hasattr(log, name):  # on the instance, where isinstance with a runtime protocol looks
                setattr(self, name, getattr(log, name))
        if hasattr(log, "append_sync"):
            self.append_sync = self._append_sync

    def __repr__(self) -> str:
        return f"with_metrics({self._log!r})"

    def __getattr__(self, name: str) -> Any:
        """What is the log's alone, such as ``path``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._log, name)

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        """`starling.eventlog.EventLog.append`, observed."""
        with _Timed(self._observer, run_id, events):
            await self._log.append(run_id, events)

    def _append_sync(self, run_id: str, events: Sequence[Event]) -> None:
        with _Timed(self._observer, run_id, events):
            self._log.append_sync(run_id, events)

    async def read(self, run_id: str) -> list[Event]:
        """`starling.eventlog.EventLog.read`."""
        events: list[Event] = await self._log.read(run_id)
        return events

    def stream(self, run_id: str, from_seq: int = 1) -> AsyncIterator[Event]:
        """`starling.eventlog.EventLog.stream`."""
        events: AsyncIterator[Event] = self._log.stream(run_id, from_seq)
        return events

    async def close(self) -> None:
        """`starling.eventlog.EventLog.close`."""
        await self._log.close()


class _Timed:
    """Tells the observer how the block went."""

    def __init__(self, observer: AppendObserver, run_id: str, events: Sequence[Event]) -> None:
        self._told = observer.append_done
        self._run_id, self._size = run_id, len(events)

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._told(self._run_id, self._size, time.perf_counter() - self._began, error)
