"""The closed set of event kinds, numbered and named as on the wire (seed page "Event schema")."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["SCHEMA_VERSION", "Kind", "kind_name"]

SCHEMA_VERSION = 1
"""The event schema that this library writes, and the newest that it reads."""


class Kind(IntEnum):
    """What an event records. A new kind is a new schema version."""

    RunStarted = 1
    UserMessageAppended = 2
    TurnStarted = 3
    ReasoningEmitted = 4
    AssistantMessageCompleted = 5
    ToolCallScheduled = 6
    ToolCallCompleted = 7
    ToolCallFailed = 8
    SideEffectRecorded = 9
    BudgetExceeded = 10
    ContextTruncated = 11
    RunCompleted = 12
    RunFailed = 13
    RunCancelled = 14
    RunResumed = 15
    TurnFailed = 16

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec) if not spec or spec[-1] == "s" else format(int(self), spec)


def kind_name(kind: int) -> str:
    """Return the name of ``kind``, or ``Kind(99)`` for a number that is no kind."""
    return Kind(kind).name if kind in _NUMBERS else f"Kind({kind})"


_NUMBERS = frozenset(Kind)
