"""What a listing says of one run, folded from its events. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING

from starling.event import TERMINAL_KINDS, Kind
from starling.event import totals as aggregate_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event import Event, RunTotals

__all__ = ["Ends", "RunSummary", "newest_first", "summarize", "summary_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in a listing. Source: seed, "Persist runs".

    Attributes:
        started_at: when its first event was written, in UTC, cut to microseconds.
        last_seq: the seq of its last event.
        terminal_kind: how it ended; None while it has not, and for a run that was cut short.
        turn_count, tool_call_count, input_tokens, output_tokens, cost_usd: as in `starling.eventlog.aggregate_run`;
            zero until there is something to count.
        duration_ms: from the first to the last event.
    """

    run_id: str
    started_at: datetime
    last_seq: int
    terminal_kind: Kind | None = None
    turn_count: int = 0
    tool_call_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: int = 0


def summarize(events: Sequence[Event]) -> RunSummary:
    """Sum up the events of one run, of which there is at least one."""
    first, last, totals = events[0], events[-1], aggregate_run(events)
    return summary_of(
        first.run_id,
        first.ts,
        Ends(last_seq=last.seq, last_ts=last.ts, last_kind=last.kind, turns=totals.turns, tool_calls=totals.tool_calls),
        totals,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What a listing knows of a run without its payloads: its last event, and how many turns and tool calls it has."""

    last_seq: int
    last_ts: int
    last_kind: int
    turns: int
    tool_calls: int


def summary_of(run_id: str, started_ns: int, ends: Ends, spent: RunTotals) -> RunSummary:
    """Put a summary together. ``spent`` is folded from the run's messages; its tokens and its money are taken."""
    return RunSummary(
        run_id=run_id,
        started_at=_EPOCH + timedelta(microseconds=started_ns // 1000),
        last_seq=ends.last_seq,
        terminal_kind=Kind(ends.last_kind) if ends.last_kind in TERMINAL_KINDS else None,
        turn_count=ends.turns,
        tool_call_count=ends.tool_calls,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cost_usd=spent.cost_usd,
        duration_ms=max(0, ends.last_ts - started_ns) // 1_000_000,
    )


def newest_first(runs: Iterable[Sequence[Event]]) -> list[RunSummary]:
    """Sum up runs, the one that started last first; of two that started together, the one with the greater id."""
    summaries = ((events[0].ts, events[0].run_id, summarize(events)) for events in runs)
    return [summary for _, _, summary in sorted(summaries, key=itemgetter(0, 1), reverse=True)]
