"""Who owns which fixture, judged from all that was collected, whether it is selected or not.

Sharding, ``-k``, ``--lf`` and node ids on the command line thin out the tests that run, but not what their collectors
yielded. So a module that was collected whole says everything about its tests; of other modules nothing is known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_starling._location import node_name
from pytest_starling._session import key, place
from pytest_starling._state import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_starling._state import Golden

__all__ = ["Owners", "owners", "unselected_places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """What the collection says about fixtures. Paths are in the form of `key`.

    Attributes:
        places: the files of all golden tests.
        movable: paths inside a folder that only ``golden_run_dir`` knows, when its test runs.
        golden: the node ids of all golden tests.
        unsure: those of tests that were not selected and bear no marker; a hook may give it to selected tests only.
        modules: the node ids of modules that were collected whole.
        folders: what was collected, as far as it is whole folders.
        partial: not everything that was collected is run.
    """

    places: frozenset[str]
    movable: frozenset[str]
    golden: frozenset[str]
    unsure: frozenset[str]
    modules: frozenset[str]
    folders: tuple[Path, ...]
    partial: bool

    def owns(self, path: Path) -> bool:
        """Whether a file is some test's; one that might be counts."""
        text = key(path)
        return text in self.places or any(tail in self.movable for tail in _tails(text))

    def holds(self, path: Path) -> bool:
        """Whether a file, were it there, would have been collected."""
        return any(path.is_relative_to(folder) for folder in self.folders)


def _tails(path: str) -> Iterator[str]:
    """The path without its first part, without its first two, and so on."""
    while path:
        _, _, path = path.partition("/")
        yield path


def owners(golden: Golden, session: pytest.Session) -> Owners:
    """Put together what is known once the tests are collected."""
    places = {key(one.path) for one in golden.items if not one.movable}
    movable = {one.movable.casefold() for one in golden.items if one.movable}
    names = {one.name.text for one in golden.items}
    unselected = _unselected(golden, session)
    unsure = {node_name(item.nodeid).text for item in unselected if item.get_closest_marker(MARKER) is None}
    for name, (path, tail) in _places(golden, unselected).items():
        names.add(name)
        movable |= {tail.casefold()} if tail else set()
        places |= set() if tail else {key(path)}
    thinned = session.config.pluginmanager.hasplugin("lfplugin-collskip")
    return Owners(
        places=frozenset(places),
        movable=frozenset(movable),
        golden=frozenset(names),
        unsure=frozenset(unsure),
        modules=frozenset(_whole_modules(golden, thinned=thinned)),
        folders=_folders(session.config),
        partial=thinned or golden.partial or bool(unselected),
    )


def unselected_places(golden: Golden, session: pytest.Session) -> dict[str, tuple[Path, str]]:
    """Where the golden tests that were collected and are not run keep their fixtures, by node id; see `place`."""
    return _places(golden, _unselected(golden, session))


def _places(golden: Golden, items: Iterable[pytest.Function]) -> dict[str, tuple[Path, str]]:
    names = [(item, node_name(item.nodeid), item.get_closest_marker(MARKER)) for item in items]
    return {name.text: place(golden, item, name, mark) for item, name, mark in names if mark is not None}


def _unselected(golden: Golden, session: pytest.Session) -> list[pytest.Function]:
    """The tests that were collected and are not run."""
    selected = {id(item) for item in session.items}
    others = [
        node
        for nodes in golden.children.values()
        for node in nodes
        if isinstance(node, pytest.Function) and id(node) not in selected
    ]
    if not others:
        return []
    names = {node_name(item.nodeid).text for item in session.items}  # a module may have been collected twice
    return [item for item in others if node_name(item.nodeid).text not in names]


def _whole_modules(golden: Golden, *, thinned: bool) -> Iterable[str]:
    """The modules of which every test is known.

    Args:
        thinned: ``--lf`` keeps modules from being collected at all, and calls them empty.
    """
    for collector, nodes in golden.children.items():
        if isinstance(collector, pytest.Module) and (nodes or not thinned) and _is_whole(golden, collector):
            yield collector.nodeid


def _is_whole(golden: Golden, collector: pytest.Collector) -> bool:
    children: Mapping[pytest.Collector, Sequence[object]] = golden.children
    return collector in children and all(
        _is_whole(golden, node) for node in children[collector] if isinstance(node, pytest.Collector)
    )


def _folders(config: pytest.Config) -> tuple[Path, ...]:
    """The folders that pytest was given, or went to by itself."""
    base = config.invocation_params.dir
    given = (Path(os.path.normpath(base / argument)) for argument in config.args if "::" not in argument)
    return tuple(path for path in given if path.is_dir())
