"""What an event log is: the interface that every backend implements and that the runtime is written against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPage, RunPageOptions
    from starling.eventlog._summary import RunSummary

__all__ = [
    "SCHEMA_VERSION",
    "EventLog",
    "EventPager",
    "MigrationReport",
    "RunLister",
    "RunPageLister",
    "SchemaLog",
    "StorageChecker",
    "WriteChecker",
]

SCHEMA_VERSION = 2
"""The storage schema that this library writes (wire-format, "SQLite"); the same number for SQL backends of any kind."""


@runtime_checkable
class EventLog(Protocol):
    """Keeps the events of runs, append-only. One object serves many runs, threads and event loops.

    `starling.testing.eventlog_contract` holds the checks that every implementation passes. Source: seed,
    "Persist runs".
    """

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Add a batch to a run, all of it or nothing, durable before this returns.

        Args:
            run_id: the run that every event of the batch belongs to.
            events: in chain order, continuing the run's tail. An empty batch changes nothing.

        Raises:
            InvalidAppendError: the batch does not continue the tail; nothing was written.
            ReadOnlyError: the log was opened for reading.
            LogClosedError: after `close`.
            LogWriteError: the storage failed; nothing was written.
        """
        ...

    async def read(self, run_id: str) -> list[Event]:
        """All events of a run in order, in a fresh list; an empty one for a run that the log does not know.

        The form of each row is checked, the chain is not: `starling.event.validate` does that.

        Raises:
            LogClosedError: after `close`.
            LogCorruptError: a row is not an event.
        """
        ...

    def stream(self, run_id: str, from_seq: int = 1) -> AsyncIterator[Event]:
        """The events of a run from ``from_seq`` on: those there are, then those to come, each exactly once.

        Ends after the run's terminal event, also where that comes before ``from_seq``, or quietly when the log is
        closed meanwhile. A run that does not exist yet is waited for. History is read in pages, so a slow reader costs
        a page of memory and loses nothing.

        Raises:
            LogClosedError: the log is closed already.
            LogCorruptError: a row is not an event.
        """
        ...

    async def close(self) -> None:
        """Release what the log holds. A second call does nothing; any other use raises `LogClosedError` from now on."""
        ...


@runtime_checkable
class RunLister(Protocol):
    """A log that can say which runs it holds. Source: seed, "Persist runs"."""

    async def list_runs(self) -> list[RunSummary]:
        """Every run, the one that started last first.

        Presentation, not proof: an event that cannot be read is left out of the sums, and a run whose first one is
        damaged may be left out whole; `EventLog.read` and `starling.event.validate` report it.

        Raises:
            LogClosedError: after `EventLog.close`.
        """
        ...


@runtime_checkable
class RunPageLister(Protocol):
    """A log that lists its runs a page at a time, however many there are. Source: seed, "Paged listings"."""

    async def list_runs_page(self, options: RunPageOptions | None = None) -> RunPage:
        """One page of the runs that match, the one that started last first.

        Presentation, as `RunLister.list_runs`, but that a run without its first event is not shown: who must see every
        run, damaged ones too, asks for `EventPager.run_ids_page`.

        Raises:
            LogClosedError: after `EventLog.close`.
        """
        ...


@runtime_checkable
class EventPager(Protocol):
    """A log that can be gone through whole in constant memory: for export, validation and copies."""

    async def run_ids_page(self, after: str = "", limit: int = 256) -> list[str]:
        """The ids of all runs of which there is any event, in the order of their code points, a page at a time.

        Args:
            after: the last id of the page before; ``""`` begins.
            limit: ids at most; a shorter page is the last.

        Raises:
            LogClosedError: after `EventLog.close`.
        """
        ...

    async def read_page(self, run_id: str, from_seq: int = 1, limit: int = 256) -> list[Event]:
        """At most ``limit`` events of a run from ``from_seq`` on, in order; a shorter page is the last for now.

        Raises:
            LogClosedError: after `EventLog.close`.
            LogCorruptError: a row is not an event.
        """
        ...


@runtime_checkable
class StorageChecker(Protocol):
    """A log that can tell whether its storage has lost events, which no chain of what is left would show."""

    async def check_storage(self) -> None:
        """Look at all of the storage, which takes a second for some hundred megabytes.

        Raises:
            LogClosedError: after `EventLog.close`.
            LogCorruptError: it is damaged.
        """
        ...


@runtime_checkable
class WriteChecker(Protocol):
    """A log that can try whether it may be written, and leave nothing behind."""

    async def check_writable(self) -> None:
        """Write, and roll back. What only shows at a commit (a full disk) does not show here.

        Raises:
            LogClosedError: after `EventLog.close`.
            ReadOnlyError: the log was opened for reading.
            LogWriteError: the storage refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What `migrate` did, or would do.

    Attributes:
        from_version: the schema version before.
        to_version: the schema version after; with ``dry_run``, the one that would be reached.
        applied: the versions that were (or would be) applied, ascending; empty when there was nothing to do.
        dry_run: whether nothing was written.
    """

    from_version: int
    to_version: int
    applied: tuple[int, ...]
    dry_run: bool


@runtime_checkable
class SchemaLog(Protocol):
    """A log whose storage has a schema version. Logs without these methods are always up to date."""

    async def schema_version(self) -> int:
        """The version that the storage is at; 0 before the first migration."""
        ...

    async def migrate(self, *, dry_run: bool = False) -> MigrationReport:
        """Bring the storage to `SCHEMA_VERSION`, in one transaction.

        Raises:
            SchemaTooNewError: the storage is newer than this library.
            ReadOnlyError: the log was opened for reading and ``dry_run`` is off.
        """
        ...
