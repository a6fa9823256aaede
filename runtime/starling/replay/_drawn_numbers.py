"""Random numbers, and which of them a replay would not draw again.

Those are the numbers of the generator behind `random`'s functions, those of the system, and those of any generator
that is not seeded. One that was seeded while the run was watched is fine. How an older one came about is not known: it
counts if it is a global of the caller's module, since its state then outlives the test, and not if the test or an
object handed it in.
"""

from __future__ import annotations

import importlib
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from starling.replay._by_identity import ByIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import BuiltinFunctionType, CodeType, FrameType

__all__ = ["DrawnNumbers"]

_SEEDING = ("seed", "setstate")


class DrawnNumbers:
    """Tells draws from generators that matter by name, such as ``random.choice``.

    Attributes:
        names: the methods written in C that draw.
        codes: the methods written in Python that draw, or seed.
    """

    names = frozenset({"random", "getrandbits"})

    def __init__(self) -> None:
        module, system = importlib.import_module("random"), importlib.import_module("secrets")
        self._base: Any = module.Random
        self._system: Any = module.SystemRandom
        self._shared = getattr(module.random, "__self__", None)
        self._shared_system = getattr(system.randbits, "__self__", None)
        self._seeding = frozenset(id(code) for name, code in _methods(self._base) if name in _SEEDING)
        drawing = [(name, code) for name, code in _methods(self._base, self._system) if name not in _SEEDING]
        self._drawing = {id(code): name for name, code in drawing}
        self.codes = (*(code for _, code in _methods(self._base)), *(code for _, code in drawing))
        self._fixed = ByIdentity[bool]()

    def built_in(self, function: BuiltinFunctionType, caller: FrameType) -> str | None:
        """A function written in C is called."""
        generator = function.__self__
        return self._draw(generator, function.__name__, caller) if issubclass(type(generator), self._base) else None

    def entered(self, frame: FrameType) -> str | None:
        """A function written in Python has been entered."""
        name = self._drawing.get(id(frame.f_code))
        if name is None or frame.f_back is None:
            return None
        return self._draw(_argument(frame, 0), name, frame.f_back)

    def handed(self, method: MethodType, author: FrameType) -> str | None:
        """A method is given to somebody who will call it."""
        name = self._drawing.get(id(getattr(method.__func__, "__code__", None)))
        return self._draw(method.__self__, name, author) if name else None

    def note_seeding(self, entered: FrameType) -> None:
        """Remember whether a generator was given a seed, by whomever: `random.Random` itself, most of the time."""
        if id(entered.f_code) in self._seeding:
            self._fixed[_argument(entered, 0)] = _argument(entered, 1) is not None

    def _draw(self, generator: Any, name: str, caller: FrameType) -> str | None:
        return self._shown(generator, name) if self._leaks(generator, caller) else None

    def _leaks(self, generator: Any, caller: FrameType) -> bool:
        if isinstance(generator, self._system):
            return True
        fixed = self._fixed.get(generator)
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
