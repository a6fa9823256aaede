"""Whose code a frame runs: the project's own, ours, a library's. Decided by file name, once for each file.

It is asked in the midst of other people's code, so nothing here may raise.
"""

from __future__ import annotations

import asyncio.events
import asyncio.runners
import logging
import os
import sysconfig
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import starling

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

__all__ = ["Side", "Sources", "package"]


class Side(Enum):
    """Whose code it is.

    Attributes:
        OWN: the project's.
        GENERATED: made at run time, as the ``__init__`` of a dataclass is, or what stands for that in pydantic; it
            works for whoever calls it.
        ENTRANCE: ours, where a run calls the project's tools, or its own loop. RUNTIME: ours, anywhere else.
        LOOP: where an event loop calls a task; what called the loop has nothing to do with it.
        BYSTANDER: importing and logging, whose outcome is no part of a run.
        FOREIGN: a library's, Python's, or of no file that is known.
    """

    OWN = "own"
    GENERATED = "generated"
    ENTRANCE = "entrance"
    RUNTIME = "runtime"
    LOOP = "loop"
    BYSTANDER = "bystander"
    FOREIGN = "foreign"


_RUNTIME = Path(starling.__file__).parent
_ENTRANCES = (_RUNTIME / "tool", _RUNTIME / "step" / "_invoke.py", _RUNTIME / "agent" / "_custom.py")
_LOOPS = (Path(asyncio.events.__file__), Path(asyncio.runners.__file__))
_BYSTANDERS = (Path(logging.__file__).parent,)
_LOGGERS = {"loguru", "structlog"}
_MODELS = ("/pydantic/main.py", "/pydantic/root_model.py", "/pydantic/_internal/_dataclasses.py")
_PLACES = (
    (_ENTRANCES, Side.ENTRANCE),
    ((_RUNTIME,), Side.RUNTIME),
    (_LOOPS, Side.LOOP),
    (_BYSTANDERS, Side.BYSTANDER),
)
_INSTALLED = {"site-packages", "dist-packages"}
_BY_NAME = (("<frozen importlib", Side.BYSTANDER), ("<string>", Side.GENERATED), ("<attrs generated", Side.GENERATED))


class Sources:
    """Tells whose code a file holds.

    Args:
        roots: the project's folders.
        foreign: folders that are not the project's even if they lie in one of these.
    """

    def __init__(self, roots: Iterable[Path], foreign: Iterable[Path] = ()) -> None:
        self._roots = tuple(spelling for root in roots for spelling in _spellings(root))
        self._foreign = (*foreign, *_stdlib())
        self._known: dict[str, Side] = {}

    def side(self, file: str) -> Side:
        """Whose code it is, by the name of the file that a code object carries."""
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._judge(file)
        return known

    def _judge(self, file: str) -> Side:
        if file.startswith("<"):
            return next((side for start, side in _BY_NAME if file.startswith(start)), Side.FOREIGN)
        if not os.path.isabs(file):  # noqa: PTH117 - not a module's: those are imported by absolute paths
            return Side.FOREIGN
        path = Path(os.path.normpath(file))
        known = next((side for places, side in _PLACES if _within(path, places)), None)
        return known or (Side.OWN if self._is_own(path) else _side_of_library(path))

    def is_code(self, file: str, *, data: Iterable[str] = ()) -> bool:
        """Whether a file comes with the code: installed with Python or a library, or in a package of the project's.

        Args:
            data: further folders of which that is known.
        """
        path = Path(file)
        if not _INSTALLED.isdisjoint(path.parts) or _within(path, (*_stdlib(), *map(Path, data))):
            return True
        return any(
            path.is_relative_to(root) and (_is_installed(path, root) or _is_packaged(path, root))
            for root in self._roots
        )

    def _is_own(self, path: Path) -> bool:
        if _within(path, self._foreign):
            return False
        return any(
            spelling.is_relative_to(root) and not _is_installed(spelling, root)
            for spelling in _spellings(path)
            for root in self._roots
        )


def package(frame: FrameType) -> str:
    """The top-level package whose code a frame runs, as its module calls itself."""
    return str(frame.f_globals.get("__name__", "a library")).partition(".")[0]


def _side_of_library(path: Path) -> Side:
    if not _LOGGERS.isdisjoint(path.parts):
        return Side.BYSTANDER
    return Side.GENERATED if path.as_posix().endswith(_MODELS) else Side.FOREIGN


def _stdlib() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(scheme)) for scheme in ("stdlib", "platstdlib"))


def _is_packaged(path: Path, root: Path) -> bool:
    """Whether a file lies in a package, however deep."""
    inside = (parent for parent in path.parents if parent.is_relative_to(root))
    return any(os.path.isfile(parent / "__init__.py") for parent in inside)  # noqa: PTH113 - raises nothing


def _within(path: Path, places: Iterable[Path]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _spellings(path: Path) -> set[Path]:
    """A path as it is given, and without symbolic links."""
    return {path, Path(os.path.realpath(path))}


def _is_installed(path: Path, root: Path) -> bool:
    """Whether a file in the project's folder belongs to a virtual environment there."""
    inside = path.relative_to(root)
    return not _INSTALLED.isdisjoint(inside.parts) or any(
        os.path.isfile(root / parent / "pyvenv.cfg")  # noqa: PTH113 - in the midst of foreign code; raises nothing
        for parent in inside.parents
    )
