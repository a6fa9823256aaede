"""The conversation that a run amounts to, as the provider is shown it. Pure: turns and outcomes in, messages out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import (
    AssistantMessageCompleted,
    ReasoningEmitted,
    RunStarted,
    ToolCallCompleted,
    ToolCallFailed,
    TurnStarted,
    UserMessageAppended,
)
from starling.provider import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse, prompt_hash
from starling.step._divergence import changes_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Payload, PlannedToolUse
    from starling.step._dialect import Dialect
    from starling.step._divergence import Change

__all__ = ["assistant_message", "prompt_changes", "recorded_messages", "tool_message", "user_message"]


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
    """A model's answer. ``call_ids`` are the ids the calls were given, where the model named none."""
    ids = call_ids or [use.call_id for use in planned]
    uses = tuple(
        ToolUse(call_id=call_id, name=use.tool, args=dialect.args_text(use.args))
        for use, call_id in zip(planned, ids, strict=True)
    )
    return Message(
        role="assistant",
        content=text,
        tool_uses=uses or None,
        reasoning=tuple(reasoning) if dialect.reasoning_returned else (),
    )


def tool_message(outcome: ToolCallCompleted | ToolCallFailed, dialect: Dialect) -> Message:
    """A tool's answer; a failure shows its error text."""
    if isinstance(outcome, ToolCallFailed):
        result = ToolResult(call_id=outcome.call_id, content=outcome.error, is_error=True)
    else:
        result = ToolResult(call_id=outcome.call_id, content=dialect.tool_content(outcome.result))
    return Message(role="tool", tool_result=result)


def recorded_messages(payloads: Sequence[Payload], dialect: Dialect) -> tuple[Message, ...]:
    """The conversation that a recorded run had led to when its last given event was written."""
    messages: list[Message] = []
    outcomes: list[ToolCallCompleted | ToolCallFailed] = []
    turn: AssistantMessageCompleted | None = None
    reasoning: list[Reasoning] = []
    for payload in payloads:
        match payload:
            case RunStarted(goal=goal):
                messages.append(user_message(goal))
            case UserMessageAppended(content=content):
                messages.append(user_message(content))
            case ReasoningEmitted():
                reasoning.append(_block(payload))
            case AssistantMessageCompleted():
                turn = payload
            case ToolCallCompleted() | ToolCallFailed(final=True) if turn is not None:
                outcomes.append(payload)
            case TurnStarted() if turn is not None:
                messages.extend(_answered(turn, reasoning, outcomes, dialect))
                turn, reasoning, outcomes = None, [], []
    return (*messages, *_answered(turn, reasoning, outcomes, dialect)) if turn else tuple(messages)


def _answered(
    turn: AssistantMessageCompleted,
    reasoning: Sequence[Reasoning],
    outcomes: Sequence[ToolCallCompleted | ToolCallFailed],
    dialect: Dialect,
) -> list[Message]:
    """A model's answer and the results of the tools it asked for, in the order it asked."""
    by_call = {outcome.call_id: outcome for outcome in outcomes}
    results = [by_call[use.call_id] for use in turn.tool_uses if use.call_id in by_call]
    return [
        assistant_message(turn.text, turn.tool_uses, reasoning, dialect),
        *(tool_message(result, dialect) for result in results),
    ]


def _block(emitted: ReasoningEmitted) -> Reasoning:
    return Reasoning(content=emitted.content, signature=emitted.signature, redacted=emitted.redacted)


def prompt_changes(
    recorded: Sequence[Payload], turn: TurnStarted, request: Request, dialect: Dialect
) -> tuple[Change, ...]:
    """What differs between the request that a recording led to and today's: never just a hash.

    Args:
        recorded: the recorded events before the turn.
        turn: the recorded turn.
        request: what today's code asks.

    Returns:
        Nothing where the recorded request cannot be rebuilt: a tool made it, or it showed text that was not canonical.
    """
    started = recorded[0]
    assert isinstance(started, RunStarted)  # every run begins with it
    was = Request(
        model=started.model_id,
        system_prompt=started.system_prompt,
        messages=recorded_messages(recorded, dialect),
        tools=tuple(ToolDefinition(name=t.name, description=t.description, schema=t.schema) for t in started.tools)
        or (None if started.tool_schemas == () else request.tools),
        params=started.params,
    )
    return changes_between(was, request) if prompt_hash(was) == turn.prompt_hash else ()
