"""Which calls make a run nondeterministic, and how to know them by sight.

Strategy: functions are known by what they are, not by what they are called where they are used, so that
``from time import time`` makes no difference. They are looked up by name each time a recording begins: where a test
has put something else in their place (frozen time), that is left alone. Nothing here is ever called, and modules are
named instead of imported, because this package reads no clock and no randomness (import-linter checks it).

What is not listed: what measures (`time.monotonic`, `time.perf_counter`), since durations are compared nowhere; and
what tells of the process or the machine (`os.getpid`, `os.environ`, `platform`), since it does not change from one call
to the next and mostly ends up in names and logs.
"""

from __future__ import annotations

import importlib
import os
from contextvars import Context
from dataclasses import dataclass
from dis import get_instructions
from functools import partial
from opcode import opmap
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from starling.replay._drawn_numbers import DrawnNumbers

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["WatchedCall", "WatchedCalls", "done"]


@dataclass(frozen=True, slots=True)
class WatchedCall:
    """What is called, as people write it, and how to declare it."""

    what: str
    cure: str


_NOW = "take the time from starling.step.now()"
_ID = "make it from starling.step.random(), or inside starling.step.side_effect(name, fn)"
_DRAW = "draw from starling.step.random(), or seed a random.Random with it"
_DO = "do it inside starling.step.side_effect(name, fn), or side_effect_sync in a sync tool"

_NAMED = {
    **dict.fromkeys(("time.time", "time.time_ns", "time.clock_gettime", "time.clock_gettime_ns"), _NOW),
    **dict.fromkeys(("time.localtime", "time.gmtime", "time.ctime", "time.asctime", "time.strftime"), _NOW),
    **dict.fromkeys(("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"), _NOW),
    "datetime.date.today": _NOW,
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"), _ID),
    **dict.fromkeys(("os.urandom", "os.getrandom"), _ID),
    **dict.fromkeys(("secrets.token_bytes", "secrets.token_hex", "secrets.token_urlsafe"), _ID),
    "secrets.randbelow": _DRAW,
}
_READS_CLOCK_WITH = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions that read the clock if they get this many arguments; with one more, that is the time."""

_OF_MANY_CLOCKS = frozenset({"clock_gettime", "clock_gettime_ns"})
_WALL_CLOCKS = frozenset({"CLOCK_REALTIME", "CLOCK_TAI"})

_CALLS = frozenset(opmap[name] for name in ("CALL", "PRECALL") if name in opmap)


class WatchedCalls:
    """Tells whether a call is one of those that make a run nondeterministic.

    Attributes:
        names: the functions written in C that have to be looked at, by ``__name__``.
        codes: the functions written in Python that have to be looked at.
    """

    def __init__(self) -> None:
        self._built_in: dict[BuiltinFunctionType, WatchedCall] = {}
        self._of_classes: dict[tuple[object, str], str] = {}
        self._functions: dict[int, WatchedCall] = {}
        codes: list[CodeType] = []
        for name, cure in _NAMED.items():
            call, function = WatchedCall(f"{name.removeprefix('datetime.')}()", cure), _find(name)
            if isinstance(function, BuiltinFunctionType):
                self._built_in[function] = call
                self._of_classes[function.__self__, function.__name__] = cure
            elif isinstance(function, FunctionType):
                self._functions[id(function.__code__)] = call
                codes.append(function.__code__)
        self._drawn = DrawnNumbers()
        self.names = self._drawn.names.union(function.__name__ for function in self._built_in)
        self.codes = (*codes, *self._drawn.codes)

    def built_in(
        self, function: BuiltinFunctionType, caller: FrameType, *, arguments: int | None = None
    ) -> WatchedCall | None:
        """A function written in C is called.

        Args:
            arguments: how many it is given; None if that can be read off the caller's code.
        """
        call = self._built_in.get(function) or self._inherited(function)
        if call is None:
            return _drawing(self._drawn.built_in(function, caller))
        if function.__name__ in _OF_MANY_CLOCKS and _measures(caller):
            return None
        reads_clock_with = _READS_CLOCK_WITH.get(function.__name__)
        if reads_clock_with is None:
            return call
        return call if reads_clock_with == (_arguments(caller) if arguments is None else arguments) else None

    def entered(self, frame: FrameType) -> WatchedCall | None:
        """A function written in Python has been entered."""
        self._drawn.note_seeding(frame)
        return self._functions.get(id(frame.f_code)) or _drawing(self._drawn.entered(frame))

    def handed(self, function: object, arguments: tuple[Any, ...], author: FrameType) -> WatchedCall | None:
        """A function is given to somebody who will call it."""
        while (inner := _inside(function, arguments)) is not None:
            function, arguments = inner
        match function:
            case BuiltinFunctionType():
                return self.built_in(function, author, arguments=len(arguments))
            case FunctionType():
                return self._functions.get(id(function.__code__))
            case MethodType():
                return _drawing(self._drawn.handed(function, author))
        return None

    def _inherited(self, function: BuiltinFunctionType) -> WatchedCall | None:
        """A class method that a subclass inherits, as the project's own kind of `datetime` does."""
        owner, name = function.__self__, function.__name__
        if not isinstance(owner, type):
            return None
        cures = (self._of_classes.get((base, name)) for base in owner.__mro__)
        cure = next(filter(None, cures), None)
        return WatchedCall(f"{owner.__name__}.{name}()", cure) if cure else None


def done(what: str) -> WatchedCall:
    """Something that belongs into a side effect."""
    return WatchedCall(what, _DO)


def _drawing(what: str | None) -> WatchedCall | None:
    return WatchedCall(f"{what}()", _DRAW) if what else None


def _inside(function: object, arguments: tuple[Any, ...]) -> tuple[object, tuple[Any, ...]] | None:
    """What a partial function, or ``Context.run``, is going to call; None if the function is neither."""
    if isinstance(function, partial):
        return function.func, (*function.args, *arguments)
    if isinstance(function, BuiltinFunctionType) and isinstance(function.__self__, Context) and arguments:
        return arguments[0], arguments[1:]
    return None


def _arguments(caller: FrameType) -> int | None:
    """How many arguments the call that is being made has; None if they are unpacked."""
    code, at = caller.f_code.co_code, caller.f_lasti
    return code[at + 1] if code[at] in _CALLS else None


def _measures(caller: FrameType) -> bool:
    """Whether the call that is being made names a clock that is not the wall's, such as ``time.CLOCK_MONOTONIC``."""
    before = (one for one in get_instructions(caller.f_code) if one.offset < caller.f_lasti)
    loaded = [str(one.argval) for one in before if one.opname.startswith("LOAD_")]
    return bool(loaded) and loaded[-1].startswith("CLOCK_") and loaded[-1] not in _WALL_CLOCKS


def _find(name: str) -> object:
    """A function by its whole name; None if this Python lacks it, or something else stands in its place."""
    module_name, _, path = name.partition(".")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    home = getattr(found, "__module__", None)  # none on methods of built-in classes; `os` is made of posix or nt
    return found if home in {None, module_name, os.name} else None
