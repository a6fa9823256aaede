"""Payloads and single events, drawn from the table that the codec works by: new fields are drawn at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from starling.event import Event, encode_payload
from starling.event._schema import RECORDS

if TYPE_CHECKING:
    from starling.event import Kind, Payload
    from starling.event._schema import Field, Record

__all__ = ["events", "free_form", "payloads"]

_NUMBERS = st.integers(-(1 << 70), 1 << 70)
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.floats(allow_nan=False) | st.text(max_size=10)


def free_form() -> st.SearchStrategy[Any]:
    """Values as a tool's arguments, results and side effects may hold them: what JSON has, and larger integers."""
    return _FREE_FORM


_FREE_FORM: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "a text": st.text(max_size=20),
    "a 64-bit integer": st.integers(-(1 << 63), (1 << 63) - 1),
    "an unsigned 32-bit integer": st.integers(0, (1 << 32) - 1),
    "an unsigned 64-bit integer": st.integers(0, (1 << 64) - 1),
    "a float": st.floats(allow_nan=False),
    "a bool": st.booleans(),
    "a byte string": st.binary(max_size=40),
    "a value": _FREE_FORM,
}
"""By the names of wire types."""


def payloads(kind: Kind | None = None) -> st.SearchStrategy[Payload]:
    """Payloads that can be encoded; nothing in them needs to make sense together.

    Args:
        kind: of this kind only; by default of any.
    """
    if kind is not None:
        return _records(RECORDS[kind])
    return st.sampled_from(list(RECORDS.values())).flatmap(_records)


def events(kind: Kind | None = None) -> st.SearchStrategy[Event]:
    """Single events, each as it might stand somewhere in some log. For whole chains see `runs`."""
    return st.builds(_event, st.text(min_size=1, max_size=30), payloads(kind), _HASHES, _SEQS, _STAMPS)


_HASHES = st.binary(min_size=32, max_size=32)
_SEQS = st.integers(1, (1 << 32) - 1)
_STAMPS = st.integers(0, (1 << 63) - 1)


def _event(run_id: str, payload: Payload, prev_hash: bytes, seq: int, ts: int) -> Event:
    return Event(
        run_id=run_id,
        seq=seq,
        prev_hash=None if seq == 1 else prev_hash,
        ts=ts,
        kind=payload.KIND,
        payload=encode_payload(payload),
    )


def _records(record: Record) -> st.SearchStrategy[Any]:
    return st.builds(record.cls, **{field.name: _values(field) for field in record.fields})


def _values(field: Field) -> st.SearchStrategy[Any]:
    record = field.wire.record
    if field.free_form and field.optional:
        return _FREE_FORM.map(lambda value: value or None)  # an empty one is left out
    if record is None:
        return _SCALARS[field.wire.name]
    one = _records(record)
    return st.lists(one, max_size=3).map(tuple) if field.wire.many else st.none() | one
