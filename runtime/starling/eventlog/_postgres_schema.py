"""The Postgres schema, version by version: the same tables as in SQLite (wire-format, "Postgres"). Steps, no IO.

Beside them stand two indexes of ours, for listings and for walking the ids. The original takes no notice of them. There
are no seals here, since a writer is to need no privilege on any other table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from starling.errors import LogCorruptError
from starling.eventlog._migrations import EVENTS_TABLE, LEGACY_TABLE, MIGRATIONS_TABLE, pending
from starling.eventlog._protocol import SCHEMA_VERSION
from starling.eventlog._sql import COLUMNS
from starling.eventlog._sql_listing import FIRST_EVENTS_INDEX, Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.eventlog._sql_steps import Steps

__all__ = ["apply_pending", "create_missing", "stored_version"]

_CREATE_EVENTS = f"""
CREATE TABLE IF NOT EXISTS {EVENTS_TABLE} (
    run_id TEXT NOT NULL, seq BIGINT NOT NULL, prev_hash BYTEA, ts BIGINT NOT NULL,
    kind BIGINT NOT NULL, payload BYTEA NOT NULL, PRIMARY KEY (run_id, seq))
"""
_CREATE_MIGRATIONS = f"""
CREATE TABLE IF NOT EXISTS {MIGRATIONS_TABLE} (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)
"""
_INDEXES = {
    FIRST_EVENTS_INDEX: '(ts, run_id COLLATE "C") WHERE seq = 1',
    "starling_run_ids": '(run_id COLLATE "C")',
}
# Tables are looked up in pg_class, not with to_regclass, which answers from a cache that is only brought up to date
# when a transaction begins: whoever waits for a migration would not see what it created.
_OF_TABLE = "FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid)"
_IS_THERE = f"SELECT has_table_privilege(oid, 'SELECT'), pg_has_role(relowner, 'USAGE') {_OF_TABLE}"
_COLUMNS_OF = (
    f"SELECT attname FROM pg_attribute WHERE attrelid = (SELECT oid {_OF_TABLE}) AND attnum > 0 AND NOT attisdropped"  # noqa: S608
)
_LOST = f"""
SELECT run_id, seq FROM (SELECT {COLUMNS} FROM {LEGACY_TABLE} EXCEPT SELECT {COLUMNS} FROM {EVENTS_TABLE}) AS lost
LIMIT 1
"""  # noqa: S608 - constants


def stored_version() -> Steps[int]:
    """The schema version that the database is at; 0 before the first migration.

    A role that may not read the versions (the seed's grants are on the events alone) is taken to be on the current
    one, if there is a log at all: whoever granted it its privileges has migrated.
    """
    versions = yield from _table(MIGRATIONS_TABLE)
    if versions is None:
        return 0
    if not versions.readable:
        return 0 if (yield from _table(EVENTS_TABLE)) is None else SCHEMA_VERSION
    ((version,),) = yield _do(f"SELECT max(version) FROM {MIGRATIONS_TABLE}")  # noqa: S608 - a constant
    return version or 0


def apply_pending(name: str) -> Steps[tuple[int, ...]]:
    """Apply what is pending and return it. Carry it out in a transaction; others that migrate wait for its end.

    Args:
        name: the log, for messages.

    Raises:
        LogCorruptError: the legacy table contradicts the events that are there already.
    """
    yield _do("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", MIGRATIONS_TABLE)
    versions = pending((yield from stored_version()))
    for version in versions:
        yield from _STEPS[version](name)
        yield _do(f"INSERT INTO {MIGRATIONS_TABLE} VALUES (?, ?)", version, time.time_ns())  # noqa: S608
    yield from create_missing()
    return versions


def create_missing() -> Steps[None]:
    """Create the indexes that are missing, if the tables are this role's own. Writers of a large log wait meanwhile."""
    events = yield from _table(EVENTS_TABLE)
    if events is None or not events.owned:
        return
    for name, definition in _INDEXES.items():
        if (yield from _table(name)) is None:
            yield _do(f"CREATE INDEX IF NOT EXISTS {name} ON {EVENTS_TABLE} {definition}")


def _create(name: str) -> Steps[None]:
    del name
    yield _do(_CREATE_EVENTS)
    yield _do(_CREATE_MIGRATIONS)


def _carry_legacy_over(name: str) -> Steps[None]:
    """Take over a table ``events``, if its columns are a log's: a database is shared more often than a file is."""
    columns = yield _do(_COLUMNS_OF, LEGACY_TABLE)
    if sorted(name for (name,) in columns) != sorted(COLUMNS.split(", ")):
        return
    yield _do(
        f"INSERT INTO {EVENTS_TABLE} ({COLUMNS}) SELECT {COLUMNS} FROM {LEGACY_TABLE} ON CONFLICT DO NOTHING"  # noqa: S608
    )
    for run_id, seq in (yield _do(_LOST)):
        raise LogCorruptError(
            f"{name}: run {run_id} seq {seq} stands in {LEGACY_TABLE!r} and, with another content, in "
            f"{EVENTS_TABLE!r}. Nothing was changed; remove the wrong one and migrate again",
            path=name,
            run_id=run_id,
            seq=seq,
        )
    yield _do(f"DROP TABLE {LEGACY_TABLE}")


class _Table(NamedTuple):
    """What this role may do with a table, or with an index."""

    readable: bool
    owned: bool


def _table(name: str) -> Steps[_Table | None]:
    for readable, owned in (yield _do(_IS_THERE, name)):
        return _Table(readable, owned)
    return None


def _do(text: str, *arguments: object) -> Statement:
    return Statement(text=text, arguments=arguments)


_STEPS: dict[int, Callable[[str], Steps[None]]] = {1: _create, 2: _carry_legacy_over}
