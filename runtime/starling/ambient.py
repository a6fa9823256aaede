"""The seam through which a whole process is recorded or replayed, with nothing passed in.

Strategy: one slot. While a session stands in it, every `Agent.run` of the process asks that session whether the run is
recorded or replayed, and adapters ask it before they reach for the network. The pytest plugin is its main user.

What belongs here: the slot, the protocols on both sides of it, who watches the code of a run, and the two hooks that
packages below `step` need.
What does not: how runs are matched, stored or compared (`starling.replay`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from starling.errors import LiveCallError, StarlingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from contextvars import Context
    from types import BuiltinFunctionType, FrameType

    from starling.errors import NondeterminismError
    from starling.event import Event, RunStarted

__all__ = [
    "REPLAY_VARIABLE",
    "PatchUse",
    "ReplayOptions",
    "RunIntent",
    "RunPlayer",
    "RunRecorder",
    "Session",
    "ToolPolicy",
    "Watcher",
    "activate",
    "active",
    "may_build_without_key",
    "override",
    "refuse_live_call",
    "side_effect",
    "unwatched",
    "use_side_effects_of",
    "watched_by",
    "watched_thread",
    "watcher",
]

T = TypeVar("T")

ToolPolicy: TypeAlias = Literal["compare", "run", "stub"]

REPLAY_VARIABLE = "STARLING_REPLAY"
"""Environment variable that child processes inherit. ``ready``: adapters may be built without a key.
``active``: besides, reaching a provider raises `LiveCallError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How strictly a replay compares.

    Attributes:
        tools: one policy for all tools, or a mapping from tool name to policy (others: ``compare``).
        ignore: payload paths that are not compared, such as ``RunStarted.app_version``.
        compare_cost: prices count as part of the code, so that a changed price is a divergence.
        force_provider: do not insist on the recorded provider, API version and model.
        collect: go on after a divergence as far as possible.
    """

    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare"
    ignore: frozenset[str] = frozenset()
    compare_cost: bool = False
    force_provider: bool = False
    collect: bool = False

    def policy(self, tool: str) -> ToolPolicy:
        """The policy for one tool."""
        if isinstance(self.tools, Mapping):
            return self.tools.get(tool, "compare")
        return self.tools


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIntent:
    """A run that is about to start: what it would write first, and what it was started inside of.

    Attributes:
        parent_run_id, parent_call_id: the run and the tool call whose code starts it; empty at the top.
        parent_effect: the side effect whose callable starts it. A replay does not run that callable, nor this run.
        resumes: the id of the run that is resumed; empty for a new one.
        events: what that run had come to before.
    """

    started: RunStarted
    parent_run_id: str = ""
    parent_call_id: str = ""
    parent_effect: str = ""
    resumes: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchUse:
    """One `step.patched` or `step.deprecate_patch` of a replayed run.

    Attributes:
        where: the call in the code, as file:line.
        deprecated: whether it was `deprecate_patch`.
        needed: whether this recording needs it: it predates the patch, or (``deprecated``) it has the patch's mark.
    """

    patch_id: str
    where: str
    deprecated: bool
    needed: bool


class RunRecorder(Protocol):
    """Receives a copy of a live run."""

    def committed(self, events: Sequence[Event]) -> None:
        """These events are in the agent's own log now."""
        ...

    def watching(self) -> AbstractContextManager[None]:
        """Have a `Watcher` look at the run, if there is one. Entered by the run's own task, for as long as it takes."""
        ...

    def ended(self) -> None:
        """The run is over, however it went."""
        ...


class RunPlayer(Protocol):
    """Gives a recorded run to be replayed, and takes what came of it."""

    @property
    def run_id(self) -> str:
        """The recorded run's id, which the replayed run takes over."""
        ...

    @property
    def events(self) -> Sequence[Event]:
        """The recorded run, validated."""
        ...

    @property
    def options(self) -> ReplayOptions:
        """How to compare."""
        ...

    def diverged(self, error: NondeterminismError) -> None:
        """The run diverged; kept even if the code under test swallows ``error``."""
        ...

    def stopped(self, seq: int) -> None:
        """The agent's log failed; what was recorded from this seq on is left to a later call, which resumes the run."""
        ...

    def skipped(self, call_id: str, before: int | None) -> None:
        """A tool call is not run (again): runs that it started in the recording are not asked for.

        Args:
            before: only those that began before this recorded timestamp (Unix nanoseconds), when a further attempt of
                the call began; None for all of them.
        """
        ...

    def ended(self) -> None:
        """The run is over, however it went."""
        ...


class Session(Protocol):
    """Decides what becomes of the runs that start while it is active."""

    @property
    def replaying(self) -> bool:
        """True if no provider may be reached."""
        ...

    def begin(self, intent: RunIntent) -> RunRecorder | RunPlayer | Awaitable[RunPlayer]:
        """A run starts. Raises a `StarlingError` when it has no place in this session.

        A session that must look the run up in a log first gives an awaitable.
        """
        ...

    def refused(self, error: LiveCallError) -> None:
        """A provider was reached while replaying; ``error`` is about to be raised there."""
        ...

    def patch_used(self, use: PatchUse) -> None:
        """A replayed run asked for a patch."""
        ...


class Watcher(Protocol):
    """Looks at what the code of a run calls while the run is recorded.

    It is told on the spot, in the thread and context of the call. What it raises would be raised there.
    """

    def watch_thread(self) -> AbstractContextManager[None]:
        """Be told of the calls that are made in this thread until the block ends."""
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


_slot: Session | None = None
_override: ContextVar[Session | None] = ContextVar("starling_session", default=None)


def active() -> Session | None:
    """The session of this context, else of this process, else None."""
    return _override.get() or _slot


@contextmanager
def activate(session: Session) -> Iterator[None]:
    """Put a session into the process's slot. One at a time; all threads and tasks see it."""
    global _slot  # noqa: PLW0603 - the slot is what this module is
    if _slot is not None:
        raise StarlingError("a recording or replaying session is active already; one process holds one at a time")
    _slot = session
    try:
        yield
    finally:
        _slot = None


@contextmanager
def override(session: Session) -> Iterator[None]:
    """Make a session the one of this context and of what it starts, whatever the process's slot holds."""
    token = _override.set(session)
    try:
        yield
    finally:
        _override.reset(token)


_watcher: ContextVar[Watcher | None] = ContextVar("starling_watcher", default=None)


def watcher() -> Watcher | None:
    """Who looks at the code of this context."""
    return _watcher.get()


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
    looking = _watcher.get() if context is None else context.get(_watcher)
    return nullcontext() if looking is None else looking.watch_thread()


def may_build_without_key() -> bool:
    """Whether an adapter may be constructed without credentials, because nothing will be sent."""
    session = active()
    return bool(os.environ.get(REPLAY_VARIABLE)) or (session is not None and session.replaying)


def refuse_live_call(what: str) -> None:
    """Raise `LiveCallError` if a recording is being replayed. Adapters call this before they send anything.

    Args:
        what: the call, for the message: provider and model.
    """
    session = active()
    replaying_here = session is not None and session.replaying
    if not replaying_here and os.environ.get(REPLAY_VARIABLE) != "active":
        return
    error = LiveCallError(
        f"{what} was called live while a recording is replayed; nothing was sent. Only calls made by Agent.run are "
        "served from the recording: let this call go through an agent, or stub it in the test"
    )
    if session is not None:
        session.refused(error)
    raise error


_effects: Callable[[str, Callable[[], Any]], Awaitable[Any]] | None = None


def use_side_effects_of(function: Callable[[str, Callable[[], Any]], Awaitable[Any]]) -> None:
    """Let `side_effect` below record through ``function``; `starling.step` registers itself on import."""
    global _effects  # noqa: PLW0603 - a registration, made once
    _effects = function


async def side_effect(name: str, function: Callable[[], Awaitable[T]]) -> T:
    """What built-in tools use for IO: recorded inside a run, simply awaited outside of one."""
    if _effects is None:
        return await function()
    result: T = await _effects(name, function)
    return result
