"""SQLite's exceptions as ours: the one place where ``sqlite3.Error`` is turned into the `LogError` family."""

from __future__ import annotations

import sqlite3

from starling.errors import LogCorruptError, LogError, LogWriteError

__all__ = ["DRIVER_ERRORS", "is_undecodable", "map_error"]

DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What ``sqlite3`` raises on damaged files: its own errors, and a bare one when its message quotes broken text."""

_BESIDE = (
    "SQLite keeps the log's WAL and the WAL's index beside it, even to read it. Where the folder stays read-only, read "
    "a copy of the log elsewhere"
)

_THEN = "; the run can be resumed then"
"""Behind a cure, where a run was being written."""

# Primary result code -> what it means for whoever reads the message, and what to do.
_MEANING: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "the database stayed locked by another connection",
        "Let one process at a time write the log, or wait for the other one",
    ),
    sqlite3.SQLITE_LOCKED: ("the database is locked", "Let one process at a time write the log"),
    sqlite3.SQLITE_READONLY: ("the file or its folder cannot be written", f"Check their permissions. {_BESIDE}"),
    sqlite3.SQLITE_IOERR: ("reading or writing the file failed", "Check the disk and the file system"),
    sqlite3.SQLITE_FULL: ("the disk is full", f"Free some space{_THEN}"),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        f"Check that it exists and that it may be read. {_BESIDE}",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "Check the file's permissions"),
    sqlite3.SQLITE_AUTH: ("access is denied", "Check the file's permissions"),
    sqlite3.SQLITE_TOOBIG: ("the value is too large for SQLite", "Keep tool results and messages smaller"),
}

# These say that the bytes are not what a log's bytes are.
_CORRUPT: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: "the database is damaged or was cut short",
    sqlite3.SQLITE_NOTADB: "this is not a SQLite database",
    sqlite3.SQLITE_FORMAT: "this is not a SQLite database",
    sqlite3.SQLITE_ERROR: "its tables are not those of an event log",
    sqlite3.SQLITE_SCHEMA: "its tables changed while it was in use",
}


def is_undecodable(error: Exception) -> bool:
    """Whether ``sqlite3`` came upon text that is not UTF-8. The error quotes it, and has no code of SQLite's."""
    if isinstance(error, UnicodeDecodeError):
        return True
    own = isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", None) is None
    return own and "decode" in str(error)


def map_error(
    error: Exception,
    path: str,
    action: str,
    *,
    writing: bool = False,
    run_id: str = "",
    seq: int | None = None,
) -> LogError:
    """The error to raise ``from`` a driver's error.

    Args:
        error: what ``sqlite3`` raised, one of `DRIVER_ERRORS`.
        path: the database.
        action: what was tried, such as ``"append"``.
        writing: a failure of the storage is then a `LogWriteError`.
        run_id, seq: the run concerned, and the first event, if there is one.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    where = f"{path}: {action}" + (f" of run {run_id}" if run_id else "") + " failed"
    if is_undecodable(error):
        code, error = sqlite3.SQLITE_CORRUPT, ValueError("a text in it is not UTF-8")
    if code in _CORRUPT:
        text = f"{where}: {_CORRUPT[code]} ({error}). Restore it from a copy, or record it again"
        return LogCorruptError(text, path=path, run_id=run_id, seq=seq)
    cause, cure = _MEANING.get(code, ("SQLite refused it", "SQLite's own words are in brackets"))
    if action != "append":
        cure = cure.removesuffix(_THEN)
    family = LogWriteError if writing else LogError
    return family(f"{where}: {cause} ({error}). {cure}", path=path, run_id=run_id, seq=seq)
