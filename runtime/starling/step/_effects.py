"""Clock, randomness and everything else that a replay must not do again: recorded once, served on replay."""

from __future__ import annotations

import asyncio
import functools
import inspect
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starling import ambient
from starling._cbor import Raw, decode, encode
from starling.errors import RecordedEffectError
from starling.event import EffectError
from starling.event import SideEffectRecorded as Effect
from starling.step import _texts
from starling.step._frame import Frame, current, current_frame, enter_effect, leave
from starling.step._journal import ABANDONED, NOT_FOR_THE_LOG, abandoned
from starling.tool import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["now", "random", "side_effect", "side_effect_sync"]

T = TypeVar("T")

MAX_VALUE_DEPTH = 31
"""A SideEffectRecorded may nest 32 levels (wire format); the value sits one level inside it."""

_LONGEST_WAIT_S = 10.0
_WAIT_STEP_S = 0.005

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The current time in UTC, recorded once and returned again on replay (as exact nanoseconds in the log).

    Raises:
        StepContextError: no run is active here.
    """
    frame = current_frame("now")
    nanoseconds = time.time_ns() if frame is None else _value(frame, "now", frame.run.clock)
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def random() -> int:
    """A random integer in [0, 2**64), recorded once and returned again on replay.

    Raises:
        StepContextError: no run is active here.
    """
    frame = current_frame("random")
    return secrets.randbits(64) if frame is None else _value(frame, "rand", frame.run.random)


async def side_effect(name: str, function: Callable[[], Awaitable[T] | T]) -> T:
    """Do something that a replay must not do again, and record what came of it.

    Args:
        name: the effect's name, stable from run to run: a replay finds the recorded value by it. Several requests of
            one name in one tool call are told apart by their order.
        function: takes nothing; sync (run in a worker thread) or async. Its value must be plain data (None, bool,
            int, float, str, bytes, list, dict); what it raises is recorded, too, and raised again on replay.

    Returns:
        The value as the log holds it (a tuple comes back as a list), live and on replay alike.

    Raises:
        StepContextError: no run is active here.
        UnencodableValueError: the value cannot be recorded.
    """
    frame = current_frame("side_effect")
    if frame is None:
        return await _call(function)
    request = frame.request(name)
    recorded = frame.run.journal.take_effect(frame, name, request)
    if recorded is not None:
        await frame.run.journal.commit()
        if recorded.error is not None and recorded.error.type == ABANDONED:
            await _cut_off(frame)
        return cast("T", _replayed(recorded))
    token = current.set(enter_effect(frame, name))
    try:
        outcome = encode(await _call(function), max_depth=MAX_VALUE_DEPTH)
    except NOT_FOR_THE_LOG:
        raise
    except asyncio.CancelledError as error:
        if not frame.closed:
            cut = abandoned(frame.call_id, name) if _is_cancelled() else _failed(frame, name, error)
            frame.run.journal.effect(frame, cut, request)
        raise
    except (Exception, SystemExit) as error:
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
    frame = current_frame("side_effect_sync")
    if frame is None:
        return function()
    request = frame.request(name)
    recorded = frame.run.journal.take_effect(frame, name, request)
    if recorded is not None:
        return cast("T", _replayed(recorded))
    token = current.set(enter_effect(frame, name))
    try:
        outcome = encode(function(), max_depth=MAX_VALUE_DEPTH)
    except NOT_FOR_THE_LOG:
        raise
    except (Exception, SystemExit) as error:
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


async def _cut_off(frame: Frame) -> None:
    """On replay: wait, as the recorded effect did, for whatever cuts it off (a timeout, a failed sibling).

    Ends when the call does, as the effect would have. If today's code lets it wait for long, it is cancelled all the
    same, and what the code makes of that is compared.
    """
    until = frame.run.loop.time() + _LONGEST_WAIT_S
    while frame.run.loop.time() < until:
        await asyncio.sleep(_WAIT_STEP_S)
        frame.check()
    raise asyncio.CancelledError


async def _for_builtin_tools(name: str, function: Callable[[], Awaitable[T]]) -> T:
    """`side_effect` where a run is active, the plain call elsewhere."""
    return await (function() if current.get() is None else side_effect(name, function))


ambient.use_side_effects_of(_for_builtin_tools)


def _value(frame: Frame, name: str, produce: Callable[[], int]) -> int:
    """One recorded integer."""
    request = frame.request(name)
    recorded = frame.run.journal.take_effect(frame, name, request)
    if recorded is not None:
        return int(_replayed(recorded))
    value = produce()
    frame.run.journal.effect(frame, Effect(name=name, value=value, call_id=frame.call_id), request)
    return value


async def _call(function: Callable[[], Awaitable[T] | T]) -> T:
    if inspect.iscoroutinefunction(function):
        return cast("T", await function())
    value = await run_in_thread(function)
    return cast("T", await value) if inspect.isawaitable(value) else value


def _failed(frame: Frame, name: str, error: BaseException) -> Effect:
    cls = type(error)
    return Effect(
        name=name,
        value=None,
        call_id=frame.call_id,
        error=EffectError(type=f"{cls.__module__}.{cls.__qualname__}", message=_texts.said(error)),
    )


def _replayed(recorded: Effect) -> Any:
    if recorded.error is None:
        return recorded.value
    raise _rebuild(recorded.error)


def _rebuild(error: EffectError) -> BaseException:
    """The recorded exception: of its own class where that is loaded, with the recorded text in any case."""
    cls = _find_class(error.type)
    if cls is None:
        return _stand_in(error)
    attempts: list[Callable[[str], BaseException]] = [cls, functools.partial(_bare, cls)]
    if not error.message:
        attempts.insert(0, lambda _: cls())
    for build in attempts:
        try:
            rebuilt = build(error.message)
            if str(rebuilt) == error.message:
                return rebuilt
        except Exception:  # noqa: BLE001, S112 - a constructor of the user's that wants other arguments
            continue
    members = {"__module__": cls.__module__, "__str__": lambda _: error.message, "__reduce__": _rebuilt_from(error)}
    spoken = type(cls.__name__, (cls,), members)
    try:
        return _bare(spoken, error.message)
    except TypeError:  # a class that cannot be made without its arguments, such as ExceptionGroup
        return _stand_in(error)


def _stand_in(error: EffectError) -> BaseException:
    name = error.type.rpartition(".")[2]
    stand_in = type(name, (RecordedEffectError,), {"__module__": __name__, "__reduce__": _rebuilt_from(error)})
    return cast("BaseException", stand_in(error.message, recorded_type=error.type))


def _rebuilt_from(error: EffectError) -> Callable[[BaseException], tuple[Any, ...]]:
    """How an exception whose class was made here pickles: as what it was rebuilt from."""
    return lambda _: (_rebuild, (error,))


def _bare(cls: type[BaseException], message: str) -> BaseException:
    rebuilt = cls.__new__(cls)
    rebuilt.args = (message,)
    return rebuilt


def _find_class(qualified: str) -> type[BaseException] | None:
    """Look a class up among the modules that are loaded; a name in a log never causes an import."""
    if "<locals>" in qualified:
        return _find_local_class(qualified)
    module_name, _, path = qualified.rpartition(".")
    while module_name:
        found: Any = sys.modules.get(module_name)
        if found is not None:
            for part in path.split("."):
                found = getattr(found, part, None)
            return found if isinstance(found, type) and issubclass(found, BaseException) else None
        module_name, _, last = module_name.rpartition(".")
        path = f"{last}.{path}"
    return None


def _find_local_class(qualified: str) -> type[BaseException] | None:
    """The youngest living class of this name; one that is defined in a function can be found in no module."""
    found, pending = None, [BaseException]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            if f"{cls.__module__}.{cls.__qualname__}" == qualified:
                found = cls
    return found
