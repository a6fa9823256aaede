"""What the plugin keeps on config and items. Imported in every session, so it is kept small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_starling._owners import Owners
    from pytest_starling._session import GoldenItem
    from pytest_starling._settings import Settings
    from pytest_starling._unused import Unused

__all__ = ["GOLDEN", "ITEM", "MARKER", "SIGNATURE", "Golden", "golden_item"]

MARKER = "golden_run"
SIGNATURE = (
    'golden_run(path=None, *, tools="compare", ignore=(), allow_hosts=(), force_provider=False, compare_cost=None, '
    "max_age=None)"
)


class Golden:
    """A session's golden side.

    Attributes:
        children: what each collector yielded, while tests are collected, selected or not. Kept to tell names that
            differ by case, and to know who owns which fixture.
        items: the selected golden items.
        owners: who owns which fixture; None where that is not judged.
        partial: some tests were deselected.
        claimed: by file, the test that keeps its recording there; those of movable ones as they are found out.
        unselected: where golden tests that are not run keep theirs, as `_session.place` says; only if one is movable.
        outcomes: by node id, what became of each golden test; on the controller too.
        told: what xdist's workers found out about fixtures.
        unused: the fixtures that no test owns, once the session is over.
        recorded: the fixtures that there are, by the node id in them; None until one is missing.
        notes: what else the summary has to say.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._settings: Settings | None = None
        self.children: dict[pytest.Collector, Sequence[Any]] = {}
        self._spellings: dict[pytest.Collector, dict[str, set[str]]] = {}
        self.items: list[GoldenItem] = []
        self.owners: Owners | None = None
        self.claimed: dict[str, str] = {}
        self.unselected: dict[str, tuple[Path, str]] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.partial = False
        self.told: list[dict[str, Any]] = []
        self.unused: tuple[Unused, ...] = ()
        self.recorded: dict[str, list[Path]] | None = None
        self.notes: list[str] = []

    @property
    def settings(self) -> Settings:
        """What command line and ini come to; read when first asked for.

        Raises:
            pytest.UsageError: they make no sense.
        """
        if self._settings is None:
            from pytest_starling._settings import read_settings

            self._settings = read_settings(self._config)
        return self._settings

    def note_collected(self, collector: pytest.Collector, report: pytest.CollectReport) -> None:
        """Note what a collector yielded; nothing of one that is broken, or skipped itself."""
        if report.passed:
            self.children[collector] = tuple(report.result)
            self._spellings.pop(collector, None)

    def spellings(self, collector: pytest.Collector) -> dict[str, set[str]]:
        """The names of what a collector yielded, by what they are without case."""
        if collector not in self._spellings:
            found = self._spellings[collector] = {}
            for one in self.children.get(collector, ()):
                found.setdefault(one.name.casefold(), set()).add(one.name)
        return self._spellings[collector]

    def forget_collected(self) -> None:
        """Let go of what was kept of the collection."""
        self.children.clear()
        self._spellings.clear()

    def judges_fixtures(self, config: pytest.Config) -> bool:
        """Whether this session looks for unused fixtures: only if it has golden tests, or was told to."""
        if config.getoption("golden_unused"):
            return self.settings.unused != "off"
        return bool(self.items) and not config.getoption("collectonly") and self.settings.unused != "off"

    def has_an_end(self, config: pytest.Config) -> bool:
        """Whether there is something to do when the session is over."""
        asked = config.getoption("golden_report")
        return bool(self.items or self.owners or self.outcomes or self.told or asked)

    def pytest_deselected(self) -> None:
        """Note that not everything is run. A hook, as below."""
        self.partial = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a golden test. A hook: this value is registered as a plugin, on the controller too."""
        told: dict[str, Any] | None = getattr(report, "starling", None)
        if told is None:
            return
        if not self.items and not self.outcomes:
            self._announce(told["tests"])
        self.outcomes[report.nodeid] = told

    def _announce(self, count: int) -> None:
        """On xdist's controller: write the line that follows collection elsewhere."""
        from pytest_starling._summary import announce

        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None:
            announce(self, terminal, count)


GOLDEN = pytest.StashKey[Golden]()
ITEM: pytest.StashKey[GoldenItem] = pytest.StashKey()


def golden_item(item: pytest.Item) -> GoldenItem | None:
    """The item's golden side, if it has one."""
    return item.stash.get(ITEM, None)
