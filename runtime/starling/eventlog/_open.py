"""From a URL or a path to a log."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from starling.errors import LogError
from starling.eventlog._memory import MemoryLog

if TYPE_CHECKING:
    from starling.eventlog._protocol import EventLog

__all__ = ["open_log"]

# Two characters at least, so that a drive letter is not taken for a scheme.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)


def open_log(url_or_path: str | os.PathLike[str], read_only: bool = False) -> EventLog:
    """Open a log by name, as commands and configuration files give it.

    Args:
        url_or_path: a path, ``sqlite:relative/path``, ``sqlite:///absolute/path`` (nothing is percent-decoded), or
            ``memory:`` for a log that lives as long as the process.
        read_only: open for reading alone.

    Raises:
        LogError: the scheme is unknown, or the log cannot be opened (see `SQLiteLog`).
    """
    name = os.fspath(url_or_path)
    match = _URL.fullmatch(name) if isinstance(url_or_path, str) else None
    scheme, rest = (match["scheme"].lower(), match["rest"]) if match else ("sqlite", name)
    if scheme == "sqlite":
        return _open_sqlite(rest.removeprefix("//") if match else rest, read_only=read_only)
    if scheme == "memory":
        return _open_memory(name, rest, read_only=read_only)
    raise LogError(f"{name!r}: unknown kind of log {scheme!r}; give a path, sqlite:PATH or memory:", path=name)


def _open_sqlite(path: str, *, read_only: bool) -> EventLog:
    from starling.eventlog._sqlite import SQLiteLog

    return SQLiteLog(path, read_only=read_only)


def _open_memory(name: str, rest: str, *, read_only: bool) -> EventLog:
    if rest:
        raise LogError(f"{name!r}: a memory log has no name; write memory:", path=name)
    if read_only:
        raise LogError(f"{name!r}: a read-only memory log would stay empty for ever", path=name)
    return MemoryLog()
