"""Finds what a recording lacks: clocks, randomness and IO that the project's own code uses past `starling.step`.

Strategy: while a run is recorded, calls are observed (`_observing`). One counts if it is on the list
(`_watched_calls`, `_drawn_numbers`, `_opened_files`, `_reached`), made by the project's own code (`_sources`) for a
run, and if that code works for a tool or is a loop of the user's own. What it works for is told by its context, and in
the threads of a pool by the job that is carried out (`_handed_over`). What is called on the way to a provider or an
event log, by loggers and imports, or inside a side effect is no part of what a replay compares. Connections are the
exception to "own code": one that a library makes for a tool counts as well, for hardly anybody opens sockets himself.

What is not seen stands in docs/replay.md.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling.replay._handed_over import Author, HandedOver, carries_context
from starling.replay._observing import forget, observed_thread
from starling.replay._opened_files import OpenedFiles, behind_openers
from starling.replay._reached import Reached
from starling.replay._sources import Side, Sources, package
from starling.replay._watched_calls import WatchedCall, WatchedCalls, done
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
    """Watches runs while they are recorded. A `starling._watching.Watcher`.

    Args:
        roots: the project's folders; installed packages in them are not the project's.
        foreign: other folders below a root that are not the project's.
    """

    def __init__(self, roots: Iterable[Path], foreign: Iterable[Path] = ()) -> None:
        self._sources = Sources(roots, foreign)
        self._calls = WatchedCalls()
        self._jobs = HandedOver()
        self._files = OpenedFiles(self._sources)
        self._reached = Reached()
        self.names = self._calls.names
        self.codes = (*self._calls.codes, *self._jobs.codes)
        self.events = self._files.events | self._reached.events
        self._closed = False
        self._found: dict[tuple[str, int, str, str], UndeclaredCall] = {}

    @property
    def found(self) -> tuple[UndeclaredCall, ...]:
        """What was found so far, each place once, by file and line."""
        return tuple(sorted(self._found.values()))

    def watch_thread(self) -> AbstractContextManager[None]:
        """Observe this thread until the block ends."""
        return nullcontext() if self._closed else observed_thread(self)

    def close(self) -> None:
        """Look no more, at runs that still go on either. What was found stays."""
        self._closed = True
        forget(self)

    def hears(self, file: str) -> bool:
        """Whether calls of functions written in C matter if they stand in this file."""
        return self._sources.side(file) in {Side.OWN, Side.GENERATED}

    def called(self, function: BuiltinFunctionType, caller: FrameType) -> None:
        """A function written in C is about to be called."""
        call = self._calls.built_in(function, caller)
        if call is not None:
            self._judge(call, caller)

    def entered(self, frame: FrameType) -> None:
        """A function written in Python has been entered."""
        if self._jobs.is_handing(frame):
            self._handed_over(frame)
            return
        call = self._calls.entered(frame)
        if call is not None:
            self._judge(call, frame.f_back)

    def audited(self, event: str, arguments: tuple[Any, ...], caller: FrameType) -> None:
        """The interpreter announces that something is opened, reached or started."""
        match event:
            case "open":
                self._opened(caller, *arguments)
            case "os.rename":
                self._files.renamed(*arguments[:2])
            case "socket.sendto" | "socket.sendmsg":  # a library's datagrams are mostly what it tells of its work
                if arguments[1] is not None:  # else the socket is connected, which was told before
                    self._judge(done(f"{event}()"), caller)
            case _ if event.startswith("socket."):
                what, author = self._reached.host(event, caller)
                if not self._judge(done(f"{what}()"), author):
                    asks = event != "socket.getaddrinfo"  # else a library is about to connect: it is one thing
                    self._judge_library(f"{event if asks else 'socket.connect'}()", caller)
            case _:
                what, author = self._reached.program(caller)
                self._judge(done(f"{what}()"), author)

    def _opened(self, caller: FrameType, path: Any, mode: str | None, flags: int) -> None:
        self._files.opened(path, flags, by_run=self._place(caller) is not None)
        what, frame = behind_openers(mode, caller)
        author = self._author(frame)
        if author is not None and self._files.brings_in(path, flags):
            self._note(done(f"{what}()"), author)

    def _handed_over(self, entered: FrameType) -> None:
        """Remember whose job it is, and look at a function that will be called where nothing of it is seen."""
        frame = self._jobs.handed_by(entered)
        if frame is None:
            return
        author = self._author(frame) or (self._author_in_task() if self._side(frame) is Side.LOOP else None)
        if author is None:
            return
        self._jobs.note(entered, author)
        call = self._calls.handed(*self._jobs.function(entered), frame)
        if call is not None:
            self._note(call, author)

    def _judge(self, call: WatchedCall, caller: FrameType | None) -> bool:
        """Note a call if the project's own code made it for a run."""
        author = self._author(caller)
        if author is not None:
            self._note(call, author)
        return author is not None

    def _judge_library(self, what: str, caller: FrameType) -> None:
        """Note a connection that a library made for a tool, at the innermost line of the project's.

        Without such a line (in a task of the library's) the tool is known all the same.
        """
        library, frame = caller, self._behind_generated(caller)
        while frame is not None and self._side(frame) is Side.FOREIGN and not self._jobs.carries_out(frame):
            library, frame = frame, self._behind_generated(frame.f_back)
        author = self._author(frame)
        if author is not None:
            self._note(done(f"{what} by {package(library)}"), author)
        elif (place := self._place(caller)) is not None and place.call_id and self._is_for_the_run(frame):
            self._note(done(what), Author(place=place))

    def _author(self, caller: FrameType | None) -> Author | None:
        """Who made a call, if that is code of the project's that works for a run."""
        frame = self._behind_generated(caller)
        if frame is None:
            return None
        if self._jobs.carries_out(frame):
            author = self._jobs.author(frame)
            return None if author is None or author.place.closed else author
        if carries_context(frame):
            return self._author_in_task()
        if self._side(frame) is not Side.OWN or not self._is_for_the_run(frame):
            return None
        place = self._place(frame)
        return Author(place=place, file=frame.f_code.co_filename, line=frame.f_lineno) if place else None

    def _author_in_task(self) -> Author | None:
        """The author of what happens on its own in a context that belongs to a call; no line tells who began it."""
        place = current.get()
        return Author(place=place) if isinstance(place, Frame) and not place.closed else None

    def _place(self, frame: FrameType) -> Frame | None:
        """The call for which the code on the stack works; None if it has ended, or if there is none (in an effect)."""
        place: object = current.get()
        if place is None:
            author = self._jobs.author_around(frame)
            place = author and author.place
        return place if isinstance(place, Frame) and not place.closed else None

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

    def _note(self, call: WatchedCall, author: Author) -> None:
        tool = author.place.tool
        found = UndeclaredCall(file=author.file, line=author.line, what=call.what, tool=tool, cure=call.cure)
        self._found.setdefault((author.file, author.line, call.what, "" if author.file else tool), found)
