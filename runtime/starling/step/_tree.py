"""A recorded run as a tree of calls: which events belong to the run's own code, and which to which tool call.

Parallel calls interleave in the log in whatever order they happened to run. Cut by owner, each call's own events have
one order that its code decided, and that is what a replay compares. Pure: events in, tree out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    Kind,
    ReasoningEmitted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Payload

__all__ = ["Node", "build_tree"]


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One recorded call, or (without ``call_id``) the run's own code.

    Attributes:
        first_attempt: the attempt that its first Scheduled event is about; more than 1 behind a seam only.
        own: indexes of this node's own events, in recorded order.
        effects: effect name -> number of the request -> index.
        children: the calls that this one dispatched, by the index of their first Scheduled event.
        outcomes: attempt -> index of its Completed or Failed event.
        calls: the keys of ``children``, in recorded order.
        passed: how many of ``own`` are known to be consumed (a prefix).
        dispatched: the same for ``calls``.
    """

    call_id: str = ""
    first_attempt: int = 1
    own: list[int] = field(default_factory=list)
    effects: dict[str, dict[int, int]] = field(default_factory=dict)
    children: dict[int, Node] = field(default_factory=dict)
    outcomes: dict[int, int] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    passed: int = 0
    dispatched: int = 0

    def add_effect(self, index: int, effect: SideEffectRecorded) -> None:
        """Note an effect; without an ordinal it answered the request of its own position."""
        by_request = self.effects.setdefault(effect.name, {})
        by_request[effect.ordinal or len(by_request) + 1] = index
        self.own.append(index)

    def add_call(self, index: int, call: Node) -> None:
        """Note a call that this one dispatched."""
        self.own.append(index)
        self.calls.append(index)
        self.children[index] = call

    @property
    def last_outcome(self) -> int:
        """Index of the event that ended the call; past everything if it never ended."""
        return max(self.outcomes.values(), default=1 << 62)


def build_tree(payloads: Sequence[Payload], *, owned_effects: bool) -> Node:
    """Cut a run by owner.

    Args:
        payloads: the decoded run.
        owned_effects: whether effects, turns and nested calls name their call; otherwise they count as the run's own.
    """
    root = Node()
    calls: dict[str, Node] = {}
    turns: dict[str, Node] = {}
    for index, payload in enumerate(payloads):
        match payload:
            case ToolCallScheduled(call_id=call_id, attempt=attempt) if attempt == 1 or call_id not in calls:
                parent = calls.get(payload.parent_call_id, root) if owned_effects else root
                calls[call_id] = Node(call_id=call_id, first_attempt=attempt)
                parent.add_call(index, calls[call_id])
            case ToolCallScheduled(call_id=call_id):
                calls[call_id].own.append(index)
            case ToolCallCompleted(call_id=call_id) | ToolCallFailed(call_id=call_id) if call_id in calls:
                calls[call_id].own.append(index)
                calls[call_id].outcomes[payload.attempt] = index
            case SideEffectRecorded():
                owner = calls.get(payload.call_id, root) if owned_effects else root
                owner.add_effect(index, payload)
            case TurnStarted():
                turns[payload.turn_id] = calls.get(payload.call_id, root)
                turns[payload.turn_id].own.append(index)
            case ReasoningEmitted() | AssistantMessageCompleted():
                turns.get(payload.turn_id, root).own.append(index)
            case BudgetExceeded():
                turns.get(payload.turn_id, calls.get(payload.call_id, root)).own.append(index)
            case _:
                root.own.append(index)
                if payload.KIND is Kind.RunResumed:
                    calls.clear()
    return root
