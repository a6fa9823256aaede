"""Running a tool once: what one attempt comes to, and what is not the tool's doing.

Strategy: a tool may end in any way an exception can. Here that is sorted, once: a result, a failure of the tool (with
its type and text for the log), or something that is the run's own or the environment's and goes on up.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling._canonical_json import is_json
from starling._cbor import Raw, encode, load
from starling.errors import (
    ToolError,
    TransientToolError,
    TurnFailedError,
    UnencodableValueError,
)
from starling.step import _texts
from starling.step._frame import enclosing
from starling.step._interruption import Interruption
from starling.step._journal import NOT_FOR_THE_LOG
from starling.step._stopping import stops_everything
from starling.step._timers import pause
from starling.tool import FunctionTool, call_policy, reject_malformed, to_plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starling.step._frame import Frame
    from starling.step._run import Run
    from starling.step._tools import ToolCall
    from starling.tool import CallPolicy, Tool

__all__ = [
    "OF_THE_RUN",
    "BrokenOff",
    "Cancellation",
    "Failure",
    "attempts_of",
    "in_own_task",
    "outcome_of",
    "own_task",
    "times_cancelled",
]

_LOOK_EVERY_S = 0.02

REPLAY_TIMEOUT_FACTOR = 10
"""How many times its declared timeout a tool may take on replay, where a slow machine is no change of the code."""
REPLAY_TIMEOUT_AT_LEAST_S = 10.0
"""How many seconds it may take there in any case."""

MAX_RESULT_DEPTH = 31
"""A ToolCallCompleted may nest 32 levels (wire format); the result sits one level inside it."""

OF_THE_RUN = (*NOT_FOR_THE_LOG, TurnFailedError)
"""Failures of the run, not of the tool in which they surface."""

_PANICS = (SystemExit, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed: the text and type for the log, and the exception itself."""

    text: str
    kind: str
    exception: BaseException
    transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenOff:
    """The tool raised what is no error (an interruption, a test's own outcome): the call has no end in the log."""

    exception: BaseException


class Cancellation:
    """Whether an attempt is being cancelled, which whoever does it does to the task that waits for the tool's.

    The count of the tool's own task says nothing: a tool may cancel that task, or take a cancellation of it back, and
    before Python 3.13 a failing `asyncio.TaskGroup` leaves its count raised.

    Attributes:
        waiting: the task that waits; cancellations that it has had are not this attempt's.
    """

    __slots__ = ("_before", "waiting")

    def __init__(self, waiting: asyncio.Task[Any]) -> None:
        self.waiting = waiting
        self._before = waiting.cancelling()

    def has_come(self) -> bool:
        """Whether it has."""
        return self.waiting.cancelling() > self._before


async def outcome_of(  # noqa: C901, PLR0911 - a table of cases
    run: Run, frame: Frame, call: ToolCall, tool: Tool | None, cancellation: Cancellation
) -> Raw | Failure | BrokenOff:
    """Run the tool once. What is the run's own or the environment's propagates."""
    try:
        result = await _invoke(run, frame, call, tool, cancellation)
        # What a tool returns when it is told to stop is not its result: on replay nobody would tell it.
        return _told_to_stop(run) if cancellation.has_come() else result
    except asyncio.CancelledError as error:
        if cancellation.has_come():
            raise
        return Failure(_texts.said(error) or _texts.CANCELLED, "tool", error)
    except OF_THE_RUN:
        raise
    except _PANICS as error:
        return Failure(_texts.said(error), "panic", error)
    except _TimedOut as error:
        return Failure(_texts.said(error), "timeout", error, transient=True)
    except Exception as error:  # noqa: BLE001 - whatever a tool raises is its failure
        if cancellation.has_come():
            return Failure(_texts.said(error), "cancelled", error)
        return Failure(_texts.said(error), "tool", error, transient=isinstance(error, TransientToolError))
    except _NoFailureError as error:
        return BrokenOff(exception=error.raised)
    except (Interruption, GeneratorExit):  # the second one closes this coroutine
        raise
    except BaseException as error:  # noqa: BLE001 - the journal says what comes of it
        return BrokenOff(exception=error)


def _told_to_stop(run: Run) -> Failure:
    text = _texts.DEADLINE_EXCEEDED if run.out_of_time() else _texts.CANCELLED
    return Failure(text, "cancelled", asyncio.CancelledError(text))


class _NoFailureError(BaseException):
    """The tool's function raised what is no failure of it, whatever its class looks like."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised


class _TimedOut(Exception):  # noqa: N818 - becomes a ToolCallFailed at once
    """The attempt took longer than its timeout."""


async def _invoke(run: Run, frame: Frame, call: ToolCall, tool: Tool | None, cancellation: Cancellation) -> Raw:
    """Run the tool and encode its result."""
    if tool is None:
        raise ToolError(_texts.tool_not_found(call.name))
    args = load(call.args.data)  # the tool's own copy, the same for every attempt; `dispatch` encoded it
    reject_malformed(call.name, args)
    declared = call_policy(tool)
    seconds = declared.timeout if call.timeout is None else call.timeout
    if seconds is not None:
        value = await _within(seconds, frame, tool, args, generously=run.journal.replaying)
    elif cancellation.waiting is own_task() or attempts_of(call, declared) > 1:
        value = await in_own_task(lambda: _executed(frame, tool, args))
    else:
        value = await _in_this_task(frame, tool, args, cancellation)
    try:
        # What a function returns is made plain by its tool; others may return anything.
        plain = value if type(tool) is FunctionTool or is_json(value) else to_plain(value)
        return Raw(encode(plain, max_depth=MAX_RESULT_DEPTH))
    except UnencodableValueError as error:
        raise ToolError(_texts.result_not_encodable(error.message)) from error


def attempts_of(call: ToolCall, declared: CallPolicy) -> int:
    """How many attempts a call of a tool that declares this has; only idempotent ones have more than one."""
    idempotent = declared.idempotent if call.idempotent is None else call.idempotent
    attempts = declared.max_attempts if call.max_attempts is None else call.max_attempts
    return max(1, attempts) if idempotent else 1


async def _in_this_task(frame: Frame, tool: Tool, args: Any, cancellation: Cancellation) -> Any:
    """Run the tool in the call's own task: of a batch, each has one. What the tool does to that task ends with it.

    One that is tried again finds in each attempt the context variables that it found in the first, and so needs a task
    for each; and a timeout has to tell its own cancellation from others.
    """
    task = frame.strand = own_task()
    before = task.cancelling()
    try:
        return await _executed(frame, tool, args)
    finally:
        # The tool may have cancelled this task, or the run. That comes now, not amid our work. Before Python 3.13 no
        # count tells of what a task group has left whose tasks failed at once, as only a factory's begin.
        told = task.cancelling() > before or cancellation.has_come() or task.get_loop().get_task_factory() is not None
        if told and not _is_being_closed(frame):
            await asyncio.sleep(0)


async def _within(seconds: float, frame: Frame, tool: Tool, args: Any, *, generously: bool) -> Any:
    """What the tool returns, if it does so in time.

    Args:
        generously: a replay. Whether the tool was in time then is the environment's and stands in the recording; the
            limit is for what never returns today.
    """
    limit = max(REPLAY_TIMEOUT_FACTOR * seconds, REPLAY_TIMEOUT_AT_LEAST_S) if generously else seconds
    deadline = asyncio.timeout(None)
    try:
        async with deadline:
            # In no call's context: a replay lets the timers of a call expire early that waits for one of them.
            Context().run(deadline.reschedule, asyncio.get_running_loop().time() + limit)
            value = await in_own_task(lambda: _executed(frame, tool, args))
    except Exception as error:
        if deadline.expired():
            raise _TimedOut(_texts.timed_out(seconds)) from error
        raise
    if deadline.expired():
        raise _TimedOut(_texts.timed_out(seconds))  # too late, even if the tool ended in its own way when told to stop
    return value


async def _executed(frame: Frame, tool: Tool, args: Any) -> Any:
    try:
        return await tool.execute(args)
    except BaseException as error:
        if isinstance(error, GeneratorExit) and _is_being_closed(frame):
            raise
        if isinstance(error, GeneratorExit) or stops_everything(error):
            raise _NoFailureError(error) from None
        raise


def _is_being_closed(frame: Frame) -> bool:
    """Whether nothing runs the attempt's task any more: the garbage collector then closes what it has left."""
    try:
        return asyncio.current_task() is not frame.strand
    except RuntimeError:
        return True


async def in_own_task(function: Callable[[], Awaitable[Any]], *, until: Callable[[], bool] | None = None) -> Any:
    """Run a user's function in a task of its own, so that this task's count of cancellations is the run's alone.

    A `asyncio.TaskGroup` or timeout inside it may leave its task's count raised (until Python 3.13 it does).

    Args:
        until: cancels the function as soon as this holds.
    """

    async def body() -> tuple[Any, BaseException | None]:
        frame, _ = enclosing()
        if frame is not None:
            frame.strand = asyncio.current_task()
        try:
            return await function(), None
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised below; out of a task, some would stop the event loop
            return None, error

    task = asyncio.create_task(body())
    if until is not None:
        await _watched(task, until)
    value, error = await task
    if error is not None:
        raise error
    return value


async def _watched(task: asyncio.Task[Any], until: Callable[[], bool]) -> None:
    try:
        while not task.done() and not until():
            await pause(_LOOK_EVERY_S, task)
    finally:
        task.cancel()
        await asyncio.wait([task])


def own_task() -> asyncio.Task[Any]:
    """The task that runs the caller."""
    task = asyncio.current_task()
    assert task is not None  # a coroutine that asyncio runs has one
    return task


def times_cancelled() -> int:
    """How often this task was cancelled: tells that from code that raises CancelledError of its own accord."""
    return own_task().cancelling()
