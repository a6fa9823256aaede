"""Sync functions in threads of our own, awaited from an event loop.

Strategy: not the loop's default executor. Its threads are joined at exit, so that one tool call that was abandoned
after its timeout would keep the process from ending, and enough of them would leave no thread for anybody else.
These are daemon threads; an idle one waits on its own queue to be reused. How many run at a time is the caller's
concern (`Config.max_parallel_tools`).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from starling import _watching

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_worker", "run_in_thread"]

T = TypeVar("T")

_Outcome: TypeAlias = tuple[Any, BaseException | None]

_MOST_IDLE = 16
_NAME = "starling-worker"

_idle: list[_Worker] = []  # only appended to and popped from, which is atomic


async def run_in_thread(function: Callable[..., T], /, *args: Any) -> T:
    """Call a sync function in a worker thread, in a copy of this context, and wait for it.

    Cancelling the wait abandons the thread: the function runs on, and what comes of it is dropped.

    Returns:
        What the function returns.

    Raises:
        BaseException: what the function raises, `SystemExit` and `KeyboardInterrupt` included, with its traceback.
            `StopIteration`, which a coroutine cannot raise, becomes a RuntimeError caused by it.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Outcome] = loop.create_future()
    worker = _idle.pop() if _idle else _Worker()
    worker.jobs.put(_Job(copy_context(), function, args, loop, answer))
    value, error = await answer
    if error is None:
        return value  # type: ignore[no-any-return]
    try:
        if isinstance(error, StopIteration):
            raise RuntimeError(f"StopIteration was raised: {error}") from error  # noqa: TRY004 - not a type check
        raise error
    finally:
        del error, answer  # the traceback holds this frame


def in_worker() -> bool:
    """Whether this thread is one of ours: then it runs a sync tool, and is no thread that a tool has started."""
    return current_thread().name == _NAME


class _Job:
    """One call, and where its outcome goes."""

    __slots__ = ("answer", "args", "context", "function", "loop")

    def __init__(
        self,
        context: Context,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        answer: asyncio.Future[_Outcome],
    ) -> None:
        self.context = context
        self.function = function
        self.args = args
        self.loop = loop
        self.answer = answer

    def outcome(self) -> _Outcome:
        try:
            with _watching.watched_thread(self.context):
                return self.context.run(self.function, *self.args), None
        except BaseException as error:  # noqa: BLE001 - all of them belong to whoever awaits
            return None, error

    def deliver(self, outcome: _Outcome) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile; nobody waits any more
            self.loop.call_soon_threadsafe(_settle, self.answer, outcome)


def _settle(answer: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)


class _Worker:
    """A daemon thread that does one job after another."""

    __slots__ = ("jobs",)

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        Thread(target=self._work, name=_NAME, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self.jobs.get()
            outcome = job.outcome()
            # Idle before the outcome is known: a caller that goes on at once finds this thread again.
            stays = len(_idle) < _MOST_IDLE
            if stays:
                _idle.append(self)
            job.deliver(outcome)
            del job, outcome  # an idle thread keeps nothing alive
            if not stays:
                return


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the child has the list, but not the threads
