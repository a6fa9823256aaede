"""Payloads to canonical CBOR and back.

Reading skips fields that it does not know. One of another type is a damaged log, and so is a mandatory one that is
absent; only `load_payload`, for what has to agree with the original on every log, takes that for zero as it does. Bytes
must be canonical. Mostly the proof is cheap: the payload, written again, gives the same bytes. Only where fields were
absent or unknown is the map looked at, and encoded to compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from starling import _cbor
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event._kinds import Kind, kind_name
from starling.event._schema import READERS, RECORDS, WRITERS, Field, Record, WrongTypeError

if TYPE_CHECKING:
    from starling.event._payloads import Payload

__all__ = ["decode_payload", "encode_payload", "load_payload", "read_payload"]

_READERS = [READERS.get(cast("Kind", number)) for number in range(max(Kind) + 1)]
"""By number: an enum's hash is slow."""
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
    payload, found, same = read_payload(kind, data, max_depth=max_depth)
    missing = "" if same else RECORDS[payload.KIND].missing(found)
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
    """Return the payload, the map, and whether the one written again is the other: then nothing is absent or unknown.

    Raises:
        LogCorruptError: as `load_payload`.
    """
    read = _READERS[kind] if 0 <= kind < len(_READERS) else None
    if read is None:
        raise LogCorruptError(f"{kind_name(kind)} is no event kind that this version knows; upgrade pytest-starling")
    try:
        found = _cbor.load(data)
        payload = read(found)
        same = _same_again(payload, data, max_depth)
        if not same:
            _cbor.check_canonical(found, data, max_depth=max_depth)
    except WrongTypeError as exc:
        raise LogCorruptError(f"{Kind(kind)}{exc.path}: {exc.what}", field=exc.path.removeprefix(".")) from None
    except LogCorruptError as exc:
        raise LogCorruptError(f"{Kind(kind)} payload: {exc}") from exc
    return cast("Payload", payload), found, same


def _same_again(payload: Payload, data: bytes, max_depth: int) -> bool:
    try:
        return WRITERS[type(payload)](payload, max_depth) == data
    except _cbor.Misfit:
        return False


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
