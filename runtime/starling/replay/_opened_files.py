"""Files that are opened: who opens them, and which of them bring something into a run that a replay might not find.

Strategy: an audit hook hears of every file, with its path and flags. Nothing comes out of one that is opened for
writing. What is read counts, except for what the run itself has written, and what belongs to the code: installed
packages, the project's own packages with the data in them, Python's time zones. A change of those is a change of the
code, which a replay is meant to see; recorded as a side effect, it would be hidden.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from starling.replay._sources import package

if TYPE_CHECKING:
    from types import FrameType

    from starling.replay._sources import Sources

__all__ = ["OpenedFiles", "behind_openers"]

_OPENERS = frozenset({"bz2", "codecs", "configparser", "fileinput", "gzip", "lzma", "pathlib", "tarfile", "zipfile"})
"""Modules of Python's that open files for whoever calls them."""


class OpenedFiles:
    """Knows the files that a run has written.

    Attributes:
        events: the audit events that are of interest.
    """

    events = frozenset({"open", "os.rename"})

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._written: set[str] = set()

    def brings_in(self, path: Any, flags: int) -> bool:
        """Whether a file that is opened so can tell a run something that a replay might not find."""
        return _reads(flags) and not self._is_harmless(path)

    def opened(self, path: Any, flags: int, *, by_run: bool) -> None:
        """A file is opened; if that makes or empties it, what it holds from now on is the run's own, or is not.

        Args:
            by_run: whether a replay does so, too. What a side effect writes is not there then.
        """
        if _empties(flags):
            self._hold(_real(path), own=by_run)

    def renamed(self, source: Any, target: Any) -> None:
        """A file takes the place of another."""
        self._hold(_real(target), own=_real(source) in self._written)

    def _hold(self, path: str, *, own: bool) -> None:
        if own:
            self._written.add(path)
        else:
            self._written.discard(path)

    def _is_harmless(self, path: Any) -> bool:
        if isinstance(path, int):  # a descriptor: what it stands for was opened before
            return True
        real = _real(path)
        if real in self._written or real == _real(os.devnull):
            return True
        return self._sources.is_code(real, data=_time_zones())


def behind_openers(mode: str | None, caller: FrameType) -> tuple[str, FrameType]:
    """What somebody calls in order to open a file, and who does, if ``caller`` opens it in this mode."""
    what, author = "os.open" if mode is None else "open", caller
    while author.f_back is not None and package(author) in _OPENERS:
        what, author = _shown(author), author.f_back
    return what, author


def _shown(helper: FrameType) -> str:
    module = package(helper)
    if module == "pathlib":
        return f"Path.{helper.f_code.co_name}"
    return f"{module}.{helper.f_code.co_qualname}".removesuffix(".__init__")


def _reads(flags: int) -> bool:
    """Whether a file that is opened with these flags can bring something in: not if it is empty or new."""
    writes_only = flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
    return not writes_only and not _empties(flags)


def _empties(flags: int) -> bool:
    return bool(flags & (os.O_TRUNC | os.O_EXCL))


def _real(path: Any) -> str:
    """A path without symbolic links; empty if it is none, in which case nothing will be opened."""
    try:
        return os.path.realpath(os.fsdecode(path))
    except (TypeError, ValueError, OSError):
        return ""


def _time_zones() -> tuple[str, ...]:
    """Where `zoneinfo` looks for time zones, if it is in use."""
    return tuple(os.path.realpath(place) for place in getattr(sys.modules.get("zoneinfo"), "TZPATH", ()))
