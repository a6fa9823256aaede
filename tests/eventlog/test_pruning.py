"""Retention on a SQLite log: other processes get through, and what is refused."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from starling.errors import LogClosedError, LogError, ReadOnlyError
from starling.event import validate
from starling.eventlog import MemoryLog, PruneOptions, SQLiteLog, prune_runs, prune_runs_sync
from starling.eventlog._pruning import BATCH_EVENTS, first_events_worth
from starling.testing.eventlog_contract import dated_run, sample_run
from tests.eventlog.test_processes import finish, start_writer

LATER = datetime(2030, 1, 1, tzinfo=UTC)
NOON_NS = 1_767_268_800_000_000_000


def test_another_process_writes_while_runs_are_pruned(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        for number in range(600):
            log.append_sync(f"old-{number}", dated_run(f"old-{number}", NOON_NS + number, tool_calls=20))
        writer = start_writer(path, "new", 200)
        assert writer.stdout.readline() == "open\n"
        report = prune_runs_sync(log, before=LATER, status="completed", limit=600, dry_run=False)
        assert writer.stdout.read().split()[-1] == "202"
        assert finish(writer) == 0
        assert report.deleted_runs >= 599  # the writer's run, which ended meanwhile, began before all others
        if log.read_sync("new"):
            validate(log.read_sync("new"))


def test_pruned_runs_leave_no_seal(tmp_path):
    with SQLiteLog(tmp_path / "log.db") as log:
        log.append_sync("old", dated_run("old", NOON_NS))
        log.append_sync("kept", dated_run("kept", NOON_NS, None))
        prune_runs_sync(log, before=LATER, dry_run=False)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        assert connection.execute("SELECT count(*) FROM starling_seals").fetchone() == (0,)
        assert connection.execute("SELECT DISTINCT run_id FROM eventlog_events").fetchall() == [("kept",)]
    connection.close()


def test_a_batch_is_bounded_by_its_events_and_makes_headway():
    sizes = [(number, BATCH_EVENTS // 2) for number in range(5)]
    assert len(first_events_worth(sizes)) == 2
    assert len(first_events_worth([(0, BATCH_EVENTS * 10), (1, 1)])) == 1
    assert first_events_worth([]) == []


def test_a_cached_head_goes_with_its_run(tmp_path):
    """A run in progress that was pruned begins anew, for this log as for any other."""
    with SQLiteLog(tmp_path / "log.db") as log:
        run = sample_run("r", 3)
        log.append_sync("r", run[:3])
        prune_runs_sync(log, before=LATER, status="in progress", dry_run=False)
        with pytest.raises(LogError, match="the first event must have seq 1"):
            log.append_sync("r", run[3:])
        log.append_sync("r", run)
        assert log.read_sync("r") == run


async def test_what_is_refused(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        log.append_sync("old", dated_run("old", NOON_NS))
        for cutoff in ({}, {"before": LATER, "older_than": timedelta(1)}):
            with pytest.raises(LogError, match=r"give either before=.* or older_than="):
                await prune_runs(log, **cutoff)
        with pytest.raises(LogError, match="no time zone"):
            await prune_runs(log, before=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
        with pytest.raises(LogError, match="no run has the status"):
            PruneOptions(status="old")
        with pytest.raises(LogError, match="limit=-1: give how many runs to delete at most, or 0"):
            await prune_runs(log, before=LATER, limit=-1, dry_run=False)
    with SQLiteLog(path, read_only=True) as log:
        assert prune_runs_sync(log, before=LATER).matched_runs == 1
        with pytest.raises(ReadOnlyError, match="cannot prune"):
            prune_runs_sync(log, before=LATER, dry_run=False)
    with pytest.raises(LogClosedError):
        await prune_runs(log, before=LATER)
    for call in (prune_runs_sync, prune_runs):
        with pytest.raises(LogError, match=r"has no method prune|cannot prune"):
            await call(object(), before=LATER)


async def test_memory_prunes_too():
    async with MemoryLog() as log:
        await log.append("old", dated_run("old", NOON_NS))
        assert (await prune_runs(log, older_than=timedelta(0), dry_run=False)).deleted_events == 4
        assert await log.list_runs() == []
