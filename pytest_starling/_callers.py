"""Whose code is at work: from a frame to the project's own line, across the threads and tasks of libraries.

Asked only when something was refused, so it may take its time. Event loops look names up in threads of their own, and
HTTP clients connect in tasks of their own, where no line of the project's is on the stack. Then other threads and tasks
are searched for one whose code has the very host in hand.
"""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
from asyncio import AbstractEventLoop, Task, all_tasks
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

import _pytest

import starling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import FrameType

__all__ = ["Caller", "find_caller", "is_ours", "is_users"]

_SDKS = ("anthropic", "cohere", "google.genai", "groq", "litellm", "mistralai", "ollama", "openai", "together")
"""Packages whose connections go to a model."""
_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
_TURN = ("asyncio.events", "_run")
"""Where an event loop gives a task its turn."""
_RUNNING = "run_forever"
_LOOKS = 5
_DEEPEST = 200
"""Frames of one task that are looked at."""
_LONGEST_QUEUE = 5
"""Tasks that wait for each other and are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asked for something.

    Attributes:
        file, line: the project's innermost line; empty and 0 if none is known.
        library: the package that was called there; empty if the line itself did it.
        provider: what kind of provider was at work: an SDK's package, or the class of an adapter; empty for none.
    """

    file: str = ""
    line: int = 0
    library: str = ""
    provider: str = ""


def find_caller(frame: FrameType, about: Iterable[str]) -> Caller:
    """Whose code asks for something.

    Args:
        frame: where it is asked for.
        about: the names and addresses of the host; one of them is what waiting code is known by.
    """
    stack = list(_behind(frame))
    turn = list(_of_this_turn(stack))
    caller = _caller(turn)
    if caller.file:
        return caller
    known = {text for text in about if text}
    return _find_elsewhere(known) or (_caller(stack) if stack != turn else caller)


def _find_elsewhere(known: set[str]) -> Caller | None:
    """Somebody in another thread or task who has a host in hand.

    Looked for more than once: a thread that goes on meanwhile takes its frames with it, and is waiting a moment later.
    """
    for _ in range(_LOOKS):
        others = list(_others())
        found = (
            _caller([*frames, *_waiting_for(task, others)])
            for task, frames in others
            if any(_has_in_hand(frame, known) for frame in frames)
        )
        caller = next((one for one in found if one.file), None)
        if caller is not None:
            return caller
    return None


@cache
def is_users(file: str) -> bool:
    """Whether a file is the user's: neither the runtime's, nor pytest's, nor Python's own, nor installed."""
    if not os.path.isabs(file):  # noqa: PTH117 - what was generated, or frozen; no module's own
        return False
    spellings = (Path(file), Path(os.path.realpath(file)))
    return not any(path.is_relative_to(folder) for folder in _foreign_folders() for path in spellings)


@cache
def is_ours(file: str) -> bool:
    """Whether a file is the runtime's or the plugin's."""
    return any(Path(file).is_relative_to(folder) for folder in _own_folders())


@cache
def _own_folders() -> tuple[Path, ...]:
    return tuple(Path(str(home)).parent for home in (starling.__file__, __file__))


@cache
def _foreign_folders() -> tuple[Path, ...]:
    schemes = sysconfig.get_paths()
    return (
        *_own_folders(),
        Path(_pytest.__file__).parent,
        *(Path(schemes[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    )


def _caller(frames: Sequence[FrameType]) -> Caller:
    """Args: frames: the innermost first."""
    provider = next((name for name in map(_provider, frames) if name), "")
    for index, frame in enumerate(frames):
        if is_users(frame.f_code.co_filename):
            library = _package(frames[index - 1]) if index else ""
            return Caller(file=frame.f_code.co_filename, line=frame.f_lineno, library=library, provider=provider)
    return Caller(provider=provider)


def _behind(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _provider(frame: FrameType) -> str:
    """The provider to which a frame belongs: an SDK, or an adapter as `starling.provider.Provider` describes it."""
    module = str(frame.f_globals.get("__name__", ""))
    sdk = next((name for name in _SDKS if module == name or module.startswith(f"{name}.")), "")
    if sdk or "self" not in frame.f_code.co_varnames:
        return sdk
    kind = type(frame.f_locals.get("self"))
    return kind.__qualname__ if callable(getattr(kind, "info", None)) and _takes_request(kind) else ""


def _takes_request(kind: type) -> bool:
    """Whether a class streams as a provider does, given one request. HTTP clients have methods of these names, too."""
    code = getattr(getattr(kind, "stream", None), "__code__", None)
    return code is not None and code.co_argcount == 2


# --- other tasks and threads


def _of_this_turn(stack: Sequence[FrameType]) -> Iterator[FrameType]:
    """What belongs to the task that is at work. What started its event loop has nothing to do with it."""
    return takewhile(lambda frame: (frame.f_globals.get("__name__"), frame.f_code.co_name) != _TURN, stack)


def _others() -> Iterator[tuple[Task[Any] | None, list[FrameType]]]:
    """The frames of whatever else is going on, the innermost first, and the task that they belong to.

    Threads come before tasks: a task that still runs, because a thread was faster than it, is waiting a moment later.
    """
    stacks = {thread: list(_behind(top)) for thread, top in sys._current_frames().items()}
    yield from ((None, list(_of_this_turn(stack))) for thread, stack in stacks.items() if thread != get_ident())
    for loop in _running_loops(stacks.values()):
        for task in all_tasks(loop):
            yield task, list(_suspended(task.get_coro()))[::-1]


def _waiting_for(
    task: Task[Any] | None, others: Sequence[tuple[Task[Any] | None, list[FrameType]]]
) -> Iterator[FrameType]:
    """The frames of what waits for a task, and for that: `asyncio.wait_for` makes one of its own until Python 3.11."""
    for _ in range(_LONGEST_QUEUE):
        behind = (
            (one, frames)
            for one, frames in others
            if task is not None and one is not task and any(_has_in_hand(frame, task) for frame in frames)
        )
        task, frames = next(behind, (None, []))
        yield from frames


def _running_loops(stacks: Iterable[Sequence[FrameType]]) -> set[AbstractEventLoop]:
    found = (frame.f_locals.get("self") for stack in stacks for frame in stack if frame.f_code.co_name == _RUNNING)
    return {loop for loop in found if isinstance(loop, AbstractEventLoop)}


def _suspended(awaitable: Any) -> Iterator[FrameType]:
    """The frames of a coroutine and of all that it waits for, the outermost first."""
    for _ in range(_DEEPEST):
        frame = _of(awaitable, _FRAMES)
        if frame is not None:
            yield frame
            awaitable = _of(awaitable, _AWAITED)
        else:  # a step of an asynchronous generator does not say whose it is, but refers to it
            awaitable = next((one for one in gc.get_referents(awaitable) if _of(one, _FRAMES) is not None), None)
        if awaitable is None:
            return


def _of(value: Any, names: Iterable[str]) -> Any:
    """The attribute that a coroutine, generator or asynchronous generator has."""
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)


def _has_in_hand(frame: FrameType, wanted: set[str] | Task[Any]) -> bool:
    """Whether one of a frame's variables is a host that this is about, or a task."""
    values = list(frame.f_locals.values())
    if isinstance(wanted, Task):
        return any(value is wanted for value in values)
    return any(isinstance(value, str) and value in wanted for value in values)
