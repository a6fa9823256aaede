"""Branching a SQLite log: a copy in which one run ends earlier, so that it can be resumed another way.

Source: seed, "Helpers" (``ForkSQLite``).
"""

from __future__ import annotations

import os
from pathlib import Path

from starling.errors import ForkNotFoundError, LogError

__all__ = ["fork_sqlite", "fork_sqlite_sync"]


async def fork_sqlite(
    source: str | os.PathLike[str], target: str | os.PathLike[str], run_id: str, before_seq: int = 0
) -> int:
    """`fork_sqlite_sync` in a thread, since a large log takes its time."""
    import asyncio

    return await asyncio.to_thread(fork_sqlite_sync, source, target, run_id, before_seq)


def fork_sqlite_sync(
    source: str | os.PathLike[str], target: str | os.PathLike[str], run_id: str, before_seq: int = 0
) -> int:
    """Copy a SQLite log, and keep of one run only the events before a seq. Other runs are copied as they are.

    The source is read as it stands at one moment; its writers may be at work, and nothing in it changes. The target
    appears whole or not at all, with mode 0600 and no sidecars. A golden fixture can be forked as well: the fork is a
    service log, which can be written.

    Args:
        source: the log.
        target: the new file; it must not exist, its folder must.
        run_id: the run to cut short.
        before_seq: the first seq that is left out; 0 to keep the whole run.

    Returns:
        How many events of the run were left out.

    Raises:
        ForkNotFoundError: the source holds no event of that run; there is no target then.
        LogError: the source is no log, the target exists or cannot be written, or no event can have that seq.
        LogCorruptError: the source is not a sound database.
    """
    if not 0 <= before_seq < 2**63:
        raise LogError(f"before_seq={before_seq}: give the first seq to leave out, or 0 to keep the whole run")
    origin, copy = Path(os.path.abspath(source)), Path(os.path.abspath(target))  # noqa: PTH100 - symlinks stay
    _check_target(copy)
    temporary = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    try:
        _copy(origin, temporary)
        left_out = _cut(temporary, run_id, before_seq, str(origin))
        _check_target(copy)  # once more: copying took its time
        os.replace(temporary, copy)  # noqa: PTH105 - the name of the guarantee
    except OSError as error:
        raise LogError(f"{copy} cannot be written: {error.strerror}", path=str(copy)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return left_out


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise LogError(f"{target}: the folder {target.parent} does not exist: create it first", path=str(target))
    if target.exists():
        raise LogError(
            f"{target} exists, and a fork never replaces a file: name another, or remove it", path=str(target)
        )


def _copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be written meanwhile, without its sidecars."""
    from starling.eventlog._sqlite_errors import DRIVER_ERRORS, map_error
    from starling.eventlog._sqlite_open import create_private, open_connection

    connection = open_connection(source, read_only=True)
    try:
        create_private(target)  # empty, which VACUUM INTO accepts, and with a mode of our choosing
        connection.execute("VACUUM INTO ?", (str(target),))
    except DRIVER_ERRORS as error:
        raise map_error(error, str(source), f"copying into {target}", writing=True) from error
    finally:
        connection.close()


def _cut(path: Path, run_id: str, before_seq: int, source: str) -> int:
    import sqlite3
    from contextlib import closing

    from starling.eventlog._sqlite_errors import DRIVER_ERRORS, map_error
    from starling.eventlog._sqlite_own import cut_run, strip_fixture

    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            strip_fixture(connection)
            left_out = cut_run(connection, run_id, before_seq)
            connection.execute("COMMIT")
    except DRIVER_ERRORS as error:
        raise map_error(error, str(path), "fork", writing=True, run_id=run_id) from error
    if left_out is None:
        raise ForkNotFoundError(f"{source} holds no run {run_id!r}: nothing was forked", path=source, run_id=run_id)
    return left_out
