"""Blocking entry points for code that has no event loop, or cannot await in the one it has.

Strategy: without a running loop in this thread, the work goes to one background loop that the process keeps, so that
SDK connections are reused. With a running loop (a sync call deep inside an async program), it goes to a helper thread
with a loop of its own, and the caller, with its loop, waits: whatever the work needs from that loop would wait for
itself. The caller's context goes along in both cases. asyncio itself is never patched.

A caller that is interrupted (Ctrl-C) cancels the work, waits until it has stopped and only then goes on. A caller that
waits inside a loop must look for that: `asyncio.run` answers the first Ctrl-C by cancelling its main task, and a
blocking caller further out by cancelling its work, neither of which wakes a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run_blocking"]

T = TypeVar("T")

_LOOK_EVERY_S = 0.05

_lock = threading.Lock()
_background: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The loop and the process it belongs to; a forked child starts its own."""


class _Handle:
    """The task that carries out the work, once it has begun; it may be cancelled sooner, and from any thread."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.Lock()
        self._task: asyncio.Task[Any] | None = None

    async def carry_out(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._lock:
            self._task = asyncio.current_task()
            if self.cancelled:
                raise asyncio.CancelledError
        _enclosing.set(self)
        return await work()

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            task = self._task
        if task is not None:
            with suppress(RuntimeError):  # its loop is closed, so the work is over
                task.get_loop().call_soon_threadsafe(task.cancel)


_enclosing: contextvars.ContextVar[_Handle | None] = contextvars.ContextVar("starling-blocking", default=None)
"""The work of the blocking call that the current code is part of."""


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end from sync code and return what it returns."""
    caller = None
    try:
        caller = asyncio.current_task()
        begin = _in_helper_thread
    except RuntimeError:
        begin = partial(_on_loop, _background_loop())
    done: Future[T] = Future()
    handle = _Handle()
    cancellations = _cancellations(caller)
    try:
        begin(done, lambda: handle.carry_out(work))
        while not wait([done], _LOOK_EVERY_S).done and _cancellations(caller) == cancellations:
            pass
    except BaseException:
        _stop(done, handle)
        raise
    _stop(done, handle)
    return done.result()


def _stop(done: Future[Any], handle: _Handle) -> None:
    """Cancel the work unless it has ended, and wait until it has. A further interruption ends the waiting only."""
    if not done.done():
        handle.cancel()
        wait([done])


def _cancellations(caller: asyncio.Task[Any] | None) -> int:
    """How often the code that waits was told to stop so far, by its own loop and by a blocking call further out."""
    enclosing = _enclosing.get()
    return (caller.cancelling() if caller else 0) + (enclosing.cancelled if enclosing else 0)


def _background_loop() -> asyncio.AbstractEventLoop:
    global _background  # noqa: PLW0603 - one loop a process
    with _lock:
        if _background is None or _background[0] != os.getpid() or _background[1].is_closed():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="starling-loop", daemon=True).start()
            _background = (os.getpid(), loop)
        return _background[1]


def _on_loop(loop: asyncio.AbstractEventLoop, done: Future[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
    async def body() -> None:
        try:
            done.set_result(await work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller; a KeyboardInterrupt would stop the loop
            done.set_exception(error)

    context = contextvars.copy_context()
    loop.call_soon_threadsafe(lambda: loop.create_task(body(), context=context))


def _in_helper_thread(done: Future[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
    def body() -> None:
        try:
            done.set_result(context.run(asyncio.run, work()))
        except BaseException as error:  # noqa: BLE001 - raised in the caller
            done.set_exception(error)

    context = contextvars.copy_context()
    try:
        threading.Thread(target=body, name="starling-run-sync", daemon=True).start()
    except RuntimeError as error:  # there is no further thread to be had
        done.set_exception(error)
