"""What the plugin keeps on config and items. Imported in every session, so it is kept small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_starling._session import GoldenItem
    from pytest_starling._settings import Settings

__all__ = ["GOLDEN", "ITEM", "MARKER", "SIGNATURE", "Golden", "golden_item"]

MARKER = "golden_run"
SIGNATURE = (
    'golden_run(path=None, *, tools="compare", ignore=(), allow_hosts=(), force_provider=False, compare_cost=None, '
    "max_age=None)"
)


class Golden:
    """A session's golden side.

    Attributes:
        children: what each collector yielded, while tests are collected. Kept to tell names that differ by case.
        items: the selected golden items.
        partial: some tests were deselected.
        outcomes: by node id, what became of each golden test; on the controller too.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._settings: Settings | None = None
        self.children: dict[pytest.Collector, Sequence[Any]] = {}
        self.items: list[GoldenItem] = []
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.partial = False

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

    def pytest_deselected(self) -> None:
        """Note that not everything is run. A hook, as below."""
        self.partial = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a golden test. A hook: this value is registered as a plugin, on the controller too."""
        told: dict[str, Any] | None = getattr(report, "starling", None)
        if told is not None:
            self.outcomes[report.nodeid] = told


GOLDEN = pytest.StashKey[Golden]()
ITEM: pytest.StashKey[GoldenItem] = pytest.StashKey()


def golden_item(item: pytest.Item) -> GoldenItem | None:
    """The item's golden side, if it has one."""
    return item.stash.get(ITEM, None)
