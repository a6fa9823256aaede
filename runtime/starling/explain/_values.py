"""Values → short text: bounded whatever they hold, in size and in time. Pure.

Nothing of a payload reaches a terminal as it is: what is not printable (control characters, lone surrogates, marks
that turn the direction of writing) is shown as its escape.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FULL",
    "SHORT",
    "Limits",
    "as_moment",
    "as_text",
    "first_difference",
    "printable",
    "shorten",
    "show",
    "was_cut",
]

_BYTES_PER_CHARACTER = 20
"""Of so many characters that a value may have, one byte is shown; two digits and much to spare."""
_BYTES_A_LINE = 16
_STEP = 4096
"""Characters that are compared at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a divergence is printed.

    Attributes:
        value: characters of one value.
        line: characters of one line of a text. lines: lines of its diff. context: equal lines beside changed ones.
        compared: how many lines are laid side by side at once; lines that moved further than that are not recognised.
        fields: fields that differ. total: characters of all of them, roughly.
        before, after: events of the timeline on either side of the one that differs. brief: characters of each.
        sentence: characters of what the runtime says.
    """

    value: int
    line: int
    lines: int
    context: int
    compared: int
    fields: int
    total: int
    before: int
    after: int
    brief: int
    sentence: int


SHORT = Limits(
    value=160,
    line=140,
    lines=24,
    context=1,
    compared=400,
    fields=8,
    total=12_000,
    before=3,
    after=2,
    brief=72,
    sentence=600,
)
FULL = Limits(
    value=20_000,
    line=20_000,
    lines=2_000,
    context=3,
    compared=1_000,
    fields=500,
    total=200_000,
    before=25,
    after=25,
    brief=200,
    sentence=4_000,
)


def shorten(text: str, limit: int = SHORT.value) -> str:
    """At most ``limit`` characters, on one line; what is left out is marked."""
    start = text[: limit * 4]
    line = printable(" ".join(start.split()) if any(char in start for char in "\r\n\t") else start)
    return line if len(line) <= limit and len(text) <= limit * 4 else f"{line[: limit - 1]}…"


def show(value: Any, limit: int = SHORT.value) -> str:
    """A value as people read it: JSON where it can be."""
    match value:
        case str():
            return shorten(json.dumps(value[: limit * 4], ensure_ascii=False), limit)
        case bytes():
            most = limit // _BYTES_PER_CHARACTER
            return value.hex() if len(value) <= most else f"{value[:most].hex()}… ({len(value)} bytes)"
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return shorten(_number(value), limit)
        case _:
            plain = isinstance(value, dict | list | tuple) or hasattr(type(value), "__dataclass_fields__")
            return shorten(_json(value, limit * 4) if plain else repr(value), limit)


def as_text(value: Any, limit: int) -> str:
    """A value on many lines, to be compared as text; roughly ``limit`` characters of it."""
    match value:
        case str():
            return value[:limit]
        case bytes():
            return "\n".join(
                value[at : at + _BYTES_A_LINE].hex(" ") for at in range(0, min(len(value), limit), _BYTES_A_LINE)
            )
        case dict() | list() | tuple():
            return _json(value, limit, indent=2)
        case _:
            return show(value, limit)


def as_moment(nanoseconds: int) -> str:
    """A time as `starling.step.now` records it, to the microsecond."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)).isoformat()
    except OverflowError:
        return show(nanoseconds)


def was_cut(shown: str) -> bool:
    """Whether something was left out of what `shorten` or `show` gave."""
    return shown.endswith("…")


def printable(text: str) -> str:
    """The text with escapes for what is not printable: what a tool said must not steer a person's terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def first_difference(old: str, new: str) -> int:
    """The index of the first character that differs; the length of the shorter text if none does."""
    shorter = min(len(old), len(new))
    for start in range(0, shorter, _STEP):
        one, other = old[start : start + _STEP], new[start : start + _STEP]
        if one != other:
            pairs = enumerate(zip(one, other, strict=False))
            return next((start + index for index, (a, b) in pairs if a != b), shorter)
    return shorter


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _number(value: float) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no integers of many thousand digits in decimal
        return hex(int(value))


def _json(value: Any, limit: int, indent: int | None = None) -> str:
    """The beginning of a value as JSON, a little more than ``limit`` characters of it."""
    try:
        encoder = json.JSONEncoder(ensure_ascii=False, indent=indent, default=_plain)
        return _beginning(encoder.iterencode(value), limit)
    except (TypeError, ValueError, RecursionError):
        return f"(a {type(value).__name__} that cannot be shown)"


def _beginning(chunks: Iterable[str], limit: int) -> str:
    found, length = [], 0
    for chunk in chunks:
        found.append(chunk)
        length += len(chunk)
        if length > limit:
            break
    return "".join(found)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return show(value)
    slots = getattr(type(value), "__dataclass_fields__", None)
    return {name: getattr(value, name) for name in slots} if slots else repr(value)
