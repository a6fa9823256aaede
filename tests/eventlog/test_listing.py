"""Listing the runs of a log: what is said of each, and what a broken row does to it."""

import sqlite3

import pytest

from starling.eventlog import MemoryLog, RunLister, RunSummary, SQLiteLog, aggregate_run
from starling.testing.eventlog_contract import sample_run
from tests.agent_kit import agent, calls, record

pytestmark = pytest.mark.filterwarnings("error")


async def test_a_summary_is_what_the_fold_over_the_run_says(tmp_path):
    for log in (MemoryLog(), SQLiteLog(tmp_path / "log.db")):
        recorded = await record(agent(calls("missing"), log=log, tool_errors="report"))
        (summary,) = await log.list_runs()
        totals = aggregate_run(recorded.events)

        assert isinstance(summary, RunSummary)
        assert (summary.turn_count, summary.tool_call_count) == (totals.turns, totals.tool_calls) == (2, 1)
        assert (summary.input_tokens, summary.output_tokens) == (totals.input_tokens, totals.output_tokens)
        assert summary.cost_usd == totals.cost_usd
        assert summary.duration_ms == totals.duration_ns // 1_000_000
        assert summary.terminal_kind is recorded.events[-1].kind
        assert summary.started_at.timestamp() == pytest.approx(recorded.events[0].ts / 1e9, abs=1e-5)
        assert summary == log.list_runs_sync()[0]
        await log.close()


def test_runs_that_started_together_have_an_order_all_the_same():
    with MemoryLog() as log:
        for run_id in ("b", "c", "a"):
            log.append_sync(run_id, sample_run(run_id))
        assert [run.run_id for run in log.list_runs_sync()] == ["c", "b", "a"]


def test_a_broken_row_does_not_blank_the_listing(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        for run_id in ("good", "hurt", "lost"):
            log.append_sync(run_id, sample_run(run_id))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE eventlog_events SET payload = 7 WHERE run_id = 'hurt' AND seq = 3")
        connection.execute("UPDATE eventlog_events SET ts = 'noon' WHERE run_id = 'lost'")
    connection.close()

    with SQLiteLog(path, read_only=True) as log:
        assert [(run.run_id, run.last_seq) for run in log.list_runs_sync()] == [("hurt", 5), ("good", 5)]


def test_logs_say_that_they_can_list():
    assert isinstance(MemoryLog(), RunLister)
