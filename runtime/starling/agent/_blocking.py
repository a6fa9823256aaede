"""Blocking entry points for code that has no event loop, or cannot await in the one it has.

Strategy: without a running loop in this thread, the work goes to one background loop that the process keeps, so that
SDK connections are reused. With a running loop (a sync call deep inside an async program), it goes to a helper thread
with a loop of its own, and the caller, with its loop, waits: whatever the work needs from that loop would wait for
itself. The caller's context goes along in both cases. asyncio itself is never patched.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run_blocking"]

T = TypeVar("T")

_lock = threading.Lock()
_background: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The loop and the process it belongs to; a forked child starts its own."""


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end from sync code and return what it returns."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _on_loop(_background_loop(), work)
    return _in_helper_thread(work)


def _background_loop() -> asyncio.AbstractEventLoop:
    global _background  # noqa: PLW0603 - one loop a process
    with _lock:
        if _background is None or _background[0] != os.getpid() or _background[1].is_closed():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="starling-loop", daemon=True).start()
            _background = (os.getpid(), loop)
        return _background[1]


def _on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    done: Future[T] = Future()
    task: list[asyncio.Task[None]] = []

    async def carry_out() -> None:
        try:
            done.set_result(await work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller; a KeyboardInterrupt would stop the loop
            done.set_exception(error)

    def start() -> None:
        task.append(loop.create_task(carry_out(), context=context))
        task[0].add_done_callback(never_began)

    def never_began(_: asyncio.Task[None]) -> None:
        if not done.done():  # cancelled before its first step
            done.set_exception(asyncio.CancelledError())

    context = contextvars.copy_context()
    try:
        loop.call_soon_threadsafe(start)
        return done.result()
    except BaseException:
        if not done.done():  # interrupted while waiting: stop the work, and wait until it has stopped
            loop.call_soon_threadsafe(lambda: [started.cancel() for started in task])
            done.exception()
        raise


def _in_helper_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    done: Future[T] = Future()
    context = contextvars.copy_context()

    def body() -> None:
        try:
            done.set_result(context.run(asyncio.run, work()))
        except BaseException as error:  # noqa: BLE001 - raised in the caller
            done.set_exception(error)

    threading.Thread(target=body, name="starling-run-sync", daemon=True).start()
    return done.result()
