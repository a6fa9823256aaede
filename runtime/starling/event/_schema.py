"""The payload classes read as a table: for each record its fields, and for each field how it crosses the wire.

A field's annotation picks its `Wire` (see `_SCALARS`; ``tuple[X, ...]`` is a list of records, ``X | None`` one that may
be absent). Reading follows the original in taking an absent field for its zero value (`Record.missing` names the one
that must not be absent); null stands only for a byte string, a list or a free-form value.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from starling import _cbor
from starling.event import _payloads
from starling.event._payloads import OPTIONAL
from starling.event._reader import compile_reader
from starling.event._writer import compile_writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.event._kinds import Kind

__all__ = ["READERS", "RECORDS", "REWRITERS", "WRITERS", "Field", "Record", "Wire", "WrongTypeError"]


class WrongTypeError(Exception):
    """A value does not have its field's wire type. ``path`` is the place below the field, ``what`` the fault."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A wire type.

    Attributes:
        name: what an error message expects.
        write: value (and, where ``deep``, the levels of nesting left) → CBOR item. Raises whatever the wrong type
            provokes; the caller finds out which field it was.
        read: decoded CBOR → value. Raises `WrongTypeError`.
        again: decoded CBOR → CBOR item, as ``write`` with the value that it is read as. Raises anything if it does
            not fit. The same function as ``write``, but for records.
        take: decoded CBOR that fits → value, where that is another one.
        zero: what stands for an absent field.
        record: the class of nested records, if that is what it holds.
        many: whether it holds a list of those.
        deep: whether ``write`` takes the levels of nesting left.
        source: how a generated encoder calls ``write``, with a short cut for the common case; or the chunks it gives.
    """

    name: str
    write: Callable[..., bytes]
    read: Callable[[Any], Any]
    again: Callable[..., bytes]
    take: Callable[[Any], Any] | None = None
    zero: Any = None
    record: Record | None = None
    many: bool = False
    deep: bool = False
    source: str = "{write}({value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a record; an ``optional`` one is left out while empty (a nested record: while None)."""

    name: str
    wire: Wire
    optional: bool

    def write(self, value: Any, room: int) -> bytes:
        """Return the CBOR item of the field's ``value``."""
        return self.wire.write(value, room) if self.wire.deep else self.wire.write(value)

    def missing(self, value: Any) -> str:
        """Return the place, inside the field's decoded ``value``, of a mandatory field that is absent; see `Record`."""
        record = self.wire.record
        if record is None or value is None:
            return ""
        if not self.wire.many:
            return record.missing(value)
        lacking = ((at, record.missing(one)) for at, one in enumerate(value))
        return next((f"[{at}]{path}" for at, path in lacking if path), "")

    @property
    def free_form(self) -> bool:
        """Whether the field holds any value at all."""
        return self.wire is _SCALARS["Any"]

    @property
    def nested(self) -> bool:
        """Whether the field holds one record (and not a list of them)."""
        return self.wire.record is not None and not self.wire.many


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A payload class, or a class nested in one, with its fields in declaration order."""

    cls: type[Any]
    fields: tuple[Field, ...]

    def read(self, value: Any) -> Any:
        """Build the record from a decoded map, skipping what it does not know. Raises `WrongTypeError`."""
        if type(value) is not dict:
            raise WrongTypeError(_mismatch(value, "a map"))
        found: dict[str, Any] = {}
        for item in self.fields:
            if item.name in value:
                try:
                    found[item.name] = item.wire.read(value[item.name])
                except WrongTypeError as exc:
                    exc.path = f".{item.name}{exc.path}"
                    raise
            elif not item.optional:
                found[item.name] = item.wire.zero
        return self.cls(**found)

    def missing(self, value: dict[str, Any]) -> str:
        """Return the place of the first mandatory field that a map which can be read lacks; empty if it lacks none."""
        for item in self.fields:
            if item.name in value:
                inside = item.missing(value[item.name])
                if inside:
                    return f".{item.name}{inside}"
            elif not item.optional:
                return f".{item.name}"
        return ""


def _mismatch(value: Any, expected: str) -> str:
    return f"{'null' if value is None else type(value).__name__} where {expected} belongs"


def _reader(expected: str, *types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) in types:
            return value
        raise WrongTypeError(_mismatch(value, expected))

    return read


def _integer(name: str, low: int, high: int) -> Wire:
    def write(value: int) -> bytes:
        if low <= value < high:
            return _cbor.int_item(value)
        raise WrongTypeError(f"{value} is outside {name}")

    def read(value: Any) -> int:
        if type(value) is not int:
            raise WrongTypeError(_mismatch(value, name))
        if not low <= value < high:
            raise WrongTypeError(f"{value} is outside {name}")
        return value

    return _scalar(name, write, read, zero=0, source=_SHORT_INT)


def _scalar(name: str, write: Callable[..., bytes], read: Callable[[Any], Any], **others: Any) -> Wire:
    return Wire(name=name, write=write, read=read, again=write, **others)


def _write_bool(value: bool) -> bytes:
    return _BOOLS[value]


def _write_bytes(value: bytes | None) -> bytes:
    return _cbor.NULL if value is None else _cbor.bytes_item(value)


_BOOLS = {True: _cbor.TRUE, False: _cbor.FALSE}
_SHORT_INT = "(ints[v] if 0 <= (v := {value}) < 256 else {write}(v))"
_TEXT = "(texts[n] if (n := len(t := {value}.encode({surrogates}))) < 256 else text_head(n)), t"
_SHORT_BYTES = "(strings[len(b)] + b if (b := {value}) is not None and len(b) < 256 else {write}(b))"
_DEEP = "{write}({value}, room)"

_SCALARS: dict[str, Wire] = {
    "str": _scalar("a text", _cbor.text_item, _reader("a text", str), zero="", source=_TEXT),
    "int": _integer("a 64-bit integer", -(1 << 63), 1 << 63),
    "Uint32": _integer("an unsigned 32-bit integer", 0, 1 << 32),
    "Uint64": _integer("an unsigned 64-bit integer", 0, 1 << 64),
    "float": _scalar("a float", _cbor.float_item, _reader("a float", float), zero=0.0),
    "bool": _scalar("a bool", _write_bool, _reader("a bool", bool), zero=False),
    "bytes": _scalar("a byte string", _write_bytes, _reader("a byte string", bytes), zero=b"", source=_SHORT_BYTES),
    "bytes | None": _scalar(
        "a byte string", _write_bytes, _reader("a byte string", bytes, type(None)), source=_SHORT_BYTES
    ),
    "Any": _scalar("a value", _cbor.item, lambda value: value, deep=True, source=_DEEP),
}


def _list_of(record: Record) -> Wire:
    def write(values: Any, room: int) -> bytes:
        write_one = WRITERS[record.cls]
        return b"".join((_cbor.list_head(len(values)), *[write_one(value, room - 1) for value in values]))

    def again(values: Any, room: int) -> bytes:
        write_one = REWRITERS[record.cls]
        return b"".join((_cbor.list_head(len(values)), *[write_one(value, room - 1) for value in values]))

    def read(values: Any) -> tuple[Any, ...]:
        if values is None:
            return ()
        if type(values) is not list:
            raise WrongTypeError(_mismatch(values, "a list"))
        return tuple([_read_at(record, at, value) for at, value in enumerate(values)])

    def take(values: list[Any]) -> tuple[Any, ...]:
        take_one = READERS[record.cls]
        return tuple([take_one(value) for value in values])

    return Wire(
        name="a list",
        write=write,
        read=read,
        again=again,
        take=take,
        zero=(),
        record=record,
        many=True,
        deep=True,
        source=_DEEP,
    )


def _read_at(record: Record, at: int, value: Any) -> Any:
    try:
        return record.read(value)
    except WrongTypeError as exc:
        exc.path = f"[{at}]{exc.path}"
        raise


def _one_of(record: Record) -> Wire:
    def write(value: Any, room: int) -> bytes:
        return _cbor.NULL if value is None else WRITERS[record.cls](value, room)

    def again(value: Any, room: int) -> bytes:
        return REWRITERS[record.cls](value, room)

    def take(value: dict[str, Any]) -> Any:
        return READERS[record.cls](value)

    return Wire(
        name="a map",
        write=write,
        read=record.read,
        again=again,
        take=take,
        record=record,
        deep=True,
        source=_DEEP,
    )


def _wire(annotation: str) -> Wire:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation.startswith("tuple["):
        return _list_of(_record(annotation.removeprefix("tuple[").removesuffix(", ...]")))
    return _one_of(_record(annotation.removesuffix(" | None")))


def _record(name: str) -> Record:
    cls = getattr(_payloads, name)
    fields = (
        Field(name=item.name, wire=_wire(str(item.type)), optional=OPTIONAL in item.metadata)
        for item in dataclasses.fields(cls)
    )
    record = _BY_KEY[cls] = Record(cls=cls, fields=tuple(fields))
    return record


class _Compiled(dict[Any, Any]):
    """A function for each record, by its class or kind, compiled when it is first asked for: most runs need few."""

    def __init__(self, compiler: Callable[[Record], Callable[..., Any]]) -> None:
        super().__init__()
        self._compiler = compiler

    def __missing__(self, key: type | int) -> Callable[..., Any]:
        made = self[key] = self._compiler(_BY_KEY[key])
        return made


_BY_KEY: dict[type | int, Record] = {}
RECORDS: dict[Kind, Record] = {cls.KIND: _record(cls.__name__) for cls in get_args(_payloads.Payload)}
"""The payload record of every kind."""
_BY_KEY.update(RECORDS.items())

WRITERS: dict[type | int, Callable[[Any, int], bytes]] = _Compiled(compile_writer)
"""The encoder of a payload: payload and levels of nesting left → canonical CBOR."""
REWRITERS: dict[type | int, Callable[[Any, int], bytes]] = _Compiled(partial(compile_writer, decoded=True))
"""Decoded map and levels of nesting left → canonical CBOR of the payload that it is. Raises anything if it is none."""
READERS: dict[type | int, Callable[[dict[str, Any]], Any]] = _Compiled(compile_reader)
"""Decoded map → payload, if the map's `REWRITERS` gives back the bytes that it was decoded from."""
