"""hypothesis strategies for every payload class, drawn from the field table."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from starling.event._schema import RECORDS, Field, Record

free_form = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=10),
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
    "a value": free_form,
}


def _values(field: Field) -> st.SearchStrategy[Any]:
    record = field.wire.record
    if field.free_form and field.optional:
        return free_form.map(lambda value: value or None)  # an empty one is left out
    if record is None:
        return _SCALARS[field.wire.name]
    one = records(record)
    return st.lists(one, max_size=3).map(tuple) if field.wire.many else st.none() | one


def records(record: Record) -> st.SearchStrategy[Any]:
    return st.builds(record.cls, **{field.name: _values(field) for field in record.fields})


payloads = st.sampled_from(list(RECORDS.values())).flatmap(records)
