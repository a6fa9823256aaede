"""What a log says of a program's run: which event came of which step of which tool. Independent of the replayer.

A call's own events (its effects and the calls it dispatched) stand in the order in which its steps were made, so a
walk along the tool's body finds every step's events. A step that failed ends the walk, as it ended the tool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    RunCancelled,
    RunFailed,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    TurnStarted,
)
from tests.properties.programs import Cancel, Effect, Flaky, Nested, Together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Event
    from tests.properties.programs import Code, Op, Program

ABANDONED = "starling/abandoned"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt of a call: the seqs of its own events, and of how it ended."""

    call: Call
    number: int
    events: list[int] = field(default_factory=list)
    outcome: int = 0


@dataclass(slots=True, kw_only=True)
class Call:
    """A recorded call. ``inside`` is the attempt that dispatched it, None for what the model asked for."""

    tool: str
    args: Any
    scheduled: int
    inside: Attempt | None = None
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a tool's body as it was made: where in the body, and the seqs of what it left."""

    place: int
    op: Op
    events: tuple[int, ...]
    attempt: Attempt
    failed: bool = False


class Reading:
    """A recorded run."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.payloads = [event.decode() for event in events]
        self.calls: dict[str, Call] = {}
        self.root: list[int] = []
        for seq, payload in enumerate(self.payloads, start=1):
            self._read(seq, payload)

    def at(self, seq: int) -> Any:
        """The payload of this seq."""
        return self.payloads[seq - 1]

    def _read(self, seq: int, payload: Any) -> None:
        match payload:
            case ToolCallScheduled() if payload.call_id not in self.calls:
                parent = self.calls.get(payload.parent_call_id)
                call = Call(tool=payload.tool, args=payload.args, scheduled=seq)
                if parent is not None:
                    call.inside = parent.attempts[-1]
                    call.inside.events.append(seq)
                call.attempts.append(Attempt(call=call, number=payload.attempt))
                self.calls[payload.call_id] = call
            case ToolCallScheduled():
                call = self.calls[payload.call_id]
                call.attempts.append(Attempt(call=call, number=payload.attempt))
            case ToolCallCompleted() | ToolCallFailed():
                self.calls[payload.call_id].attempts[-1].outcome = seq
            case SideEffectRecorded():
                self.calls[payload.call_id].attempts[-1].events.append(seq)
            case _:
                self.root.append(seq)

    # --- what a replay runs again

    @property
    def cut_short(self) -> bool:
        """Whether the surroundings ended the run: cancelled, or out of time."""
        before = self.payloads[-2:-1]
        if before and isinstance(before[0], BudgetExceeded) and before[0].limit == "wall_clock":
            return True
        end = self.payloads[-1]
        return isinstance(end, RunCancelled) and end.reason == "context_canceled"

    def is_run_again(self, attempt: Attempt) -> bool:
        """Whether a replay runs the tool for this attempt: not if the surroundings ended it."""
        if attempt.call.inside is not None and not self.is_run_again(attempt.call.inside):
            return False
        if not attempt.outcome:
            return not self.cut_short
        outcome = self.at(attempt.outcome)
        return isinstance(outcome, ToolCallCompleted) or outcome.error_type in ("tool", "panic")

    def attempts_of(self, tool: str) -> Iterator[Attempt]:
        """The attempts of a tool whose code a replay runs: its arguments fit."""
        for call in self.calls.values():
            fits = isinstance(call.args, dict) and isinstance(call.args.get("n", 0), int | float)
            if call.tool == tool and fits:
                yield from filter(self.is_run_again, call.attempts)

    # --- steps

    def steps(self, code: Code, attempt: Attempt) -> list[Step]:
        """The steps that an attempt made. One that did not come to anything has no events."""
        made, left = [], attempt.events
        for place, op in enumerate(code.body):
            own = tuple(left[: _width(op)])
            step = Step(place=place, op=op, events=own, attempt=attempt, failed=self._failed(op, own))
            made.append(step)
            left = left[len(own) :]
            if step.failed:
                return made
        assert not left, "every event belongs to a step"
        return made

    def _failed(self, op: Op, own: tuple[int, ...]) -> bool:
        if len(own) < _width(op):
            return True
        match op:
            case Effect():
                return self._effect_failed(op, own[0])
            case Flaky():
                return not self.at(own[0]).value
            case Together(effects=effects):
                caught = {effect.name: effect for effect in effects}
                return any(self._effect_failed(caught[self.at(seq).name], seq) for seq in own)
            case Nested(caught=False):
                return any(not self._completed(seq) for seq in own)
            case Nested():
                return any(self._ended(seq) is None for seq in own)
        return False

    def _effect_failed(self, op: Effect, seq: int) -> bool:
        error = self.at(seq).error
        return error is not None and (not op.caught or error.type == ABANDONED)

    def _ended(self, scheduled: int) -> Any:
        outcome = self.calls[self.at(scheduled).call_id].attempts[-1].outcome
        return self.at(outcome) if outcome else None

    def _completed(self, scheduled: int) -> bool:
        return isinstance(self._ended(scheduled), ToolCallCompleted)

    def from_place(self, code: Code, attempt: Attempt, place: int) -> int:
        """The first of its own events that an attempt made from this place of its body on; 0 if it never got there."""
        steps = self.steps(code, attempt)
        if place > len(steps) or any(step.failed for step in steps[:place]):
            return 0
        own = sum(len(step.events) for step in steps[:place])
        return attempt.events[own] if own < len(attempt.events) else attempt.outcome or len(self.payloads)

    def end_of(self, code: Code, attempt: Attempt) -> int:
        """Where the end of the tool's body shows; 0 if the attempt never got there."""
        return self.from_place(code, attempt, len(code.body))

    # --- the loop

    def decisions(self) -> Iterator[tuple[int, bool]]:
        """Before each turn: the seq at which the loop went on (or stopped for `max_turns`), and whether it went on."""
        for seq in self.root:
            payload = self.at(seq)
            if isinstance(payload, TurnStarted) or (
                isinstance(payload, BudgetExceeded) and payload.where == "pre_call"
            ):
                yield seq, True
            if isinstance(payload, RunFailed) and payload.error_type == "max_turns":
                yield seq, False

    def after_failures(self) -> int:
        """What the loop did next after the first batch in which a call failed; 0 if it was never to decide that."""
        awaited = False
        for seq in self.root:
            payload = self.at(seq)
            if awaited:
                goes_on = any(seq == at for at, _ in self.decisions())
                stops = isinstance(payload, RunFailed) and payload.error_type == "tool"
                return seq if goes_on or stops else 0
            awaited = isinstance(payload, AssistantMessageCompleted) and any(
                not self._completed(self.calls[use.call_id].scheduled)
                for use in payload.tool_uses
                if use.call_id in self.calls
            )
        return 0


def _width(op: Op) -> int:
    """How many events a step leaves that comes to its end."""
    match op:
        case Cancel():
            return 0
        case Together(effects=effects):
            return len(effects)
        case Nested(calls=calls):
            return len(calls)
    return 1


def tools_of(program: Program) -> dict[str, Code]:
    """The tools by name."""
    return {code.name: code for code in program.tools}
