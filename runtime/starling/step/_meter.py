"""What a run has used so far, and whether that is still within its budget. Pure arithmetic; the caller emits.

Counts are cumulative over the run, resumed parts included. They are fed with payloads, so that live runs, replays and
resumed runs count alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starling.budget import cost_usd
from starling.event import AssistantMessageCompleted, BudgetExceeded, RunResumed, ToolCallScheduled, TurnStarted

if TYPE_CHECKING:
    from starling.budget import Budget
    from starling.event import Payload
    from starling.provider import Usage

__all__ = ["Meter"]


@dataclass(slots=True)
class Meter:
    """Running totals of one run.

    Attributes:
        turns: turns started. lost_turns: those of them that a crash cut off: they count, but not towards
            ``Config.max_turns``. tool_calls: attempts scheduled. cost_usd: US dollars, summed in order.
        cache_hits, cache_misses: turns that did, or did not, read a cached prefix.
    """

    budget: Budget | None = None
    model: str = ""
    turns: int = 0
    lost_turns: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    cache_read_tokens: int = 0
    cache_create_tokens: int = 0
    _open_turn: bool = False

    def observe(self, payload: Payload) -> None:
        """Count one event of the run."""
        match payload:
            case TurnStarted():
                self.turns += 1
                self._open_turn = True
            case ToolCallScheduled():
                self.tool_calls += 1
            case AssistantMessageCompleted():
                self._observe_message(payload)
                self._open_turn = False
            case BudgetExceeded():
                self._open_turn = False
            case RunResumed() if self._open_turn:
                self.lost_turns += 1
                self._open_turn = False

    def _observe_message(self, message: AssistantMessageCompleted) -> None:
        self.input_tokens += message.input_tokens
        self.output_tokens += message.output_tokens
        self.cost_usd += message.cost_usd
        self.cache_read_tokens += message.cache_read_tokens
        self.cache_create_tokens += message.cache_create_tokens
        if message.cache_read_tokens > 0:
            self.cache_hits += 1
        elif message.input_tokens > 0:
            self.cache_misses += 1

    def cost_of(self, usage: Usage) -> float:
        """US dollars for one model call: what the vendor says, else what its tokens cost by the price table."""
        if usage.cost_usd is not None:
            return usage.cost_usd
        return cost_usd(
            self.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_create_tokens=usage.cache_create_tokens,
        )

    def before_call(self, estimate: int, call_id: str = "") -> BudgetExceeded | None:
        """Whether a model call with so many estimated input tokens would exceed the input axis.

        Args:
            call_id: the tool call whose code makes it, if any.
        """
        cap = self.budget.max_input_tokens if self.budget else 0
        actual = self.input_tokens + estimate
        if cap and actual > cap:
            return BudgetExceeded(
                limit="input_tokens", cap=float(cap), actual=float(actual), where="pre_call", call_id=call_id
            )
        return None

    def during_call(self, usage: Usage, turn_id: str, partial_text: str) -> BudgetExceeded | None:
        """Whether a call that has used so much exceeds the output or the USD axis."""
        tripped = self._tripped_axis(usage)
        if tripped is None:
            return None
        limit, cap, actual = tripped
        return BudgetExceeded(
            limit=limit,
            cap=cap,
            actual=actual,
            where="mid_stream",
            turn_id=turn_id,
            partial_text=partial_text,
            partial_tokens=usage.output_tokens,
            partial_input_tokens=usage.input_tokens if limit == "usd" else 0,
        )

    def tripped_again(self, recorded: BudgetExceeded) -> BudgetExceeded:
        """A recorded trip as today's budget would tell it: what was used then is the environment's, the limit is not.

        An axis that is not limited today has no name there.
        """
        budget = self.budget
        where, cap = {
            "input_tokens": ("pre_call", budget.max_input_tokens if budget else 0),
            "output_tokens": ("mid_stream", budget.max_output_tokens if budget else 0),
            "usd": ("mid_stream", budget.max_usd if budget else 0.0),
            "wall_clock": ("mid_stream", budget.wall_clock_ms if budget else 0),
        }.get(recorded.limit, (recorded.where, 0))
        return replace(recorded, limit=recorded.limit if cap else "", cap=float(cap), where=where)

    def _tripped_axis(self, usage: Usage) -> tuple[str, float, float] | None:
        if self.budget is None:
            return None
        output = self.output_tokens + usage.output_tokens
        if self.budget.max_output_tokens and output > self.budget.max_output_tokens:
            return "output_tokens", float(self.budget.max_output_tokens), float(output)
        if self.budget.max_usd:
            cost = self.cost_usd + self.cost_of(usage)
            if cost > self.budget.max_usd:
                return "usd", self.budget.max_usd, cost
        return None
