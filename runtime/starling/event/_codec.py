"""Payloads to canonical CBOR and back.

Reading skips fields that it does not know. One of another type is a damaged log, and so is a mandatory one that is
absent; only `load_payload`, for what has to agree with the original on every log, takes that for zero as it does. Bytes
must be canonical. Mostly one proof does for all of that: the decoded map, written field by field as its kind is, gives
the same bytes (`is_whole`). Only where it does not is each field looked at, and the map encoded as it is to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import _cbor
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event._kinds import Kind, kind_name
from starling.event._schema import READERS, RECORDS, REWRITERS, WRITERS, Field, Record, WrongTypeError

if TYPE_CHECKING:
    from starling.event._payloads import Payload

__all__ = ["decode_payload", "encode_payload", "is_whole", "load_payload", "read_payload", "read_whole"]

_WRITE_DEPTH, _MAX_BYTES = _cbor.WRITE_DEPTH, _cbor.MAX_BYTES


def encode_payload(payload: Payload) -> bytes:
    """Return the canonical CBOR of ``payload``.

    Raises:
        UnencodableValueError: a field holds what its wire type cannot, a free-form value is not plain data, the nesting
            exceeds 32 levels in all, or the payload exceeds 64 MiB. ``field`` names the place.
    """
    try:
        data = WRITERS[type(payload)](payload, _WRITE_DEPTH)
    except Exception as exc:  # noqa: BLE001 - whatever the wrong value provoked: the field is found and named
        raise _blame(RECORDS[payload.KIND], payload, exc) from None
    if len(data) > _MAX_BYTES:
        raise UnencodableValueError(
            f"{payload.KIND} payload of {len(data)} bytes is larger than an event may be ({_cbor.MAX_BYTES} bytes); "
            "store the content elsewhere and record where it is"
        )
    return data


def decode_payload(kind: int, data: bytes, *, max_depth: int = _cbor.READ_DEPTH) -> Payload:
    """Return the payload that ``data`` holds.

    Raises:
        LogCorruptError: no kind of that number, not canonical CBOR, nested deeper than ``max_depth``, or a field that
            is missing or has another type than its kind gives it (``field`` and the message name it).
    """
    payload, found, whole = read_payload(kind, data, max_depth=max_depth)
    missing = "" if whole else RECORDS[payload.KIND].missing(found)
    if missing:
        raise LogCorruptError(f"{payload.KIND}{missing}: missing", field=missing.removeprefix("."))
    return payload


def load_payload(kind: int, data: bytes, *, max_depth: int = _cbor.READ_DEPTH) -> tuple[Payload, dict[str, Any]]:
    """Return the payload, with zero for what is absent, and the map it was read from (where it is absent).

    Raises:
        LogCorruptError: as `decode_payload`, but for missing fields.
    """
    payload, found, _ = read_payload(kind, data, max_depth=max_depth)
    return payload, found


def read_payload(kind: int, data: bytes, *, max_depth: int) -> tuple[Payload, dict[str, Any], bool]:
    """Return the payload, the map, and whether that `is_whole`.

    Raises:
        LogCorruptError: as `load_payload`.
    """
    if kind not in RECORDS:
        raise LogCorruptError(f"{kind_name(kind)} is no event kind that this version knows; upgrade pytest-starling")
    try:
        found = _cbor.load(data)
        if is_whole(kind, found, data, max_depth):
            return read_whole(kind, found), found, True
        payload = RECORDS[Kind(kind)].read(found)
        _cbor.check_canonical(found, data, max_depth=max_depth)
    except WrongTypeError as exc:
        raise LogCorruptError(f"{Kind(kind)}{exc.path}: {exc.what}", field=exc.path.removeprefix(".")) from None
    except LogCorruptError as exc:
        raise LogCorruptError(f"{Kind(kind)} payload: {exc}") from exc
    return payload, found, False


def is_whole(kind: int, found: Any, data: bytes, max_depth: int) -> bool:
    """Whether ``found``, which was decoded from ``data``, is a payload in which nothing is absent, unknown or wrong.

    The writer of a kind gives an item of the right type for each field, or raises; it gives them in canonical form. So
    if it gives ``data``, there is nothing else in there.
    """
    try:
        return REWRITERS[kind](found, max_depth) == data
    except Exception:  # noqa: BLE001 - whatever the wrong value provoked
        return False


def read_whole(kind: int, found: dict[str, Any]) -> Payload:
    """Return the payload that ``found`` is, of which `is_whole` is true."""
    payload: Payload = READERS[kind](found)
    return payload


def _blame(record: Record, value: Any, cause: Exception) -> UnencodableValueError:
    """Find the field that cannot be written and say so."""
    for item in record.fields:
        fault = _fault(item, getattr(value, item.name, None))
        if fault:
            path, what = fault
            return UnencodableValueError(f"{record.cls.__name__}.{path}: {what}", field=path)
    return UnencodableValueError(f"{record.cls.__name__}: {cause}")


def _fault(item: Field, value: Any) -> tuple[str, str] | None:
    """Return the place and the fault of a field's value, or None if it can be written."""
    if item.optional and not value:
        return None
    try:
        item.write(value, _WRITE_DEPTH - 1)
    except _cbor.Misfit as misfit:
        advice = f"use plain data, nested at most {_WRITE_DEPTH} levels deep with the payload around it"
        return f"{item.name}{misfit.path}", f"{misfit.what} cannot be written into the log; {advice}"
    except WrongTypeError as exc:
        return item.name, exc.what
    except Exception:  # noqa: BLE001 - see `encode_payload`
        return item.name, f"{type(value).__name__} where {item.wire.name} belongs"
    return None
