"""Values → short text: bounded whatever they hold. Pure."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["changed_text", "shorten", "show"]

_LONGEST_VALUE = 160
_LONGEST_LINE = 140
_MOST_LINES = 24
_MOST_COMPARED = 400
"""Lines of a text that are compared; the first difference is always among them."""
_LEAD = 30
"""Characters shown before the first difference of two long lines."""


def shorten(text: str, limit: int = _LONGEST_VALUE) -> str:
    """At most ``limit`` characters, on one line; what is left out is marked."""
    start = text[: limit * 4]
    line = _printable(" ".join(start.split()) if any(char in start for char in "\r\n\t") else start)
    return line if len(line) <= limit and len(text) <= limit * 4 else f"{line[: limit - 1]}…"


def show(value: Any, limit: int = _LONGEST_VALUE) -> str:
    """A value as people read it: JSON where it can be."""
    match value:
        case str():
            return shorten(json.dumps(value[: limit * 4], ensure_ascii=False), limit)
        case bytes():
            return value.hex() if len(value) <= 8 else f"{value[:8].hex()}… ({len(value)} bytes)"
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return shorten(repr(value), limit)
        case _:
            plain = isinstance(value, dict | list | tuple) or hasattr(type(value), "__dataclass_fields__")
            return shorten(_json(value) if plain else repr(value), limit)


def changed_text(recorded: str, produced: str) -> list[str]:
    """Two texts as a line diff around what differs: ``- `` recorded, ``+ `` produced."""
    from difflib import ndiff

    lines = recorded.splitlines(), produced.splitlines()
    if lines[0] == lines[1]:  # what differs is how lines end
        lines = _with_ends(recorded), _with_ends(produced)
    old, new, skipped = _from_first_difference(*lines)
    if len(old) == len(new) == 1:
        return _changed_line(old[0], new[0])
    found = [line for line in ndiff(old[:_MOST_COMPARED], new[:_MOST_COMPARED]) if line[0] != "?"]
    diff = [_cut(line) for line in _with_context(found)]
    shown = diff[:_MOST_LINES]
    more = len(diff) - len(shown)
    return [
        *([f"  … {skipped} equal line{'' if skipped == 1 else 's'}"] if skipped else []),
        *shown,
        *([f"  … {more} more lines"] if more > 0 else []),
    ]


def _printable(text: str) -> str:
    """The text without control characters: what a model or a tool said must not steer a person's terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return show(value)
    slots = getattr(type(value), "__dataclass_fields__", None)
    return {name: getattr(value, name) for name in slots} if slots else repr(value)


def _with_ends(text: str) -> list[str]:
    """The lines of a text with what ends each of them, to be seen."""
    return [
        f"{line}{json.dumps(whole[len(line) :])[1:-1]}"
        for whole, line in zip(text.splitlines(keepends=True), text.splitlines(), strict=True)
    ]


def _from_first_difference(old: list[str], new: list[str]) -> tuple[list[str], list[str], int]:
    """Both texts from one line before their first difference, and how many equal lines were left out."""
    equal = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        equal += 1
    start = max(0, equal - 1) if equal < max(len(old), len(new)) and (len(old) > 1 or len(new) > 1) else 0
    return old[start:], new[start:], start


def _with_context(lines: list[str]) -> list[str]:
    """The changed lines, and the equal ones beside them."""
    changed = {index for index, line in enumerate(lines) if line[0] in "+-"}
    return [line for index, line in enumerate(lines) if changed & {index - 1, index, index + 1}]


def _changed_line(old: str, new: str) -> list[str]:
    equal = next((index for index, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, equal - _LEAD) if max(len(old), len(new)) > _LONGEST_LINE else 0
    lead = "…" if start else ""
    return [_cut(f"- {lead}{old[start:]}"), _cut(f"+ {lead}{new[start:]}")]


def _cut(line: str) -> str:
    line = _printable(line[: _LONGEST_LINE + 1])
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
