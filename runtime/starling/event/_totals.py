"""The fold over a run's events: turns, calls, tokens, money. One implementation for every presentation of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling import _cbor
from starling.errors import LogCorruptError
from starling.event._codec import decode_payload
from starling.event._kinds import Kind
from starling.event._payloads import AssistantMessageCompleted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event._envelope import Event

__all__ = ["RunTotals", "totals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """Totals of a run so far. ``duration_ns`` is the time between the first and the last event, at least 0."""

    turns: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_ns: int = 0


def totals(events: Sequence[Event]) -> RunTotals:
    """Fold one run's events, in order. Tool calls are the scheduled ones, attempts and reissues included.

    A message whose payload cannot be read is skipped: a broken row must not blank a listing. `validate` reports it.
    """
    input_tokens = output_tokens = 0
    cost_usd = 0.0
    for message in _messages(events):
        input_tokens += message.input_tokens
        output_tokens += message.output_tokens
        cost_usd += message.cost_usd
    return RunTotals(
        turns=sum(event.kind == Kind.TurnStarted for event in events),
        tool_calls=sum(event.kind == Kind.ToolCallScheduled for event in events),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd,
        duration_ns=max(0, events[-1].ts - events[0].ts) if events else 0,
    )


def _messages(events: Iterable[Event]) -> Iterable[AssistantMessageCompleted]:
    for event in events:
        if event.kind != Kind.AssistantMessageCompleted:
            continue
        try:
            # The depth that the format allows, as in `validate`: totals agree with the original's on every log.
            payload = decode_payload(event.kind, event.payload, max_depth=_cbor.WRITE_DEPTH)
        except LogCorruptError:
            continue
        if isinstance(payload, AssistantMessageCompleted):
            yield payload
