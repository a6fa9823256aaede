"""Tool dispatch: schedule in plan order, run in parallel, retry, record how each attempt ended.

Live and on replay the same code runs a tool, in the same kind of task or thread. The journal decides what differs: on
replay an outcome that the environment caused (cancelled, timed out) is taken from the recording, and what `outcome`
returns, the recorded value, is what the run goes on with.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from starling._cbor import Raw, decode, encode, written
from starling.errors import NondeterminismError, StepContextError, ToolCallError
from starling.event import ToolCallCompleted, ToolCallFailed, ToolCallScheduled
from starling.step import _texts
from starling.step._frame import Frame, current, current_frame, leave
from starling.step._interruption import Interruption
from starling.step._invoke import OF_THE_RUN, BrokenOff, Cancellation, Failure, attempts_of, outcome_of, own_task
from starling.step._raised import raised_by
from starling.step._stopping import stops_everything
from starling.tool import CallPolicy, call_policy, default_backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from starling.step._run import Run
    from starling.step._served import Served
    from starling.tool import Tool

__all__ = ["Outcome", "ToolCall", "call_tool", "call_tools", "dispatch", "encoded_args", "tool_call_error"]

MAX_ARGS_DEPTH = 31
"""A ToolCallScheduled may nest 32 levels (wire format); the arguments sit one level inside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call to dispatch. What is None is taken from the tool's own declaration.

    Attributes:
        args: the arguments as plain data.
        call_id: minted when empty. turn_id: the turn it belongs to, if any.
        backoff: seconds to wait after the given failed attempt (from 1). timeout: seconds an attempt may take.
        idemp_key: recorded as it is, for tools that pass such a key on.
    """

    name: str
    args: Any
    call_id: str = ""
    turn_id: str = ""
    idempotent: bool | None = None
    max_attempts: int | None = None
    backoff: Callable[[int], float] | None = None
    timeout: float | None = None
    idemp_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended: the recorded payload, and the exception behind a failure where it happened just now."""

    call: ToolCall
    call_id: str
    recorded: ToolCallCompleted | ToolCallFailed
    exception: BaseException | None = None

    @property
    def failure(self) -> ToolCallFailed | None:
        """The failure, if it was one."""
        return self.recorded if isinstance(self.recorded, ToolCallFailed) else None

    @property
    def value(self) -> Any:
        """The result, as plain data."""
        return self.recorded.result if isinstance(self.recorded, ToolCallCompleted) else None


_Ended: TypeAlias = "Outcome | BaseException"


async def call_tool(call: ToolCall) -> Any:
    """Dispatch one call and return its result as plain data.

    Raises:
        ToolCallError: the call failed (after its retries); the message is the recorded error, live and on replay.
        StepContextError: no run is active here, or a side effect is.
    """
    (result,) = await call_tools([call])
    return result


async def call_tools(calls: Sequence[ToolCall]) -> list[Any]:
    """Dispatch calls in parallel and return their results in the same order.

    All are recorded as scheduled before the first one runs; when one fails the others finish.

    Raises:
        ToolCallError: of the first call, in the given order, that failed.
    """
    outcomes = await dispatch(calls)
    for outcome in outcomes:
        if outcome.failure is not None:
            raise _nested_error(outcome) from outcome.exception
    return [outcome.value for outcome in outcomes]


def tool_call_error(outcome: Outcome) -> ToolCallError:
    """The error of a run that ends because a call failed."""
    return _error(outcome, _texts.tool_failed(outcome.call.name, outcome.call_id, _failure_of(outcome).error))


def _nested_error(outcome: Outcome) -> ToolCallError:
    """The error for code that dispatched the call itself; a tool that lets it pass fails with the same text."""
    return _error(outcome, _failure_of(outcome).error)


def _error(outcome: Outcome, text: str) -> ToolCallError:
    error = _failure_of(outcome).error
    return ToolCallError(text, tool=outcome.call.name, call_id=outcome.call_id, error=error, error_type="tool")


def _failure_of(outcome: Outcome) -> ToolCallFailed:
    assert outcome.failure is not None, "only for failed calls"
    return outcome.failure


async def dispatch(calls: Sequence[ToolCall], left: Sequence[Served | None] = ()) -> list[Outcome]:
    """Dispatch calls in parallel; every one has an outcome, failed or not.

    What is wrong with any of them is found before the first is recorded.

    Args:
        left: behind a seam, for each call what a crash left of the one that it stands in for.

    Raises:
        TypeError: a name or an id is not text.
        StepContextError: no run is active here, a side effect is, or a ``call_id`` is that of a call under way.
        UnencodableValueError: arguments cannot be recorded.
        NondeterminismError: on replay, at the earliest place in the recording that was not reproduced.
        LogWriteError: an outcome could not be written.
    """
    parent = current_frame("call_tools")
    if parent is None:
        raise StepContextError("a tool call inside a side effect cannot be recorded; call the tool outside of it")
    run = parent.run
    encoded = [_encoded(call) for call in calls]
    claimed = _claimed(run, [call.call_id for call in encoded if call.call_id])
    try:
        if encoded and parent.call_id:  # calls of the run's own code are compared in the order in which they come
            await run.journal.turn_to_dispatch(parent, _scheduled(encoded[0], "", parent.call_id, attempt=1))
        frames = [
            _schedule(run, parent, call, served)
            for call, served in zip(encoded, left or repeat(None, len(encoded)), strict=True)
        ]
        try:
            await run.journal.commit()
            return _joined(parent, await run.journal.in_turn(parent, frames, _run_all(run, encoded, frames)))
        except asyncio.CancelledError:
            _end_what_is_open(run, frames)
            raise
    finally:
        run.open_calls.difference_update(claimed)


_TEXTS = ("name", "call_id", "turn_id", "idemp_key")


def _encoded(call: ToolCall) -> ToolCall:
    """A call as the log will hold it: that is what a replay compares and looks up."""
    if not type(call.name) is type(call.call_id) is type(call.turn_id) is type(call.idemp_key) is str:
        _check_texts(call)
    elif type(call.args) is Raw and (call.name + call.call_id + call.turn_id + call.idemp_key).isascii():
        return call
    return ToolCall(
        name=written(call.name),
        args=encoded_args(call.args),
        call_id=written(call.call_id),
        turn_id=written(call.turn_id),
        idempotent=call.idempotent,
        max_attempts=call.max_attempts,
        backoff=call.backoff,
        timeout=call.timeout,
        idemp_key=written(call.idemp_key),
    )


def encoded_args(args: Any) -> Raw:
    """Arguments as a call's log holds them. Raises `UnencodableValueError`."""
    return Raw(encode(args, max_depth=MAX_ARGS_DEPTH))


def _check_texts(call: ToolCall) -> None:
    for name in _TEXTS:
        text = getattr(call, name)
        if not isinstance(text, str):
            raise TypeError(f"ToolCall.{name} must be text, got {type(text).__name__}: {text!r}")


def _claimed(run: Run, call_ids: Sequence[str]) -> set[str]:
    """Hold the ids that code or the model chose: outcomes name their call by it, so two at a time are ambiguous."""
    claimed = set(call_ids)
    if len(claimed) < len(call_ids) or not run.open_calls.isdisjoint(claimed):
        twice = run.open_calls & claimed or {call_id for call_id in call_ids if call_ids.count(call_id) > 1}
        raise StepContextError(
            f"call id {min(twice)!r} belongs to a call that has not ended; choose another, or leave ToolCall.call_id "
            "empty to have one minted",
            run_id=run.run_id,
        )
    run.open_calls |= claimed
    return claimed


def _schedule(run: Run, parent: Frame, call: ToolCall, served: Served | None) -> Frame:
    call_id = call.call_id or run.journal.call_id(parent)
    payload = _scheduled(call, call_id, run.dialect.owner(parent.call_id), attempt=1)
    node = run.journal.schedule(parent, payload, served)
    run.meter.observe(payload)
    return Frame(run, call_id=call_id, tool=call.name, parent=parent, node=node)


def _scheduled(call: ToolCall, call_id: str, parent_call_id: str, *, attempt: int) -> ToolCallScheduled:
    return ToolCallScheduled(
        call_id=call_id,
        turn_id=call.turn_id,
        tool=call.name,
        args=call.args,
        attempt=attempt,
        idemp_key=call.idemp_key,
        parent_call_id=parent_call_id,
    )


async def _run_all(run: Run, calls: Sequence[ToolCall], frames: Sequence[Frame]) -> list[_Ended]:
    one_by_one = [0] if len(calls) == 1 else run.journal.completion_order(frames)
    if one_by_one is not None:
        by_position = {at: await _guarded(run, calls[at], frames[at]) for at in one_by_one}
        return [by_position[at] for at in range(len(calls))]
    carry_out: Callable[[ToolCall, Frame], Coroutine[Any, Any, _Ended]] = partial(
        _guarded, run, batch=Cancellation(own_task())
    )
    if len(calls) > run.max_parallel_tools:
        carry_out = _limited(carry_out, run.max_parallel_tools)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(carry_out(call, frame)) for call, frame in zip(calls, frames, strict=True)]
    return [task.result() for task in tasks]


def _limited(
    carry_out: Callable[[ToolCall, Frame], Awaitable[_Ended]], at_a_time: int
) -> Callable[[ToolCall, Frame], Coroutine[Any, Any, _Ended]]:
    """The same, so many at a time."""
    limit = asyncio.Semaphore(at_a_time)

    async def limited(call: ToolCall, frame: Frame) -> _Ended:
        async with limit:
            return await carry_out(call, frame)

    return limited


async def _guarded(run: Run, call: ToolCall, frame: Frame, *, batch: Cancellation | None = None) -> _Ended:
    """A call's outcome, or what ended it instead: its siblings finish either way.

    Args:
        batch: tells whether it is being cancelled with its siblings; None if it has none: it is in the caller's task.
    """
    try:
        return await _execute(run, call, frame, batch)
    except asyncio.CancelledError:
        raise
    except NondeterminismError as error:
        recorded = run.journal.forgo(frame)
        return error if recorded is None else Outcome(call=call, call_id=frame.call_id, recorded=recorded)
    except BaseException as error:  # noqa: BLE001 - raised again when all siblings have ended
        return error


def _joined(parent: Frame, ended: Sequence[_Ended]) -> list[Outcome]:
    """The outcomes, or the most telling of what ended the calls instead."""
    raised = [item for item in ended if not isinstance(item, Outcome)]
    if raised:
        first = min(raised, key=_rank)
        if isinstance(first, OF_THE_RUN):
            parent.failure = first
        raise first
    return [item for item in ended if isinstance(item, Outcome)]


def _rank(error: BaseException) -> tuple[int, int]:
    if isinstance(error, NondeterminismError):
        return 1, error.divergence.seq
    if isinstance(error, Interruption):
        return 3, 0
    return (2 if isinstance(error, Exception) and not stops_everything(error) else 0), 0


async def _execute(run: Run, call: ToolCall, frame: Frame, batch: Cancellation | None) -> Outcome:
    tool = run.tools.get(call.name)
    attempt = frame.first_attempt
    while True:
        outcome, retry = await _attempt(run, call, frame, tool, attempt, batch=batch)
        await run.journal.commit()
        if not retry:
            return outcome
        if not run.journal.answers(frame):
            await asyncio.sleep(_backoff(call, tool)(attempt))
        attempt += 1
        frame = frame.renew()
        parent_call_id = run.dialect.owner(frame.parent.call_id) if frame.parent else ""
        payload = _scheduled(call, frame.call_id, parent_call_id, attempt=attempt)
        run.journal.reschedule(frame, payload)
        run.meter.observe(payload)
        await run.journal.commit()


async def _attempt(
    run: Run, call: ToolCall, frame: Frame, tool: Tool | None, attempt: int, *, batch: Cancellation | None
) -> tuple[Outcome, bool]:
    """One attempt; the second value says whether another one follows."""
    taken = run.journal.recorded_outcome(frame, attempt)
    if taken is not None:
        await run.journal.cut_off_again(frame, taken)
        return Outcome(call=call, call_id=frame.call_id, recorded=taken), _is_retried(taken)
    waiting = own_task() if batch is None else batch.waiting
    if waiting.cancelling():  # one that came during the commit is the run's, and the tool never sees it
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # who was begun eagerly is a step ahead of the task that waits and will cancel it
    began, cancellation = time.monotonic_ns(), Cancellation(waiting) if batch is None else batch
    token = current.set(frame)
    try:
        produced = await outcome_of(run, frame, call, tool, cancellation)
    except asyncio.CancelledError:
        if not run.journal.replaying:
            _record_cancellation(run, frame, attempt, _elapsed_ms(began))
        raise
    finally:
        leave(token)
        frame.strand = None  # its context holds the frame; without this, only the garbage collector would free the two
    if isinstance(produced, BrokenOff):
        raise await run.journal.broken_off(frame, attempt, produced.exception)
    await run.journal.turn_to_end(frame, attempt)
    if frame.failure is not None:
        raise frame.failure  # the tool swallowed a divergence or a write error
    elapsed = _elapsed_ms(began)
    if isinstance(produced, Failure) and run.journal.replaying and produced.kind != "timeout":  # nobody raised that
        frame.raised = raised_by(produced.exception)
    final = not (isinstance(produced, Failure) and produced.transient and attempt < _attempts(call, tool))
    recorded = _plain(run.journal.outcome(frame, _ended(frame, produced, attempt, elapsed, final=final)))
    run.metrics.tool_called(call.name, *_labels(recorded), elapsed / 1000)
    if cancellation.has_come():
        raise asyncio.CancelledError  # the tool ended in its own way, but the run is being cancelled all the same
    exception = produced.exception if isinstance(produced, Failure) else None
    return Outcome(call=call, call_id=frame.call_id, recorded=recorded, exception=exception), _is_retried(recorded)


def _is_retried(recorded: ToolCallCompleted | ToolCallFailed) -> bool:
    """Whether another attempt follows: what the log says, even if today's code alone would decide otherwise."""
    return isinstance(recorded, ToolCallFailed) and not recorded.final


def _ended(
    frame: Frame, produced: Raw | Failure, attempt: int, elapsed_ms: int, *, final: bool
) -> ToolCallCompleted | ToolCallFailed:
    """The event for what an attempt came to."""
    if not isinstance(produced, Failure):
        return ToolCallCompleted(call_id=frame.call_id, result=produced, duration_ms=elapsed_ms, attempt=attempt)
    return ToolCallFailed(
        call_id=frame.call_id,
        error=produced.text,
        error_type=produced.kind,
        duration_ms=elapsed_ms,
        attempt=attempt,
        final=final,
    )


def _labels(recorded: ToolCallCompleted | ToolCallFailed) -> tuple[str, str]:
    """Status and error type for metrics."""
    return ("error", recorded.error_type) if isinstance(recorded, ToolCallFailed) else ("ok", "")


def _record_cancellation(run: Run, frame: Frame, attempt: int, elapsed_ms: int) -> None:
    text = _texts.DEADLINE_EXCEEDED if run.out_of_time() else _texts.CANCELLED
    run.journal.outcome(
        frame,
        ToolCallFailed(
            call_id=frame.call_id,
            error=text,
            error_type="cancelled",
            duration_ms=elapsed_ms,
            attempt=attempt,
            final=True,
        ),
    )


def _end_what_is_open(run: Run, frames: Sequence[Frame]) -> None:
    """Give calls an outcome that were cancelled before they ran: they waited for others, or for the log."""
    for frame in frames:
        attempt = run.journal.open_attempt(frame)
        if attempt:
            _record_cancellation(run, frame.renew(), attempt, 0)


def _plain(recorded: ToolCallCompleted | ToolCallFailed) -> ToolCallCompleted | ToolCallFailed:
    if isinstance(recorded, ToolCallCompleted) and isinstance(recorded.result, Raw):
        return replace(recorded, result=decode(recorded.result.data))
    return recorded


def _attempts(call: ToolCall, tool: Tool | None) -> int:
    return attempts_of(call, CallPolicy() if tool is None else call_policy(tool))


def _backoff(call: ToolCall, tool: Tool | None) -> Callable[[int], float]:
    declared = None if tool is None else call_policy(tool).backoff
    return call.backoff or declared or default_backoff


def _elapsed_ms(began_ns: int) -> int:
    return (time.monotonic_ns() - began_ns) // 1_000_000
