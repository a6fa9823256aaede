"""Payload encoders, generated from the field table: one join of constant keys and encoded values per record.

A generic encoder would sort keys, encode them and look up types for every event, all of it known beforehand. So a
function is written out and compiled for each record, at import, much as `dataclasses` does. That of UserMessageAppended
joins a constant (map of one, key "content") with ``w0(p.content)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import _cbor

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.event._schema import Field, Record

__all__ = ["compile_writer"]


# What the calls in `Wire.source` may use.
_SCOPE: dict[str, Any] = {
    "join": b"".join,
    "small": _cbor.SMALL_INTS,
    "texts": _cbor.SMALL_TEXTS,
    "lone": _cbor.LONE_SURROGATES,
}


def compile_writer(record: Record) -> Callable[[Any, int], bytes]:
    """Return the function that encodes a ``record.cls``, given how many levels of nesting may be opened."""
    fields = sorted(record.fields, key=lambda item: _key(item.name))  # RFC 8949 §4.2.1: bytewise by encoded key
    scope = dict(_SCOPE)
    for at, item in enumerate(fields):
        scope[f"w{at}"] = item.wire.write
    source = "\n".join(["def write(p, room):", " room -= 1", *_lines(fields, scope)])
    exec(compile(source, f"<writer of {record.cls.__name__}>", "exec"), scope)  # noqa: S102 - text made from our own table
    return scope["write"]  # type: ignore[no-any-return]


def _key(name: str) -> bytes:
    return _cbor.text_item(name)


def _call(at: int, item: Field, value: str = "") -> str:
    return item.wire.source.format(write=f"w{at}", value=value or f"p.{item.name}")


def _lines(fields: list[Field], scope: dict[str, Any]) -> list[str]:
    required = [(at, item) for at, item in enumerate(fields) if not item.optional]
    optional = [item for item in fields if item.optional]
    if not optional:
        return [_join_required(required)]
    scope["heads"] = [_cbor.map_head(size) for size in range(len(fields) + 1)]
    none_set = " or ".join(f"p.{item.name}" for item in optional)
    return [f" if not ({none_set}):", f" {_join_required(required)}", *_join_with_options(fields, len(required))]


def _join_required(fields: list[tuple[int, Field]]) -> str:
    chunks = "".join(f"{_key(item.name)!r}, {_call(at, item)}, " for at, item in fields)
    return f" return join(({_cbor.map_head(len(fields))!r}, {chunks}))"


def _join_with_options(fields: list[Field], required: int) -> list[str]:
    lines, chunks = [f" n = {required}"], []
    for at, item in enumerate(fields):
        if item.optional:
            lines.append(f" o = p.{item.name}")
            lines.append(f" if o: n += 1; o{at} = {_key(item.name)!r} + {_call(at, item, 'o')}")
            lines.append(f" else: o{at} = b''")
            chunks.append(f"o{at}")
        else:
            chunks.append(f"{_key(item.name)!r}, {_call(at, item)}")
    return [*lines, f" return join((heads[n], {', '.join(chunks)}))"]
