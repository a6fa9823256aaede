"""Payloads of few words, and chains of them that may or may not be legal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    Chain,
    Event,
    Payload,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTED = RunStarted(
    goal="g",
    provider_id="p",
    model_id="m",
    api_version="v0",
    params_hash=None,
    params=None,
    system_prompt_hash=None,
    system_prompt="",
    tool_registry_hash=None,
    tool_schemas=(),
)


def turn(turn_id: str) -> TurnStarted:
    return TurnStarted(turn_id=turn_id, prompt_hash=bytes(32), input_tokens=1)


def message(turn_id: str) -> AssistantMessageCompleted:
    return AssistantMessageCompleted(
        turn_id=turn_id,
        text="t",
        stop_reason="stop",
        input_tokens=2,
        output_tokens=3,
        cost_usd=0.5,
        raw_response_hash=None,
    )


def trip(turn_id: str = "") -> BudgetExceeded:
    return BudgetExceeded(limit="usd", cap=1.0, actual=2.0, where="mid_stream", turn_id=turn_id)


def call(call_id: str, attempt: int = 1) -> ToolCallScheduled:
    return ToolCallScheduled(call_id=call_id, turn_id="T1", tool="x", args={"n": attempt}, attempt=attempt)


def done(call_id: str, attempt: int = 1) -> ToolCallCompleted:
    return ToolCallCompleted(call_id=call_id, result=[call_id], duration_ms=1, attempt=attempt)


def failed(call_id: str, attempt: int = 1) -> ToolCallFailed:
    return ToolCallFailed(call_id=call_id, error="e", error_type="tool", duration_ms=1, attempt=attempt)


SEAM = RunResumed(at_seq=1, reissue_tools=True, pending_calls=0)
COMPLETED = RunCompleted(
    final_text="t",
    turn_count=0,
    tool_call_count=0,
    total_cost_usd=0.0,
    total_input_tokens=0,
    total_output_tokens=0,
    duration_ms=0,
    merkle_root=None,
)
FAILED = RunFailed(error="e", error_type="internal", merkle_root=None, duration_ms=0)
CANCELLED = RunCancelled(reason="r", merkle_root=None, duration_ms=0)


def chained(payloads: Sequence[Payload], run_id: str = "run-1") -> list[Event]:
    """Link ``payloads``; each terminal one gets its root."""
    chain, events = Chain(run_id), []
    for at, payload in enumerate(payloads):
        rooted: Any = payload
        if isinstance(payload, RunCompleted | RunFailed | RunCancelled):
            rooted = replace(payload, merkle_root=chain.root())
        events.append(chain.append(rooted, 1000 + at))
    return events
