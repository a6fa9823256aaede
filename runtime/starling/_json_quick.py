"""The quick way to canonical JSON: small lists and objects of the built-in types alone, every key a clean text.

`starling._canonical_json.dumps` says what the text is, of values of any kind; here the same text comes about in fewer
steps, or none does. The standard library builds an encoder for each text, which takes longer than most
arguments and results of tools do. Programs write objects with the same keys again and again, so their order is
remembered (`_Orders`), with the keys as they are written.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["quick_text"]

_MOST_LEVELS, _MOST_ITEMS = 8, 16
"""What is larger is written faster by the standard library."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_escaped = json.JSONEncoder(ensure_ascii=False).encode


def quick_text(value: Any) -> str:
    """The canonical JSON of a value; empty where the careful way has to be taken."""
    try:
        return _TEXTS[type(value)](value, _MOST_LEVELS)
    except Exception:  # noqa: BLE001 - that takes what is unusual or large, and names what is wrong
        return ""


def _text(value: str, _room: int = 0) -> str:
    if value.isprintable() and '"' not in value and "\\" not in value:  # no surrogate is printable
        return f'"{value}"'
    if _SURROGATES.search(value):
        raise ValueError
    return _escaped(value)


def _number(value: float, _room: int) -> str:
    if not math.isfinite(value):
        raise ValueError
    return repr(value)


def _list(items: list[Any], room: int) -> str:
    if room < 1 or len(items) > _MOST_ITEMS:
        raise ValueError
    return f"[{','.join([_TEXTS[type(item)](item, room - 1) for item in items])}]"


def _object(items: dict[str, Any], room: int) -> str:
    if room < 1 or len(items) > _MOST_ITEMS:
        raise ValueError
    if not items:
        return "{}"
    chunks: list[str] = []
    # `join` refuses keys that are no texts, and takes those of a subclass for what they hold, not for what they equal.
    for key, written in _ORDERS[_SEPARATOR.join(items)]:
        value = items[key]
        chunks.append(written)
        kind = type(value)
        if kind is int:  # a call saved
            chunks.append(repr(value))
        else:
            chunks.append(_TEXTS[kind](value, room - 1))
    chunks.append("}")
    return "".join(chunks)


_TEXTS: dict[type, Callable[[Any, int], str]] = {
    str: _text,
    int: lambda value, _room: repr(value),
    bool: lambda value, _room: "true" if value else "false",
    type(None): lambda _value, _room: "null",
    float: _number,
    list: _list,
    dict: _object,
}
_SEPARATOR = "\0"


class _Orders(dict[str, list[tuple[str, str]]]):
    """By the keys of an object, joined: the keys in order, each with what is written before its value.

    A key that holds the separator is taken for several shorter ones, more altogether than the object has: then two are
    the same, or one is not there.
    """

    def __missing__(self, joined: str) -> list[tuple[str, str]]:
        keys = sorted(joined.split(_SEPARATOR))
        if len(set(keys)) != len(keys):
            raise KeyError(joined)
        order = [(key, f"{',' if at else '{'}{_text(key)}:") for at, key in enumerate(keys)]
        if len(joined) <= _SHORT:  # an object with many keys is mostly one of its kind
            if len(self) >= _MANY:
                self.clear()
            self[joined] = order
        return order


_ORDERS = _Orders()
_SHORT, _MANY = 256, 1024
