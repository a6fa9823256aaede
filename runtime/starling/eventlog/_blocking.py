"""Blocking twins of functions that are written once, as coroutines.

Such a function only ever awaits the log. Given a log whose methods are its own blocking twins behind an ``async def``,
it never waits for anything, so it can be driven to its end in place, without an event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from starling.errors import LogError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from starling.eventlog._protocol import EventLog

__all__ = ["blocking_view", "drive", "drive_each"]

T = TypeVar("T")

_METHODS = ("append", "read", "list_runs", "run_ids_page", "read_page", "check_storage", "prune")


class _BlockingView:
    """A log whose async methods block. It has those of `_METHODS` of which the log has the twin."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        for name in _METHODS:
            twin = getattr(log, f"{name}_sync", None)
            if twin is not None:
                setattr(self, name, _at_once(twin))

    def __repr__(self) -> str:
        return repr(self._log)


def blocking_view(log: EventLog) -> EventLog:
    """The log with methods that never suspend. Raises `LogError` for a log without blocking twins."""
    if not hasattr(log, "read_sync") or not hasattr(log, "append_sync"):
        raise LogError(f"{log!r} has no blocking methods (read_sync, append_sync): use the async function")
    return cast("EventLog", _BlockingView(log))


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, and return what it returns."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise LogError("a blocking call had to wait for an event loop: use the async function")


def drive_each(items: AsyncIterator[T]) -> Iterator[T]:
    """What an async iterator that waits for nothing gives."""
    while True:
        try:
            item = drive(_next(items))
        except StopAsyncIteration:
            return
        yield item


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


def _at_once(twin: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
    async def call(*arguments: Any) -> T:
        return twin(*arguments)

    return call
