"""What tests of agents need, with any test framework.

_script          what a model is to say: turns, step by step
_scripted        a provider that says it
_wire, _wire_server  a local server that says it over a vendor's wire
_openai_server   the same for OpenAI, in the bytes of _openai_wire; other vendors likewise
_assertions      a recording replays, or diverges where it should
eventlog_contract  what every event log promises, as checks
provider_contract  what every provider promises, as checks
strategies         hypothesis strategies for events, runs and scripts

Names are imported when they are first used; nothing here imports pytest or hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starling.testing import eventlog_contract, provider_contract, strategies
    from starling.testing._anthropic_server import AnthropicServer
    from starling.testing._assertions import append_run_started, assert_diverges, assert_replays
    from starling.testing._bedrock_server import BedrockServer
    from starling.testing._gemini_server import GeminiServer
    from starling.testing._openai_server import OpenAIServer
    from starling.testing._openrouter_server import OpenRouterServer
    from starling.testing._script import Do, Fail, Hang, Script, Step, Turn
    from starling.testing._scripted import ScriptedProvider
    from starling.testing._wire import ReceivedRequest, Reply, Wire, sse_event
    from starling.testing._wire_server import WireServer

_HOMES = {
    "AnthropicServer": "_anthropic_server",
    "BedrockServer": "_bedrock_server",
    "Do": "_script",
    "Fail": "_script",
    "GeminiServer": "_gemini_server",
    "Hang": "_script",
    "OpenAIServer": "_openai_server",
    "OpenRouterServer": "_openrouter_server",
    "ReceivedRequest": "_wire",
    "Reply": "_wire",
    "Script": "_script",
    "ScriptedProvider": "_scripted",
    "Step": "_script",
    "Turn": "_script",
    "Wire": "_wire",
    "WireServer": "_wire_server",
    "append_run_started": "_assertions",
    "assert_diverges": "_assertions",
    "assert_replays": "_assertions",
    "sse_event": "_wire",
}

_PACKAGES = frozenset({"eventlog_contract", "provider_contract", "strategies"})

__all__ = [
    "AnthropicServer",
    "BedrockServer",
    "Do",
    "Fail",
    "GeminiServer",
    "Hang",
    "OpenAIServer",
    "OpenRouterServer",
    "ReceivedRequest",
    "Reply",
    "Script",
    "ScriptedProvider",
    "Step",
    "Turn",
    "Wire",
    "WireServer",
    "append_run_started",
    "assert_diverges",
    "assert_replays",
    "eventlog_contract",
    "provider_contract",
    "sse_event",
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
