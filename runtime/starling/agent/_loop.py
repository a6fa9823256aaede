"""The loop itself: call the model, dispatch the tools it asks for, until it answers or something ends the run.

`converse` is the loop; `conclude` turns however it ended into a terminal event and an error for the caller. One code
for live runs and replays: the journal behind `Run` is what differs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starling.agent._messages import assistant_message, tool_message
from starling.errors import (
    BudgetExceededError,
    BudgetTripError,
    InternalRunError,
    MaxTurnsExceededError,
    ProviderCallError,
    RunFailedError,
    ToolCallError,
    TurnFailedError,
)
from starling.event import BudgetExceeded, RunCancelled, RunCompleted, RunFailed
from starling.provider import Request
from starling.step import _texts
from starling.step._exceptions import describe
from starling.step._interruption import Interruption
from starling.step._llm import llm_call
from starling.step._stopping import stops_everything
from starling.step._tools import ToolCall, dispatch, encoded_args, tool_call_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.agent._config import Config
    from starling.agent._transcript import OpenTurn, PlannedCall
    from starling.event import EffectError, Terminal
    from starling.provider import Message, ToolDefinition
    from starling.step import Turn
    from starling.step._run import Run
    from starling.step._served import Served
    from starling.step._tools import Outcome

__all__ = ["Conversation", "Ending", "LeftOver", "completed", "conclude", "converse"]


@dataclass(slots=True, kw_only=True)
class Conversation:
    """What has been said, and what goes along with every request."""

    config: Config
    tools: tuple[ToolDefinition, ...]
    messages: tuple[Message, ...] = ()

    def request(self) -> Request:
        """The next model call."""
        return Request(
            model=self.config.model,
            system_prompt=self.config.system_prompt,
            messages=self.messages,
            tools=self.tools or None,
            params=self.config.params,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOver:
    """The turn that a crash cut off.

    Attributes:
        served: for each of its calls what is left of it; None if it never was issued.
    """

    turn: OpenTurn
    served: tuple[Served | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        terminal: the terminal event, its Merkle root still to be filled in.
        error: what the caller gets instead of a result; None when the run completed.
        cause: the exception behind ``error``.
        before: an event that precedes the terminal one.
    """

    terminal: Terminal
    error: BaseException | None = None
    cause: BaseException | None = None
    before: BudgetExceeded | None = None


async def converse(run: Run, conversation: Conversation, left: LeftOver | None = None) -> str:
    """Go on until the model answers without asking for tools; return its last text.

    Args:
        left: behind a seam, the turn whose tools had not all ended.
    """
    if left is not None:
        await catch_up(run, conversation, left)
    limit = conversation.config.max_turns
    while not limit or run.meter.turns - run.meter.lost_turns < limit:
        await asyncio.sleep(0)  # a run whose steps never wait can be cancelled all the same
        turn = await llm_call(conversation.request())
        if not turn.tool_uses:
            return turn.message.text
        await use_tools(run, conversation, turn)
    raise MaxTurnsExceededError(_texts.MAX_TURNS_EXCEEDED, error_type="max_turns")


async def use_tools(run: Run, conversation: Conversation, turn: Turn) -> None:
    """Dispatch what the model planned and add both to the conversation."""
    outcomes = await dispatch(
        [
            ToolCall(name=use.tool, args=encoded_args(use.args), call_id=use.call_id, turn_id=turn.message.turn_id)
            for use in turn.tool_uses
        ]
    )
    if conversation.config.tool_errors == "fail":
        _raise_first_failure(outcomes)
    call_ids = [outcome.call_id for outcome in outcomes]
    said = assistant_message(turn.message.text, turn.tool_uses, turn.reasoning, run.dialect, call_ids=call_ids)
    results = [tool_message(outcome.recorded, run.dialect) for outcome in outcomes]
    conversation.messages += (said, *results)


async def catch_up(run: Run, conversation: Conversation, left: LeftOver) -> None:
    """Dispatch what a crash left undone of a turn's calls, and add the turn to the conversation.

    A call that had failed before the crash is shown to the model, as the original does it.
    """
    due = [(call, served) for call, served in zip(left.turn.calls, left.served, strict=True) if call.outcome is None]
    outcomes = await dispatch(
        [_reissued(left.turn, call, served) for call, served in due], [served for _, served in due]
    )
    if conversation.config.tool_errors == "fail":
        _raise_first_failure(outcomes)
    for (call, _), outcome in zip(due, outcomes, strict=True):
        call.call_id, call.outcome = outcome.call_id, outcome.recorded
    conversation.messages += tuple(left.turn.messages(run.dialect))


def _reissued(turn: OpenTurn, call: PlannedCall, served: Served | None) -> ToolCall:
    """An orphan's stand-in gets a fresh id; a call that never was issued has its own."""
    call_id = call.use.call_id if served is None else ""
    return ToolCall(name=call.use.tool, args=call.use.args, call_id=call_id, turn_id=turn.message.turn_id)


def _raise_first_failure(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.failure is not None:
            raise tool_call_error(outcome) from outcome.exception


# --- how it ended


def completed(run: Run, final_text: str) -> Ending:
    """The model answered."""
    meter = run.meter
    terminal = RunCompleted(
        final_text=final_text,
        turn_count=meter.turns,
        tool_call_count=meter.tool_calls,
        total_cost_usd=meter.cost_usd,
        total_input_tokens=meter.input_tokens,
        total_output_tokens=meter.output_tokens,
        duration_ms=run.elapsed_ms(),
        merkle_root=None,
    )
    return Ending(terminal=terminal)


def conclude(run: Run, error: BaseException, wall_clock_ms: int) -> Ending:  # noqa: PLR0911 - a table of cases
    """What a run that did not complete leaves in the log, and what its caller gets.

    Args:
        wall_clock_ms: the wall-clock limit, for the event that says it was reached.
    """
    match error:
        case Interruption():
            return _interrupted_in_recording(run, error)
        case _ if stops_everything(error):
            return _cancelled(run, _texts.interrupted_reason(type(error).__name__), error)
        case TimeoutError() if run.out_of_time():
            return _out_of_time(run, _wall_clock_trip(run, wall_clock_ms))
        case BudgetTripError(payload=trip):
            text = _texts.BUDGET_EXCEEDED
            return _failed(run, text, "budget", _budget_error(text, trip), None)
        case ToolCallError() | MaxTurnsExceededError():
            return _failed(run, error.message, error.error_type, error, error.__cause__)
        case TurnFailedError():
            return _failed_at_provider(run, error)
        case Exception():
            text = _texts.said(error) or type(error).__name__
            return _failed(run, text, "internal", InternalRunError(text), error)
        case asyncio.CancelledError():
            return _cancelled(run, _texts.CANCELLED_REASON, error)
        case _:
            return _cancelled(run, _texts.interrupted_reason(type(error).__name__), error)


def _failed(
    run: Run,
    text: str,
    error_type: str,
    error: RunFailedError,
    cause: BaseException | None,
    *,
    recorded_cause: EffectError | None = None,
) -> Ending:
    terminal = RunFailed(
        error=text, error_type=error_type, merkle_root=None, duration_ms=run.elapsed_ms(), cause=recorded_cause
    )
    return Ending(terminal=terminal, error=error, cause=cause)


def _failed_at_provider(run: Run, error: TurnFailedError) -> Ending:
    """What the provider raised is recorded: callers look at it to fall back, and shall on replay."""
    wanted = ProviderCallError if error.error_type == "provider" else InternalRunError
    cause = error.__cause__
    recorded = None if cause is None else describe(cause)
    return _failed(run, error.error, error.error_type, wanted(error.error), cause, recorded_cause=recorded)


def _cancelled(run: Run, reason: str, error: BaseException) -> Ending:
    terminal = RunCancelled(reason=reason, merkle_root=None, duration_ms=run.elapsed_ms())
    return Ending(terminal=terminal, error=error)


def _budget_error(text: str, trip: BudgetExceeded) -> BudgetExceededError:
    return BudgetExceededError(
        f"{text}: {trip.limit} {trip.actual:g} is over the cap of {trip.cap:g} ({trip.where})",
        limit=trip.limit,
        cap=trip.cap,
        actual=trip.actual,
        where=trip.where,
        partial_text=trip.partial_text,
    )


def _wall_clock_trip(run: Run, wall_clock_ms: int) -> BudgetExceeded:
    run.metrics.budget_exceeded("wall_clock")
    trip = BudgetExceeded(
        limit="wall_clock", cap=float(wall_clock_ms), actual=float(run.elapsed_ms()), where="mid_stream"
    )
    said = run.unfinished
    if said is None:
        return trip
    return replace(trip, turn_id=said.turn_id, partial_text=said.text, partial_tokens=said.output_tokens)


def _out_of_time(run: Run, trip: BudgetExceeded) -> Ending:
    text = _texts.DEADLINE_EXCEEDED
    return replace(_failed(run, text, "budget", _budget_error(text, trip), None), before=trip)


def _interrupted_in_recording(run: Run, interruption: Interruption) -> Ending:
    """On replay: the environment ended the recorded run here, and so it ends here."""
    recorded: Any = interruption.payload
    if isinstance(recorded, BudgetExceeded):
        return replace(_out_of_time(run, recorded), before=run.tripped_again(recorded))
    if isinstance(recorded, RunCancelled):
        return Ending(terminal=recorded, error=asyncio.CancelledError())
    raise interruption  # a seam: the process ended here without a word, and another one went on
