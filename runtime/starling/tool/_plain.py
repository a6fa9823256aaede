"""From what a tool returns to plain data: None, bool, int, float, str, list and dict with text keys.

Strategy: one walk. Data that is plain already passes without a look at pydantic; the types that Python programs
commonly return are converted by rules of our own, so that no library decides what stands in a log. What has no
obvious form in JSON is refused with its place, never guessed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from starling._canonical_json import dumps
from starling.errors import UnencodableValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["to_plain"]

# Twice what the log takes: here it only catches a value that contains itself.
_MOST_LEVELS = 64
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, bool, type(None)})


def to_plain(value: Any) -> Any:
    """Plain data with the same content.

    Tuples become lists; sets become lists ordered by their JSON; enums their value; dataclasses and pydantic models
    objects; dates and times ISO 8601 text; `decimal.Decimal`, `uuid.UUID` and paths text; whole-number keys text.

    Args:
        value: anything.

    Returns:
        Plain data, sharing nothing with ``value`` that can change.

    Raises:
        UnencodableValueError: something in it has no JSON form (bytes, NaN, infinities, objects of other types, two
            keys that become the same text, more than 64 levels). ``field`` is its place.
    """
    try:
        return _copied(value, _MOST_LEVELS)
    except _NotPlainError:
        pass  # gone on from here, what is raised would show this one
    return _plain(value, "", 0)


class _NotPlainError(Exception):
    """Never leaves this module."""


def _copied(value: Any, room: int) -> Any:
    """The short way for what is plain already: lists and dicts of its own, the same scalars."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if room > 0 and kind is dict and _TEXT.issuperset(map(type, value)):
        return {key: item if type(item) in _SCALARS else _copied(item, room - 1) for key, item in value.items()}
    if room > 0 and kind is list:
        return [item if type(item) in _SCALARS else _copied(item, room - 1) for item in value]
    if kind is float and math.isfinite(value):
        return value
    raise _NotPlainError


def _plain(value: Any, path: str, level: int) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if level > _MOST_LEVELS:
        raise _refused(path, f"is nested deeper than {_MOST_LEVELS} levels, or contains itself")
    if isinstance(value, float):
        return _finite(value, path)
    if isinstance(value, Mapping):
        return _object(value.items(), path, level)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]", level + 1) for index, item in enumerate(value)]
    return _converted(value, path, level)


def _converted(value: Any, path: str, level: int) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, path, level + 1)
    for types, convert in _CONVERSIONS:
        if isinstance(value, types):
            return convert(value)
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, f"{path}{{}}", level + 1) for item in value), key=dumps)
    if hasattr(type(value), "__pydantic_serializer__"):
        return _plain(_dumped(value, path), path, level + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return _object(fields, path, level)
    raise _refused(path, _why_not(value))


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int),
    ((datetime, date, time), lambda moment: moment.isoformat()),
    ((Decimal, UUID, PurePath), str),
)


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise _refused(path, f"is {float(value)}, which JSON does not have; return None or text instead")
    return float(value)


def _object(items: Iterable[tuple[Any, Any]], path: str, level: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in items:
        name = _key(key, path, level)
        if name in plain:
            raise _refused(path, f"has two keys that both become {name!r}")
        plain[name] = _plain(value, f"{path}.{name}" if path else name, level + 1)
    return plain


def _key(key: Any, path: str, level: int) -> str:
    name = _plain(key, path, level + 1)
    if type(name) is int:
        return str(name)
    if not isinstance(name, str):
        raise _refused(path, f"has a key of type {type(key).__name__}; keys must be text or whole numbers")
    return name


def _dumped(value: Any, path: str) -> Any:
    from pydantic_core import PydanticSerializationError

    try:
        return type(value).__pydantic_serializer__.to_python(value, mode="json")
    except (PydanticSerializationError, ValueError) as error:
        name = type(value).__name__
        raise _refused(path, f"is a {name} that pydantic cannot turn into JSON; give its fields JSON types") from error


def _why_not(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "is bytes, which JSON does not have; decode them, or return base64 text"
    return f"is of type {type(value).__qualname__}, which has no JSON form; return plain data"


def _refused(path: str, problem: str) -> UnencodableValueError:
    return UnencodableValueError(f"{path or 'the value'} {problem}", field=path)
