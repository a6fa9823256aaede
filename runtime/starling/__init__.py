"""starling: an embedded agent runtime whose every run is an append-only, BLAKE3-chained event log.

Data flows one way: event → eventlog → step → agent → replay. Below them, each usable alone: `starling.provider`
(models), `starling.tool` (tools), `starling.budget` (limits and prices), `starling.merkle`. Beside them:
`starling.ambient` (the seam through which a whole process is recorded or replayed) and `starling.testing`.

Names are imported when they are first used, so that ``import starling`` costs next to nothing.

The runtime ships with a pytest plugin, but holds no tests; to pytest this says: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from starling._version import __version__

if TYPE_CHECKING:
    from starling import errors, step
    from starling.agent import (
        Agent,
        CacheStats,
        Config,
        CustomLoop,
        Done,
        RunResult,
        TextDelta,
        ToolCallEnded,
        ToolCallStarted,
    )
    from starling.budget import Budget
    from starling.eventlog import MemoryLog, PostgresLog, SQLiteLog, open_log
    from starling.replay import replay, replay_all, replay_all_sync, replay_sync
    from starling.step import Divergence
    from starling.tool import tool

_HOMES = {
    "Agent": "agent",
    "Budget": "budget",
    "CacheStats": "agent",
    "Config": "agent",
    "CustomLoop": "agent",
    "Divergence": "step",
    "Done": "agent",
    "MemoryLog": "eventlog",
    "PostgresLog": "eventlog",
    "RunResult": "agent",
    "SQLiteLog": "eventlog",
    "TextDelta": "agent",
    "ToolCallEnded": "agent",
    "ToolCallStarted": "agent",
    "open_log": "eventlog",
    "replay_all": "replay",
    "replay_all_sync": "replay",
    "replay_sync": "replay",
}
_MODULES = ("errors", "replay", "step", "tool")
"""`replay` and `tool` are packages that can be called, see `_callable_module`."""

__all__ = [
    "Agent",
    "Budget",
    "CacheStats",
    "Config",
    "CustomLoop",
    "Divergence",
    "Done",
    "MemoryLog",
    "PostgresLog",
    "RunResult",
    "SQLiteLog",
    "TextDelta",
    "ToolCallEnded",
    "ToolCallStarted",
    "__version__",
    "errors",
    "open_log",
    "replay",
    "replay_all",
    "replay_all_sync",
    "replay_sync",
    "step",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"starling.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'starling' has no attribute {name!r}")
    value = getattr(import_module(f"starling.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
