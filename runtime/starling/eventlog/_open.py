"""From a URL or a path to a log."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from starling.errors import LogError, MissingExtraError
from starling.eventlog._memory import MemoryLog

if TYPE_CHECKING:
    from starling.eventlog._postgres import PostgresLog
    from starling.eventlog._protocol import EventLog
    from starling.eventlog._sqlite import SQLiteLog

__all__ = ["open_log"]

# Two characters at least, so that a drive letter is not taken for a scheme.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)


def open_log(url_or_path: str | os.PathLike[str], read_only: bool = False) -> EventLog:
    """Open a log by name, as commands and configuration files give it.

    Args:
        url_or_path: a path, ``sqlite:relative/path``, ``sqlite:///absolute/path`` (nothing is percent-decoded),
            ``postgresql://user@host/database`` (or ``postgres:`` before libpq's ``key=value`` form), or ``memory:`` for
            a log that lives as long as the process.
        read_only: open for reading alone.

    Raises:
        LogError: the scheme is unknown, or the log cannot be opened (see `SQLiteLog`, `PostgresLog`).
        MissingExtraError: Postgres needs a driver that is not installed.
    """
    name = os.fspath(url_or_path)
    match = _URL.fullmatch(name) if isinstance(url_or_path, str) else None
    scheme, rest = (match["scheme"].lower(), match["rest"]) if match else ("sqlite", name)
    match scheme:
        case "sqlite":
            return load_sqlite()(rest.removeprefix("//") if match else rest, read_only=read_only)
        case "postgresql" | "postgres":
            conninfo = f"postgresql:{rest}" if rest.startswith("//") else rest
            return load_postgres()(conninfo, read_only=read_only)
        case "memory":
            return _open_memory(name, rest, read_only=read_only)
    # What follows the scheme is not repeated: there may be a password in it.
    raise LogError(
        f"unknown kind of log {scheme!r}; give a path, sqlite:PATH, postgresql://user@host/database or memory:"
    )


def load_sqlite() -> type[SQLiteLog]:
    """The class `SQLiteLog`."""
    from starling.eventlog._sqlite import SQLiteLog

    return SQLiteLog


def load_postgres() -> type[PostgresLog]:
    """The class `PostgresLog`, whose driver is an extra."""
    try:
        from starling.eventlog._postgres import PostgresLog
    except ImportError as error:
        if error.name not in {None, "psycopg"}:  # None: psycopg is there, but not the libpq that it needs
            raise
        raise MissingExtraError("pip install 'pytest-starling[postgres]'", extra="postgres") from None
    return PostgresLog


def _open_memory(name: str, rest: str, *, read_only: bool) -> EventLog:
    if rest:
        raise LogError(f"{name!r}: a memory log has no name; write memory:", path=name)
    if read_only:
        raise LogError(f"{name!r}: a read-only memory log would stay empty for ever", path=name)
    return MemoryLog()
