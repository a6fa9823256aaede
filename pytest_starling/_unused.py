"""Fixtures that no collected test owns: found, told from what is none of ours, removed where that is asked for.

A fixture is judged by the test that it was recorded for, whose node id it holds. If that test's module was collected
whole, or is gone from a folder that was collected, and no test owns the file, it is unused. About everything else
nothing is known, so nothing is said: what cannot be read as a golden fixture, modules that were not collected, or
only in part, fixtures outside the golden folder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_starling._location import SUFFIX, node_name
from pytest_starling._session import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_starling._owners import Owners
    from pytest_starling._settings import Settings

__all__ = ["Unused", "agreed", "find", "plain", "remove"]

_TEMPORARY = (".", ".tmp")
"""What stands before and after a fixture's name while it is written; see `starling.replay.temporary_path`."""
_ABANDONED_S = 3600
"""Seconds after which a temporary is nobody's: another process may be recording at this moment."""
_MAGIC = b"SQLite format 3\x00"
_FOREIGN_FOLDERS = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """A file that no collected test owns.

    Attributes:
        path: the file, absolute.
        test_id: the node id of the test that it was recorded for; empty for a temporary.
        why: what makes it unused, as part of a sentence.
        deleted: it was removed.
        problem: why it could not be removed.
    """

    path: str
    test_id: str
    why: str
    deleted: bool = False
    problem: str = ""


def find(owners: Owners, settings: Settings) -> list[Unused]:
    """Look through the golden folder. Reads only files that no test owns and about which something is known."""
    files = list(_files(settings.folder))
    found = [one for path in files if not _is_temporary(path) for one in _judged(path, owners, settings)]
    unused = {key(Path(one.path)) for one in found}
    for path in files:
        if _is_temporary(path) and _is_abandoned(path):
            target = path.with_name(path.name[len(_TEMPORARY[0]) : -len(_TEMPORARY[1])])
            if key(target) in unused or owners.owns(target):
                found.append(Unused(path=str(path), test_id="", why="a recording that was cut off left it behind"))
    return found


def agreed(told: Sequence[Iterable[dict[str, Any]]]) -> list[Unused]:
    """What all workers of xdist found, each of whom has collected everything."""
    by_path = [{one["path"]: Unused(**one) for one in found} for found in told]
    first, *others = by_path or [{}]
    return [one for path, one in first.items() if all(path in other for other in others)]


def remove(unused: Iterable[Unused], settings: Settings) -> list[Unused]:
    """Remove files, and the folders that this leaves empty, looking at each once more before it goes."""
    return [_removed(one, settings.folder) for one in unused]


def plain(unused: Iterable[Unused]) -> list[dict[str, Any]]:
    """As data that travels between processes."""
    return [asdict(one) for one in unused]


# --- judging


def _files(folder: Path) -> Iterator[Path]:
    """The files that may be fixtures, or temporaries of fixtures; no links, nothing in hidden or foreign folders."""
    for home, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in _FOREIGN_FOLDERS)
        for name in sorted(names):
            path = Path(home, name)
            if (name.endswith(SUFFIX) or _is_temporary(path)) and not path.is_symlink():
                yield path


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(_TEMPORARY[0]) and path.name.endswith(SUFFIX + _TEMPORARY[1])


def _is_abandoned(path: Path) -> bool:
    from time import time

    try:
        return time() - path.stat().st_mtime > _ABANDONED_S and _begins_like_a_fixture(path)
    except OSError:
        return False


def _begins_like_a_fixture(path: Path) -> bool:
    with path.open("rb") as file:
        return _MAGIC.startswith(file.read(len(_MAGIC)))


def _judged(path: Path, owners: Owners, settings: Settings) -> Iterator[Unused]:
    if owners.owns(path) or _is_of_uncollected_module(path, owners, settings):
        return
    test_id = _test_id(path)
    why = _verdict(test_id, owners, settings) if test_id else ""
    if why:
        yield Unused(path=str(path), test_id=test_id, why=why)


def _is_of_uncollected_module(path: Path, owners: Owners, settings: Settings) -> bool:
    """Whether a file stands where the fixtures of a module are kept that is there, but was not collected whole.

    Spares a run of one module the reading of all fixtures of the others.
    """
    module = path.parent.relative_to(settings.folder).as_posix() + ".py"
    return module not in owners.modules and (settings.root / module).is_file()


def _test_id(path: Path) -> str:
    """The test that a fixture was recorded for; empty if the file is none of ours, or damaged."""
    from starling.errors import StarlingError
    from starling.replay import read_fixture

    try:
        return read_fixture(path).test_id
    except StarlingError:
        return ""


def _verdict(test_id: str, owners: Owners, settings: Settings) -> str:
    """Why a fixture that no test owns is unused; empty if that is not certain."""
    module = node_name(test_id).module
    if module in owners.modules:
        return "" if test_id in owners.unsure else _missed(test_id, owners)
    path = Path(os.path.normpath(settings.root / module))
    if path.exists() or not owners.holds(path) or not settings.folder.is_relative_to(settings.root):
        return ""
    return f"{module} is gone"


def _missed(test_id: str, owners: Owners) -> str:
    if test_id in owners.golden:
        return f"{test_id} keeps its recording elsewhere"
    return f"there is no golden test {test_id}"


# --- removing


def _removed(unused: Unused, folder: Path) -> Unused:
    path = Path(unused.path)
    if not _is_still(unused, path, folder):
        return replace(unused, problem="it is not what it was")
    try:
        path.unlink()
    except OSError as error:
        return replace(unused, problem=error.strerror or type(error).__name__)
    _remove_empty(path.parent, folder)
    return replace(unused, deleted=True)


def _is_still(unused: Unused, path: Path, folder: Path) -> bool:
    """Whether a file is in the golden folder, and the one that was judged."""
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    if not inside or path.is_symlink() or not path.is_file():
        return False
    check: Callable[[], bool] = (
        (lambda: _test_id(path) == unused.test_id) if unused.test_id else (lambda: _is_abandoned(path))
    )
    return check()


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those around it that are empty, up to the golden folder, which stays."""
    with suppress(OSError):
        while folder != top and folder.is_relative_to(top):
            folder.rmdir()
            folder = folder.parent
