"""Postgres's errors as ours: the one place where ``psycopg.Error`` is turned into the `LogError` family."""

from __future__ import annotations

import psycopg

from starling.errors import LogCorruptError, LogError, LogWriteError
from starling.eventlog._postgres_pool import NoFreeConnectionError

__all__ = ["DRIVER_ERRORS", "map_error"]

DRIVER_ERRORS = (psycopg.Error, NoFreeConnectionError, UnicodeDecodeError)
"""What comes out of a connection: the driver's errors, the pool's, and a bare one for text that is not UTF-8."""

_THEN = "; the run can be resumed then"
"""Behind a cure, where a run was being written."""

# SQLSTATE, or the two characters of its class -> what it means for whoever reads the message, and what to do.
_MEANING: dict[str, tuple[str, str]] = {
    "08": ("the connection failed", f"Check the network and the server{_THEN}"),
    "22": ("the server cannot hold a value", "Use a database whose encoding is UTF8"),
    "25006": ("the server takes no writes", "Write to the primary, as a role whose transactions may write"),
    "28": ("the server does not let this role in", "Check user, password and pg_hba.conf"),
    "3D000": ("there is no such database", "Create it, or name another one"),
    "40": ("the server rolled the statement back", f"Try again in a moment{_THEN}"),
    "42501": (
        "the role lacks a privilege",
        "Grant what it needs: SELECT to read, INSERT to write, DELETE to prune, ownership to migrate",
    ),
    "42P01": ("a table is missing", "Run starling.eventlog.migrate"),
    "53": (
        "the server has run out of something",
        f"Give it more, or use fewer connections{_THEN}",
    ),
    "53100": ("the server's disk is full", f"Free some space{_THEN}"),
    "53300": ("the server takes no more connections", "Lower max_connections here, or raise it there"),
    "54": ("a value is too large for Postgres", "Keep tool results and messages smaller"),
    "55P03": ("another session held a lock for too long", "Look for whoever holds it (pg_locks)"),
    "57": ("the server ended the session", f"Wait until it is up again{_THEN}"),
    "57014": ("the statement took longer than the server allows", "Raise statement_timeout for this role"),
    "57P03": ("the server is starting or stopping", f"Wait until it is up again{_THEN}"),
}
_UNKNOWN = ("Postgres refused it", "The server's own words are in brackets")
_DAMAGED = "XX"  # internal error, data_corrupted, index_corrupted


def map_error(
    error: Exception, name: str, action: str, *, writing: bool = False, run_id: str = "", seq: int | None = None
) -> LogError:
    """The error to raise ``from`` a driver's error.

    Args:
        error: one of `DRIVER_ERRORS`; its text holds no password.
        name: the log, without its password.
        action: what was tried, such as ``"append"``.
        writing: a failure of the server is then a `LogWriteError`.
        run_id, seq: the event concerned, if one.
    """
    state = getattr(error, "sqlstate", None) or ""
    of = f" of run {run_id}" if run_id else ""
    where = f"{name}: {action}{of}{'' if seq is None else f' from seq {seq} on'} failed"
    if state.startswith(_DAMAGED) or isinstance(error, UnicodeDecodeError):
        text = f"{where}: the database is damaged ({_words(error)}). Restore it from a copy"
        return LogCorruptError(text, path=name, run_id=run_id, seq=seq)
    cause, cure = _meaning(error, state)
    if action != "append":
        cure = cure.removesuffix(_THEN)
    family = LogWriteError if writing else LogError
    return family(f"{where}: {cause} ({_words(error)}). {cure}", path=name, run_id=run_id, seq=seq)


def _meaning(error: Exception, state: str) -> tuple[str, str]:
    if isinstance(error, NoFreeConnectionError):
        return "all connections of this log were in use", "Raise max_connections, or let fewer runs write at once"
    if not state and isinstance(error, psycopg.OperationalError):  # libpq's own: there was no answer
        return _MEANING["08"]
    return _MEANING.get(state) or _MEANING.get(state[:2]) or _UNKNOWN


def _words(error: Exception) -> str:
    return " ".join(str(error).split())
