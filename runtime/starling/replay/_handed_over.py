"""Jobs that are handed over to other threads, and who handed them over.

Strategy: a thread of a pool has a context of its own, which knows of no run. But a job is an object that is made where
it is handed over, and stands on the stack where it is carried out. So each is remembered, weakly, with its author.

`asyncio.to_thread`, `loop.run_in_executor`, `Executor.submit` and `threading.Thread` all come down to two classes.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from starling.replay._by_identity import ByIdentity
from starling.replay._sources import package

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from starling.step._frame import Frame

__all__ = ["Author", "HandedOver", "carries_context"]

_HELPERS = frozenset({"aiofiles", "concurrent"})
_ASYNCIO_HELPERS = frozenset({"run_in_executor", "to_thread"})  # the rest of asyncio hands over jobs of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who made a call.

    Attributes:
        place: the tool call, or the loop, that the code works for.
        file, line: the project's code; empty and 0 if there is none on the stack.
    """

    place: Frame
    file: str = ""
    line: int = 0


class HandedOver:
    """The jobs that are under way.

    Attributes:
        codes: the functions in which a job is handed over.
    """

    def __init__(self) -> None:
        thread, job = importlib.import_module("threading").Thread, _job_class()
        self._hands_over = {id(code): code for code in _codes(job, "__init__") + _codes(thread, "start")}
        self._carries_out = _codes(job, "run") + _codes(thread, "_bootstrap_inner")
        self.codes = tuple(self._hands_over.values())
        self._authors = ByIdentity[Author]()

    def is_handing(self, entered: FrameType) -> bool:
        """Whether a job is handed over in this frame."""
        return id(entered.f_code) in self._hands_over

    def handed_by(self, entered: FrameType) -> FrameType | None:
        """Who hands over the job in a frame that has just been entered, behind those that help with it."""
        frame = entered.f_back
        while frame is not None and _helps(frame):
            frame = frame.f_back
        return frame

    def note(self, entered: FrameType, author: Author) -> None:
        """Remember the author of the job that is handed over in this frame."""
        self._authors[entered.f_locals["self"]] = author

    def function(self, entered: FrameType) -> tuple[object, tuple[Any, ...]]:
        """What is to be called in the job that is handed over in this frame, and with what; a thread's is unknown."""
        known = entered.f_locals
        return known.get("fn"), known.get("args", ())

    def carries_out(self, frame: FrameType) -> bool:
        """Whether a frame does nothing but carry out a job."""
        return any(frame.f_code is code for code in self._carries_out)

    def author(self, frame: FrameType) -> Author | None:
        """Who handed over the job that a frame carries out, if it does and if that is known."""
        return self._authors.get(frame.f_locals.get("self")) if self.carries_out(frame) else None

    def author_around(self, frame: FrameType | None) -> Author | None:
        """Who handed over the job that a frame is part of."""
        while frame is not None:
            if self.carries_out(frame):
                return self.author(frame)
            frame = frame.f_back
        return None


def carries_context(frame: FrameType) -> bool:
    """Whether a frame carries out a job of anyio's, which brings its context along."""
    return package(frame) == "anyio" and frame.f_code.co_name == "run"


def _helps(frame: FrameType) -> bool:
    helper = package(frame)
    return helper in _HELPERS or (helper == "asyncio" and frame.f_code.co_name in _ASYNCIO_HELPERS)


def _job_class() -> type | None:
    """What a pool of threads makes of a call. It has no public name; where it has another one, jobs are not seen."""
    return getattr(importlib.import_module("concurrent.futures.thread"), "_WorkItem", None)


def _codes(owner: object, name: str) -> tuple[CodeType, ...]:
    function = getattr(owner, name, None)
    return (function.__code__,) if isinstance(function, FunctionType) else ()
