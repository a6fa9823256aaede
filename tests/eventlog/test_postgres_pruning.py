"""Pruning a Postgres log while it is written: what goes, goes whole, and nobody is kept waiting for long."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from starling.errors import InvalidAppendError, LogWriteError
from starling.event import Kind, validate_prefix
from starling.eventlog import PostgresLog, _postgres_steps, prune_runs, prune_runs_sync
from starling.testing.eventlog_contract import sample_run

RUN = sample_run("r", 6)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
ALL = {"before": LATER, "include_in_progress": True, "dry_run": False}
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('r', 0))"
INSERT = "INSERT INTO eventlog_events (run_id, seq, prev_hash, ts, kind, payload) VALUES (%s, %s, %s, %s, %s, %s)"


@pytest.fixture
async def log(postgres):
    async with PostgresLog(postgres.url, auto_migrate=True) as opened:
        await opened.append("r", RUN[:2])
        yield opened


def blocked(postgres):
    """A session that holds a row of the run, for which a pruning waits, having all its locks."""
    session = psycopg.connect(postgres.url)
    session.execute("SELECT 1 FROM eventlog_events WHERE run_id = 'r' AND seq = 2 FOR UPDATE")
    return session


@pytest.mark.parametrize("length", [1, 3], ids=["one", "many"])
@pytest.mark.parametrize("is_prepared", [False, True])
async def test_an_append_that_waits_for_a_pruning_finds_its_run_gone(log, postgres, length, is_prepared):
    async with PostgresLog(postgres.url) as writer:
        if is_prepared:
            await writer.append("s", sample_run("s")[:1])
        assert await writer.read("r") == RUN[:2]
        with blocked(postgres) as session:
            pruning = asyncio.ensure_future(prune_runs(log, **ALL))
            await asyncio.to_thread(postgres.wait_for_waiters, 1)
            appending = asyncio.ensure_future(writer.append("r", RUN[2 : 2 + length]))
            await asyncio.to_thread(postgres.wait_for_waiters, 2)
            session.rollback()
        with pytest.raises(InvalidAppendError, match="changed by another process before seq 3 could be written"):
            await appending
        assert (await pruning).deleted_runs == 1 + is_prepared
    assert await log.run_ids_page() == []


async def test_an_append_that_is_under_way_goes_with_its_run(log, postgres):
    """The pruning waits for it, and deletes what it added too."""
    with psycopg.connect(postgres.url) as writer:
        writer.execute(INSERT, (RUN[2].run_id, 3, RUN[2].prev_hash, RUN[2].ts, int(RUN[2].kind), RUN[2].payload))
        pruning = asyncio.ensure_future(prune_runs(log, **ALL))
        await asyncio.to_thread(postgres.wait_for_waiters, 1)
        writer.commit()
    assert (await pruning).deleted_events == 3
    assert await log.run_ids_page() == []


def test_a_run_that_is_pruned_under_its_writer_is_gone(postgres):
    """Real threads, many rounds, wherever the pruning happens to meet the writer."""

    def write(run, is_on_its_way):
        with pytest.raises(InvalidAppendError):  # noqa: PT012 - at which event is what the threads decide
            for event in run:
                log.append_sync(event.run_id, [event])
                if event.seq == 3:
                    is_on_its_way.set()

    with (
        PostgresLog(postgres.url, auto_migrate=True) as log,
        PostgresLog(postgres.url) as pruner,
        ThreadPoolExecutor() as threads,
    ):
        run = sample_run("r", 5000)
        for _ in range(25):
            is_on_its_way = threading.Event()
            writing = threads.submit(write, run, is_on_its_way)
            assert is_on_its_way.wait(60)
            while not writing.done():
                prune_runs_sync(pruner, **ALL)
            writing.result()
            assert log.read_sync("r") == []


def test_runs_that_are_begun_anew_while_they_are_pruned_stay_whole(postgres):
    """Two prunings at once, and two writers, each of one run that it begins again whenever it is gone."""
    stop = threading.Event()
    begun = dict.fromkeys("ab", 0)

    def write(run_id):
        run = sample_run(run_id, 20)[:-1]
        while not stop.is_set():
            try:
                for event in run:
                    log.append_sync(run_id, [event])
                    begun[run_id] += event.seq == 1
            except InvalidAppendError:
                is_whole(run_id)

    def is_whole(run_id):
        if stored := log.read_sync(run_id):
            validate_prefix(stored)

    def prune():
        while min(begun.values()) < 15 and not stop.is_set():
            prune_runs_sync(pruner, **ALL)

    def until_stopped(work, *arguments):
        try:
            work(*arguments)
        finally:
            stop.set()

    with (
        PostgresLog(postgres.url, auto_migrate=True) as log,
        PostgresLog(postgres.url) as pruner,
        ThreadPoolExecutor() as threads,
    ):
        log.migrate_sync()
        works = [(prune,), (prune,), *((write, run_id) for run_id in begun)]
        for done in [threads.submit(until_stopped, *work) for work in works]:
            done.result(120)
        for run_id in begun:
            is_whole(run_id)


async def test_a_pruning_that_is_killed_has_deleted_nothing_of_its_batch(log, postgres):
    with blocked(postgres):
        pruning = asyncio.ensure_future(prune_runs(log, **ALL))
        await asyncio.to_thread(postgres.wait_for_waiters, 1)
        assert postgres.server.cut_connections(application_name="starling", wait_event_type="Lock") == 1
        with pytest.raises(LogWriteError, match="prune failed: the server ended the session"):
            await pruning
    assert await log.read("r") == RUN[:2]
    await log.append("r", RUN[2:])
    assert await log.read("r") == RUN


async def test_the_privilege_to_delete_suffices(log, postgres):
    async with PostgresLog(postgres.url_as(postgres.role("keeper", "SELECT", "DELETE"))) as keeper:
        assert (await prune_runs(keeper, **ALL)).deleted_runs == 1
    assert await log.run_ids_page() == []


async def test_a_table_that_cannot_be_locked_soon_is_left(log, postgres, monkeypatch):
    """A VACUUM may take long, and all appends would wait behind the pruning that waits for it."""
    monkeypatch.setattr(_postgres_steps, "_WAIT_BRIEFLY", "SET LOCAL lock_timeout = '20ms'")
    with psycopg.connect(postgres.url) as vacuum:
        vacuum.execute("LOCK TABLE eventlog_events IN SHARE UPDATE EXCLUSIVE MODE")  # which is what VACUUM takes
        with pytest.raises(LogWriteError, match="another session held a lock for too long"):
            await prune_runs(log, **ALL)
        await log.append("r", RUN[2:])
    assert await log.read("r") == RUN
    assert (await prune_runs(log, **ALL)).deleted_runs == 1


@pytest.mark.parametrize("kinds", [{"include_in_progress": True}, {"status": "in progress"}])
async def test_a_run_that_the_original_program_appends_to_is_left(log, postgres, kinds):
    """It takes the run's lock, looks where the run ends, and inserts then: by that time the run must still be there."""
    await log.append("s", sample_run("s")[:2])
    with psycopg.connect(postgres.url) as original:
        original.execute(LOCK)
        assert (await prune_runs(log, before=LATER, dry_run=False, **kinds)).deleted_runs == 1
        for event in RUN[2:]:
            row = (event.run_id, event.seq, event.prev_hash, event.ts, int(event.kind), event.payload)
            original.execute(INSERT, row)
    assert await log.read("r") == RUN
    assert await log.run_ids_page() == ["r"]


async def test_runs_that_have_ended_go_without_stopping_other_writers(log, postgres):
    """Whoever writes another run, in a transaction as long as it likes, is neither waited for nor held up."""
    await log.append("s", sample_run("s"))
    with psycopg.connect(postgres.url) as writer:
        row = ("t", 1, None, 0, int(Kind.RunStarted), b"")
        writer.execute(INSERT, row)
        assert (await prune_runs(log, before=LATER, dry_run=False)).deleted_runs == 1
    assert await log.run_ids_page() == ["r", "t"]
