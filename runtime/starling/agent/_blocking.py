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
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run_blocking"]

T = TypeVar("T")

_LOOK_EVERY_S = 0.05

_lock = threading.Lock()
_background: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The loop and the process it belongs to; a forked child starts its own."""


class _Outcome(Generic[T]):
    """What the work comes to, for the one thread that waits for it. A `concurrent.futures.Future` costs much more.

    Attributes:
        known: the work has ended.
    """

    def __init__(self) -> None:
        self.known = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    def set_result(self, value: T) -> None:
        self._value = value
        self._end()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self.known = True
        self._ended.release()

    def wait(self, timeout_s: float = -1) -> bool:
        """Wait until the work has ended; returns whether it has. May be interrupted at any point, and called again."""
        return self.known or self._ended.acquire(timeout=timeout_s)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


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
    done: _Outcome[T] = _Outcome()
    handle = _Handle()
    cancellations = _cancellations(caller)
    try:
        begin(done, lambda: handle.carry_out(work))
        while not done.wait(_LOOK_EVERY_S) and _cancellations(caller) == cancellations:
            pass
    except BaseException:
        _stop(done, handle)
        raise
    _stop(done, handle)
    return done.result()


def _stop(done: _Outcome[Any], handle: _Handle) -> None:
    """Cancel the work unless it has ended, and wait until it has. A further interruption ends the waiting only."""
    if not done.known:
        handle.cancel()
        done.wait()


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


def _on_loop(loop: asyncio.AbstractEventLoop, done: _Outcome[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
    async def body() -> None:
        try:
            done.set_result(await work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller; a KeyboardInterrupt would stop the loop
            done.set_exception(error)

    context = contextvars.copy_context()
    loop.call_soon_threadsafe(lambda: loop.create_task(body(), context=context))


def _in_helper_thread(done: _Outcome[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
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
