"""Listing the runs of a log: what is said of each, and what a broken row does to it."""

import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from starling.errors import LogError
from starling.event import Kind
from starling.eventlog import MemoryLog, RunLister, RunPageOptions, RunSummary, SQLiteLog, aggregate_run
from starling.eventlog._sql_listing import count_starts, facts, messages, page_of_starts
from starling.eventlog._sqlite_listing import _SQLITE
from starling.testing.eventlog_contract import dated_run, sample_run
from tests.agent_kit import agent, calls, record

ORIGINAL = Path(__file__).parents[2] / "testdata/interop/db/03_parallel_three.db"

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


def test_a_page_costs_what_its_runs_cost(tmp_path):
    """The statements search by index alone; nothing is read of the runs on other pages."""
    with SQLiteLog(tmp_path / "log.db") as log:
        for number in range(4):
            log.append_sync(f"r{number}", dated_run(f"r{number}", number))
        options = RunPageOptions(limit=2, cursor="3 r3")
        statements = (page_of_starts(_SQLITE, options), count_starts(_SQLITE, options), facts(["r1"]), messages(["r1"]))
        for statement in statements:
            plan = log._connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.arguments).fetchall()
            steps = [step for *_, step in plan if "eventlog_events" in step or step.startswith(("SCAN", "SEARCH"))]
            unindexed = [step for step in steps if "INDEX" not in step and step != "SCAN run"]
            assert not unindexed, plan


def test_a_log_of_the_original_lists_without_our_index(tmp_path):
    """Opened for reading it is not changed; opened for writing it gets the index, and the schema version stays."""
    path = tmp_path / "log.db"
    path.write_bytes(ORIGINAL.read_bytes())
    with SQLiteLog(path, read_only=True) as log:
        before = log.list_runs_page_sync()
        assert before.runs == tuple(log.list_runs_sync())
        assert not names(path, "starling%")
    with SQLiteLog(path) as log:
        assert log.list_runs_page_sync() == before
        assert log.schema_version_sync() == 2
    assert names(path, "starling%") == {"starling_first_events", "starling_seals"}


def test_damaged_rows_do_not_blank_a_page(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        for run_id in ("bad-end", "bad-start", "bad-words", "good", "headless"):
            log.append_sync(run_id, dated_run(run_id, 5))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE eventlog_events SET ts = 'noon' WHERE run_id = 'bad-start' AND seq = 1")
        connection.execute("UPDATE eventlog_events SET ts = 'noon', kind = 'x' WHERE run_id = 'bad-end' AND seq = 4")
        connection.execute("UPDATE eventlog_events SET payload = x'ff' WHERE run_id = 'bad-words' AND seq = 3")
        connection.execute("DELETE FROM eventlog_events WHERE run_id = 'headless' AND seq = 1")
    connection.close()
    with SQLiteLog(path, read_only=True) as log:
        page = log.list_runs_page_sync()
        assert [(run.run_id, run.output_tokens, run.terminal_kind) for run in page.runs] == [
            ("good", 5, Kind.RunCompleted),
            ("bad-words", 0, Kind.RunCompleted),
            ("bad-end", 5, None),
        ]
        assert log.run_ids_page_sync() == ["bad-end", "bad-start", "bad-words", "good", "headless"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"status": "done"}, "no run has the status 'done': choose from 'completed', 'failed', 'cancelled', 'in progr"),
        ({"started_after": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - the mistake
        ({"started_before": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - the mistake
        ({"cursor": "next"}, "'next' is no cursor"),
        ({"cursor": f"{2**63} r"}, "' is no cursor"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, text):
    with pytest.raises(LogError, match=text):
        RunPageOptions(**options)


def test_odd_numbers_mean_the_default():
    options = RunPageOptions(limit=-1, offset=-3)
    assert (options.limit, options.offset) == (50, 0)


def names(path, pattern):
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE ?", (pattern,))}
    connection.close()
    return found
