"""Finds what a recording lacks: clocks, randomness and IO that the project's own code uses past `starling.step`.

Strategy: while a run is recorded, calls are observed (`_observing`). One counts if it is on the list
(`_watched_calls`), made by the project's own code (`_sources`) in a context that belongs to the run, and if that code
works for a tool or is a loop of the user's own. What is called on the way to a provider or an event log, by loggers and
imports, or inside a side effect is no part of what a replay compares. Connections are the exception to "own code": one
that a library makes for a tool counts as well, for hardly anybody opens sockets himself.

Not seen: clocks and randomness in threads that a tool starts on its own account; what C code calls; drivers that do not
connect through Python's `socket`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling.replay._observing import observed_thread
from starling.replay._sources import Side, Sources
from starling.replay._watched_calls import WatchedCall, WatchedCalls
from starling.step._frame import Frame, current

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import BuiltinFunctionType, FrameType

__all__ = ["UndeclaredCall", "UndeclaredCalls"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class UndeclaredCall:
    """A call whose outcome is not recorded, though it may be another one on replay.

    Attributes:
        file, line: where it stands in the project's code; empty and 0 if no such code was on the stack.
        what: the call as people write it, such as ``time.time()``.
        tool: the tool in which it was made first; empty between turns.
        cure: what to do instead, as the second half of a sentence.
    """

    file: str
    line: int
    what: str
    tool: str
    cure: str

    def __str__(self) -> str:
        where = f"in tool {self.tool!r}" if self.tool else "between turns"
        return f"{self.what} {where} is not recorded, so that a replay may see something else: {self.cure}"


class UndeclaredCalls:
    """Watches runs while they are recorded. A `starling.ambient.Watcher`.

    Args:
        roots: the project's folders; installed packages in them are not the project's.
        foreign: other folders below a root that are not the project's.
    """

    def __init__(self, roots: Iterable[Path], foreign: Iterable[Path] = ()) -> None:
        self._sources = Sources(roots, foreign)
        self._calls = WatchedCalls()
        self._found: dict[tuple[str, int, str, str], UndeclaredCall] = {}

    @property
    def found(self) -> tuple[UndeclaredCall, ...]:
        """What was found so far, each place once, by file and line."""
        return tuple(sorted(self._found.values()))

    def watch_thread(self) -> AbstractContextManager[None]:
        """Observe this thread until the block ends."""
        return observed_thread()

    def called(self, function: BuiltinFunctionType, caller: FrameType) -> None:
        """A function written in C is about to be called."""
        if self._may_be_own(caller):
            self._judge(self._calls.built_in(function, caller), caller)

    def entered(self, frame: FrameType) -> None:
        """A function written in Python has been entered."""
        draws = self._calls.draws
        if id(frame.f_code) in draws.seeding:
            draws.note_seeding(frame)
        elif frame.f_back is not None and self._may_be_own(frame.f_back):
            self._judge(self._calls.function(frame), frame.f_back)

    def audited(self, event: str, arguments: tuple[Any, ...], caller: FrameType) -> None:
        """The interpreter announces that something is opened or reached."""
        match event:
            case "open":
                self._judge(*self._calls.opened(arguments, caller))
            case "socket.getaddrinfo":
                self._judge(*self._calls.looked_up(caller))
            case "socket.connect":
                call, author = self._calls.connected(caller)
                if not self._judge(call, author):
                    self._judge_library(call, caller)

    def _may_be_own(self, frame: FrameType) -> bool:
        side = self._sources.side(frame.f_code.co_filename)
        return side is Side.OWN or side is Side.GENERATED  # asked for every call; hashing members of an Enum is slow

    def _judge(self, call: WatchedCall | None, caller: FrameType | None) -> bool:
        """Note a call if the project's own code made it for a run."""
        place, author = current.get(), self._behind_generated(caller)
        if call is None or author is None or not isinstance(place, Frame) or place.closed:
            return False
        if self._side(author) is not Side.OWN or not self._is_for_the_run(author):
            return False
        self._note(call.what, call.cure, place, author)
        return True

    def _judge_library(self, call: WatchedCall, caller: FrameType) -> None:
        """Note a connection that a library made for a tool, at the innermost line of the project's.

        Without such a line (in a task of the library's) the tool is known all the same.
        """
        place = current.get()
        if not isinstance(place, Frame) or place.closed:
            return
        library, frame = caller, self._behind_generated(caller)
        while frame is not None and self._side(frame) is Side.FOREIGN:
            library, frame = frame, self._behind_generated(frame.f_back)
        if not self._is_for_the_run(frame):
            return
        own = frame if frame is not None and self._side(frame) is Side.OWN else None
        if own is None and not place.call_id:
            return
        by = f" by {_package(library)}" if own else ""
        self._note(call.what + by, call.cure, place, own)

    def _behind_generated(self, frame: FrameType | None) -> FrameType | None:
        while frame is not None and self._side(frame) is Side.GENERATED:
            frame = frame.f_back
        return frame

    def _is_for_the_run(self, frame: FrameType | None) -> bool:
        """Whether the code on the stack works for a tool or a loop of the user's, and not for a log or a logger.

        The nearest frame of ours tells. There is none in tasks and threads that such code has started.
        """
        while frame is not None:
            match self._side(frame):
                case Side.BYSTANDER | Side.RUNTIME:
                    return False
                case Side.ENTRANCE | Side.LOOP:
                    return True
            frame = frame.f_back
        return True

    def _side(self, frame: FrameType) -> Side:
        return self._sources.side(frame.f_code.co_filename)

    def _note(self, what: str, cure: str, place: Frame, author: FrameType | None) -> None:
        file, line = (author.f_code.co_filename, author.f_lineno) if author else ("", 0)
        call = UndeclaredCall(file=file, line=line, what=what, tool=place.tool, cure=cure)
        self._found.setdefault((file, line, what, "" if author else place.tool), call)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "a library")).partition(".")[0]
