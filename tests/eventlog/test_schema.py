"""Migrations, versions and preflight."""

import contextlib
import shutil
import sqlite3
import threading

import pytest

from starling import eventlog
from starling.errors import (
    LogClosedError,
    LogCorruptError,
    ReadOnlyError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from starling.event import validate
from starling.eventlog import MemoryLog, MigrationReport, SQLiteLog
from starling.testing.eventlog_contract import sample_run

RUNS = [sample_run("a", 3), sample_run("b", 5)]
LEGACY = (
    "CREATE TABLE events (run_id TEXT NOT NULL, seq INTEGER NOT NULL, prev_hash BLOB, ts INTEGER NOT NULL, "
    "kind INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (run_id, seq))"
)


@contextlib.contextmanager
def raw(path):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@pytest.fixture
def legacy(tmp_path):
    """A database as the first versions of the original wrote it."""
    path = tmp_path / "legacy.db"
    with raw(path) as connection:
        connection.execute(LEGACY)
        for event in (event for run in RUNS for event in run):
            row = (event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload)
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
    return path


@pytest.fixture
def newer(tmp_path):
    path = tmp_path / "newer.db"
    with SQLiteLog(path) as log:
        log.append_sync("a", RUNS[0])
    with raw(path) as connection:
        connection.execute("INSERT INTO eventlog_schema_migrations VALUES (3, 1)")
    return path


def names(path):
    with raw(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_opening_a_legacy_log_carries_its_events_over(legacy):
    async with SQLiteLog(legacy) as log:
        for run in RUNS:
            events = await log.read(run[0].run_id)
            assert events == run
            validate(events)
        assert await eventlog.schema_version(log) == 2
        await eventlog.preflight(log)
        assert await eventlog.migrate(log) == MigrationReport(from_version=2, to_version=2, applied=(), dry_run=False)
    assert names(legacy) == {"eventlog_events", "eventlog_schema_migrations", "starling_seals"}


async def test_a_legacy_log_opened_for_reading_asks_to_be_migrated(legacy):
    async with SQLiteLog(legacy, read_only=True) as log:
        assert await eventlog.schema_version(log) == 0
        with pytest.raises(
            SchemaOutdatedError,
            match=rf"\A{legacy} has schema version 0, .* needs 2: run `starling migrate {legacy}`\Z",
        ):
            await eventlog.preflight(log)
        with pytest.raises(SchemaOutdatedError):
            await log.read("a")
        with pytest.raises(SchemaOutdatedError):
            await anext(log.stream("a"))
        report = await eventlog.migrate(log, dry_run=True)
        assert report == MigrationReport(from_version=0, to_version=2, applied=(1, 2), dry_run=True)
        with pytest.raises(ReadOnlyError, match="cannot migrate"):
            await eventlog.migrate(log)
        assert names(legacy) == {"events"}

        SQLiteLog(legacy).close_sync()
        assert await log.read("a") == RUNS[0]
        await eventlog.preflight(log)


def test_version_1_is_taken_to_version_2(legacy):
    with raw(legacy) as connection:
        connection.execute("ALTER TABLE events RENAME TO eventlog_events")
        connection.execute(
            "CREATE TABLE eventlog_schema_migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"
        )
        connection.execute("INSERT INTO eventlog_schema_migrations VALUES (1, 7)")
    with SQLiteLog(legacy, read_only=True) as log:
        assert eventlog.schema_version_sync(log) == 1
    with SQLiteLog(legacy) as log:
        assert log.read_sync("b") == RUNS[1]
    with raw(legacy) as connection:
        versions = connection.execute("SELECT version, applied_at > 0 FROM eventlog_schema_migrations").fetchall()
    assert versions == [(1, 1), (2, 1)]


def test_rows_in_both_tables_are_merged_when_they_agree(legacy, tmp_path):
    merged = tmp_path / "merged.db"
    with SQLiteLog(merged) as log:
        log.append_sync("a", RUNS[0])
        log.append_sync("c", sample_run("c"))
    with raw(merged) as connection:
        connection.execute("DELETE FROM eventlog_schema_migrations WHERE version = 2")
        connection.execute(LEGACY)
        connection.execute("ATTACH ? AS old", (str(legacy),))
        connection.execute("INSERT INTO main.events SELECT * FROM old.events")
    with SQLiteLog(merged) as log:
        assert [log.read_sync(run_id) for run_id in "abc"] == [*RUNS, sample_run("c")]


def test_rows_that_contradict_each_other_stop_the_migration(legacy):
    with raw(legacy) as connection:
        connection.execute("CREATE TABLE eventlog_events AS SELECT * FROM events")
        connection.execute("CREATE UNIQUE INDEX one ON eventlog_events (run_id, seq)")
        connection.execute("UPDATE eventlog_events SET payload = x'a0' WHERE run_id = 'b' AND seq = 3")
    before = legacy.read_bytes()
    with pytest.raises(LogCorruptError, match="run b seq 3 stands in 'events' and, with another content") as caught:
        SQLiteLog(legacy)
    assert (caught.value.run_id, caught.value.seq) == ("b", 3)
    assert legacy.read_bytes() == before


def test_a_newer_log_is_not_written_to(newer):
    before = newer.read_bytes()
    with pytest.raises(
        SchemaTooNewError, match="has schema version 3, this version of pytest-starling knows 2: upgrade"
    ):
        SQLiteLog(newer)
    assert newer.read_bytes() == before


async def test_a_newer_log_can_be_asked_for_its_version_only(newer):
    async with SQLiteLog(newer, read_only=True) as log:
        assert await eventlog.schema_version(log) == 3
        for use in (eventlog.preflight, eventlog.migrate):
            with pytest.raises(SchemaTooNewError):
                await use(log)
        with pytest.raises(SchemaTooNewError):
            await log.read("a")


def test_migrating_at_once_in_several_threads(legacy, tmp_path):
    """Whoever comes first migrates; everyone gets a working log."""
    for round_ in range(5):
        path = shutil.copy(legacy, tmp_path / f"{round_}.db")
        results, start = [], threading.Barrier(4)

        def work(path=path, results=results, start=start):
            start.wait(30)
            try:
                with SQLiteLog(path) as log:
                    results.append(log.read_sync("a") == RUNS[0])
            except BaseException as error:
                results.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 4


def test_creating_at_once_in_several_threads(tmp_path):
    for round_ in range(5):
        results, start = [], threading.Barrier(4)

        def work(number, results=results, start=start, path=tmp_path / f"{round_}.db"):
            start.wait(30)
            try:
                with SQLiteLog(path) as log:
                    log.append_sync(f"r{number}", sample_run(f"r{number}"))
                    results.append("written")
            except BaseException as error:
                results.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["written"] * 4


async def test_logs_without_a_schema_are_up_to_date():
    class OwnLog:
        """Has the four methods and nothing else."""

        append = read = close = MemoryLog.append
        stream = MemoryLog.stream

    for log in (MemoryLog(), OwnLog()):
        await eventlog.preflight(log)
        eventlog.preflight_sync(log)
        assert await eventlog.schema_version(log) == eventlog.schema_version_sync(log) == 2
        assert (await eventlog.migrate(log, dry_run=True)).applied == eventlog.migrate_sync(log).applied == ()


def test_sync_twins(legacy):
    with SQLiteLog(legacy, read_only=True) as log:
        with pytest.raises(SchemaOutdatedError):
            eventlog.preflight_sync(log)
        assert eventlog.migrate_sync(log, dry_run=True).applied == (1, 2)
    with SQLiteLog(legacy) as log:
        eventlog.preflight_sync(log)


def test_a_version_that_is_no_number(tmp_path):
    path = tmp_path / "log.db"
    SQLiteLog(path).close_sync()
    with raw(path) as connection:
        connection.execute("DROP TABLE eventlog_schema_migrations")
        connection.execute("CREATE TABLE eventlog_schema_migrations (version, applied_at)")
        connection.execute("INSERT INTO eventlog_schema_migrations VALUES ('two', 1)")
    with pytest.raises(LogCorruptError, match="holds the version 'two', not a number"):
        SQLiteLog(path)


async def test_a_closed_log_has_no_version(tmp_path):
    log = SQLiteLog(tmp_path / "log.db")
    await log.close()
    for use in (eventlog.schema_version, eventlog.migrate, eventlog.preflight):
        with pytest.raises(LogClosedError):
            await use(log)
