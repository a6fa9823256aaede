"""One message at a time: what was said, planned and answered, as the provider is shown it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import ToolCallCompleted, ToolCallFailed
from starling.provider import Message, Reasoning, ToolResult, ToolUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import PlannedToolUse
    from starling.step._dialect import Dialect

__all__ = ["assistant_message", "tool_message", "user_message"]


def user_message(text: str) -> Message:
    """What the user said: the goal, or the extra message of a resume."""
    return Message(role="user", content=text)


def assistant_message(
    text: str,
    planned: Sequence[PlannedToolUse],
    reasoning: Sequence[Reasoning],
    dialect: Dialect,
    *,
    call_ids: Sequence[str] | None = None,
) -> Message:
    """A model's answer.

    Args:
        call_ids: the ids under which the calls were answered: the model may have named none, and a call that was
            reissued after a crash has another one.
    """
    ids = call_ids or [use.call_id for use in planned]
    uses = [
        ToolUse(call_id=call_id, name=use.tool, args=dialect.args_text(use.args))
        for use, call_id in zip(planned, ids, strict=True)
    ]
    return Message(
        role="assistant",
        content=text,
        tool_uses=tuple(uses) if uses else None,
        reasoning=tuple(reasoning) if dialect.reasoning_returned else (),
    )


def tool_message(outcome: ToolCallCompleted | ToolCallFailed, dialect: Dialect) -> Message:
    """A tool's answer; a failure shows its error text."""
    if isinstance(outcome, ToolCallFailed):
        result = ToolResult(call_id=outcome.call_id, content=outcome.error, is_error=True)
    else:
        result = ToolResult(call_id=outcome.call_id, content=dialect.tool_content(outcome.result))
    return Message(role="tool", tool_result=result)
