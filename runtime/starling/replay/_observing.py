"""Seeing calls while they are made: in threads that record a run, and an audit hook for the process.

Strategy: what is seen goes to the watcher of the context in which it happens, so that whatever else runs meanwhile is
passed over. In threads whose context knows of no run, all watchers are told: they know the jobs that were handed over.
An audit hook cannot be taken away again; without a watcher it does nothing.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from starling.replay._audience import Audience
from starling.replay._monitoring import Monitoring
from starling.replay._profiling import Profiling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling._watching import Watcher

__all__ = ["forget", "observed_thread"]

_audience = Audience()
_monitoring = Monitoring(_audience)
_profiling = Profiling(_audience)
_lock = threading.RLock()  # a forgotten run is closed by the garbage collector, which may come at any moment
_listening = False


@contextmanager
def observed_thread(watcher: Watcher) -> Iterator[None]:
    """Tell this watcher what is called in this thread until the block ends."""
    _listen()
    with _lock:
        _audience.join(watcher)
        monitored = _follow()
    try:
        with nullcontext() if monitored else _profiling.thread():
            yield
    finally:
        with _lock:
            _audience.leave(watcher)
            _follow()


def forget(watcher: Watcher) -> None:
    """Tell this watcher nothing any more, of runs that still go on either."""
    with _lock:
        _audience.dismiss(watcher)
        _follow()


def _follow() -> bool:
    """Have calls seen for today's audience; returns whether that needs nothing in the threads themselves."""
    monitored = _monitoring.follow()
    if not monitored:
        _profiling.follow()
    return monitored


def _listen() -> None:
    """Install the audit hook, once a process."""
    global _listening  # noqa: PLW0603 - the interpreter keeps the hook
    with _lock:
        if not _listening:
            _listening = True
            sys.addaudithook(_audit_hook())


def _audit_hook() -> Any:
    """The hook, with what it needs bound to it: it is still called when the interpreter clears its modules."""
    audience, caller = _audience, sys._getframe

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in audience.events:
            audience.audited(event, arguments, caller(1))

    return hook
