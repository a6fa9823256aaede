"""A run's events → the result that its caller got. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starling import CacheStats, RunResult
from starling.event import (
    TERMINAL_KINDS,
    AssistantMessageCompleted,
    Kind,
    RunCancelled,
    RunCompleted,
    RunFailed,
    totals,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event

__all__ = ["result_of_events"]


def result_of_events(events: Sequence[Event]) -> RunResult | None:
    """What a run came to; None while it is under way."""
    if not events or events[-1].kind not in TERMINAL_KINDS:
        return None
    terminal = events[-1].decode()
    assert isinstance(terminal, RunCompleted | RunFailed | RunCancelled), "by its kind"
    sums = totals(events)
    return RunResult(
        run_id=events[0].run_id,
        final_text=terminal.final_text if isinstance(terminal, RunCompleted) else "",
        turn_count=sums.turns,
        tool_call_count=sums.tool_calls,
        total_cost_usd=sums.cost_usd,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        duration=timedelta(milliseconds=terminal.duration_ms),
        terminal_kind=terminal.KIND,
        merkle_root=terminal.merkle_root or b"",
        cache_stats=_cache_stats(events),
    )


def _cache_stats(events: Sequence[Event]) -> CacheStats:
    payloads = [event.decode() for event in events if event.kind == Kind.AssistantMessageCompleted]
    messages = [payload for payload in payloads if isinstance(payload, AssistantMessageCompleted)]
    return CacheStats(
        hits=sum(1 for message in messages if message.cache_read_tokens),
        misses=sum(1 for message in messages if message.input_tokens and not message.cache_read_tokens),
        read_tokens=sum(message.cache_read_tokens for message in messages),
        create_tokens=sum(message.cache_create_tokens for message in messages),
    )
