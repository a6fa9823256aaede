"""The Postgres schema, and which privileges suffice for what."""

import asyncio
from datetime import UTC, datetime

import pytest

from starling import eventlog
from starling.errors import (
    LogCorruptError,
    LogError,
    LogWriteError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from starling.eventlog import MigrationReport, PostgresLog, RunPageOptions
from starling.testing.eventlog_contract import sample_run
from tests.agent_kit import agent, calls, record

RUN = sample_run("r", 3)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
# As the original's table is known to readers of its logs; `kind` as it may be as well.
ORIGINAL = (
    "CREATE TABLE {name} (run_id TEXT NOT NULL, seq BIGINT NOT NULL, prev_hash BYTEA, ts BIGINT NOT NULL, "
    "kind SMALLINT NOT NULL, payload BYTEA NOT NULL, PRIMARY KEY (run_id, seq))"
)


def fill(place, table, events):
    for event in events:
        row = (event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload)
        place.execute(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, %s)", *row)


@pytest.fixture
def migrated(postgres):
    with PostgresLog(postgres.url) as log:
        log.migrate_sync()
    return postgres


async def test_the_tables_are_the_documented_ones(migrated):
    assert [name for (name,) in migrated.execute(TABLES)] == ["eventlog_events", "eventlog_schema_migrations"]
    columns = migrated.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
    )
    assert columns == [
        ("run_id", "text", "NO"),
        ("seq", "bigint", "NO"),
        ("prev_hash", "bytea", "YES"),
        ("ts", "bigint", "NO"),
        ("kind", "bigint", "NO"),
        ("payload", "bytea", "NO"),
        ("version", "bigint", "NO"),
        ("applied_at", "bigint", "NO"),
    ]
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'eventlog_events'::regclass AND contype = 'p'"
    assert migrated.execute(key) == [("PRIMARY KEY (run_id, seq)",)]


async def test_a_database_without_a_log_is_refused_until_it_is_migrated(postgres):
    async with PostgresLog(postgres.url) as log:
        assert await eventlog.schema_version(log) == 0
        for use in (eventlog.preflight(log), log.read("r"), log.append("r", RUN), anext(log.stream("r"))):
            with pytest.raises(
                SchemaOutdatedError, match=r"has schema version 0, .* needs 2: run `starling migrate '?postgresql:"
            ):
                await use
        report = await eventlog.migrate(log, dry_run=True)
        assert report == MigrationReport(from_version=0, to_version=2, applied=(1, 2), dry_run=True)
        assert postgres.execute(TABLES) == []
        report = await eventlog.migrate(log)
        assert report == MigrationReport(from_version=0, to_version=2, applied=(1, 2), dry_run=False)
        assert (await eventlog.migrate(log)).applied == ()
        await eventlog.preflight(log)
        await log.append("r", RUN)


async def test_a_newer_database_is_left_alone(migrated):
    migrated.execute("INSERT INTO eventlog_schema_migrations VALUES (3, 1)")
    async with PostgresLog(migrated.url) as log, PostgresLog(migrated.url, auto_migrate=True) as eager:
        assert await eventlog.schema_version(log) == 3
        for use in (eventlog.preflight(log), log.append("r", RUN), log.read("r"), eager.read("r"), log.migrate()):
            with pytest.raises(SchemaTooNewError, match="has schema version 3"):
                await use
    assert migrated.execute("SELECT count(*) FROM eventlog_events") == [(0,)]


async def test_a_log_of_the_original_is_written_listed_and_given_indexes(postgres):
    postgres.execute(ORIGINAL.format(name="eventlog_events"))
    postgres.execute("CREATE TABLE eventlog_schema_migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
    postgres.execute("INSERT INTO eventlog_schema_migrations VALUES (1, 1), (2, 1)")
    fill(postgres, "eventlog_events", RUN[:2])
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'starling%'"
    async with PostgresLog(postgres.url) as log:
        await log.append("r", RUN[2:])
        assert await log.read("r") == RUN
        assert (await log.list_runs_page()).total_matching == 1
        assert await log.run_ids_page() == ["r"]
        assert postgres.execute(indexes) == [(0,)]
        assert (await log.migrate()).applied == ()
        assert postgres.execute(indexes) == [(2,)]


async def test_a_legacy_table_is_carried_over(postgres):
    postgres.execute(ORIGINAL.format(name="events"))
    fill(postgres, "events", RUN)
    async with PostgresLog(postgres.url, auto_migrate=True) as log:
        assert await log.read("r") == RUN
    assert [name for (name,) in postgres.execute(TABLES)] == ["eventlog_events", "eventlog_schema_migrations"]


async def test_a_legacy_table_that_contradicts_stops_the_migration(migrated):
    migrated.execute("DELETE FROM eventlog_schema_migrations WHERE version = 2")
    migrated.execute(ORIGINAL.format(name="events"))
    fill(migrated, "events", RUN)
    fill(migrated, "eventlog_events", RUN[:2])
    migrated.execute("UPDATE eventlog_events SET ts = 9 WHERE seq = 2")
    async with PostgresLog(migrated.url) as log:
        with pytest.raises(LogCorruptError, match="run r seq 2 stands in 'events' and, with another content") as caught:
            await log.migrate()
    assert (caught.value.run_id, caught.value.seq) == ("r", 2)
    assert migrated.execute("SELECT count(*) FROM events") == [(5,)]
    assert migrated.execute("SELECT count(*) FROM eventlog_events") == [(2,)]


async def test_somebody_elses_table_called_events_is_left_alone(postgres):
    postgres.execute("CREATE TABLE events (id BIGINT, what TEXT)")
    async with PostgresLog(postgres.url, auto_migrate=True) as log:
        await log.append("r", RUN)
    assert ("events",) in postgres.execute(TABLES)


async def test_migrating_at_once(postgres):
    """Whoever comes first migrates; everybody gets a working log."""
    logs = [PostgresLog(postgres.url, auto_migrate=True) for _ in range(6)]
    await asyncio.gather(*(log.append(f"r{number}", sample_run(f"r{number}")) for number, log in enumerate(logs)))
    assert len(await logs[0].list_runs()) == 6
    assert postgres.execute("SELECT version FROM eventlog_schema_migrations ORDER BY 1") == [(1,), (2,)]
    for log in logs:
        await log.close()


async def test_who_waited_for_anothers_migration_reports_what_that_led_to(postgres):
    async with PostgresLog(postgres.url) as first, PostgresLog(postgres.url) as second:
        with postgres.held("eventlog_schema_migrations"):
            migrating = asyncio.gather(first.migrate(), second.migrate())
            await asyncio.to_thread(postgres.wait_for_waiters, 2)
        reports = await migrating
    assert sorted(report.applied for report in reports) == [(), (1, 2)]
    assert [(report.from_version, report.to_version) for report in reports] == [(0, 2), (0, 2)]


# -- privileges: the seed's grants, on the events alone


async def test_a_writer_needs_select_and_insert(migrated):
    async with PostgresLog(migrated.url_as(migrated.role("writer", "SELECT", "INSERT"))) as log:
        recorded = await record(agent(calls("missing"), log=log, tool_errors="report"))
        assert recorded.result.final_text == "done"
        assert [event async for event in log.stream("run")] == recorded.events
        assert [run.run_id for run in await log.list_runs()] == ["run"]
        await log.check_writable()
        with pytest.raises(LogWriteError, match=r"prune failed: the role lacks a privilege .* DELETE to prune"):
            await eventlog.prune_runs(log, before=LATER, dry_run=False)
        assert len(await log.read("run")) == len(recorded.events)


async def test_retention_needs_select_and_delete(migrated):
    async with PostgresLog(migrated.url) as log:
        await log.append("r", RUN)
        await log.append("open", sample_run("open", ended=False))
    async with PostgresLog(migrated.url_as(migrated.role("retention", "SELECT", "DELETE"))) as log:
        assert (await eventlog.prune_runs(log, before=LATER)).matched_runs == 1
        assert (await eventlog.prune_runs(log, before=LATER, dry_run=False)).deleted_runs == 1
        await eventlog.prune_runs(log, before=LATER, include_in_progress=True, dry_run=False)
        assert await log.list_runs() == []
        with pytest.raises(LogWriteError, match="append of run r from seq 1 on failed: the role lacks a privilege"):
            await log.append("r", RUN)


@pytest.mark.parametrize("read_only", [False, True])
async def test_an_inspector_needs_select(migrated, read_only):
    async with PostgresLog(migrated.url) as log:
        await log.append("r", RUN)
    async with PostgresLog(migrated.url_as(migrated.role("inspector", "SELECT")), read_only=read_only) as log:
        assert await log.read("r") == RUN
        assert [event async for event in log.stream("r", 2)] == RUN[1:]
        assert (await log.list_runs_page(RunPageOptions(query="R"))).total_matching == 1
        assert [run_id async for run_id in eventlog.run_ids(log)] == ["r"]
        with pytest.raises(LogError):
            await log.append("s", sample_run("s"))
        with pytest.raises(LogError):
            await log.check_writable()


async def test_a_role_without_privileges_reads_nothing(migrated):
    async with PostgresLog(migrated.url_as(migrated.role("nobody"))) as log:
        with pytest.raises(LogError, match="read of run r failed: the role lacks a privilege") as caught:
            await log.read("r")
    assert not isinstance(caught.value, LogWriteError)
    assert caught.value.run_id == "r"


async def test_who_may_read_the_versions_has_them_checked(migrated):
    role = migrated.role("reader", "SELECT")
    migrated.execute("INSERT INTO eventlog_schema_migrations VALUES (3, 1)")
    async with PostgresLog(migrated.url_as(role)) as log:
        assert await log.schema_version() == 2  # taken at the word of whoever granted the privileges
    migrated.execute(f"GRANT SELECT ON eventlog_schema_migrations TO {role}")
    async with PostgresLog(migrated.url_as(role)) as log:
        with pytest.raises(SchemaTooNewError):
            await log.read("r")


async def test_only_the_owner_migrates(migrated, postgres):
    role = migrated.role("writer", "SELECT", "INSERT")
    async with PostgresLog(migrated.url_as(role), auto_migrate=True) as log:
        await log.append("r", RUN)  # there is nothing to do
    migrated.execute("DROP TABLE eventlog_schema_migrations")
    async with PostgresLog(migrated.url_as(role), auto_migrate=True) as log:
        with pytest.raises(LogWriteError, match="migrate failed: the role lacks a privilege"):
            await log.append("s", sample_run("s"))
