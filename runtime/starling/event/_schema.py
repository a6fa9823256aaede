"""The payload classes read as a table: for each record its fields, and for each field how it crosses the wire.

A field's annotation picks its `Wire` (see `_SCALARS`; ``tuple[X, ...]`` is a list of records, ``X | None`` one that may
be absent). Reading follows the original in taking an absent field for its zero value (`Record.missing` names the one
that must not be absent); null stands only for a byte string, a list or a free-form value.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from starling import _cbor
from starling.event import _payloads
from starling.event._payloads import OPTIONAL
from starling.event._reader import compile_reader
from starling.event._writer import compile_writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.event._kinds import Kind

__all__ = ["READERS", "RECORDS", "WRITERS", "Field", "Record", "Wire", "WrongTypeError"]


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
        zero: what stands for an absent field.
        record: the class of nested records, if that is what it holds.
        many: whether it holds a list of those.
        deep: whether ``write`` takes the levels of nesting left.
        source: how a generated encoder calls ``write``, with a short cut for the common case.
        take: how a generated reader calls ``read``, likewise.
    """

    name: str
    write: Callable[..., bytes]
    read: Callable[[Any], Any]
    zero: Any = None
    record: Record | None = None
    many: bool = False
    deep: bool = False
    source: str = "{write}({value})"
    take: str = "{value} = {read}({value})"


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

    return Wire(name=name, write=write, read=read, zero=0, source=_SHORT_INT, take=_TAKE_INT)


def _write_bool(value: bool) -> bytes:
    return _BOOLS[value]


def _write_bytes(value: bytes | None) -> bytes:
    return _cbor.NULL if value is None else _cbor.bytes_item(value)


_BOOLS = {True: _cbor.TRUE, False: _cbor.FALSE}
_SHORT_INT = "(small[v] if 0 <= (v := {value}) < 256 else {write}(v))"
_SHORT_TEXT = "(texts[len(t)] + t if len(t := {value}.encode('utf-8', lone)) < 256 else {write}({value}))"
_DEEP = "{write}({value}, room)"
_TAKE = "if type({{value}}) is not {}: {{read}}({{value}})"
_TAKE_INT = "if type({value}) is not int or not 0 <= {value} < 4294967296: {read}({value})"

_SCALARS: dict[str, Wire] = {
    "str": Wire(
        name="a text",
        write=_cbor.text_item,
        read=_reader("a text", str),
        zero="",
        source=_SHORT_TEXT,
        take=_TAKE.format("str"),
    ),
    "int": _integer("a 64-bit integer", -(1 << 63), 1 << 63),
    "Uint32": _integer("an unsigned 32-bit integer", 0, 1 << 32),
    "Uint64": _integer("an unsigned 64-bit integer", 0, 1 << 64),
    "float": Wire(
        name="a float", write=_cbor.float_item, read=_reader("a float", float), zero=0.0, take=_TAKE.format("float")
    ),
    "bool": Wire(name="a bool", write=_write_bool, read=_reader("a bool", bool), zero=False, take=_TAKE.format("bool")),
    "bytes": Wire(
        name="a byte string",
        write=_write_bytes,
        read=_reader("a byte string", bytes),
        zero=b"",
        take=_TAKE.format("bytes"),
    ),
    "bytes | None": Wire(
        name="a byte string",
        write=_write_bytes,
        read=_reader("a byte string", bytes, type(None)),
        take=_TAKE.format("bytes"),
    ),
    "Any": Wire(name="a value", write=_cbor.item, read=lambda value: value, deep=True, source=_DEEP, take="pass"),
}


def _list_of(record: Record) -> Wire:
    write_one, read_one = compile_writer(record), compile_reader(record)

    def write(values: Any, room: int) -> bytes:
        return b"".join((_cbor.list_head(len(values)), *(write_one(value, room - 1) for value in values)))

    def read(values: Any) -> tuple[Any, ...]:
        if values is None:
            return ()
        if type(values) is not list:
            raise WrongTypeError(_mismatch(values, "a list"))
        try:
            return tuple([read_one(value) for value in values])
        except WrongTypeError:
            return tuple(_read_at(record, at, value) for at, value in enumerate(values))  # says where

    return Wire(name="a list", write=write, read=read, zero=(), record=record, many=True, deep=True, source=_DEEP)


def _read_at(record: Record, at: int, value: Any) -> Any:
    try:
        return record.read(value)
    except WrongTypeError as exc:
        exc.path = f"[{at}]{exc.path}"
        raise


def _one_of(record: Record) -> Wire:
    write_one = compile_writer(record)

    def write(value: Any, room: int) -> bytes:
        return _cbor.NULL if value is None else write_one(value, room)

    return Wire(name="a map", write=write, read=compile_reader(record), record=record, deep=True, source=_DEEP)


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
    return Record(cls=cls, fields=tuple(fields))


RECORDS: dict[Kind, Record] = {cls.KIND: _record(cls.__name__) for cls in get_args(_payloads.Payload)}
"""The payload record of every kind."""
WRITERS: dict[type, Callable[[Any, int], bytes]] = {record.cls: compile_writer(record) for record in RECORDS.values()}
"""The encoder of every payload class: payload and levels of nesting left → canonical CBOR."""
READERS: dict[Kind, Callable[[Any], Any]] = {kind: compile_reader(record) for kind, record in RECORDS.items()}
"""The reader of every kind: decoded map → payload. Raises `WrongTypeError`."""
