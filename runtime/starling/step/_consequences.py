"""Which divergences merely follow from an earlier one: the same change, seen again. Pure.

A replay that goes on after a divergence sees one changed line many times: a system prompt in RunStarted and in the
request of every turn, a tool's new result in every call of it. Only what is certain is folded: every field that
differs has differed before, from the same value to the same value, in the same tool (or outside of all); or a tool
takes the same other way in a further call. The one exception are requests that cannot be rebuilt: nothing can be said
of them while RunStarted differs, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starling.event import BudgetExceeded, Kind, SideEffectRecorded, ToolCallFailed, ToolCallScheduled
from starling.step._divergence import NOT_RECORDED

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from starling.event import Payload
    from starling.step._divergence import Change, Divergence

__all__ = ["fold_consequences"]

_SAME_FIELDS = {"model_id": "model", "goal": "messages[0].content"}
"""Fields of RunStarted that a request holds under another name."""

_HASHED = frozenset({"prompt_hash", "input_tokens"})


def fold_consequences(divergences: Iterable[Divergence]) -> tuple[Divergence, ...]:
    """Mark what follows from an earlier divergence with ``cause_seq``.

    Args:
        divergences: those of one replay, or of several runs of one agent, the first cause first. Their order is kept.
    """
    seen: dict[Hashable, int] = {}
    started = 0
    folded = []
    for divergence in divergences:
        opaque = {_key(divergence, change): _is_opaque(change) for change in divergence.changes}
        keys = opaque or _way(divergence)
        causes = [seen.get(key, 0) or (started if opaque.get(key) else 0) for key in keys]
        if causes and all(causes):
            folded.append(replace(divergence, cause_seq=min(causes)))
        else:
            folded.append(divergence)
            if divergence.expected_kind is Kind.RunStarted:
                started = divergence.seq
        for key in keys:
            seen.setdefault(key, folded[-1].cause_seq or divergence.seq)
    return tuple(folded)


def _key(divergence: Divergence, change: Change) -> Hashable:
    path = _SAME_FIELDS.get(change.path, change.path)
    if isinstance(divergence.recorded, BudgetExceeded) and path == "cap":
        path = f"budget.max_{divergence.recorded.limit}"
    return divergence.tool, path, _said(change.recorded), _said(change.produced)


def _way(divergence: Divergence) -> list[Hashable]:
    """What a tool's code did instead of what is recorded, where it did something else altogether."""
    if not divergence.tool:
        return []
    sides = (
        (payload.KIND, _label(payload)) if payload else None for payload in (divergence.recorded, divergence.produced)
    )
    return [(divergence.tool, *sides)]


def _label(payload: Payload) -> str:
    match payload:
        case SideEffectRecorded(name=name):
            return name
        case ToolCallScheduled(tool=tool):
            return tool
        case ToolCallFailed(error=error):
            return error
        case _:
            return ""


def _said(value: Any) -> str:
    """A value, told from others of its kind; a budget is an int here and a float there."""
    return repr(float(value)) if type(value) is int and abs(value) < 1 << 53 else repr(value)


def _is_opaque(change: Change) -> bool:
    """Whether this says that a request differs, but not in what."""
    return change.recorded is NOT_RECORDED or change.path in _HASHED
