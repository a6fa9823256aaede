"""What tests of agents need, with any test framework.

_script          what a model is to say: turns, step by step
_scripted        a provider that says it
_openai_server   a local server that says it over OpenAI's wire, in the bytes of _openai_wire
_assertions      a recording replays, or diverges where it should
eventlog_contract  what every event log promises, as checks
strategies         hypothesis strategies for events, runs and scripts

Names are imported when they are first used; nothing here imports pytest or hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starling.testing import eventlog_contract, strategies
    from starling.testing._assertions import append_run_started, assert_diverges, assert_replays
    from starling.testing._openai_server import OpenAIServer, ReceivedRequest, Reply
    from starling.testing._script import Do, Fail, Hang, Script, Step, Turn
    from starling.testing._scripted import ScriptedProvider

_HOMES = {
    "Do": "_script",
    "Fail": "_script",
    "Hang": "_script",
    "OpenAIServer": "_openai_server",
    "ReceivedRequest": "_openai_server",
    "Reply": "_openai_server",
    "Script": "_script",
    "ScriptedProvider": "_scripted",
    "Step": "_script",
    "Turn": "_script",
    "append_run_started": "_assertions",
    "assert_diverges": "_assertions",
    "assert_replays": "_assertions",
}

_PACKAGES = frozenset({"eventlog_contract", "strategies"})

__all__ = [
    "Do",
    "Fail",
    "Hang",
    "OpenAIServer",
    "ReceivedRequest",
    "Reply",
    "Script",
    "ScriptedProvider",
    "Step",
    "Turn",
    "append_run_started",
    "assert_diverges",
    "assert_replays",
    "eventlog_contract",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"starling.testing.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'starling.testing' has no attribute {name!r}")
    value = getattr(import_module(f"starling.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
