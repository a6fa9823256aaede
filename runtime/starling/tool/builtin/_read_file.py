"""Text files below one directory.

Strategy: the path is resolved, and the result must lie below the directory. Then the resolved path is opened part by
part from a descriptor of the directory, following no link any more: whoever swaps a part for a link in between is
refused, not followed. Where the platform cannot open relative to a descriptor (Windows), the opened file is compared
with what the path resolves to afterwards.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.errors import ToolError
from starling.tool._function import FunctionTool, tool
from starling.tool._threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

__all__ = ["read_file"]

_MAX_BYTES = 1024 * 1024

_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "it may not be read",
    errno.EPERM: "it may not be read",
    errno.ELOOP: "it is a link that leads nowhere, or was changed while it was opened",
    errno.EISDIR: "it is a directory",
    errno.ENAMETOOLONG: "the path is too long",
}

_OPEN_RELATIVE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def read_file(base_dir: str | os.PathLike[str]) -> FunctionTool[[str], Coroutine[Any, Any, str]]:
    """A tool that reads UTF-8 text files, at most 1 MiB, below a directory.

    Absolute paths, ``..``, links that lead out of the directory, and everything that is not a regular file are
    refused with a `ToolError`. The tool is idempotent.

    Args:
        base_dir: the directory, relative to where the process is now. It need not exist while recordings are
            replayed.
    """
    base = Path(os.path.abspath(base_dir))  # noqa: PTH100 - resolving links is for later, when it is read

    async def read(path: str) -> str:
        """Read a UTF-8 text file. The path is relative to the directory that is shared with you."""
        parts = _parts(path)
        return await ambient.side_effect(f"read_file {path}", lambda: run_in_thread(_read, base, parts, path))

    return tool(read, name="read_file", idempotent=True)


def _parts(path: str) -> tuple[str, ...]:
    """The path's parts, if nothing in its text leads out of the directory, on any platform."""
    windows = PureWindowsPath(path)
    if not path or "\0" in path:
        raise _refusal(path, "it is not a path")
    if PurePosixPath(path).is_absolute() or windows.drive or windows.root:
        raise _refusal(path, "it must be relative")
    if ".." in windows.parts:
        raise _refusal(path, 'it must not contain ".."')
    return PurePosixPath(path).parts


def _read(base: Path, parts: tuple[str, ...], path: str) -> str:
    try:
        with _opened(base, parts, path) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _refusal(path, "it is not a regular file")
            data = _content(descriptor)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, errno.errorcode.get(error.errno or 0, "the system refuses"))
        raise _refusal(path, reason) from error
    if len(data) > _MAX_BYTES:
        raise _refusal(path, f"it is larger than {_MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refusal(path, f"it is not UTF-8 text (byte {error.start})") from error


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(_MAX_BYTES + 1)


@contextmanager
def _opened(base: Path, parts: tuple[str, ...], path: str) -> Iterator[int]:
    """A descriptor of the file, whose resolved path lies below the directory."""
    real_base = base.resolve(strict=True)
    real = _resolved(real_base.joinpath(*parts))
    if not real.is_relative_to(real_base):
        raise _refusal(path, "it leads out of the directory")
    if not stat.S_ISREG(real.lstat().st_mode):  # before opening: opening a device may do something
        raise _refusal(path, "it is not a regular file")
    descriptor = _open_below(real_base, real) if _OPEN_RELATIVE else _open_and_compare(real)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except RuntimeError as error:  # how Python before 3.13 reports a loop of links
        raise OSError(errno.ELOOP, "loop of links") from error


def _open_below(base: Path, file: Path) -> int:
    """Open a resolved path part by part, following no link."""
    *directories, name = file.relative_to(base).parts
    at = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for directory in directories:
            inner = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        # Non-blocking: a pipe that took the file's place must not be waited for.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)


def _open_and_compare(file: Path) -> int:
    """Open a resolved path, and make sure that it is still the one that was resolved."""
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    if _resolved(file) == file and os.path.samestat(os.fstat(descriptor), file.lstat()):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ELOOP, "changed while it was opened")


def _refusal(path: str, reason: str) -> ToolError:
    return ToolError(f'cannot read "{path}": {reason}')
