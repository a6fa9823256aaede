"""Hooks of pytest-starling, for conftest files and other plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import os

    from starling import Divergence

__all__ = ["pytest_starling_divergence", "pytest_starling_fixture_path"]


@pytest.hookspec(firstresult=True)
def pytest_starling_fixture_path(item: pytest.Item) -> str | os.PathLike[str] | None:
    """Say where the fixture of a golden test is kept; None leaves the decision to others.

    A relative path starts at the directory of the configuration file. Asked once per test, after collection; the
    marker's ``path`` argument goes before it.
    """


@pytest.hookspec
def pytest_starling_divergence(item: pytest.Item, divergence: Divergence) -> None:
    """A golden test diverged from its recording. Called once per divergence, the first cause first.

    Not called for the trial replay with which ``--record-golden`` finds out what has to be recorded.
    """
