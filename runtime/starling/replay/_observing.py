"""Seeing calls while they are made: a profile function for one thread, an audit hook for the process.

Strategy: what is seen goes to the watcher of the context in which it happens (`starling.ambient.watcher`), so that
whatever else runs in the thread meanwhile is passed over. The profile function is there only while a run is recorded;
where another profiler works already, calls are not seen, and nothing is said. An audit hook cannot be taken away
again; without a watcher it does nothing.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.replay._watched_calls import AUDITED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["observed_thread"]


@contextmanager
def observed_thread() -> Iterator[None]:
    """Tell the watchers of contexts what is called in this thread until the block ends."""
    _listen()
    profile = _here.profile
    profile.begin()
    try:
        yield
    finally:
        profile.end()


class _Profile:
    """The profile function of one thread, shared by all runs that overlap there."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks = 0

    def begin(self) -> None:
        self._blocks += 1
        if sys.getprofile() is None:
            sys.setprofile(self)

    def end(self) -> None:
        self._blocks -= 1
        self._withdraw()

    def _withdraw(self) -> None:
        if not self._blocks and sys.getprofile() is self:
            sys.setprofile(None)

    def __call__(self, frame: FrameType, event: str, function: Any) -> None:
        if not self._blocks:
            self._withdraw()  # a forgotten run was closed by the garbage collector, in some other thread
        elif event in {"call", "c_call"}:
            watcher = ambient.watcher()
            if watcher is None:
                return
            if event == "call":
                watcher.entered(frame)
            else:
                watcher.called(function, frame)


class _Here(threading.local):
    def __init__(self) -> None:
        self.profile = _Profile()


_here = _Here()
_lock = threading.Lock()
_listening = False


def _listen() -> None:
    """Install the audit hook, once a process."""
    global _listening  # noqa: PLW0603 - the interpreter keeps the hook
    with _lock:
        if not _listening:
            _listening = True
            sys.addaudithook(_audit_hook())


def _audit_hook() -> Any:
    """The hook, with what it needs bound to it: it is still called when the interpreter clears its modules."""
    audited, watching, caller = AUDITED, ambient.watcher, sys._getframe

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in audited:
            watcher = watching()
            if watcher is not None:
                watcher.audited(event, arguments, caller(1))

    return hook
