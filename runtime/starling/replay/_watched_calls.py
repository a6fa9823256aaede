"""Which calls make a run nondeterministic, and how to know them by sight.

Strategy: functions are known by what they are, not by what they are called where they are used, so that
``from time import time`` makes no difference. They are looked up by name each time a recording begins: where a test
has put something else in their place (frozen time), that is left alone. Nothing here is ever called, and modules are
named instead of imported, because this package reads no clock and no randomness (import-linter checks it).
"""

from __future__ import annotations

import importlib
import os
import weakref
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

__all__ = ["AUDITED", "WatchedCall", "WatchedCalls"]

AUDITED = frozenset({"open", "socket.connect", "socket.getaddrinfo"})
"""The audit events that are listened to: profiling does not show arguments, and a file may be opened for writing."""


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
    **dict.fromkeys(("time.time", "time.time_ns"), _NOW),
    **dict.fromkeys(("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"), _NOW),
    "datetime.date.today": _NOW,
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"), _ID),
    **dict.fromkeys(("os.urandom", "os.getrandom"), _ID),
    **dict.fromkeys(("secrets.token_bytes", "secrets.token_hex", "secrets.token_urlsafe"), _ID),
    "secrets.randbelow": _DRAW,
}
_SEEDING = ("seed", "setstate")
_READING = ("open", "read_text", "read_bytes")


class WatchedCalls:
    """Tells whether a call is one of those that make a run nondeterministic."""

    def __init__(self) -> None:
        self._built_in: dict[object, WatchedCall] = {}
        self._functions: dict[int, WatchedCall] = {}
        for name, cure in _NAMED.items():
            self._add(name, WatchedCall(f"{name.removeprefix('datetime.')}()", cure))
        self.draws = Draws()
        self._opening = _opening()
        connecting = importlib.import_module("socket")
        self._looking_up = _code_of(getattr(connecting, "getaddrinfo", None))
        self._connecting = _code_of(getattr(connecting, "create_connection", None))

    def _add(self, name: str, call: WatchedCall) -> None:
        function = _find(name)
        if isinstance(function, BuiltinFunctionType):
            self._built_in[function] = call
        elif isinstance(function, FunctionType):
            self._functions[id(function.__code__)] = call

    def built_in(self, function: BuiltinFunctionType, caller: FrameType) -> WatchedCall | None:
        """A function written in C is called."""
        return self._built_in.get(function) or self.draws.built_in(function, caller)

    def function(self, entered: FrameType) -> WatchedCall | None:
        """A function written in Python has been entered."""
        return self._functions.get(id(entered.f_code)) or self.draws.function(entered)

    def opened(self, arguments: tuple[Any, ...], caller: FrameType) -> tuple[WatchedCall | None, FrameType | None]:
        """A file is opened; returns the call and who made it. `pathlib` opens files for its callers."""
        _, mode, flags = arguments
        what, author = ("os.open()" if mode is None else "open()"), caller
        while author.f_code in self._opening and author.f_back is not None:
            what, author = f"Path.{author.f_code.co_name}()", author.f_back
        return (WatchedCall(what, _DO) if _reads(flags) else None), author

    def looked_up(self, caller: FrameType) -> tuple[WatchedCall, FrameType | None]:
        """A host's addresses are asked for; returns the call and who made it."""
        return WatchedCall("socket.getaddrinfo()", _DO), _behind(caller, self._looking_up)

    def connected(self, caller: FrameType) -> tuple[WatchedCall, FrameType | None]:
        """A connection is made; returns the call and who made it."""
        return WatchedCall("socket.connect()", _DO), _behind(caller, self._connecting)


def _find(name: str) -> object:
    """A function by its whole name; None if this Python lacks it, or something else stands in its place."""
    module_name, _, path = name.partition(".")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    home = getattr(found, "__module__", None)  # none on methods of built-in classes; `os` is made of posix or nt
    return found if home in {None, module_name, os.name} else None


def _code_of(function: object) -> CodeType | None:
    return function.__code__ if isinstance(function, FunctionType) else None


def _behind(caller: FrameType, code: CodeType | None) -> FrameType | None:
    return caller.f_back if caller.f_code is code else caller


def _reads(flags: int) -> bool:
    """Whether a file that is opened with these flags can bring something in: not if it is empty or new."""
    writes_only = flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
    return not writes_only and not flags & (os.O_TRUNC | os.O_EXCL)


def _opening() -> frozenset[CodeType]:
    path_class: type = importlib.import_module("pathlib").Path
    return frozenset(
        member.__code__
        for cls in path_class.__mro__
        for name, member in vars(cls).items()
        if name in _READING and isinstance(member, FunctionType)
    )


class Draws:
    """Random numbers: those of generators whose state a replay would not find again.

    That is the one behind the module's functions, those of the system, and any that is not seeded. One that was seeded
    while the run was watched is fine. How an older one came about is not known: it counts if it is a global of the
    caller's module, since its state then outlives the test, and not if the test or an object handed it in.

    Attributes:
        seeding: the ids of the code objects that seed a generator.
    """

    def __init__(self) -> None:
        module, system = importlib.import_module("random"), importlib.import_module("secrets")
        self._base: Any = module.Random
        self._system: Any = module.SystemRandom
        self._shared = getattr(module.random, "__self__", None)
        self._shared_system = getattr(system.randbits, "__self__", None)
        self._drawing = {id(code): name for name, code in _methods(self._base, self._system) if name not in _SEEDING}
        self.seeding = frozenset(id(code) for name, code in _methods(self._base) if name in _SEEDING)
        self._seeded: dict[int, tuple[weakref.ref[Any], bool]] = {}

    def built_in(self, function: BuiltinFunctionType, caller: FrameType) -> WatchedCall | None:
        """A function written in C is called."""
        generator = function.__self__
        return self._draw(generator, function.__name__, caller) if issubclass(type(generator), self._base) else None

    def function(self, entered: FrameType) -> WatchedCall | None:
        """A function written in Python has been entered."""
        name = self._drawing.get(id(entered.f_code))
        if name is None or entered.f_back is None:
            return None
        return self._draw(_argument(entered, 0), name, entered.f_back)

    def note_seeding(self, entered: FrameType) -> None:
        """Remember whether a generator was given a seed, by whomever: `random.Random` itself, most of the time."""
        generator, fixed = _argument(entered, 0), _argument(entered, 1) is not None
        key = id(generator)
        self._seeded[key] = weakref.ref(generator, lambda _: self._seeded.pop(key, None)), fixed

    def _draw(self, generator: Any, name: str, caller: FrameType) -> WatchedCall | None:
        return WatchedCall(f"{self._shown(generator, name)}()", _DRAW) if self._leaks(generator, caller) else None

    def _leaks(self, generator: Any, caller: FrameType) -> bool:
        if isinstance(generator, self._system):
            return True
        _, fixed = self._seeded.get(id(generator), (None, None))
        if fixed is not None:
            return not fixed
        return generator is self._shared or any(
            value is generator
            for value in list(caller.f_globals.values())  # a copy, for other threads write to it
        )

    def _shown(self, generator: Any, name: str) -> str:
        if generator is self._shared:
            return f"random.{name}"
        if generator is self._shared_system:
            return f"secrets.{'randbits' if name == 'getrandbits' else name}"
        return f"{type(generator).__name__}().{name}"


def _methods(*classes: type) -> Iterator[tuple[str, CodeType]]:
    """The public methods that are written in Python."""
    for cls in classes:
        for name, member in vars(cls).items():
            if isinstance(member, FunctionType) and not name.startswith("_"):
                yield name, member.__code__


def _argument(entered: FrameType, position: int) -> Any:
    """An argument of a function that has just been entered."""
    return entered.f_locals[entered.f_code.co_varnames[position]]
