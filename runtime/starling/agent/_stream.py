"""A run as it happens, for user interfaces: four kinds of news, projected from the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.event import AssistantMessageCompleted, Kind, ToolCallCompleted, ToolCallFailed, ToolCallScheduled

if TYPE_CHECKING:
    from starling.agent._result import RunResult
    from starling.event import Event

__all__ = ["AgentEvent", "Done", "TextDelta", "ToolCallEnded", "ToolCallStarted", "news_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """The model said something; the text of one whole turn (seed: emitted on AssistantMessageCompleted)."""

    turn_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStarted:
    """A tool call was scheduled; ``attempt`` counts from 1."""

    call_id: str
    tool: str
    args: Any
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallEnded:
    """An attempt ended. ``error`` is empty when it succeeded."""

    call_id: str
    result: Any
    error: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The run is over; always the last item, and there is one. ``error`` is what `Agent.run` would have raised."""

    run_id: str
    terminal_kind: Kind | None
    final_text: str
    result: RunResult | None
    error: BaseException | None


AgentEvent: TypeAlias = TextDelta | ToolCallStarted | ToolCallEnded | Done


def news_of(event: Event) -> AgentEvent | None:
    """What an event means to a user interface, if anything."""
    match event.decode():
        case AssistantMessageCompleted(turn_id=turn_id, text=text) if text:
            return TextDelta(turn_id=turn_id, text=text)
        case ToolCallScheduled() as call:
            return ToolCallStarted(call_id=call.call_id, tool=call.tool, args=call.args, attempt=call.attempt)
        case ToolCallCompleted() as ended:
            return ToolCallEnded(call_id=ended.call_id, result=ended.result, error="", attempt=ended.attempt)
        case ToolCallFailed() as ended:
            return ToolCallEnded(call_id=ended.call_id, result=None, error=ended.error, attempt=ended.attempt)
        case _:
            return None
