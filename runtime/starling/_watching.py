"""Who looks at what the code of a run calls while the run is recorded.

Strategy: one context variable, so that a watcher sees what a run starts (tasks, threads with a copy of the context) and
nothing that merely happens in the same thread. Code that serves a run without being compared (providers, logs) runs
with nobody looking, which is not the same as a context that knows of no run at all: a job in a thread pool has such a
context, and may still have been handed over by a tool.

What does not belong here: what is looked for, and how calls are seen (`starling.replay`).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from contextvars import Context
    from types import BuiltinFunctionType, CodeType, FrameType

__all__ = ["Watcher", "unwatched", "watched_by", "watched_thread", "watcher", "watchers"]


class Watcher(Protocol):
    """Looks at what the code of a run calls while the run is recorded.

    It is told on the spot, in the thread and context of the call. What it raises would be raised there.

    Attributes:
        names: the functions written in C that it wants to hear of, by ``__name__``.
        codes: the functions written in Python that it wants to hear of.
        events: the audit events that it wants to hear of.
    """

    names: frozenset[str]
    codes: tuple[CodeType, ...]
    events: frozenset[str]

    def watch_thread(self) -> AbstractContextManager[None]:
        """Be told of the calls that are made in this thread until the block ends."""
        ...

    def hears(self, file: str) -> bool:
        """Whether calls of functions written in C matter if they stand in this file. Decided once for a file."""
        ...

    def called(self, function: BuiltinFunctionType, caller: FrameType) -> None:
        """A function written in C is about to be called."""
        ...

    def entered(self, frame: FrameType) -> None:
        """A function written in Python has been entered."""
        ...

    def audited(self, event: str, arguments: tuple[Any, ...], caller: FrameType) -> None:
        """The interpreter announces an audit event."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("starling_watcher")
_UNKNOWN: Any = object()


def watcher() -> Watcher | None:
    """Who looks at the code of this context."""
    return _watcher.get(None)


def watchers(otherwise: Sequence[Watcher]) -> Sequence[Watcher]:
    """Whom to tell of what happens in this context; ``otherwise`` if the context knows of no run."""
    here = _watcher.get(_UNKNOWN)
    if here is None:
        return ()
    return otherwise if here is _UNKNOWN else (here,)


@contextmanager
def watched_by(watcher: Watcher | None) -> Iterator[None]:
    """Have this context, and what it starts, looked at; None: by nobody."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        with suppress(ValueError):  # a forgotten task is closed by the garbage collector, in no context of ours
            _watcher.reset(token)


def unwatched() -> AbstractContextManager[None]:
    """For code of providers and event logs: nothing of what it calls is a part of what a replay compares."""
    return watched_by(None)


def watched_thread(context: Context | None = None) -> AbstractContextManager[None]:
    """Tell the watcher of a context (None: of this one) what is called in this thread, if there is a watcher."""
    looking = watcher() if context is None else context.get(_watcher)
    return nullcontext() if looking is None else looking.watch_thread()
