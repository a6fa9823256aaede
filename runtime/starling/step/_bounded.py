"""Carrying out one operation of an event log to a known end, within a deadline, whatever cancels the caller.

Strategy: the operation is a task of its own, which a cancelled caller goes on waiting for. Past its deadline the task
is cancelled; if it does not heed that in time either, it is given up: kept from being collected while it lasts, and
its outcome discarded.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starling import _watching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Ended", "carry_out"]

T = TypeVar("T")

_unfinished: set[asyncio.Task[Any]] = set()
"""Event loops hold tasks weakly; one that nobody awaits any more must not be collected half-way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Generic[T]):
    """How an operation ended.

    Attributes:
        value: what it returned; None if it failed.
        error: what it raised, if anything; of an operation past its deadline, a TimeoutError.
        cancelled: the cancellation of the caller that came meanwhile and is now to be raised.
    """

    value: T | None = None
    error: BaseException | None = None
    cancelled: asyncio.CancelledError | None = None


async def carry_out(
    work: Callable[[], Awaitable[T]], *, until: float | None, at_last: float | None, late: str = ""
) -> Ended[T]:
    """Wait for an operation to end, well or not.

    Args:
        until: when it is cancelled, in the event loop's time; None for never.
        at_last: when it is given up.
        late: what the TimeoutError says of an operation that was cancelled.
    """
    task = asyncio.create_task(_ending(work))
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    try:
        cancelled = await _wait(task, until)
        expired = not task.done()
        if expired:
            task.cancel()
            cancelled = await _wait(task, at_last) or cancelled
    finally:
        if not task.done():
            task.cancel()
    ended: Ended[T] = Ended(error=asyncio.CancelledError()) if _was_stopped(task) else task.result()
    if expired and ended.error is not None:
        ended = Ended(error=TimeoutError(late))
    return replace(ended, cancelled=cancelled)


def _was_stopped(task: asyncio.Task[Any]) -> bool:
    return not task.done() or task.cancelled()


async def _ending(work: Callable[[], Awaitable[T]]) -> Ended[T]:
    """Only a cancellation gets out of the task: others would stop the event loop, or be reported as never looked at."""
    try:
        with _watching.unwatched():
            return Ended(value=await work())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - judged by the caller
        return Ended(error=error)


async def _wait(task: asyncio.Task[Any], until: float | None) -> asyncio.CancelledError | None:
    """Wait for the task, but no longer than ``until``. Returns the caller's cancellation instead of raising it."""
    cancelled = None
    now = asyncio.get_running_loop().time
    while not task.done() and (until is None or now() < until):
        try:
            await asyncio.wait([task], timeout=None if until is None else until - now())
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
