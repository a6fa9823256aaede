"""The log in a Postgres database: any number of writers, on any number of hosts.

Strategy: what a method asks the server is a job (`_postgres_jobs`), which is carried out on a borrowed connection,
awaiting or blocking (`_postgres_client`). An append is one statement (`_postgres_insert`). As in SQLite, the head of
each run being written is kept, so that an append reads nothing; that it is still the head is left to the statement and
to the primary key.

Followers look again every so often. Postgres could notify them, but the original's appends would not, every append
would pay (notifications are queued under one lock of the whole server), and each follower would hold a connection.
"""

from __future__ import annotations

import os
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from starling.errors import LogClosedError, LogError
from starling.eventlog._closing import ClosedAtTheEnd
from starling.eventlog._follow import PAGE_SIZE, Wakeups, follow
from starling.eventlog._postgres_client import Client
from starling.eventlog._postgres_connect import parse_target
from starling.eventlog._postgres_jobs import Jobs
from starling.eventlog._postgres_pool import Pool
from starling.eventlog._pruning import Pruning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import RunPage, RunPageOptions
    from starling.eventlog._protocol import MigrationReport
    from starling.eventlog._pruning import PruneOptions, PruneReport
    from starling.eventlog._summary import RunSummary

__all__ = ["PostgresLog"]

_POLL_S = 0.2
_LOGS: weakref.WeakSet[PostgresLog] = weakref.WeakSet()
"""Those of this process, for one that is forked from it."""


class PostgresLog(ClosedAtTheEnd):
    """An event log in a Postgres database, version 11 or later.

    Safe to use from several threads and event loops; several processes on several hosts may write one database, each
    run by one of them at a time. A process that is forked may use the log on, with connections of its own. Nothing is
    connected to before the first use. Source: seed, "Persist runs".

    Privileges that suffice on ``eventlog_events``: SELECT to read, INSERT besides to write, DELETE besides to prune.
    Migrating needs those of whoever owns the tables. A role that may also SELECT from ``eventlog_schema_migrations``
    has the schema's version checked.

    Usable as a context manager, blocking or async; leaving the block closes the log.

    Args:
        conninfo: ``postgresql://user@host/database`` or libpq's ``key=value`` form. What it leaves out comes from the
            environment (``PGPASSWORD``, ``~/.pgpass``), as with every libpq program. Its password is never shown.
        auto_migrate: migrate at the first use, whatever it is. Otherwise a database that is not up to date is refused.
        read_only: `append` raises `ReadOnlyError`, and the server is told to refuse writes.
        max_connections: connections at most, shared by all threads and event loops. Who finds all in use waits.
        timeout_s: how long to wait for a connection, free or new.

    Raises:
        LogError: the connection string cannot be read, or the options contradict each other.
    """

    append_waits: ClassVar[bool] = True
    """Appending waits for a network: the runtime awaits it, and never calls the blocking twin in an event loop."""

    def __init__(
        self,
        conninfo: str,
        *,
        auto_migrate: bool = False,
        read_only: bool = False,
        max_connections: int = 8,
        timeout_s: float = 10.0,
    ) -> None:
        if auto_migrate and read_only:
            raise LogError("a read-only log does not migrate: give auto_migrate or read_only, not both")
        if max_connections < 1 or timeout_s <= 0:
            raise LogError(f"a log needs a connection and time: got {max_connections=}, {timeout_s=}")
        target = parse_target(os.fspath(conninfo), read_only=read_only, timeout_s=timeout_s)
        self._name = target.name
        self._read_only = read_only
        self._jobs = Jobs(target.name, read_only=read_only)
        self._wakeups = Wakeups()
        text = f"{self!r} is closed: open it again, or close it later"
        self._closed = partial(LogClosedError, text, path=target.name)
        self._pool = Pool(
            target.connect, target.connect_sync, size=max_connections, wait_s=timeout_s, closed_error=self._closed
        )
        self._client = Client(self._pool, self._jobs, auto_migrate=auto_migrate)
        # A log that is dropped without close gives its connections back all the same, quietly.
        self._finalizer = weakref.finalize(self, self._pool.close)
        _LOGS.add(self)

    def __repr__(self) -> str:
        return f"PostgresLog({self._name!r}{', read_only=True' if self._read_only else ''})"

    @property
    def name(self) -> str:
        """The database as a URL, without the password."""
        return self._name

    @property
    def read_only(self) -> bool:
        """Whether `append` is refused."""
        return self._read_only

    # -- EventLog

    async def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Add a batch to a run: `starling.eventlog.EventLog.append`.

        A `LogWriteError` after the connection was lost leaves open whether the batch is there: reading the run tells.
        """
        self._require_open()
        batch = tuple(events)
        ends = self._jobs.continued(run_id, batch)
        if ends is None:
            ends = await self._client.do(self._jobs.continue_tail(run_id, batch))
        if batch:
            tail, head = ends
            self._jobs.begin_insert(run_id)
            self._jobs.end_insert(run_id, batch, head, await self._client.insert(tail.event, batch))
            self._wakeups.wake(run_id)

    def append_sync(self, run_id: str, events: Sequence[Event]) -> None:
        """`append`, blocking."""
        self._require_open()
        batch = tuple(events)
        ends = self._jobs.continued(run_id, batch)
        if ends is None:
            ends = self._client.do_sync(self._jobs.continue_tail(run_id, batch))
        if batch:
            tail, head = ends
            self._jobs.begin_insert(run_id)
            self._jobs.end_insert(run_id, batch, head, self._client.insert_sync(tail.event, batch))
            self._wakeups.wake(run_id)

    async def read(self, run_id: str) -> list[Event]:
        """All events of a run: `starling.eventlog.EventLog.read`."""
        return await self._client.do(self._jobs.read(run_id))

    def read_sync(self, run_id: str) -> list[Event]:
        """`read`, blocking."""
        return self._client.do_sync(self._jobs.read(run_id))

    def stream(self, run_id: str, from_seq: int = 1) -> AsyncIterator[Event]:
        """History, then live events: `starling.eventlog.EventLog.stream`.

        What other processes append is seen within 0.2 s. A server that goes away ends the stream with a `LogError`; a
        new one goes on behind the last event that came.
        """
        self._require_open()
        return follow(self.read_page, self._wakeups, run_id, from_seq, _POLL_S)

    async def close(self) -> None:
        """Release what the log holds: `starling.eventlog.EventLog.close`."""
        self.close_sync()

    def close_sync(self) -> None:
        """`close`, blocking."""
        if self._pool.closed:
            return
        self._finalizer.detach()
        self._pool.close()
        self._jobs.forget()
        self._wakeups.wake_all()

    # -- RunLister, RunPageLister, EventPager

    async def list_runs(self) -> list[RunSummary]:
        """Every run, newest first: `starling.eventlog.RunLister.list_runs`."""
        return await self._client.do(self._jobs.list_runs())

    def list_runs_sync(self) -> list[RunSummary]:
        """`list_runs`, blocking."""
        return self._client.do_sync(self._jobs.list_runs())

    async def list_runs_page(self, options: RunPageOptions | None = None) -> RunPage:
        """One page of runs: `starling.eventlog.RunPageLister.list_runs_page`."""
        return await self._client.do(self._jobs.list_runs_page(options))

    def list_runs_page_sync(self, options: RunPageOptions | None = None) -> RunPage:
        """`list_runs_page`, blocking."""
        return self._client.do_sync(self._jobs.list_runs_page(options))

    async def run_ids_page(self, after: str = "", limit: int = PAGE_SIZE) -> list[str]:
        """One page of run ids: `starling.eventlog.EventPager.run_ids_page`."""
        return await self._client.do(self._jobs.run_ids_page(after, limit))

    def run_ids_page_sync(self, after: str = "", limit: int = PAGE_SIZE) -> list[str]:
        """`run_ids_page`, blocking."""
        return self._client.do_sync(self._jobs.run_ids_page(after, limit))

    async def read_page(self, run_id: str, from_seq: int = 1, limit: int = PAGE_SIZE) -> list[Event]:
        """One page of a run: `starling.eventlog.EventPager.read_page`."""
        return await self._client.do(self._jobs.read_page(run_id, from_seq, limit))

    def read_page_sync(self, run_id: str, from_seq: int = 1, limit: int = PAGE_SIZE) -> list[Event]:
        """`read_page`, blocking."""
        return self._client.do_sync(self._jobs.read_page(run_id, from_seq, limit))

    # -- RunPruner

    async def prune(self, options: PruneOptions) -> PruneReport:
        """Delete whole runs: `starling.eventlog.RunPruner.prune`. The space comes back by vacuuming.

        Where runs in progress are meant, appends wait while a batch is deleted, some milliseconds. A run that the
        original program, or somebody by hand, holds the lock of is left as it is. A table that cannot be locked within
        5 s, because of VACUUM say, is a `LogWriteError`.
        """
        self._require_open()
        work = Pruning(options, await self._client.do(self._jobs.prunable(options)))
        while work.next_limit:
            work.add(await self._client.do(self._jobs.prune(options, work)))
        return work.report

    def prune_sync(self, options: PruneOptions) -> PruneReport:
        """`prune`, blocking."""
        self._require_open()
        work = Pruning(options, self._client.do_sync(self._jobs.prunable(options)))
        while work.next_limit:
            work.add(self._client.do_sync(self._jobs.prune(options, work)))
        return work.report

    # -- SchemaLog, WriteChecker

    async def schema_version(self) -> int:
        """The version that the database is at: `starling.eventlog.schema_version`."""
        return await self._client.do(self._jobs.schema_version())

    def schema_version_sync(self) -> int:
        """`schema_version`, blocking."""
        return self._client.do_sync(self._jobs.schema_version())

    async def migrate(self, *, dry_run: bool = False) -> MigrationReport:
        """Apply what is pending, and create our own indexes: `starling.eventlog.migrate`."""
        self._require_open()
        return await self._client.do(self._jobs.migrate(dry_run=dry_run))

    def migrate_sync(self, *, dry_run: bool = False) -> MigrationReport:
        """`migrate`, blocking."""
        self._require_open()
        return self._client.do_sync(self._jobs.migrate(dry_run=dry_run))

    async def check_writable(self) -> None:
        """Whether it can be written: `starling.eventlog.WriteChecker.check_writable`."""
        self._require_open()
        await self._client.do(self._jobs.check_writable())

    def check_writable_sync(self) -> None:
        """`check_writable`, blocking."""
        self._require_open()
        self._client.do_sync(self._jobs.check_writable())

    def _require_open(self) -> None:
        if self._pool.closed:
            raise self._closed()

    def _begin_anew(self) -> None:
        self._pool.begin_anew()
        self._jobs.begin_anew()
        self._wakeups = Wakeups()


def _begin_anew() -> None:
    """Be the logs of a process that was just forked."""
    for log in tuple(_LOGS):
        log._begin_anew()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_begin_anew)
