"""The quick way to an item: lists and maps of the built-in types alone, every key a clean text.

`starling._cbor.careful_item` says what the bytes are, of values of any kind; here the same bytes come about in fewer
steps, or anything at all is raised. Two things save time. All chunks of a value, however nested, end up in one join.
And programs write maps with the same keys in the same order again and again, so the order of a map's keys on the wire
is remembered (`_Orders`), with the encoded keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling._cbor_scalars import (
    FALSE,
    NULL,
    SMALL_INTS,
    SMALL_TEXTS,
    TRUE,
    bytes_item,
    float_item,
    int_item,
    list_head,
    map_head,
    text_head,
    text_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PUTS", "SCALARS"]

SCALARS: dict[type, Callable[[Any], bytes]] = {
    str: text_item,
    int: int_item,
    bool: lambda value: TRUE if value else FALSE,
    type(None): lambda _value: NULL,
    float: float_item,
    bytes: bytes_item,
}
"""The encoder of each scalar type."""


def _put_map(items: dict[str, Any], room: int, put: Callable[[bytes], None]) -> None:
    if room < 1:
        raise ValueError(room)
    if not items:
        return put(b"\xa0")
    # `join` refuses keys that are no texts, and takes those of a subclass for what they hold, not for what they equal.
    for key, encoded in _ORDERS[_SEPARATOR.join(items)]:
        value = items[key]
        put(encoded)
        kind = type(value)
        if kind is str:  # a call saved for each of the two that are in most maps
            data = value.encode()
            size = len(data)
            put(SMALL_TEXTS[size] if size < 256 else text_head(size))
            put(data)
        elif kind is int:
            put(SMALL_INTS[value] if 0 <= value < 256 else int_item(value))
        elif kind in PUTS:
            PUTS[kind](value, room - 1, put)
        else:
            put(SCALARS[kind](value))
    return None


def _put_list(items: list[Any] | tuple[Any, ...], room: int, put: Callable[[bytes], None]) -> None:
    if room < 1:
        raise ValueError(room)
    put(list_head(len(items)))
    for value in items:
        kind = type(value)
        if kind in PUTS:
            PUTS[kind](value, room - 1, put)
        else:
            put(SCALARS[kind](value))


PUTS: dict[type, Callable[[Any, int, Callable[[bytes], None]], None]] = {
    dict: _put_map,
    list: _put_list,
    tuple: _put_list,
}
"""For each container type, what puts together the item of one that may open so many levels, chunk by chunk.

It raises anything where the careful way has to be taken.
"""
_SEPARATOR = "\0"


class _Orders(dict[str, list[tuple[str, bytes]]]):
    """By the keys of a map, joined: the keys in the order of the wire, each with its item, the first behind the head.

    Keys that hold the separator themselves are taken for more and shorter ones. Those are not all in the map then,
    unless two are the same.
    """

    def __missing__(self, joined: str) -> list[tuple[str, bytes]]:
        keys = joined.split(_SEPARATOR)
        encoded = {_clean(key): key for key in keys}
        if len(encoded) != len(keys):
            raise KeyError(joined)
        first, *others = sorted(encoded)
        order = [(encoded[first], map_head(len(keys)) + first), *((encoded[data], data) for data in others)]
        if len(joined) <= _SHORT:  # a map with many keys is mostly one of its kind
            if len(self) >= _MANY:
                self.clear()
            self[joined] = order
        return order


def _clean(key: str) -> bytes:
    key.encode()  # no lone surrogate: two of those may come to the same bytes
    return text_item(key)


_ORDERS = _Orders()
_SHORT, _MANY = 256, 1024
