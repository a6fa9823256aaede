"""The fixtures that tests ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling._state import GOLDEN, golden_item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_starling._golden_run import GoldenRun
    from pytest_starling._session import GoldenItem
    from starling import SQLiteLog
    from starling.testing import ScriptedProvider

__all__ = ["golden_run", "golden_run_config", "golden_run_dir", "scripted_provider", "starling_log"]


@pytest.fixture
def golden_run(request: pytest.FixtureRequest) -> GoldenRun:
    """The golden run of this test: its mode, its file, the runs it made."""
    golden = _required(request, "golden_run")
    from pytest_starling._golden_run import GoldenRun

    return GoldenRun(golden)


@pytest.fixture
def golden_run_dir(request: pytest.FixtureRequest) -> Path:
    """The folder in which this test's fixture is kept. Override it for a package, a module or a class."""
    return request.config.stash[GOLDEN].settings.folder


@pytest.fixture
def golden_run_config() -> Mapping[str, Any]:
    """Arguments of the ``golden_run`` marker that hold where the marker is silent. Override it to set some."""
    return {}


@pytest.fixture
def _starling_open(request: pytest.FixtureRequest) -> None:
    """Golden tests ask for this first: it opens the recording before any other fixture can start a run.

    It asks for the two fixtures above only where they are others than ours: each costs pytest as much as a small test.
    """
    golden = _required(request, "_starling_open")
    assert golden.attempt is not None, "setup has begun it"
    folder = request.getfixturevalue("golden_run_dir") if _is_own(golden, "golden_run_dir") else golden.settings.folder
    config = request.getfixturevalue("golden_run_config") if _is_own(golden, "golden_run_config") else {}
    golden.attempt.load(Path(folder), config)


def _is_own(golden: GoldenItem, fixture: str) -> bool:
    """Whether a test has put something in the place of one of our fixtures: another, or a value by `parametrize`."""
    from pytest_starling._session import overrides

    callspec = getattr(golden.item, "callspec", None)
    return overrides(golden.item, fixture) or (callspec is not None and fixture in callspec.params)


@pytest.fixture
def scripted_provider() -> ScriptedProvider:
    """A provider that says what the test writes down: ``scripted_provider.text("hi")``."""
    from starling.testing import ScriptedProvider

    return ScriptedProvider()


@pytest.fixture
def starling_log(tmp_path: Path) -> Iterator[SQLiteLog]:
    """An event log in a temporary SQLite file, closed at the end."""
    from starling import SQLiteLog

    log = SQLiteLog(tmp_path / "starling.db")
    yield log
    log.close_sync()


def _required(request: pytest.FixtureRequest, fixture: str) -> GoldenItem:
    golden = golden_item(request.node) if isinstance(request.node, pytest.Item) else None
    if golden is None:
        pytest.fail(
            f"{request.node.nodeid} asks for the fixture {fixture}, but is no golden test: mark it with "
            "@pytest.mark.golden_run",
            pytrace=False,
        )
    return golden
