"""Calls of hooks that projects implement: what goes wrong in one is told with the hook's name, and not by pytest as an
error of its own, which would end the session.
"""

from __future__ import annotations

import os
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling._location import is_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling import Divergence

__all__ = ["chosen_path", "tell_divergences"]

_RAISED = (Exception, pytest.fail.Exception, pytest.skip.Exception)


def chosen_path(item: pytest.Item) -> str | None:
    """What ``pytest_starling_fixture_path`` says; None if it says nothing.

    Raises:
        pytest.UsageError: it raised, or what it returned is no path.
    """
    hook = "pytest_starling_fixture_path"
    try:
        told: Any = item.ihook.pytest_starling_fixture_path(item=item)
    except (pytest.exit.Exception, pytest.UsageError):
        raise
    except _RAISED as error:
        raise pytest.UsageError(f"{item.nodeid}: {_raised(hook, error)}") from None
    if told is None:
        return None
    if not is_path(told):
        raise pytest.UsageError(f"{item.nodeid}: the hook {hook} must return a path or None, got {told!r}")
    path: str = os.fspath(told)
    return path


def tell_divergences(item: pytest.Item, divergences: Sequence[Divergence]) -> str:
    """Call ``pytest_starling_divergence`` for each. Returns what went wrong; nobody is told of the rest then."""
    try:
        for divergence in divergences:
            item.ihook.pytest_starling_divergence(item=item, divergence=divergence)
    except pytest.exit.Exception:
        raise
    except _RAISED as error:
        return _raised("pytest_starling_divergence", error)
    return ""


def _raised(hook: str, error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    said = f": {error}" if str(error) else ""
    return f"the hook {hook} raised {type(error).__name__}{said}{place}"
