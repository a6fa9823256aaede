"""A divergence → one sentence in the words of somebody who writes agents, not event logs. Pure.

The runtime's own reason is kept where it says more: a request that was rebuilt, a patch, a provider that does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.event import (
    AssistantMessageCompleted,
    Kind,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
)
from starling.explain._values import SHORT, shorten, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starling.explain._values import Limits
    from starling.replay import Change, Divergence

__all__ = ["sentence"]

_GENERAL = ("recorded was ", "the code stopped, ", "the recording ends here, ")
_OUTCOMES = frozenset({Kind.ToolCallCompleted, Kind.ToolCallFailed})
"""What says by itself in which call it happened."""
_STARTED = {
    "goal": "another goal",
    "model_id": "another model",
    "provider_id": "another provider",
    "api_version": "another version of the provider's API",
    "params": "other parameters",
    "system_prompt": "another system prompt",
    "tools": "other tools",
    "tool_schemas": "other tools",
    "budget": "another budget",
}
_EFFECTS = {"now": "a call of step.now()", "rand": "a call of step.random()"}


def sentence(divergence: Divergence, names: Mapping[str, str], limits: Limits = SHORT) -> str:
    """What happened, in one sentence.

    Args:
        names: the tool behind each call id of the recording.
    """
    said = _said(divergence, names) or divergence.reason
    call_id = shorten(divergence.call_id, SHORT.brief)
    if divergence.kind in _OUTCOMES and divergence.expected_kind in _OUTCOMES and call_id:
        said = f"{shorten(said, limits.sentence)} (call {call_id})"
    elif call_id:
        said = f"in the call of {_tool(divergence.call_id, names)} ({call_id}), {shorten(said, limits.sentence)}"
    else:
        said = shorten(said, limits.sentence)
    return said[:1].upper() + said[1:]


def _said(divergence: Divergence, names: Mapping[str, str]) -> str:
    recorded, produced, reason = divergence.recorded, divergence.produced, divergence.reason
    if reason == f"{divergence.expected_kind} differs from the recorded one":
        return _other(divergence, names)
    if not reason.startswith(_GENERAL):
        return ""
    if produced is None:
        return f"the code stopped, but the recording goes on with {_named(recorded, names)}"
    if recorded is None:
        return f"the recording ends here, but the code goes on with {_named(produced, names)}"
    return f"the recording goes on with {_named(recorded, names)}, the code with {_named(produced, names)}"


def _other(divergence: Divergence, names: Mapping[str, str]) -> str:  # noqa: PLR0911 - a table: one row a kind
    """Both did the same kind of thing, but not the same."""
    match divergence.recorded:
        case ToolCallCompleted(call_id=call_id):
            return f"the tool {_tool(call_id, names)} returned something else than recorded"
        case ToolCallFailed(call_id=call_id):
            return f"the tool {_tool(call_id, names)} failed in another way than recorded"
        case ToolCallScheduled(tool=tool) if tool == getattr(divergence.produced, "tool", ""):
            return f"the tool {shorten(tool, SHORT.brief)} was called with something else than recorded"
        case ToolCallScheduled():
            return "another tool was called than recorded"
        case SideEffectRecorded():
            return "the code asked for another side effect than recorded"
        case RunCompleted():
            return "the run ended with something else than recorded"
        case _ if divergence.expected_kind is Kind.RunStarted:
            return f"the run was started with {_started(divergence.changes)} than recorded"
        case _:
            return ""


def _started(changes: Sequence[Change]) -> str:
    fields = (change.path.partition(".")[0].partition("[")[0].partition(" ")[0] for change in changes)
    words = list(dict.fromkeys(_STARTED.get(field, f"another {field}") for field in fields))
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _named(payload: Any, names: Mapping[str, str]) -> str:  # noqa: C901, PLR0911 - as above
    match payload:
        case TurnStarted():
            return "a question to the model"
        case AssistantMessageCompleted():
            return "an answer of the model"
        case ToolCallScheduled(tool=tool):
            return f"a call of the tool {shorten(tool, SHORT.brief)}"
        case ToolCallCompleted(call_id=call_id):
            return f"the result of {_tool(call_id, names)}"
        case ToolCallFailed(call_id=call_id):
            return f"a failure of {_tool(call_id, names)}"
        case SideEffectRecorded(name=name):
            return _EFFECTS.get(name) or f"the side effect {show(name, SHORT.brief)}"
        case RunCompleted():
            return "the end of the run"
        case RunFailed():
            return "the failure of the run"
        case RunCancelled():
            return "the cancellation of the run"
        case RunResumed():
            return "the resumption of the run"
        case _:
            return f"{payload.KIND}"


def _tool(call_id: str, names: Mapping[str, str]) -> str:
    return shorten(names.get(call_id, "a tool"), SHORT.brief)
