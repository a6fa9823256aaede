"""Opening a SQLite file as an event log: what may be opened, and with which settings.

Strategy: look before touching. A file that is no log (another program's database, a golden fixture, a newer schema) is
refused before anything in it changes, its journal mode included.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from starling.errors import LogError, ReadOnlyError
from starling.eventlog._migrations import EVENTS_TABLE, LEGACY_TABLE, apply_pending, pending, stored_version, tables
from starling.eventlog._schema import refuse_newer
from starling.eventlog._sqlite_errors import DRIVER_ERRORS, map_error
from starling.eventlog._sqlite_own import FIXTURE_TABLE, create_missing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BUSY_TIMEOUT_MS", "FIXTURE_TABLE", "create_private", "open_connection", "transaction"]

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for another connection's lock (wire-format, "SQLite")."""


def open_connection(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to a log, created and migrated unless ``read_only``.

    A read-only log may have an older or newer schema, so that its version can be asked for; nothing in it is changed.

    Raises:
        LogError: there is no such file or folder, or it holds no event log.
        LogCorruptError: the file is not a sound SQLite database.
        ReadOnlyError: it is a golden fixture and ``read_only`` is off.
        SchemaTooNewError: it is newer than this library and ``read_only`` is off.
    """
    _check_place(path, read_only=read_only)
    try:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
    except DRIVER_ERRORS as error:
        raise map_error(error, str(path), "open") from error
    try:
        (_check_readable if read_only else _prepare_for_writing)(connection, str(path))
    except DRIVER_ERRORS as error:
        connection.close()
        raise map_error(error, str(path), "open") from error
    except BaseException:
        connection.close()
        raise
    return connection


class transaction:  # noqa: N801 - reads as a keyword: `with transaction(connection):`
    """A write transaction that takes the lock at once: committed at the end of the block, else rolled back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite has rolled back by itself after some failures
            self._connection.execute("ROLLBACK")


def _check_place(path: Path, *, read_only: bool) -> None:
    """Name the plain mistakes, and create a new file with the right mode."""
    if path.is_dir():
        raise LogError(f"{path} is a directory: name a file in it", path=str(path))
    if not path.parent.is_dir():
        raise LogError(f"{path}: the folder {path.parent} does not exist: create it first", path=str(path))
    if read_only and not path.exists():
        raise LogError(f"{path} does not exist; only a log that is opened for writing is created", path=str(path))
    if not read_only:
        create_private(path)


def create_private(path: Path) -> None:
    """Create the file with mode 0600 if it is missing.

    An existing file is never opened here: closing a second descriptor would drop the locks that SQLite holds on the
    file elsewhere in this process (POSIX), so the file is created exclusively or left alone.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise LogError(f"{path} cannot be created: {error.strerror}", path=str(path)) from error


def _check_readable(connection: sqlite3.Connection, path: str) -> None:
    if not tables(connection) & {EVENTS_TABLE, LEGACY_TABLE}:
        raise LogError(f"{path} is a SQLite database without an event log: is it the right file?", path=path)


def _prepare_for_writing(connection: sqlite3.Connection, path: str) -> None:
    if FIXTURE_TABLE in tables(connection):
        raise ReadOnlyError(
            f"{path} is a golden fixture and is not written to: open it with read_only=True, or record it again",
            path=path,
        )
    version = stored_version(connection, path)
    refuse_newer(version, path)
    if pending(version):
        with transaction(connection):  # another process may have migrated meanwhile: apply_pending looks again
            apply_pending(connection, path)
    _set_modes(connection)
    create_missing(connection)


def _set_modes(connection: sqlite3.Connection) -> None:
    """WAL, synced at checkpoints: a commit survives a killed process, not a power cut."""
    _set_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _set_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, waiting for others: this statement does not honour the busy timeout by itself."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
