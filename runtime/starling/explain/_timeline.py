"""A recorded run around one event → a few lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.errors import StarlingError
from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    ContextTruncated,
    Kind,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnFailed,
    UserMessageAppended,
    kind_name,
)
from starling.explain._values import SHORT, as_moment, shorten, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starling.event import Event
    from starling.explain._values import Limits
    from starling.replay import Divergence

__all__ = ["brief", "timeline", "tool_names"]


def timeline(divergence: Divergence, events: Sequence[Event], limits: Limits = SHORT) -> list[str]:
    """The last matching and the next recorded events, with the one marked where the run diverged."""
    at = divergence.seq - 1
    first = max(0, at - limits.before)
    names = tool_names(events)
    lines = [
        _row(event, names, limits, marked=index == at)
        for index, event in enumerate(events[first : at + limits.after + 1], start=first)
    ]
    today = _today(divergence, names, limits)
    if at >= len(events):
        return [*lines, f"> {divergence.seq:>4}  (the recording ends before this)", *today]
    place = at - first + 1
    return [*lines[:place], *today, *lines[place:]]


def tool_names(events: Sequence[Event]) -> dict[str, str]:
    """The tool behind each call id."""
    found = {}
    for event in events:
        payload = _payload(event) if event.kind == Kind.ToolCallScheduled else None
        if isinstance(payload, ToolCallScheduled):
            found[payload.call_id] = payload.tool
    return found


def brief(payload: Any, names: Mapping[str, str] | None = None, limit: int = SHORT.brief) -> str:
    """What an event says, in a few words."""
    return shorten(_words(payload, names or {}, limit), limit)


def _row(event: Event, names: Mapping[str, str], limits: Limits, *, marked: bool) -> str:
    kind = kind_name(event.kind)
    line = f"{'>' if marked else ' '} {event.seq:>4}  {kind:<25} {brief(_payload(event), names, limits.brief)}"
    return line.rstrip()


def _today(divergence: Divergence, names: Mapping[str, str], limits: Limits) -> list[str]:
    """What the code did instead, where that is another kind of event."""
    if divergence.kind is None:
        return [f"{'':>2}{'today':>5} (the run stopped)"]
    if divergence.kind is divergence.expected_kind:
        return []
    return [
        f"{'':>2}{'today':>5} {divergence.kind.name:<25} {brief(divergence.produced, names, limits.brief)}".rstrip()
    ]


def _payload(event: Event) -> Any:
    try:
        return event.decode()
    except StarlingError:
        return None


def _words(payload: Any, names: Mapping[str, str], most: int) -> str:  # noqa: C901, PLR0911, PLR0912 - a table: one row a kind
    match payload:
        case RunStarted(goal=goal, model_id=model):
            return f"{show(goal, most)} with {model}"
        case UserMessageAppended(content=text) | ReasoningEmitted(content=text):
            return show(text, most)
        case AssistantMessageCompleted(text=text, tool_uses=uses):
            calls = ", ".join(f"{use.tool}({_args(use.args, most)})" for use in uses)
            return f"calls {calls}" if uses else show(text, most)
        case ToolCallScheduled(tool=tool, args=args, attempt=attempt):
            again = f", attempt {attempt}" if attempt > 1 else ""
            return f"{tool}({_args(args, most)}){again}"
        case ToolCallCompleted(call_id=call_id, result=result):
            return f"{names.get(call_id, call_id)} → {show(result, most)}"
        case ToolCallFailed(call_id=call_id, error=error, error_type=kind):
            return f"{names.get(call_id, call_id)} failed ({kind}): {error[:most]}"
        case SideEffectRecorded(name="now", value=int(value)):
            return f"now = {as_moment(value)}"
        case SideEffectRecorded(name=name, value=value, error=error):
            return f"{name} raised {error.type}" if error else f"{name} = {show(value, most)}"
        case BudgetExceeded(limit=limit, cap=cap, actual=actual):
            return f"{limit}: {actual:g} of {cap:g}"
        case ContextTruncated(strategy=strategy):
            return strategy
        case RunCompleted(final_text=text):
            return show(text, most)
        case RunFailed(error=error, error_type=kind) | TurnFailed(error=error, error_type=kind):
            return f"{kind}: {error[:most]}"
        case RunCancelled(reason=reason):
            return reason
        case RunResumed(at_seq=at_seq):
            return f"after seq {at_seq}"
        case _:
            return ""


def _args(args: Any, most: int) -> str:
    return show(args, most) if args else ""
