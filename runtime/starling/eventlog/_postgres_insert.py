"""The one statement that an append is, sent straight through libpq.

A cursor of psycopg's finds out the type of every parameter anew, which takes as long as the server takes to append.
Here the types are known: values are packed as the wire wants them, for a statement that a connection prepares once. To
wait, and to cancel on the server what is cancelled here, is left to psycopg.

A batch of one event, which is the most frequent one, goes without arrays: to take them apart costs the server a quarter
more.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, generators
from psycopg.pq import ExecStatus, Format

from starling.eventlog._migrations import EVENTS_TABLE
from starling.eventlog._sql import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.abc import Buffer, PQGen
    from psycopg.pq.abc import PGresult

    from starling.event import Event

__all__ = ["AsyncConnection", "Connection", "insertion"]

# The lock makes appends to one run wait for each other, those of the original included; other runs are not held up. The
# statement sees what was committed before it began to wait: who was second then meets the primary key. A subquery is
# carried out once, whatever the number of rows. All of the predecessor counts, since a run of that id may have been
# deleted, and begun anew, elsewhere; its payload is not sent again.
_IN_TURN = f"""
WHERE (SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) IS NOT NULL)
    AND ($2 = 1 OR EXISTS (
        SELECT 1 FROM {EVENTS_TABLE} AS old WHERE old.run_id = $1 AND old.seq = $2 - 1
            AND old.prev_hash IS NOT DISTINCT FROM $3 AND old.ts = $4 AND old.kind = $5 AND sha256(old.payload) = $6))
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A statement with parameters of known types, each given by its number in ``pg_type``."""

    name: bytes
    text: str
    types: tuple[int, ...]
    formats: list[Format]  # psycopg 3.2 takes no tuple


_DONE = ExecStatus.COMMAND_OK
_TEXT, _BIGINT, _BYTEA, _BIGINTS, _BYTEAS = 25, 20, 17, 1016, 1001
_BEHIND = (_TEXT, _BIGINT, _BYTEA, _BIGINT, _BIGINT, _BYTEA)
"""Run and seq of the first new event; of its predecessor prev_hash, ts, kind and SHA-256 of the payload."""
_ONE = _Prepared(
    name=b"starling_append_one",
    text=f"INSERT INTO {EVENTS_TABLE} ({COLUMNS}) SELECT $1, $2, $7, $8, $9, $10 {_IN_TURN}",
    types=(*_BEHIND, _BYTEA, _BIGINT, _BIGINT, _BYTEA),
    formats=[Format.BINARY] * 10,
)
_MANY = _Prepared(
    name=b"starling_append_many",
    text=f"INSERT INTO {EVENTS_TABLE} ({COLUMNS}) "  # noqa: S608 - constants
    f"SELECT $1, new.* FROM unnest($7, $8, $9, $10, $11) AS new {_IN_TURN}",
    types=(*_BEHIND, _BIGINTS, _BYTEAS, _BIGINTS, _BIGINTS, _BYTEAS),
    formats=[Format.BINARY] * 11,
)


class Connection(psycopg.Connection[Any]):
    """A blocking connection of a log's, which knows whether the statements are prepared on it."""

    is_prepared = False


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same, awaiting."""

    is_prepared = False


def insertion(connection: Connection | AsyncConnection, tail: Event | None, batch: Sequence[Event]) -> PQGen[int]:
    """Add a batch behind its predecessor. For the ``wait`` of the connection.

    Args:
        connection: in autocommit mode.
        tail: the predecessor; None for the beginning of a run.
        batch: one event or more, of one run, whose seqs ascend by one.

    Returns:
        How many were written: all, or none if the predecessor is not there, or another one.

    Raises:
        psycopg.Error: the server refused, or did not answer.
    """
    try:
        statement, values = (_ONE, _values(batch[0])) if len(batch) == 1 else (_MANY, _columns(batch))
        values = _behind(tail, batch[0]) + values
    except (OverflowError, struct.error):
        raise errors.NumericValueOutOfRange("bigint out of range") from None  # as the server says it
    if not connection.is_prepared:
        yield from _prepare(connection)
    connection.pgconn.send_query_prepared(statement.name, values, statement.formats)
    (result,) = yield from generators.execute(connection.pgconn)
    return _checked(result).command_tuples or 0


def _prepare(connection: Connection | AsyncConnection) -> PQGen[None]:
    for statement in (_ONE, _MANY):
        connection.pgconn.send_prepare(statement.name, statement.text.encode(), statement.types)
        (result,) = yield from generators.execute(connection.pgconn)
        with suppress(errors.DuplicatePreparedStatement):  # who prepared it was cancelled before the answer came
            _checked(result)
    connection.is_prepared = True


def _checked(result: PGresult) -> PGresult:
    if result.status != _DONE:
        raise errors.error_from_result(result)
    return result


# -- values in the wire's binary form (PostgreSQL, "Message Data Types"; `array_send`, `int8send`)

_ARRAY = struct.Struct(">iiIii").pack
"""Dimensions, whether there are nulls, the type of the elements; of the one dimension its length and first index."""
_INTEGER = struct.Struct(">iq").pack
_LENGTH = struct.Struct(">i").pack
_NULL = _LENGTH(-1)


def _behind(tail: Event | None, first: Event) -> list[Buffer | None]:
    place: list[Buffer | None] = [first.run_id.encode(), first.seq.to_bytes(8, signed=True)]
    if tail is None:
        return [*place, None, None, None, None]
    return [
        *place,
        tail.prev_hash,
        tail.ts.to_bytes(8, signed=True),
        tail.kind.to_bytes(8, signed=True),
        sha256(tail.payload).digest(),
    ]


def _values(event: Event) -> list[Buffer | None]:
    return [
        event.prev_hash,
        event.ts.to_bytes(8, signed=True),
        event.kind.to_bytes(8, signed=True),
        event.payload,
    ]


def _columns(events: Sequence[Event]) -> list[Buffer | None]:
    return [
        _integers([event.seq for event in events]),
        _blobs([event.prev_hash for event in events]),
        _integers([event.ts for event in events]),
        _integers([event.kind for event in events]),
        _blobs([event.payload for event in events]),
    ]


def _integers(column: Sequence[int]) -> bytes:
    return _ARRAY(1, 0, _BIGINT, len(column), 1) + b"".join([_INTEGER(8, value) for value in column])


def _blobs(column: Sequence[bytes | None]) -> bytes:
    parts = [_NULL if value is None else _LENGTH(len(value)) + value for value in column]
    return _ARRAY(1, 1, _BYTEA, len(column), 1) + b"".join(parts)
