"""The fold over a run's events: turns, calls, tokens, money. One implementation for every presentation of a run.

Nothing in the chain covers a run's terminal event, so what that says can be compared with the fold (`misstated`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING

from starling import _cbor
from starling.errors import LogCorruptError
from starling.event._codec import load_payload
from starling.event._kinds import Kind
from starling.event._payloads import AssistantMessageCompleted, RunCompleted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event._envelope import Event
    from starling.event._payloads import Payload

__all__ = ["RunTotals", "misstated", "totals"]


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
    return _totals(events, list(_messages(events)))


def _totals(events: Sequence[Event], messages: Sequence[AssistantMessageCompleted]) -> RunTotals:
    kinds = [event.kind for event in events]
    return RunTotals(
        turns=kinds.count(Kind.TurnStarted),
        tool_calls=kinds.count(Kind.ToolCallScheduled),
        input_tokens=sum(message.input_tokens for message in messages),
        output_tokens=sum(message.output_tokens for message in messages),
        cost_usd=_sum(message.cost_usd for message in messages),
        duration_ns=max(0, events[-1].ts - events[0].ts) if events else 0,
    )


def _sum(costs: Iterable[float]) -> float:
    """One after the other, as the agent adds them up; `sum` compensates from Python 3.12 on."""
    total = 0.0
    for cost in costs:
        total += cost
    return total


def misstated(
    events: Sequence[Event], *, payloads: Sequence[Payload | None] | None = None, final_text: bool = True
) -> tuple[str, ...]:
    """What a finished run's last event says that the events before it do not bear out: one text a field.

    Only RunCompleted has totals and a final text. A loop of a user's own may count otherwise, on purpose.

    Args:
        payloads: what each of them holds, if that is known already.
        final_text: whether the model's last answer must be the final text. It is an agent's, but not that of every loop
            of a user's own.

    Raises:
        LogCorruptError: the last event cannot be read.
    """
    if not events or events[-1].kind != Kind.RunCompleted:
        return ()
    last = events[-1].decode() if payloads is None else payloads[-1]
    if not isinstance(last, RunCompleted):
        return ()
    messages = [
        payload
        for payload in (_messages(events) if payloads is None else payloads)
        if isinstance(payload, AssistantMessageCompleted)
    ]
    fold = _totals(events, messages)
    said_last = [message.text for message in messages][-1:]
    told = {
        "turn_count": (last.turn_count, fold.turns),
        "tool_call_count": (last.tool_call_count, fold.tool_calls),
        "total_input_tokens": (last.total_input_tokens, fold.input_tokens),
        "total_output_tokens": (last.total_output_tokens, fold.output_tokens),
        "final_text": (last.final_text, *(said_last if final_text else ())),
    }
    wrong = [
        f"{name} is {values[0]!r:.80}, not {values[-1]!r:.80}" for name, values in told.items() if len({*values}) > 1
    ]
    if not isclose(last.total_cost_usd, fold.cost_usd, rel_tol=1e-9, abs_tol=1e-12):
        wrong.append(f"total_cost_usd is {last.total_cost_usd!r}, not {fold.cost_usd!r}")
    return tuple(wrong)


def _messages(events: Iterable[Event]) -> Iterable[AssistantMessageCompleted]:
    for event in events:
        if event.kind != Kind.AssistantMessageCompleted:
            continue
        try:
            # As in `validate`: totals agree with the original's on every log.
            payload, _ = load_payload(event.kind, event.payload, max_depth=_cbor.WRITE_DEPTH)
        except LogCorruptError:
            continue
        if isinstance(payload, AssistantMessageCompleted):
            yield payload
