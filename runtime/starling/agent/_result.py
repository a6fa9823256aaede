"""What a run comes to. Everything here can be recovered from the log; the value is a convenience."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starling.event import Kind
    from starling.step._meter import Meter

__all__ = ["CacheStats", "RunResult", "result_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Prompt-cache activity over a run's turns.

    Attributes:
        hits: turns that read a cached prefix. misses: turns that consumed input but read none.
        read_tokens, create_tokens: sums over the turns.
    """

    hits: int = 0
    misses: int = 0
    read_tokens: int = 0
    create_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to.

    Attributes:
        final_text: the model's last message; empty if the run did not complete.
        turn_count: model calls begun. tool_call_count: tool attempts, retries included.
        total_cost_usd: US dollars, 0.0 for models without a known price.
        duration: from the start of the run (or of its resumption) to its terminal event.
        terminal_kind: RunCompleted, RunFailed or RunCancelled.
        merkle_root: 32 bytes over every event before the terminal one.
    """

    run_id: str
    final_text: str
    turn_count: int
    tool_call_count: int
    total_cost_usd: float
    input_tokens: int
    output_tokens: int
    duration: timedelta
    terminal_kind: Kind
    merkle_root: bytes
    cache_stats: CacheStats


def result_of(
    run_id: str, meter: Meter, *, final_text: str, duration_ms: int, terminal_kind: Kind, merkle_root: bytes
) -> RunResult:
    """The result for a run that ended so."""
    return RunResult(
        run_id=run_id,
        final_text=final_text,
        turn_count=meter.turns,
        tool_call_count=meter.tool_calls,
        total_cost_usd=meter.cost_usd,
        input_tokens=meter.input_tokens,
        output_tokens=meter.output_tokens,
        duration=timedelta(milliseconds=duration_ms),
        terminal_kind=terminal_kind,
        merkle_root=merkle_root,
        cache_stats=CacheStats(
            hits=meter.cache_hits,
            misses=meter.cache_misses,
            read_tokens=meter.cache_read_tokens,
            create_tokens=meter.cache_create_tokens,
        ),
    )
