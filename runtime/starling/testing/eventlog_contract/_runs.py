"""Runs to append, and what the checks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from starling.event import (
    AssistantMessageCompleted,
    Chain,
    Event,
    Kind,
    PlannedToolUse,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallScheduled,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starling.event import Payload
    from starling.eventlog import EventLog

__all__ = ["PATIENCE_S", "RUN_STARTED", "Check", "Factory", "collect", "dated_run", "sample_run"]

Factory: TypeAlias = "Callable[[], EventLog]"
Check: TypeAlias = "Callable[[Factory], Awaitable[None]]"

PATIENCE_S = 30.0
"""How long a check waits for something that a correct log does at once: only ever reached by a log that hangs."""


def sample_run(run_id: str, effects: int = 3, *, ended: bool = True) -> list[Event]:
    """A valid run: RunStarted, so many side effects, RunCompleted. Without ``ended`` the last one is missing."""
    chain = Chain(run_id)
    events = [chain.append(RUN_STARTED, 1)]
    events += [chain.append(SideEffectRecorded(name="count", value=n), n + 2) for n in range(effects)]
    if ended:
        events.append(chain.append(_completed(chain.root()), effects + 2))
    return events


def dated_run(run_id: str, ts: int, end: Kind | None = Kind.RunCompleted, *, tool_calls: int = 0) -> list[Event]:
    """A valid run that starts at ``ts`` (Unix ns), of one turn with so many tool calls, and ends in ``end`` or not."""
    chain = Chain(run_id)
    calls = [f"call-{number}" for number in range(tool_calls)]
    planned = tuple(PlannedToolUse(call_id=call, tool="look", args={}) for call in calls)
    payloads: list[Payload] = [RUN_STARTED, TurnStarted(turn_id="t", prompt_hash=bytes(32), input_tokens=1)]
    payloads.append(
        AssistantMessageCompleted(
            turn_id="t",
            text="said",
            tool_uses=planned,
            stop_reason="tool_use" if calls else "stop",
            input_tokens=7,
            output_tokens=5,
            cost_usd=0.25,
            raw_response_hash=None,
        )
    )
    for call in calls:
        payloads.append(ToolCallScheduled(call_id=call, turn_id="t", tool="look", args={}, attempt=1))
        payloads.append(ToolCallCompleted(call_id=call, result="seen", duration_ms=1, attempt=1))
    events = [chain.append(payload, ts + 1_000_000 * number) for number, payload in enumerate(payloads)]
    if end is not None:
        events.append(chain.append(_ending(end, chain.root()), ts + 1_000_000 * len(payloads)))
    return events


RUN_STARTED = RunStarted(
    schema_version=1,
    goal="count",
    provider_id="scripted",
    model_id="m",
    api_version="v0",
    params_hash=None,
    params=None,
    system_prompt_hash=None,
    system_prompt="",
    tool_registry_hash=None,
    tool_schemas=(),
)
"""How every sample run begins."""


def _ending(kind: Kind, merkle_root: bytes) -> Payload:
    match kind:
        case Kind.RunFailed:
            return RunFailed(error="no", error_type="tool", merkle_root=merkle_root, duration_ms=1)
        case Kind.RunCancelled:
            return RunCancelled(reason="stopped", merkle_root=merkle_root, duration_ms=1)
        case _:
            return _completed(merkle_root)


def _completed(merkle_root: bytes) -> RunCompleted:
    return RunCompleted(
        final_text="done",
        turn_count=0,
        tool_call_count=0,
        total_cost_usd=0.0,
        total_input_tokens=0,
        total_output_tokens=0,
        duration_ms=1,
        merkle_root=merkle_root,
    )


async def collect(stream: AsyncIterator[Event]) -> list[Event]:
    """Everything that a stream delivers until it ends."""
    return [event async for event in stream]
