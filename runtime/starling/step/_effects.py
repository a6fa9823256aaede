"""Clock, randomness and everything else that a replay must not do again: recorded once, served on replay."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from opcode import opmap
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starling import ambient
from starling._cbor import Raw, decode, encode, written
from starling._ulid import new as new_ulid
from starling.event import SideEffectRecorded as Effect
from starling.step._abandoned import cut_off, is_abandoned
from starling.step._exceptions import describe, rebuild
from starling.step._frame import Frame, current, current_frame, enter_effect, leave
from starling.step._journal import NOT_FOR_THE_LOG, PUT_OFF_S
from starling.step._stopping import stops_everything
from starling.tool import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["new_call_id", "now", "random", "side_effect", "side_effect_sync"]

T = TypeVar("T")

_CALL_ID = "starling/call_id"

MAX_VALUE_DEPTH = 31
"""A SideEffectRecorded may nest 32 levels (wire format); the value sits one level inside it."""

_LOOK_EVERY_S = 0.02

_AWAIT = opmap["GET_AWAITABLE"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The current time in UTC, recorded once and returned again on replay (as exact nanoseconds in the log).

    Raises:
        StepContextError: no run is active here.
    """
    frame = current_frame("now")
    nanoseconds = time.time_ns() if frame is None else int(_value(frame, "now", frame.run.clock))
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def random() -> int:
    """A random integer in [0, 2**64), recorded once and returned again on replay.

    Raises:
        StepContextError: no run is active here.
    """
    frame = current_frame("random")
    return secrets.randbits(64) if frame is None else int(_value(frame, "rand", frame.run.random))


def new_call_id() -> str:
    """A fresh id for a `ToolCall`; inside a run it is recorded, and returned again on replay.

    Outside of a run it is just a fresh id.

    Raises:
        StepContextError: the tool call whose code asks for it has ended.
    """
    frame = current_frame("new_call_id") if current.get() is not None else None
    return new_ulid() if frame is None else str(_value(frame, _CALL_ID, new_ulid))


async def side_effect(  # noqa: C901 - a table of cases
    name: str, function: Callable[[], Awaitable[T] | T]
) -> T:
    """Do something that a replay must not do again, and record what came of it.

    Args:
        name: the effect's name, stable from run to run: a replay finds the recorded value by it. Several requests of
            one name in one tool call are told apart by their order.
        function: takes nothing; sync (run in a worker thread) or async. Its value must be plain data (None, bool,
            int, float, str, bytes, list, dict); what it raises is recorded, too, and raised again on replay.

    Returns:
        The value as the log holds it (a tuple comes back as a list), live and on replay alike.

    Raises:
        TypeError: the name is not text.
        StepContextError: no run is active here.
        UnencodableValueError: the value cannot be recorded.
    """
    name = _checked(name)
    frame = current_frame("side_effect")
    if frame is None:
        return await _call(function)
    request = frame.request(name)
    recorded = await frame.run.journal.answer(frame, name, request, waits=_waits(function))
    if recorded is not None and not is_abandoned(recorded):
        return cast("T", _replayed(recorded))
    token = current.set(enter_effect(frame, name))
    try:
        if recorded is not None:
            await asyncio.sleep(PUT_OFF_S)
        outcome = encode(await _call(function), max_depth=MAX_VALUE_DEPTH)
    except NOT_FOR_THE_LOG:
        raise
    except asyncio.CancelledError as error:
        if not frame.closed:
            cut = cut_off(frame.call_id, name) if _is_cancelled() else _failed(frame, name, error)
            frame.run.journal.effect(frame, cut, request)
        raise
    except GeneratorExit as error:  # nothing can be awaited any more, if this coroutine is being closed
        if not frame.closed:
            frame.run.journal.effect(frame, _failed(frame, name, error), request)
        raise
    except (Exception, SystemExit) as error:
        if stops_everything(error):
            raise
        frame.run.journal.effect(frame, _failed(frame, name, error), request)
        await frame.run.journal.commit()
        raise
    finally:
        leave(token)
    frame.run.journal.effect(frame, Effect(name=name, value=Raw(outcome), call_id=frame.call_id), request)
    await frame.run.journal.commit()
    return cast("T", decode(outcome))


def side_effect_sync(name: str, function: Callable[[], T]) -> T:
    """`side_effect` for sync tools: runs the callable in this thread and blocks until its outcome is recorded."""
    name = _checked(name)
    frame = current_frame("side_effect_sync")
    if frame is None:
        return function()
    request = frame.request(name)
    recorded = frame.run.journal.answer_at_once(frame, name, request)
    if recorded is not None and not is_abandoned(recorded):
        return cast("T", _replayed(recorded))
    token = current.set(enter_effect(frame, name))
    try:
        if recorded is not None:
            _put_off(frame)
        outcome = encode(function(), max_depth=MAX_VALUE_DEPTH)
    except NOT_FOR_THE_LOG:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        if stops_everything(error):
            raise
        frame.run.journal.effect(frame, _failed(frame, name, error), request)
        frame.run.commit_blocking()
        raise
    finally:
        leave(token)
    frame.run.journal.effect(frame, Effect(name=name, value=Raw(outcome), call_id=frame.call_id), request)
    frame.run.commit_blocking()
    return cast("T", decode(outcome))


def _is_cancelled() -> bool:
    """Whether this task is being cancelled, as opposed to code in it that raises CancelledError of its own accord."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _put_off(frame: Frame) -> None:
    """In a thread that its call has left behind once: wait for it to do so again. The loop's own thread cannot wait."""
    with suppress(RuntimeError):
        if asyncio.get_running_loop() is frame.run.loop:
            return
    until = time.monotonic() + PUT_OFF_S
    while time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
        frame.check()


async def _for_builtin_tools(name: str, function: Callable[[], Awaitable[T]]) -> T:
    """`side_effect` where a run is active, the plain call elsewhere."""
    return await (function() if current.get() is None else side_effect(name, function))


ambient.use_side_effects_of(_for_builtin_tools)


def _checked(name: str) -> str:
    """An effect's name as the log will hold it: that is what a replay looks it up by."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a side effect must be text, got {type(name).__name__}: {name!r}")
    return written(name)


def _value(frame: Frame, name: str, produce: Callable[[], T]) -> T:
    """One recorded value that is made on the spot."""
    request = frame.request(name)
    recorded = frame.run.journal.answer_at_once(frame, name, request)
    if recorded is not None:
        return cast("T", _replayed(recorded))
    value = produce()
    frame.run.journal.effect(frame, Effect(name=name, value=value, call_id=frame.call_id), request)
    return value


async def _call(function: Callable[[], Awaitable[T] | T]) -> T:
    if inspect.iscoroutinefunction(function):
        return cast("T", await function())
    made: list[Awaitable[T] | T] = []
    left = False

    def make() -> None:
        made.append(function())
        if left:
            _discard(made)

    try:
        await run_in_thread(make)
    except BaseException:
        left = True
        _discard(made)
        raise
    (value,) = made
    return cast("T", await value) if inspect.isawaitable(value) else value


def _waits(function: Callable[[], Any]) -> bool:
    """Whether other code may run while this does: not while a coroutine function runs that awaits nothing."""
    code = getattr(getattr(function, "func", function), "__code__", None)
    if code is None or not inspect.iscoroutinefunction(function):
        return True
    return _AWAIT in code.co_code[::2]


def _discard(made: list[Any]) -> None:
    """Close a coroutine that nobody awaits: whoever asked for it was cancelled while the thread made it."""
    for value in made:
        if inspect.iscoroutine(value):
            value.close()


def _failed(frame: Frame, name: str, error: BaseException) -> Effect:
    return Effect(name=name, value=None, call_id=frame.call_id, error=describe(error))


def _replayed(recorded: Effect) -> Any:
    if recorded.error is None:
        return recorded.value
    raise rebuild(recorded.error)
