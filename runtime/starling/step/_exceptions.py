"""Exceptions that go through the log: described in plain data when they are raised, built again on replay.

Strategy: most exceptions are their class and their text, and no more is recorded of them. Of others the constructor's
arguments and the attributes are kept, as far as they have a plain form (`_carried`) and are small: what `copy` and
`pickle` would take, but without pickling, and the exception that it was raised from. A name in a log never causes an
import; a class that is not loaded gets a stand-in of its name, one that cannot be built again a subclass that speaks
the recorded text, so that `except` clauses work alike.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, cast

from starling._cbor import decode, encode
from starling.errors import RecordedEffectError, UnencodableValueError
from starling.event import EffectError
from starling.step import _texts
from starling.step._carried import NotPlainError, Packer, looks_like, refuse, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["describe", "rebuild"]

_MAX_BYTES = 16 * 1024
"""How much of an exception's arguments, and again of its attributes, is recorded at most, encoded."""
_MAX_DEPTH = 30
"""A payload may nest 32 levels (wire format); arguments and attributes sit two levels inside it."""
_MAX_MEMBERS, _MAX_LEVELS = 64, 4
"""Members of one exception group, and exceptions within exceptions, that are recorded."""
_MAKER = "starling/maker"
"""Key of ``args`` where a class method of this name makes the exception: its name, and its arguments."""
_CAUSE = "__cause__"

_Above = tuple[BaseException, ...]
"""The exceptions that the one at hand is described in."""


# --- describing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How an exception can be made again: by its class, or a class method of it, with attributes set afterwards."""

    args: Iterable[Any]
    state: dict[str, Any] = field(default_factory=dict)
    maker: str = ""


def describe(error: BaseException) -> EffectError:
    """An exception as it stands in the log."""
    return EffectError(**_described(error, ()))


def _described(error: BaseException, above: _Above) -> dict[str, Any]:
    if len(above) > _MAX_LEVELS or any(error is outer for outer in above):
        refuse(error)
    cls, message = type(error), _texts.said(error)
    args, state = _parts(error, (*above, error))
    described: dict[str, Any] = {"type": f"{cls.__module__}.{cls.__qualname__}", "message": message}
    if args and args != [message]:
        described["args"] = args
    if state:
        described["state"] = state
    return described


def _parts(error: BaseException, above: _Above) -> tuple[Any, dict[str, Any]]:
    """Arguments and attributes; no arguments where there are none, or none that can be recorded."""
    for way in _ways_to_build(error):
        packer = Packer(error=partial(_described, above=above), other=looks_like if way.maker else refuse)
        args = _plain(packer, list(way.args))
        if args is not None:
            state = _plain_map(packer, {**_members(error, way.args), **way.state, _CAUSE: error.__cause__})
            return {_MAKER: [way.maker, args]} if way.maker else args, state
    packer = Packer(error=partial(_described, above=above))
    given = error.args if isinstance(error, BaseExceptionGroup) else ()  # its members are too many
    return None, _plain_map(packer, {**_members(error, given), **_attributes(error), _CAUSE: error.__cause__})


def _ways_to_build(error: BaseException) -> Iterator[_Way]:
    """First as the class wants itself copied, then as any exception is made."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) > _MAX_MEMBERS:
        return
    with suppress(Exception):  # the method may be the user's
        match error.__reduce_ex__(2):
            case (made_by, tuple() as args, *rest) if made_by is type(error) or _is_maker(made_by, error):
                state = rest[0] if rest and isinstance(rest[0], dict) else {}
                yield _Way(args=args, state=state, maker="" if made_by is type(error) else made_by.__name__)
    yield _Way(args=error.args, state=_attributes(error))


def _is_maker(made_by: Any, error: BaseException) -> bool:
    """Whether this is a class method of the exception's class, to be found by its name again."""
    return getattr(made_by, "__self__", None) is type(error) and isinstance(getattr(made_by, "__name__", None), str)


def _attributes(error: BaseException) -> dict[str, Any]:
    return dict(vars(error))


def _members(error: BaseException, args: Iterable[Any]) -> dict[str, Any]:
    """What an exception keeps in slots, and classes written in C in members, unless its arguments bring it back."""
    found: dict[str, Any] = {}
    given = [*args, *(one for each in args if isinstance(each, list | tuple) for one in each)]
    for owner in type(error).__mro__:
        for name, member in vars(owner).items():
            if isinstance(member, MemberDescriptorType) and not name.startswith("__"):
                value = getattr(error, name, None)
                if value is not None and ("__slots__" in vars(owner) or not _is_among(value, given)):
                    found[name] = value
    return found


def _is_among(value: Any, given: list[Any]) -> bool:
    if isinstance(value, tuple):
        return all(_is_among(one, given) for one in value)
    return any(value is one or (type(value) is type(one) in (int, str, bytes) and value == one) for one in given)


def _plain_map(packer: Packer, state: dict[str, Any]) -> dict[str, Any]:
    """Those attributes that the log can hold, in their order, as many as fit."""
    kept: dict[str, Any] = {}
    room = _MAX_BYTES
    for name, value in state.items():
        if not isinstance(name, str) or (name == _CAUSE and value is None):
            continue
        plain = _plain(packer, [name, value], room)
        if plain is not None:
            kept[plain[0]] = plain[1]
            room -= len(encode(plain))
    return kept


def _plain(packer: Packer, values: list[Any], room: int = _MAX_BYTES) -> list[Any] | None:
    """The values as the log will hold them; None if it cannot."""
    try:
        data = encode(packer.pack(values), max_depth=_MAX_DEPTH)
    except (NotPlainError, UnencodableValueError):
        return None
    return cast("list[Any]", decode(data)) if len(data) <= room else None


# --- building again


def rebuild(error: EffectError) -> BaseException:
    """The recorded exception: of its own class where that is loaded, with the recorded text if that can be."""
    cls = _find_class(error.type)
    if cls is None:
        return _stand_in(error)
    another: BaseException | None = None
    for build in _ways_to_rebuild(cls, error):
        with suppress(Exception):  # a constructor of the user's that wants other arguments
            rebuilt = _with_state(build(), error)
            if _texts.said(rebuilt) == error.message:
                return rebuilt
            another = another or rebuilt
    return _speaking(cls, error) or another or _stand_in(error)


def _ways_to_rebuild(cls: type[BaseException], error: EffectError) -> Iterator[Callable[[], BaseException]]:
    match error.args:
        case {"starling/maker": [str() as maker, list() as args]}:
            yield partial(_made, cls, maker, args)
        case list() as args:
            if issubclass(cls, BaseExceptionGroup):
                yield partial(_group, cls, args)
            yield lambda: cls(*_unpacked(args))
            yield partial(_by_names, cls, error)
            yield partial(_bare, cls, args)
    if not error.message:
        yield cls
    yield partial(cls, error.message)
    yield partial(_by_names, cls, error)
    yield partial(_bare, cls, [error.message])


def _unpacked(value: Any) -> Any:
    return unpack(value, _rebuild_from)


def _rebuild_from(described: Mapping[str, Any]) -> BaseException:
    return rebuild(EffectError(**described))


def _made(cls: type[BaseException], maker: str, args: list[Any]) -> BaseException:
    """One that a class method makes, as it is for classes that have no constructor."""
    made_by = getattr(cls, maker)
    if getattr(made_by, "__self__", None) is not cls:
        raise TypeError(f"{cls.__name__}.{maker} is no class method")
    made = made_by(*_unpacked(args))
    if not isinstance(made, cls):
        raise TypeError(f"{cls.__name__}.{maker} makes something else")
    return cast("BaseException", made)


def _by_names(cls: type[BaseException], error: EffectError) -> BaseException:
    """One whose constructor is given the attributes that are called like its parameters."""
    state = _state(error)
    named = {name: state[name] for name in inspect.signature(cls).parameters if name in state}
    if not named:
        raise TypeError("no parameter is called like an attribute")
    return cls(**named)


def _group(cls: type[BaseExceptionGroup[Any]], args: list[Any]) -> BaseException:
    """A group as it was recorded at first, its members being descriptions without a form."""
    message, members = args
    return cls(message, [_rebuild_from(member) for member in members])


def _with_state(rebuilt: BaseException, error: EffectError) -> BaseException:
    for name, value in _state(error).items():
        with suppress(Exception):  # a property of today's class, say
            setattr(rebuilt, name, value)
    return rebuilt


def _state(error: EffectError) -> dict[str, Any]:
    state = error.state if isinstance(error.state, dict) else {}
    return {name: _unpacked(value) for name, value in state.items() if isinstance(name, str)}


def _bare(cls: type[BaseException], args: list[Any]) -> BaseException:
    """An exception whose constructor was passed over."""
    given = _unpacked(args)
    rebuilt = cls.__new__(cls, *given)
    rebuilt.args = tuple(given)
    return rebuilt


def _speaking(cls: type[BaseException], error: EffectError) -> BaseException | None:
    """One of a subclass that has the recorded text; None if there is no such class."""
    members = {"__module__": cls.__module__, "__str__": lambda _: error.message, "__reduce__": _rebuilt_from(error)}
    for args in (error.args, [error.message]):
        if isinstance(args, list):
            with suppress(Exception):  # a class without subclasses, or one that needs its own arguments
                return _with_state(_bare(type(cls.__name__, (cls,), members), args), error)
    return None


def _stand_in(error: EffectError) -> BaseException:
    """One of a class that has the recorded name, for a class that is not there."""
    name = error.type.rpartition(".")[2]
    members = {"__module__": __name__, "__reduce__": _rebuilt_from(error)}
    stand_in = type(name, (RecordedEffectError,), members)
    return _with_state(cast("BaseException", stand_in(error.message, recorded_type=error.type)), error)


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
