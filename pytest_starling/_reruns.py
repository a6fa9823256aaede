"""Reruns of tests that are recorded. Whether and when one is run again is for pytest-rerunfailures to say.

It runs a test with a function of pytest's that it knows by name, and there is no hook for that. So the recorder stands
in for that function while one golden test is recorded; delays, conditions and counts stay as they are, whichever way
they are given.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["recorded_by_reruns"]


def recorded_by_reruns(
    item: pytest.Item, nextitem: pytest.Item | None, attempt: Callable[[], list[pytest.TestReport]]
) -> bool:
    """Have a test recorded as often as pytest-rerunfailures wants. Returns False if it does not care for this one.

    Args:
        attempt: records once, with fresh fixtures; its reports are logged by the caller.
    """
    plugin: Any = sys.modules.get("pytest_rerunfailures")
    if plugin is None or not item.config.pluginmanager.is_registered(plugin) or not hasattr(plugin, "runtestprotocol"):
        return False
    original = plugin.runtestprotocol
    plugin.runtestprotocol = lambda *_, **__: attempt()
    try:
        return bool(plugin.pytest_runtest_protocol(item, nextitem))
    finally:
        plugin.runtestprotocol = original
