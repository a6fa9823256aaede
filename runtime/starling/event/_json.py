"""The JSON projection of a payload, byte for byte what the original's exporter prints (Go's ``encoding/json``).

Fields in declaration order; byte strings, and the raw CBOR of free-form values, as base64; ``<``, ``>``, ``&`` and the
two Unicode line separators escaped; floats in Go's notation; absent optional fields left out.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from starling import _cbor
from starling.errors import LogCorruptError
from starling.event._codec import load_payload
from starling.event._schema import RECORDS, Field, Record

if TYPE_CHECKING:
    from starling.event._envelope import Event

__all__ = ["free_form_to_json", "to_json"]

_HTML = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
# Go prints exponents outside these bounds, and plain decimals within.
_SMALLEST_PLAIN, _SMALLEST_EXPONENT = 1e-6, 1e21


def to_json(event: Event) -> str:
    """Return the payload of ``event`` as JSON text.

    Raises:
        LogCorruptError: the payload cannot be read, or holds a float that JSON lacks (an infinity, NaN).
    """
    try:
        payload, found = load_payload(event.kind, event.payload)
        return _record(RECORDS[payload.KIND], found)
    except LogCorruptError as exc:
        place = f"run {event.run_id}, seq {event.seq}"
        raise LogCorruptError(f"{place}: {exc}", run_id=event.run_id, seq=event.seq) from exc


def free_form_to_json(value: Any) -> str:
    """Return the JSON of plain data as Go's ``json.Marshal`` writes it: the same notation, map keys sorted.

    Raises:
        LogCorruptError: it holds a float that JSON lacks.
    """
    match value:
        case dict():
            members = (f"{_scalar(str(key))}:{free_form_to_json(value[key])}" for key in sorted(value))
            return f"{{{','.join(members)}}}"
        case list() | tuple():
            return f"[{','.join(free_form_to_json(item) for item in value)}]"
        case _:
            return _scalar(value)


def _record(record: Record, found: dict[str, Any]) -> str:
    members = (
        f'"{item.name}":{_value(item, found)}' for item in record.fields if not (item.optional and _empty(item, found))
    )
    return f"{{{','.join(members)}}}"


def _empty(item: Field, found: dict[str, Any]) -> bool:
    value = found.get(item.name)
    return value is None if item.nested else not value


def _value(item: Field, found: dict[str, Any]) -> str:
    value = found.get(item.name)
    record = item.wire.record
    if item.free_form:
        return "null" if item.name not in found else _base64(_cbor.encode(value, max_depth=_cbor.READ_DEPTH))
    if record is not None and value is not None:
        return f"[{','.join(_record(record, one) for one in value)}]" if item.wire.many else _record(record, value)
    return _scalar(None if record is not None else found.get(item.name, item.wire.zero))


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case bytes():
            return _base64(value)
        case _:
            return json.dumps(value, ensure_ascii=False).translate(_HTML)


def _base64(data: bytes) -> str:
    return f'"{b64encode(data).decode()}"'


def _float(number: float) -> str:
    if not math.isfinite(number):
        raise LogCorruptError(f"{number} has no JSON form")
    if number == 0 or _SMALLEST_PLAIN <= abs(number) < _SMALLEST_EXPONENT:
        return format(Decimal(repr(number)), "f").removesuffix(".0")
    mantissa, _, exponent = f"{Decimal(repr(number)):e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{exponent}"
