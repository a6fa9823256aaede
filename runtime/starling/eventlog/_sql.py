"""Events as table rows: the statements and the check of a row's form, shared by every SQL backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from starling.errors import LogCorruptError
from starling.event import Kind
from starling.event._envelope import new_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event

__all__ = ["COLUMNS", "Row", "event_of_row", "row_of_event"]

COLUMNS = "run_id, seq, prev_hash, ts, kind, payload"
"""The columns of ``eventlog_events``, in the order of a `Row`."""

Row: TypeAlias = tuple[Any, Any, Any, Any, Any, Any]

_TYPES = (("run_id", str), ("seq", int), ("prev_hash", bytes), ("ts", int), ("kind", int), ("payload", bytes))
_HASH_SIZE = 32


def row_of_event(event: Event) -> Row:
    """The row of an event, as values that every driver takes."""
    return (event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload)


def event_of_row(row: Sequence[Any], path: str) -> Event:
    """The event in a row.

    Args:
        row: values in the order of `COLUMNS`.
        path: where the log is, for messages.

    Raises:
        LogCorruptError: a column does not hold what it must; SQLite would store anything anywhere.
    """
    run_id, seq, prev_hash, ts, kind, payload = row
    if (
        type(run_id) is str
        and type(seq) is type(ts) is type(kind) is int
        and type(payload) is bytes
        and (prev_hash is None or (type(prev_hash) is bytes and len(prev_hash) == _HASH_SIZE))
        and seq >= 1
        and kind >= 0
    ):
        return new_event(run_id, seq, prev_hash, ts, _KINDS.get(kind, kind), payload)
    raise LogCorruptError(
        f"{path}: run {run_id!r} seq {seq!r}: {_fault(row)}. The row was changed after it was written; restore the log "
        "from a copy",
        path=path,
        run_id=str(run_id),
        seq=seq if type(seq) is int else None,
    )


_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}

_FOUND = {"BrokenText": "text that is not UTF-8"}
"""Types of ours in plain words; see `starling.eventlog._sqlite_text`."""


def _fault(row: Sequence[Any]) -> str:
    """What is wrong with a row that is no event's."""
    for (column, wanted), value in zip(_TYPES, row, strict=True):
        if type(value) is not wanted and not (column == "prev_hash" and value is None):
            return f"{column} must be {wanted.__name__}, found {_FOUND.get(type(value).__name__, type(value).__name__)}"
    _, seq, prev_hash, _, kind, _ = row
    if seq < 1:
        return f"seq must be 1 or more, found {seq}"
    if prev_hash is not None and len(prev_hash) != _HASH_SIZE:
        return f"prev_hash must be {_HASH_SIZE} bytes, found {len(prev_hash)}"
    return f"kind must not be negative, found {kind}"
