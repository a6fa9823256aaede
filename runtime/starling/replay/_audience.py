"""Who is to be told of the calls that are seen in this process, and what they want to hear of.

Strategy: calls are seen in the midst of other people's code, most of them for nothing. So what all watchers together
want is kept ready as plain sets, and is asked before anything else; the context, which decides whom a call concerns,
is looked at for the few that remain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import _watching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import BuiltinFunctionType, CodeType, FrameType

    from starling._watching import Watcher

__all__ = ["Audience"]


class Audience:
    """The watchers whose runs are being recorded now.

    Attributes:
        watchers: each of them once.
        names: functions written in C that one of them wants to hear of.
        codes: functions written in Python that one of them wants to hear of, by the id of the code object. It is
            another dictionary each time that the audience changes.
        events: audit events that one of them wants to hear of.
    """

    __slots__ = ("_hears", "_joined", "codes", "events", "names", "watchers")

    def __init__(self) -> None:
        self._joined: list[Watcher] = []
        self._settle()

    def join(self, watcher: Watcher) -> None:
        """A watcher listens, once more if it did already."""
        self._joined.append(watcher)
        if watcher not in self.watchers:
            self._settle()

    def leave(self, watcher: Watcher) -> None:
        """A watcher that has joined listens once less; one that was dismissed listens no more anyway."""
        if watcher in self._joined:
            self._joined.remove(watcher)
            if watcher not in self._joined:
                self._settle()

    def dismiss(self, watcher: Watcher) -> None:
        """A watcher listens no more, however often it has joined."""
        if watcher in self._joined:
            self._joined = [joined for joined in self._joined if joined is not watcher]
            self._settle()

    def _settle(self) -> None:
        watchers = tuple({id(watcher): watcher for watcher in self._joined}.values())
        self.names: frozenset[str] = frozenset[str]().union(*(watcher.names for watcher in watchers))
        self.events: frozenset[str] = frozenset[str]().union(*(watcher.events for watcher in watchers))
        self.codes: dict[int, CodeType] = {id(code): code for watcher in watchers for code in watcher.codes}
        self._hears: dict[str, bool] = {}
        self.watchers: tuple[Watcher, ...] = watchers

    def hears(self, file: str) -> bool:
        """Whether calls of functions written in C matter if they stand in this file."""
        known = self._hears.get(file)
        if known is None:
            known = self._hears[file] = any(watcher.hears(file) for watcher in self.watchers)
        return known

    def called(self, function: BuiltinFunctionType, caller: FrameType) -> None:
        """A function written in C is about to be called."""
        for watcher in self._here():
            watcher.called(function, caller)

    def entered(self, frame: FrameType) -> None:
        """A function written in Python has been entered."""
        for watcher in self._here():
            watcher.entered(frame)

    def audited(self, event: str, arguments: tuple[Any, ...], caller: FrameType) -> None:
        """The interpreter announces an audit event."""
        for watcher in self._here():
            watcher.audited(event, arguments, caller)

    def _here(self) -> Sequence[Watcher]:
        return _watching.watchers(self.watchers)
