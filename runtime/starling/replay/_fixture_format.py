"""What a golden fixture holds, and its form as one SQLite database (plugin page, "Recording"; api page, "Fixture").

Strategy: bytes in, values out. `to_bytes` builds the database in memory and hands out its image, so the same value
gives the same bytes; `from_connection` reads it back and believes nothing. The event tables are those of any service
log, so that `starling.eventlog.SQLiteLog` and the original program can open a fixture; two tables of ours stand beside
them.

Every byte that ends up in a `Fixture` is covered: events by their chain, the terminal event by the stored head hash,
everything else by a digest over the two tables of ours. A fixture that was edited is therefore corrupt, never diverged.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from starling import _blake3, _canonical_json, _cbor
from starling.errors import FixtureError, LogCorruptError, UnencodableValueError
from starling.event import event_hash, validate
from starling.eventlog import SCHEMA_VERSION
from starling.eventlog._migrations import EVENTS_TABLE, MIGRATIONS_TABLE, create_tables, stored_version, tables
from starling.eventlog._sql import COLUMNS, event_of_row, row_of_event
from starling.eventlog._sqlite_open import FIXTURE_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from starling.event import Event

__all__ = ["FORMAT_VERSION", "Fixture", "FixtureRun", "from_connection", "to_bytes"]

FORMAT_VERSION = 1
"""The version of the two tables of ours that this library writes, and the newest that it reads."""

_RUNS_TABLE = "starling_fixture_runs"
_PAGE_SIZES = (512, 1024, 2048, 4096, 8192)  # what packs best depends on the events, and fixtures are committed
_CREATE_SETTINGS = f"CREATE TABLE {FIXTURE_TABLE} (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_CREATE_RUNS = f"""
CREATE TABLE {_RUNS_TABLE} (position INTEGER PRIMARY KEY, run_id TEXT NOT NULL, head_hash BLOB NOT NULL,
    parent_run_id TEXT NOT NULL, parent_call_id TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL)
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureRun:
    """One recorded run of a test.

    Attributes:
        run_id: the run.
        events: all of it, valid, the terminal event last.
        parent_run_id: the run inside which it was started, or ``""``.
        parent_call_id: the tool call inside which it was started, or ``""``.
        began: when it began, in the order of everything that began or ended in the session.
        ended: when it ended, on the same scale.
    """

    run_id: str
    events: tuple[Event, ...]
    parent_run_id: str = ""
    parent_call_id: str = ""
    began: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """Everything that a golden fixture file holds.

    Attributes:
        test_id: pytest's node id of the test that it was recorded for.
        recorded_at: when, as ISO 8601 with an offset.
        versions: what it was recorded with: distribution name to version.
        runs: the runs, in the order in which they were made.
    """

    test_id: str
    recorded_at: str
    versions: Mapping[str, str]
    runs: tuple[FixtureRun, ...]


# --- writing --------------------------------------------------------------------------------------


def to_bytes(fixture: Fixture) -> bytes:
    """The database image of a fixture: the same value gives the same bytes.

    Raises:
        LogCorruptError: a run is not valid.
        FixtureError: two runs have one id, a run's events are of another run, or ``recorded_at`` is no time.
    """
    _check(fixture)
    return min((_image(fixture, page_size) for page_size in _PAGE_SIZES), key=len)


def _image(fixture: Fixture, page_size: int) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("BEGIN")
        create_tables(connection)
        connection.execute(_CREATE_SETTINGS)
        connection.execute(_CREATE_RUNS)
        _insert(connection, MIGRATIONS_TABLE, _migration_rows(fixture))
        _insert(connection, EVENTS_TABLE, (row_of_event(event) for run in fixture.runs for event in run.events))
        _insert(connection, _RUNS_TABLE, (_run_row(*numbered) for numbered in enumerate(fixture.runs, start=1)))
        _insert(connection, FIXTURE_TABLE, sorted(_settings(fixture).items()))
        connection.execute("COMMIT")
        return connection.serialize()


def _check(fixture: Fixture) -> None:
    _nanoseconds(fixture.recorded_at)
    seen: set[str] = set()
    for run in fixture.runs:
        validate(run.events)
        if run.run_id in seen or run.events[0].run_id != run.run_id:
            raise FixtureError(f"run {run.run_id!r} stands twice in the fixture, or its events are of another run")
        seen.add(run.run_id)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    for row in rows:
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - constants


def _migration_rows(fixture: Fixture) -> list[tuple[int, int]]:
    """The versions of an up-to-date log, dated by the recording: a fixture depends on nothing but its value."""
    applied_at = _nanoseconds(fixture.recorded_at)
    return [(version, applied_at) for version in range(1, SCHEMA_VERSION + 1)]


def _nanoseconds(recorded_at: str) -> int:
    try:
        moment = datetime.fromisoformat(recorded_at)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, TypeError) as error:
        raise FixtureError(f"recorded_at must be ISO 8601 with an offset, got {recorded_at!r}") from error


def _run_row(position: int, run: FixtureRun) -> tuple[Any, ...]:
    head_hash = event_hash(run.events[-1])
    return (position, run.run_id, head_hash, run.parent_run_id, run.parent_call_id, run.began, run.ended)


def _settings(fixture: Fixture) -> dict[str, str]:
    settings = {
        "format_version": str(FORMAT_VERSION),
        "recorded_at": fixture.recorded_at,
        "test_id": fixture.test_id,
        "versions": _canonical_json.dumps(dict(fixture.versions)),
    }
    rows = [_run_row(*numbered) for numbered in enumerate(fixture.runs, start=1)]
    return {**settings, "digest": _digest(settings, rows)}


def _digest(settings: Mapping[str, str], run_rows: Sequence[Sequence[Any]]) -> str:
    """BLAKE3 over all that the two tables of ours hold."""
    return _blake3.digest(_cbor.encode([dict(settings), [list(row) for row in run_rows]])).hex()


# --- reading --------------------------------------------------------------------------------------


def from_connection(connection: sqlite3.Connection, path: Path) -> Fixture:
    """The fixture in a database that was opened for reading.

    Raises:
        FixtureError: it is no fixture, or a newer version of this library wrote it.
        LogCorruptError: it was damaged or edited; the text says where.
        sqlite3.Error, UnicodeDecodeError: SQLite cannot read it.
    """
    _check_tables(connection, path)
    _check_pages(connection, path)
    settings = _read_settings(connection, path)
    rows = connection.execute(f"SELECT * FROM {_RUNS_TABLE} ORDER BY position").fetchall()  # noqa: S608 - a constant
    _check_digest(settings, rows, path)
    recorded = _read_events(connection, path)
    _check_same_runs({row[1] for row in rows}, set(recorded), path)
    return Fixture(
        test_id=settings["test_id"],
        recorded_at=settings["recorded_at"],
        versions=_canonical_json.loads(settings["versions"]),
        runs=tuple(_read_run(row, recorded[row[1]], path) for row in rows),
    )


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    found = tables(connection)
    if FIXTURE_TABLE in found:
        return
    if EVENTS_TABLE in found:
        raise FixtureError(
            f"{path} is an event log, but no golden fixture: record one in its place with pytest --record-golden",
            path=str(path),
        )
    raise FixtureError(
        f"{path} is a SQLite database, but no golden fixture: another program wrote it. Move it away, then record the "
        "test with pytest --record-golden",
        path=str(path),
    )


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    ((pages,), (page_size,)) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    size = path.stat().st_size
    if size != pages * page_size:
        raise _corrupt(path, f"it was cut short or added to: it should have {pages * page_size} bytes, but has {size}")
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise _corrupt(path, f"SQLite finds it damaged: {verdict}")


def _read_settings(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    settings = dict(connection.execute(f"SELECT key, value FROM {FIXTURE_TABLE}").fetchall())  # noqa: S608 - a constant
    _refuse_newer(settings.get("format_version"), FORMAT_VERSION, "fixture format", path)
    _refuse_newer(stored_version(connection, str(path)), SCHEMA_VERSION, "log schema", path)
    return settings


def _refuse_newer(found: object, known: int, what: str, path: Path) -> None:
    version = int(found) if isinstance(found, str) and found.isascii() and found.isdigit() else found
    if not isinstance(version, int):
        raise _corrupt(path, f"its {what} version is {found!r}")
    if version > known:
        raise FixtureError(
            f"{path} has {what} version {version}, this version of pytest-starling knows {known}: upgrade it, or "
            "record the test again with pytest --record-golden",
            path=str(path),
        )
    if version != known:
        raise _corrupt(path, f"its {what} version is {version}, which no fixture has")


def _check_digest(settings: Mapping[str, str], run_rows: Sequence[Sequence[Any]], path: Path) -> None:
    covered = {key: value for key, value in settings.items() if key != "digest"}
    try:
        actual = _digest(covered, run_rows)
    except UnencodableValueError as error:
        raise _corrupt(path, f"what it says about its runs cannot be hashed: {error}") from error
    if actual != settings.get("digest"):
        raise _corrupt(path, "what it says about its test and its runs is not what was recorded")


def _read_events(connection: sqlite3.Connection, path: Path) -> dict[str, tuple[Event, ...]]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM {EVENTS_TABLE} ORDER BY run_id, seq")  # noqa: S608 - constants
    events = [event_of_row(row, str(path)) for row in rows]
    return {run_id: tuple(run) for run_id, run in groupby(events, key=lambda event: event.run_id)}


def _check_same_runs(listed: set[str], present: set[str], path: Path) -> None:
    for run_id in sorted(listed - present):
        raise _corrupt(path, "its events are missing", run_id=run_id)
    for run_id in sorted(present - listed):
        raise _corrupt(path, "its events are there, but the fixture does not list the run", run_id=run_id)


def _read_run(row: Sequence[Any], events: tuple[Event, ...], path: Path) -> FixtureRun:
    _, run_id, head_hash, parent_run_id, parent_call_id, began, ended = row
    try:
        validate(events)
    except LogCorruptError as error:
        raise _corrupt(path, error.message, run_id=run_id, seq=error.seq) from error
    if event_hash(events[-1]) != head_hash:
        raise _corrupt(path, "the last event is not the one that was recorded", run_id=run_id, seq=events[-1].seq)
    return FixtureRun(
        run_id=run_id,
        events=events,
        parent_run_id=parent_run_id,
        parent_call_id=parent_call_id,
        began=began,
        ended=ended,
    )


def _corrupt(path: Path, fault: str, *, run_id: str = "", seq: int | None = None) -> LogCorruptError:
    place = (f", run {run_id}" if run_id else "") + (f", seq {seq}" if seq is not None else "")
    return LogCorruptError(
        f"{path}{place}: {fault}. A golden fixture is never edited by hand: restore it from version control, or record "
        "the test again with pytest --record-golden",
        path=str(path),
        run_id=run_id,
        seq=seq,
    )
