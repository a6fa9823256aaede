"""The golden tests of a session: which items they are, what their markers say, which file each one owns.

Judged once the tests are collected, and only if one of them is marked. Nothing of it needs the runtime, except checking
``ignore``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import _cassette, _marker
from pytest_starling._hook_calls import chosen_path
from pytest_starling._location import NodeName, fill_template, is_template, location, node_name
from pytest_starling._state import GOLDEN, ITEM, MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_starling._attempt import Attempt
    from pytest_starling._marker import GoldenMark
    from pytest_starling._settings import Settings
    from pytest_starling._state import Golden
    from starling.replay import Fixture

__all__ = ["OPENING_FIXTURE", "GoldenItem", "Plan", "collect", "key", "overrides", "place"]

OPENING_FIXTURE = "_starling_open"
"""The fixture that every golden item asks for first; see `_fixtures`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run of a golden test is to do; by itself, to replay its fixture.

    Attributes:
        records: record instead.
        source: the file that a replay reads; None for the test's own.
        trial: this run is not the one that is reported.
        adopts: a replay takes a fixture of another test.
        kept: the recording that has diverged, of which a new one keeps what it can; None for nothing.
    """

    records: bool = False
    source: Path | None = None
    trial: bool = False
    adopts: bool = False
    kept: Fixture | None = None

    @property
    def replays(self) -> str:
        """What a replay is, in words: where somebody asked for a recording, it is one that they did not ask for."""
        if self.source is not None:
            return "replaying the new recording"
        return "replaying the old recording" if self.trial else "replaying"


@dataclass(slots=True, eq=False)
class GoldenItem:
    """A golden test.

    Attributes:
        name: its node id, without xdist's group.
        mark: what its marker says.
        path: the file it owns. Before setup a guess where ``golden_run_dir`` is overridden (``movable``).
        movable: its path inside the folder that ``golden_run_dir`` names, where that is overridden; else empty.
        attempt: the run of this test that is under way, or the last one.
        plan: what the run that is under way is to do, or the next one.
    """

    item: pytest.Function
    settings: Settings
    name: NodeName
    mark: GoldenMark
    path: Path
    movable: str = ""
    attempt: Attempt | None = None
    plan: Plan = field(default_factory=Plan)

    @property
    def shown_path(self) -> str:
        """The fixture's path as people are shown it."""
        return self.settings.shown(self.path)

    @property
    def command(self) -> str:
        """The command that records this test, to be pasted into a shell."""
        where = _relative(self.settings.root, self.name.module, self.item.config.invocation_params.dir)
        return f"pytest --record-golden {_quoted(where + self.name.text[len(self.name.module) :])}"

    @property
    def excuse(self) -> str:
        """What marks this test as one that is expected to fail, and so is not recorded; empty if nothing does."""
        if self.item.get_closest_marker("xfail"):
            return "xfail"
        marked = (getattr(one, "__unittest_expecting_failure__", False) for one in (self.item.function, self.item.cls))
        return "unittest.expectedFailure" if any(marked) else ""

    def claim(self) -> str:
        """Claim the file at `path`. Returns the test whose file it is already; empty if it is free, or this test's."""
        owner = self.item.config.stash[GOLDEN].claimed.setdefault(key(self.path), self.name.text)
        return "" if owner == self.name.text else owner

    def begin(self) -> Attempt:
        """Start a run of this test, as planned."""
        from pytest_starling._attempt import Attempt

        self.attempt = Attempt(self)
        return self.attempt

    def end(self) -> None:
        """Leave nothing of a run behind, however it went."""
        if self.attempt is not None:
            self.attempt.close()


def collect(golden: Golden, items: Iterable[pytest.Item]) -> None:
    """Find the golden tests and check what their markers say.

    Raises:
        pytest.UsageError: a marker is wrong, or two tests own one file; one line each.
    """
    problems: list[str] = []
    for item in items:
        mark = item.get_closest_marker(MARKER)
        if mark is not None and isinstance(item, pytest.Function):
            golden.items.append(_golden_item(golden, item, mark, problems))
    problems.extend(_ignored_in_vain(golden.items))
    owners = _owners_of_paths(golden.items)
    problems.extend(_shared_paths(owners))
    problems.extend(_cassette.wrong_choice(golden))
    if problems:
        raise pytest.UsageError(*problems)
    for where, (owner,) in owners.items():
        golden.claimed.setdefault(where, owner)


def _golden_item(golden: Golden, item: pytest.Function, mark: pytest.Mark, problems: list[str]) -> GoldenItem:
    value, wrong = _marker.parse(mark)
    name = node_name(item.nodeid)
    problems.extend(f"{name.text}: the marker golden_run {sentence}" for sentence in wrong)
    try:
        path, movable = _place(golden, item, name, value, problems)
    except pytest.UsageError as error:
        problems.extend(map(str, error.args))
        path, movable = Path(), ""
    one = GoldenItem(
        item=item,
        settings=golden.settings,
        name=name,
        mark=value,
        path=path,
        movable=movable,
    )
    item.stash[ITEM] = one
    if OPENING_FIXTURE not in item.fixturenames:
        item.fixturenames = [OPENING_FIXTURE, *item.fixturenames]
    return one


def place(golden: Golden, item: pytest.Function, name: NodeName, mark: pytest.Mark) -> tuple[Path, str]:
    """Where a golden test keeps its fixture, and where inside the folder if only ``golden_run_dir`` knows that one.

    Raises:
        pytest.UsageError: the hook that chooses the place fails.
    """
    value, _ = _marker.parse(mark)
    return _place(golden, item, name, value, [])


def _place(
    golden: Golden, item: pytest.Function, name: NodeName, mark: GoldenMark, problems: list[str]
) -> tuple[Path, str]:
    path = _chosen_path(golden, item, name, mark, problems)
    if path is not None:
        return path, ""
    usual = location(name, ambiguous=_ambiguous(golden, item))
    return golden.settings.folder / usual, usual if overrides(item, "golden_run_dir") else ""


def overrides(item: pytest.Item, fixture: str) -> bool:
    """Whether somebody has put another fixture in the place of one of ours, for this test."""
    definitions = item.session._fixturemanager.getfixturedefs(fixture, item)
    return definitions is not None and len(definitions) > 1


def _chosen_path(
    golden: Golden, item: pytest.Function, name: NodeName, mark: GoldenMark, problems: list[str]
) -> Path | None:
    """The path that the marker or a hook chooses; None for the usual place."""
    base = golden.settings.base
    if mark.path is not None:
        if not is_template(mark.path) and _needs_template(item):
            problems.append(
                f"{name.text}: the marker golden_run gives several tests the one path {mark.path!r}; write a template "
                "with {class}, {function} or {id}, or leave path out"
            )
        return Path(os.path.normpath(base / fill_template(mark.path, name)))
    told = chosen_path(item)
    return None if told is None else Path(os.path.normpath(base / told))


def _needs_template(item: pytest.Function) -> bool:
    """Whether the marker stands for more than this test: on a class or module, or on a parametrised function."""
    own = any(mark.name == MARKER for mark in item.own_markers)
    return not own or hasattr(item, "callspec")


def _ambiguous(golden: Golden, item: pytest.Item) -> bool:
    """Whether this node, or one around it, has a sibling whose name differs only by case."""
    return any(_differs_by_case(golden, node) for node in item.listchain()[1:])


def _differs_by_case(golden: Golden, node: Any) -> bool:
    return node.parent is not None and not golden.spellings(node.parent).get(node.name.casefold(), set()) <= {node.name}


def _ignored_in_vain(items: Sequence[GoldenItem]) -> list[str]:
    if not any(one.mark.ignore for one in items):
        return []
    return [
        f"{one.name.text}: the marker golden_run {sentence}"
        for one in items
        for sentence in _marker.unknown_paths(one.mark.ignore)
    ]


def _owners_of_paths(items: Sequence[GoldenItem]) -> dict[str, dict[str, GoldenItem]]:
    """By file, the tests that own it by their names; without those of which the place is not known yet."""
    owners: dict[str, dict[str, GoldenItem]] = {}
    folders: dict[Path, Path] = {}
    for one in items:
        if not one.movable:
            owners.setdefault(_folded(_real(one.path, folders)), {})[one.name.text] = one
    return owners


def _real(path: Path, folders: dict[Path, Path]) -> str:
    """`os.path.realpath` for many files of few folders, of which each is looked up once."""
    folder = path.parent
    if folder not in folders:
        folders[folder] = Path(os.path.realpath(folder))
    place = folders[folder] / path.name
    return os.path.realpath(place) if place.is_symlink() else str(place)


def _shared_paths(owners: Mapping[str, Mapping[str, GoldenItem]]) -> list[str]:
    """Tests that own one file."""
    return [
        f"{' and '.join(shared)} would share the fixture {next(iter(shared.values())).shown_path}: one file, one test. "
        "Give each its own path=, or leave it out"
        for shared in owners.values()
        if len(shared) > 1
    ]


def key(path: Path) -> str:
    """A path such that two of one file are equal, be it through links or on a file system that knows no case."""
    return _folded(os.path.realpath(path))


def _folded(real: str) -> str:
    from unicodedata import normalize

    return normalize("NFC", real.replace(os.sep, "/")).casefold()


@lru_cache(maxsize=256)
def _relative(root: Path, module: str, start: Path) -> str:
    """A module as it is named in a shell, from an absolute folder. Asked for by every test of the module."""
    return os.path.relpath(root / module, start).replace(os.sep, "/")


def _quoted(argument: str) -> str:
    """An argument in double quotes where that is enough for every shell, else as a POSIX shell wants it."""
    if any(char in '"$`!\\' for char in argument):
        from shlex import quote

        return quote(argument)
    return f'"{argument}"'
