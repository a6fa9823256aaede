"""Payload encoders, generated from the field table: one join of constant keys and encoded values per record.

A generic encoder would sort keys, encode them and look up types for every event, all of it known beforehand. So a
function is written out and compiled for each record when it is first needed, much as `dataclasses` does. That of
UserMessageAppended joins a constant (map of one, key "content") with ``w0(p.content)``.

There are two of a record. One takes the payload; the other takes the map that was decoded from its bytes, so that
whoever reads can ask whether it gives these bytes again, without building a payload (`starling.event._codec`).
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
    "ints": _cbor.SMALL_INTS,
    "texts": _cbor.SMALL_TEXTS,
    "strings": _cbor.SMALL_BYTES,
    "text_head": _cbor.text_head,
    "lone": _cbor.LONE_SURROGATES,
}
_PRESENT = {False: "p.{}", True: "p[{!r}]"}
_OPTIONAL = {False: "p.{}", True: "p.get({!r})"}


def compile_writer(record: Record, *, decoded: bool = False) -> Callable[[Any, int], bytes]:
    """Return the function that encodes a ``record.cls``, given how many levels of nesting may be opened.

    Args:
        record: the table's.
        decoded: whether it takes the decoded map instead. It raises anything if a field is missing or does not fit.
    """
    fields = sorted(record.fields, key=_key)  # RFC 8949 §4.2.1: bytewise by encoded key
    scope = dict(_SCOPE, heads=[_cbor.map_head(size) for size in range(len(fields) + 1)])
    for at, item in enumerate(fields):
        scope[f"w{at}"] = item.wire.again if decoded else item.wire.write
    deeper = [" room -= 1"] if any(item.wire.deep for item in fields) else []
    source = "\n".join(["def write(p, room):", *deeper, *_lines(fields, decoded=decoded)])
    exec(compile(source, f"<writer of {record.cls.__name__}>", "exec"), scope)  # noqa: S102 - text made from our own table
    return scope["write"]  # type: ignore[no-any-return]


def _key(item: Field) -> bytes:
    return _cbor.text_item(item.name)


def _lines(fields: list[Field], *, decoded: bool) -> list[str]:
    required, chunks, lines, tests = [], [], [], []
    for at, item in enumerate(fields):
        found = (_OPTIONAL if item.optional else _PRESENT)[decoded].format(item.name)
        if not item.optional:
            chunk = f"{_key(item)!r}, {_call(at, item, found, decoded=decoded)}"
            required.append(chunk)
        else:
            chunk = f"o{at}"
            tests.append(_is_set(item, found))
            set_it = f"size += 1; {chunk} = join(({_key(item)!r}, {_call(at, item, 'o', decoded=decoded)}))"
            lines += [f" o = {found}", f" if {_is_set(item, 'o')}: {set_it}", f" else: {chunk} = b''"]
        chunks.append(chunk)
    # Beside each other, the head and the first key are one constant.
    plain = f" return join(({_cbor.map_head(len(required))!r} {', '.join(required) or ','}))"
    if not tests:
        return [plain]
    with_options = f" return join((heads[size], {', '.join(chunks)}))"
    return [f" if not ({' or '.join(tests)}):", f" {plain}", f" size = {len(required)}", *lines, with_options]


def _call(at: int, item: Field, value: str, *, decoded: bool) -> str:
    # What was decoded has no lone surrogates.
    return item.wire.source.format(write=f"w{at}", value=value, surrogates="" if decoded else "'utf-8', lone")


def _is_set(item: Field, value: str) -> str:
    """Source that says whether a field is not left out: a map may be there and empty."""
    return f"{value} is not None" if item.nested else value
