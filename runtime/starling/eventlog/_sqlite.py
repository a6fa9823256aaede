"""The log in one SQLite file: WAL, one writer, many readers, in one process or several.

Strategy: one connection, one lock, statements called in line. The head of each run being written is kept, so that an
append reads nothing; that it is still the head is left to the insert itself, which takes its seq from its predecessor,
if that is the one it knows, or fails, and to the primary key, which lets one of two racing writers through.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from starling.errors import InvalidAppendError, LogCorruptError, LogError, ReadOnlyError
from starling.event import TERMINAL_KINDS
from starling.eventlog._append_rules import EMPTY_RUN, Head, Heads, advanced_elsewhere, continue_run, head_of
from starling.eventlog._inline import InlineLog
from starling.eventlog._migrations import EVENTS_TABLE, apply_pending, pending, stored_version
from starling.eventlog._protocol import SCHEMA_VERSION, MigrationReport
from starling.eventlog._schema import check_version, refuse_newer
from starling.eventlog._sql import COLUMNS, event_of_row, row_of_event
from starling.eventlog._sqlite_errors import DRIVER_ERRORS, map_error
from starling.eventlog._sqlite_listing import check_database, list_page, prunable_runs, prune_batch, run_ids
from starling.eventlog._sqlite_open import open_connection, transaction
from starling.eventlog._sqlite_own import check_seal, has_seals, rehearse_write, seal
from starling.eventlog._sqlite_text import carry_out
from starling.eventlog._summary import newest_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._paging import Position, RunPage, RunPageOptions
    from starling.eventlog._pruning import PruneBatch, PruneOptions, PruneReport
    from starling.eventlog._sql import Row
    from starling.eventlog._summary import RunSummary

__all__ = ["SQLiteLog"]

T = TypeVar("T")

_INSERT = f"INSERT INTO {EVENTS_TABLE} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
# Without its predecessor an event has no seq, which the column refuses. A run of that id may have been deleted, and
# begun anew, elsewhere, so all of the predecessor counts. INSERT ... SELECT ... WHERE EXISTS is slower: SQLite copies
# what is selected, since it comes from the table that is written to.
_INSERT_BEHIND = f"""
INSERT INTO {EVENTS_TABLE} ({COLUMNS}) VALUES
(?, (SELECT seq + 1 FROM {EVENTS_TABLE}
     WHERE run_id = ? AND seq = ? AND prev_hash IS ? AND ts = ? AND kind = ? AND payload = ?), ?, ?, ?, ?)
"""  # noqa: S608 - constants
_SELECT = f"SELECT {COLUMNS} FROM {EVENTS_TABLE} WHERE run_id = ?"  # noqa: S608 - constants
_SELECT_RUN = f"{_SELECT} ORDER BY seq"
_SELECT_PAGE = f"{_SELECT} AND seq >= ? ORDER BY seq LIMIT ?"
_SELECT_TAIL = f"{_SELECT} ORDER BY seq DESC LIMIT 1"
_SELECT_ALL = f"SELECT {COLUMNS} FROM {EVENTS_TABLE} ORDER BY run_id, seq"  # noqa: S608 - constants


class SQLiteLog(InlineLog):
    """An event log in a SQLite file, created and migrated when it is opened.

    Safe to use from several threads and event loops. Several processes may read one file; appends of several processes
    to one file are safe but wait for each other. A commit survives a killed process; after a power cut the last
    commits may be missing (``synchronous=NORMAL``), never half there. Source: seed, "Persist runs"; wire-format,
    "SQLite".

    Args:
        path: the file. A new one gets mode 0600; its folder must exist.
        read_only: open for reading alone; the file is neither created nor migrated, and `append` raises
            `ReadOnlyError`. Works beside a living writer.

    Raises:
        LogError: there is no such file or folder, or it holds no event log.
        LogCorruptError: the file is not a sound SQLite database.
        ReadOnlyError: it is a golden fixture and ``read_only`` is off.
        SchemaTooNewError: it is newer than this library and ``read_only`` is off.
    """

    _poll_s: ClassVar[float | None] = 0.1  # how late an event of another process may be seen

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        super().__init__()
        if not os.fspath(path) or os.fspath(path) == ":memory:":
            raise LogError(f"SQLiteLog needs a file, got {path!r}: use MemoryLog for a log without one")
        file = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow symlinks
        self._path = str(file)
        self._read_only = read_only
        self._heads = Heads()
        self._schema_is_current = False
        self._connection = open_connection(file, read_only=read_only)
        self._has_seals = self._looks_sealed()
        # A log that is dropped without close gives its file back all the same, quietly.
        self._finalizer = weakref.finalize(self, self._connection.close)

    def __repr__(self) -> str:
        return f"SQLiteLog({self._path!r}{', read_only=True' if self._read_only else ''})"

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return Path(self._path)

    @property
    def read_only(self) -> bool:
        """Whether `append` is refused."""
        return self._read_only

    def _looks_sealed(self) -> bool:
        try:
            return has_seals(self._connection)
        except DRIVER_ERRORS as error:
            self._connection.close()
            raise map_error(error, self._path, "open") from error

    # -- schema

    def schema_version_sync(self) -> int:
        """The version that the file is at: `starling.eventlog.schema_version`."""
        with self._open():
            return self._stored_version()

    def migrate_sync(self, *, dry_run: bool = False) -> MigrationReport:
        """Apply what is pending: `starling.eventlog.migrate`."""
        with self._open():
            version = self._stored_version()
            refuse_newer(version, self._path)
            if not dry_run:
                self._refuse_if_read_only("migrate")
            applied = pending(version)
            if applied and not dry_run:
                applied = self._migrate()
        return MigrationReport(from_version=version, to_version=SCHEMA_VERSION, applied=applied, dry_run=dry_run)

    async def schema_version(self) -> int:
        """The version that the file is at: `starling.eventlog.schema_version`."""
        return self.schema_version_sync()

    async def migrate(self, *, dry_run: bool = False) -> MigrationReport:
        """Apply what is pending: `starling.eventlog.migrate`."""
        return self.migrate_sync(dry_run=dry_run)

    def _stored_version(self) -> int:
        try:
            return stored_version(self._connection, self._path)
        except DRIVER_ERRORS as error:
            raise map_error(error, self._path, "reading the schema version") from error

    def _migrate(self) -> tuple[int, ...]:
        try:
            with transaction(self._connection):
                return apply_pending(self._connection, self._path)
        except DRIVER_ERRORS as error:
            raise map_error(error, self._path, "migrate", writing=True) from error

    # -- writing

    def _append(self, run_id: str, events: Sequence[Event]) -> None:
        self._refuse_if_read_only("append")
        batch = tuple(events)
        tail, head = self._continue(run_id, batch)
        if not batch:
            return
        self._heads.forget(run_id)  # unknown until the commit is known to have happened
        ended = batch[-1].kind in TERMINAL_KINDS
        self._insert(tail.event, batch, head if ended else None)
        if not ended:
            self._heads.remember(run_id, head)

    def _continue(self, run_id: str, events: Sequence[Event]) -> tuple[Head, Head]:
        """The head before and after the events."""
        known = self._heads.get(run_id)
        if known is not None:
            try:
                return known, continue_run(run_id, known, events)
            except InvalidAppendError:
                pass  # perhaps the run was advanced elsewhere, and these events continue that: ask the file
        stored = self._stored_head(run_id) if run_id else EMPTY_RUN
        return stored, continue_run(run_id, stored, events)

    def _insert(self, tail: Event | None, batch: Sequence[Event], ended: Head | None) -> None:
        first = batch[0]
        try:
            if len(batch) == 1 and ended is None:
                self._insert_behind(tail, first)  # one statement is a transaction by itself
                return
            with transaction(self._connection):
                self._insert_behind(tail, first)
                self._connection.executemany(_INSERT, map(row_of_event, batch[1:]))
                if ended is not None:
                    seal(self._connection, first.run_id, ended)
        except sqlite3.IntegrityError as error:
            raise advanced_elsewhere(self._path, first.run_id, first.seq) from error
        except DRIVER_ERRORS as error:
            raise map_error(error, self._path, "append", writing=True, run_id=first.run_id, seq=first.seq) from error

    def _insert_behind(self, tail: Event | None, event: Event) -> None:
        if tail is None:
            self._connection.execute(_INSERT, row_of_event(event))
        else:
            run_id, _, *row = row_of_event(event)
            self._connection.execute(_INSERT_BEHIND, (run_id, *row_of_event(tail), *row))

    def _refuse_if_read_only(self, action: str) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self!r} cannot {action}: open it without read_only", path=self._path)

    # -- reading

    def _read(self, run_id: str) -> list[Event]:
        return self._select(_SELECT_RUN, run_id)

    def _page(self, run_id: str, from_seq: int, limit: int) -> list[Event]:
        return self._select(_SELECT_PAGE, run_id, from_seq, limit)

    def list_runs_sync(self) -> list[RunSummary]:
        """Every run, newest first: `starling.eventlog.RunLister.list_runs`."""
        with self._open():
            return self._carry_out("list runs", lambda: newest_first(self._runs_held()))

    def _runs_held(self) -> Iterator[list[Event]]:
        rows = self._connection.execute(_SELECT_ALL)
        for _, run in groupby(rows, key=itemgetter(0)):
            events = self._readable(run)
            if events:
                yield events

    def _readable(self, rows: Iterable[Row]) -> list[Event]:
        events = []
        for row in rows:
            with suppress(LogCorruptError):  # a listing shows what there is; reading the run reports this
                events.append(event_of_row(row, self._path))
        return events

    def check_storage_sync(self) -> None:
        """Whether the database is sound: `starling.eventlog.StorageChecker.check_storage`."""
        with self._open():
            self._carry_out("check", lambda: check_database(self._connection, self._path))

    async def check_storage(self) -> None:
        """Whether the database is sound: `starling.eventlog.StorageChecker.check_storage`."""
        self.check_storage_sync()

    def check_writable_sync(self) -> None:
        """Whether it can be written: `starling.eventlog.WriteChecker.check_writable`."""
        with self._open():
            self._refuse_if_read_only("write")
            self._carry_out("write", lambda: rehearse_write(self._connection), writing=True)

    async def check_writable(self) -> None:
        """Whether it can be written: `starling.eventlog.WriteChecker.check_writable`."""
        self.check_writable_sync()

    def _page_of_runs(self, options: RunPageOptions) -> RunPage:
        return self._carry_out("list runs", lambda: list_page(self._connection, options))

    def _run_ids(self, after: str, limit: int) -> list[str]:
        return self._carry_out("list run ids", lambda: run_ids(self._connection, self._path, after, limit))

    def _prunable(self, options: PruneOptions) -> PruneReport:
        if not options.dry_run:
            self._refuse_if_read_only("prune")
        return self._carry_out("look for runs to prune", lambda: prunable_runs(self._connection, options))

    def _prune_batch(self, options: PruneOptions, after: Position | None, limit: int) -> PruneBatch:
        self._heads.forget_all()  # of the runs that go; the others' are read again
        return self._carry_out("prune", lambda: prune_batch(self._connection, options, after, limit), writing=True)

    def _carry_out(self, action: str, work: Callable[[], T], *, writing: bool = False, run_id: str = "") -> T:
        self._require_current_schema()
        try:
            return carry_out(self._connection, work)
        except DRIVER_ERRORS as error:
            raise map_error(error, self._path, action, writing=writing, run_id=run_id) from error

    def _stored_head(self, run_id: str) -> Head:
        tail = self._select(_SELECT_TAIL, run_id)
        return head_of(tail[0]) if tail else EMPTY_RUN

    def _select(self, statement: str, run_id: str, *arguments: int) -> list[Event]:
        try:
            return self._carry_out("read", lambda: self._events(statement, run_id, *arguments), run_id=run_id)
        except UnicodeEncodeError:
            return []  # a lone surrogate: no run was ever stored under such an id

    def _events(self, statement: str, run_id: str, *arguments: int) -> list[Event]:
        rows = self._connection.execute(statement, (run_id, *arguments)).fetchall()
        events = [event_of_row(row, self._path) for row in rows]
        if self._has_seals:
            check_seal(self._connection, self._path, events)
        return events

    def _require_current_schema(self) -> None:
        """Refuse to read rows whose meaning, or whose whereabouts, another schema version decides."""
        if not self._schema_is_current:
            check_version(self._stored_version(), self._path)
            self._schema_is_current = True

    def _release(self) -> None:
        self._finalizer.detach()
        self._heads.forget_all()
        try:
            self._connection.close()
        except DRIVER_ERRORS as error:
            raise map_error(error, self._path, "close") from error
