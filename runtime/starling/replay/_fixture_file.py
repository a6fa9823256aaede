"""Golden fixtures on disk: written beside the target, put in place with one rename, read without a trace.

At every moment the target is the old file or the new one, whole; what an interrupted recording leaves is the one
temporary named for its target, which the next recording removes. Reading opens the file ``immutable``: no lock, no
sidecar, nothing created.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from starling.errors import FixtureError, LogCorruptError, LogWriteError
from starling.eventlog._sqlite_errors import DRIVER_ERRORS, map_error
from starling.replay._fixture_format import Fixture, FixtureRun, from_connection, to_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Fixture",
    "FixtureRun",
    "discard",
    "install_fixture",
    "read_fixture",
    "temporary_path",
    "write_fixture",
]

_SQLITE_MAGIC = b"SQLite format 3\x00"
_LFS_MAGIC = b"version https://git-lfs"


def temporary_path(path: Path) -> Path:
    """The one name that an unfinished fixture for ``path`` has, in the same folder."""
    return path.with_name(f".{path.name}.tmp")


def write_fixture(path: Path, fixture: Fixture) -> Path:
    """Write a complete fixture to the temporary of ``path``, synced, and return the temporary's path.

    The target is not touched: `install_fixture` puts the temporary in its place, `discard` throws it away. The folder
    is created where it is missing; the file's mode is what the umask leaves.

    Raises:
        LogCorruptError: a run is not valid.
        FixtureError: the fixture contradicts itself.
        LogWriteError: the disk refused; no temporary is left.
    """
    image = to_bytes(fixture)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        discard(temporary)
        raise LogWriteError(f"{temporary} cannot be written: {error.strerror}", path=str(temporary)) from error
    return temporary


def install_fixture(temporary: Path, path: Path) -> None:
    """Put a written temporary in the place of ``path``, atomically and durably.

    Raises:
        LogWriteError: the disk refused; the old fixture is as it was.
    """
    try:
        os.replace(temporary, path)  # noqa: PTH105 - the name of the guarantee
        _sync_folder(path.parent)
    except OSError as error:
        raise LogWriteError(f"{path} cannot be put in place: {error.strerror}", path=str(path)) from error


def discard(temporary: Path) -> None:
    """Remove a temporary that is not wanted, if it is there."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def read_fixture(path: Path) -> Fixture:
    """Read a fixture and check all of it.

    Raises:
        FixtureError: there is none, it is something else, or a newer version of this library wrote it.
        LogCorruptError: it was damaged or edited; the text names the run and the seq where they are known.
    """
    _check_start(path)
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            return from_connection(connection, path)
    except DRIVER_ERRORS as error:
        raise map_error(error, str(path), "reading the fixture") from error


def _check_start(path: Path) -> None:
    """Tell what is not SQLite by its first bytes, before SQLite puts it less well."""
    try:
        with path.open("rb") as file:
            start = file.read(max(len(_SQLITE_MAGIC), len(_LFS_MAGIC)))
    except FileNotFoundError as error:
        raise FixtureError(
            f"{path} does not exist: record the test with pytest --record-golden", path=str(path)
        ) from error
    except OSError as error:
        raise FixtureError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if start.startswith(_LFS_MAGIC):
        raise FixtureError(f"{path} is a Git LFS pointer: fetch the fixture with git lfs pull", path=str(path))
    if not start.startswith(_SQLITE_MAGIC):
        raise LogCorruptError(
            f"{path} is not a SQLite database: restore it from version control, or record the test again with pytest "
            "--record-golden",
            path=str(path),
        )


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows: a folder cannot be opened, and renames are synced by the system
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
