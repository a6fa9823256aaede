"""Exceptions that go through the log: described in plain data when they are raised, built again on replay.

Strategy: most exceptions are their class and their text, and no more is recorded of them. Of others the constructor's
arguments and the attributes are kept, as far as they are plain data and small: what `copy` and `pickle` would take,
but without pickling. A name in a log never causes an import; a class that is not loaded gets a stand-in of its name,
one that cannot be built again a subclass that speaks the recorded text, so that `except` clauses work alike.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from starling._cbor import decode, encode
from starling.errors import RecordedEffectError, UnencodableValueError
from starling.event import EffectError
from starling.step import _texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["describe", "rebuild"]

_MAX_BYTES = 16 * 1024
"""How much of an exception's arguments, and again of its attributes, is recorded at most, encoded."""
_MAX_DEPTH = 30
"""A payload may nest 32 levels (wire format); arguments and attributes sit two levels inside it."""
_MAX_MEMBERS, _MAX_LEVELS = 64, 4
"""Members of one exception group, and groups within groups, that are recorded."""

_Parts: TypeAlias = tuple[list[Any] | None, dict[str, Any] | None]
"""Arguments and attributes; None where there are none, or none that can be recorded."""


# --- describing


def describe(error: BaseException) -> EffectError:
    """An exception as it stands in the log."""
    return EffectError(**_described(error, 1))


def _described(error: BaseException, level: int) -> dict[str, Any]:
    cls, message = type(error), _texts.said(error)
    args, state = _parts(error, level)
    described: dict[str, Any] = {"type": f"{cls.__module__}.{cls.__qualname__}", "message": message}
    if args and args != [message]:
        described["args"] = args
    if state:
        described["state"] = state
    return described


def _parts(error: BaseException, level: int) -> _Parts:
    if isinstance(error, BaseExceptionGroup):
        return _plain_list(_group_args(error, level)), _plain_map(vars(error))
    for args, state in _ways_to_build(error):
        plain = _plain_list(args)
        if plain is not None:
            return plain, _plain_map(state)
    return None, _plain_map(vars(error))


def _ways_to_build(error: BaseException) -> Iterator[tuple[Iterable[Any], dict[str, Any]]]:
    """Constructor's arguments and attributes: as the class wants itself copied, then as any exception has them."""
    with suppress(Exception):  # the method may be the user's
        match error.__reduce_ex__(2):
            case (cls, tuple() as args, *rest) if cls is type(error):
                state = rest[0] if rest else None
                yield args, state if isinstance(state, dict) else {}
    yield error.args, vars(error)


def _group_args(group: BaseExceptionGroup[Any], level: int) -> list[Any] | None:
    if level > _MAX_LEVELS or len(group.exceptions) > _MAX_MEMBERS:
        return None
    return [group.message, [_described(member, level + 1) for member in group.exceptions]]


def _plain_list(values: Iterable[Any] | None) -> list[Any] | None:
    """The values as the log will hold them; None if it cannot."""
    return None if values is None else _plain(list(values))


def _plain_map(state: dict[str, Any]) -> dict[str, Any]:
    """Those attributes that the log can hold, in their order, as many as fit."""
    kept: dict[str, Any] = {}
    room = _MAX_BYTES
    for name, value in state.items():
        plain = _plain([name, value], room) if isinstance(name, str) else None
        if plain is not None:
            kept[plain[0]] = plain[1]
            room -= len(encode(plain))
    return kept


def _plain(values: list[Any], room: int = _MAX_BYTES) -> list[Any] | None:
    try:
        data = encode(values, max_depth=_MAX_DEPTH)
    except UnencodableValueError:
        return None
    return cast("list[Any]", decode(data)) if len(data) <= room else None


# --- building again


def rebuild(error: EffectError) -> BaseException:
    """The recorded exception: of its own class where that is loaded, with the recorded text in any case."""
    cls = _find_class(error.type)
    if cls is None:
        return _stand_in(error)
    for build in _ways_to_rebuild(cls, error):
        with suppress(Exception):  # a constructor of the user's that wants other arguments
            rebuilt = _with_state(build(), error)
            if _texts.said(rebuilt) == error.message:
                return rebuilt
    return _speaking(cls, error)


def _ways_to_rebuild(cls: type[BaseException], error: EffectError) -> Iterator[Callable[[], BaseException]]:
    args = error.args if isinstance(error.args, list) else None
    if args is not None and issubclass(cls, BaseExceptionGroup):
        yield partial(_group, cls, args)
    if args is not None:
        yield partial(cls, *args)
        yield partial(_bare, cls, args)
    if not error.message:
        yield cls
    yield partial(cls, error.message)
    yield partial(_bare, cls, [error.message])


def _group(cls: type[BaseExceptionGroup[Any]], args: list[Any]) -> BaseException:
    message, members = args
    return cls(message, [rebuild(EffectError(**member)) for member in members])


def _with_state(rebuilt: BaseException, error: EffectError) -> BaseException:
    for name, value in _state(error).items():
        with suppress(Exception):  # a property of today's class, say
            setattr(rebuilt, name, value)
    return rebuilt


def _state(error: EffectError) -> dict[str, Any]:
    state = error.state if isinstance(error.state, dict) else {}
    return {name: value for name, value in state.items() if isinstance(name, str)}


def _bare(cls: type[BaseException], args: list[Any]) -> BaseException:
    """An exception whose constructor was passed over."""
    rebuilt = cls.__new__(cls, *args)
    rebuilt.args = tuple(args)
    return rebuilt


def _speaking(cls: type[BaseException], error: EffectError) -> BaseException:
    """One of a subclass that has the recorded text."""
    members = {"__module__": cls.__module__, "__str__": lambda _: error.message, "__reduce__": _rebuilt_from(error)}
    spoken = type(cls.__name__, (cls,), members)
    for args in (error.args, [error.message]):
        if isinstance(args, list):
            with suppress(Exception):  # a class that cannot be made without its own arguments, such as ExceptionGroup
                return _with_state(_bare(spoken, args), error)
    return _stand_in(error)


def _stand_in(error: EffectError) -> BaseException:
    """One of a class that has the recorded name, for a class that is not there."""
    name = error.type.rpartition(".")[2]
    members = {"__module__": __name__, "__reduce__": _rebuilt_from(error)}
    stand_in = type(name, (RecordedEffectError,), members)
    return cast("BaseException", stand_in(error.message, **{**_state(error), "recorded_type": error.type}))


def _rebuilt_from(error: EffectError) -> Callable[[BaseException], tuple[Any, ...]]:
    """How an exception whose class was made here pickles: as what it was rebuilt from."""
    return lambda _: (rebuild, (error,))


# --- finding classes


def _find_class(qualified: str) -> type[BaseException] | None:
    """Look a class up among the modules that are loaded; a name in a log never causes an import."""
    if "<locals>" in qualified:
        return _find_local_class(qualified)
    module_name, _, path = qualified.rpartition(".")
    while module_name:
        found: Any = sys.modules.get(module_name)
        if found is not None:
            for part in path.split("."):
                found = getattr(found, "__dict__", {}).get(part)  # `getattr` would ask a module's `__getattr__`
            return found if isinstance(found, type) and issubclass(found, BaseException) else None
        module_name, _, last = module_name.rpartition(".")
        path = f"{last}.{path}"
    return None


def _find_local_class(qualified: str) -> type[BaseException] | None:
    """The youngest living class of this name; one that is defined in a function can be found in no module."""
    found, pending = None, [BaseException]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            if f"{cls.__module__}.{cls.__qualname__}" == qualified:
                found = cls
    return found
