"""The seam through which a whole process is recorded or replayed, with nothing passed in.

Strategy: one slot. While a session stands in it, every `Agent.run` of the process asks that session whether the run is
recorded or replayed, and adapters ask it before they reach for the network. The pytest plugin is its main user.

What belongs here: the slot, the protocols on both sides of it, and the two hooks that packages below `step` need.
What does not: how runs are matched, stored or compared (`starling.replay`); who watches their code (`_watching`).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starling._replay_options import Redact, ReplayOptions, ToolPolicy, ignorable_paths, ignoring
from starling.errors import LiveCallError, StarlingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from starling.errors import NondeterminismError
    from starling.event import Event, RunStarted

__all__ = [
    "REPLAY_VARIABLE",
    "KeptRun",
    "PatchUse",
    "Redact",
    "ReplayOptions",
    "RunIntent",
    "RunPlayer",
    "RunRecorder",
    "Session",
    "ToolPolicy",
    "activate",
    "active",
    "building_for_replay",
    "ignorable_paths",
    "ignoring",
    "may_build_without_key",
    "override",
    "refuse_live_call",
    "side_effect",
    "use_side_effects_of",
]

T = TypeVar("T")

REPLAY_VARIABLE = "STARLING_REPLAY"
"""Environment variable that child processes inherit. ``ready``: adapters may be built without a key.
``active``: besides, reaching a provider raises `LiveCallError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIntent:
    """A run that is about to start: what it would write first, and what it was started inside of.

    Attributes:
        parent_run_id, parent_call_id: the run and the tool call whose code starts it; empty at the top.
        parent_effect: the side effect whose callable starts it. A replay does not run that callable, nor this run.
        resumes: the id of the run that is resumed; empty for a new one.
        events: what that run had come to before.
        not_recorded: where a replayed run starts this one: lets it diverge there, given the reason, and returns that
            as an error to raise. None at the top.
    """

    started: RunStarted
    parent_run_id: str = ""
    parent_call_id: str = ""
    parent_effect: str = ""
    resumes: str = ""
    events: tuple[Event, ...] = ()
    not_recorded: Callable[[str], NondeterminismError] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchUse:
    """One `step.patched` or `step.deprecate_patch` of a replayed run.

    Attributes:
        where: the call in the code, as file:line; empty if no line made it (a thread was handed `step.patched` itself).
        deprecated: whether it was `deprecate_patch`.
        needed: whether this recording needs it: it predates the patch, or (``deprecated``) it has the patch's mark.
    """

    patch_id: str
    where: str
    deprecated: bool
    needed: bool


class KeptRun(Protocol):
    """A recorded run that answers a live one for as long as that does the same (mode ``tail``).

    Attributes:
        reached: how far an earlier call has been through the recording, which then resumed the run; 0 if none has.
    """

    reached: int

    @property
    def events(self) -> Sequence[Event]:
        """The recorded run, validated."""
        ...

    @property
    def options(self) -> ReplayOptions:
        """How to compare."""
        ...

    def skipped(self, call_id: str, before: int | None) -> None:
        """A tool call is not run (again); see `RunPlayer.skipped`."""
        ...

    def answered(self, turns: int) -> None:
        """So many model calls were answered."""
        ...


class RunRecorder(Protocol):
    """Receives a copy of a live run."""

    @property
    def kept(self) -> KeptRun | None:
        """The recorded run that answers this one as far as possible; None if everything is live."""
        ...

    def committed(self, events: Sequence[Event]) -> None:
        """These events are in the agent's own log now."""
        ...

    def provider(self, own: Any) -> Any:
        """Who answers the run's model calls: the agent's own provider, or what stands in for it."""
        ...

    def asked(self, turn_id: str, request: Any) -> None:
        """Code, and not an agent's loop, is about to call a model: the log will hold but the hash of this `Request`."""
        ...

    def watching(self) -> AbstractContextManager[None]:
        """Have the run looked at while it is recorded, if anybody is to; entered by the run's own task."""
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
    """Decides what becomes of the runs that start while it is active.

    One that does not replay but has ``keyless = True`` lets adapters be built without a key all the same: a recording
    answers, at least to begin with.
    """

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


_slot: Session | None = None
_override: ContextVar[Session | None] = ContextVar("starling_session", default=None)
_building: ContextVar[bool] = ContextVar("starling_building_for_replay", default=False)


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


@contextmanager
def building_for_replay() -> Iterator[None]:
    """Here an agent is built that a replay is about to use: adapters need no key, and reach nobody.

    No session, since what else happens meanwhile is none of the replay's.
    """
    token = _building.set(True)
    try:
        yield
    finally:
        _building.reset(token)


def may_build_without_key() -> bool:
    """Whether an adapter may be constructed without credentials, because perhaps nothing will be sent."""
    session = active()
    return (
        _building.get()
        or bool(os.environ.get(REPLAY_VARIABLE))
        or (session is not None and (session.replaying or getattr(session, "keyless", False)))
    )


def refuse_live_call(what: str) -> None:
    """Raise `LiveCallError` if a recording is being replayed. Adapters call this before they send anything.

    Args:
        what: the call, for the message: provider and model.
    """
    session = active()
    replaying_here = _building.get() or (session is not None and session.replaying)
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
