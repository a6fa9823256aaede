"""Several processes on one SQLite file: two writers, one of whom may be killed, and a database that somebody locks."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from fault_kit import DEEP, KILLED, assert_kept, assert_sound, finish_run, hashes, hosting
from mortal_writers import RUN_STARTED, share_runs, write_for_ever, write_where_it_may

from starling import Agent, Config, SQLiteLog
from starling.errors import LogError, LogWriteError
from starling.event import Chain, validate
from starling.eventlog import _sqlite_open
from starling.testing import ScriptedProvider
from starling.testing.eventlog_contract import sample_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

ROUNDS = 100 if DEEP else 6


@pytest.fixture(scope="module")
def hosts():
    with hosting(2) as hosts:
        yield hosts


# -- two writers


def test_two_writers_of_one_run_take_turns_and_lose_nothing(hosts, tmp_path):
    """Of two appends to one place one is refused, whole; the other one's is there."""
    path = tmp_path / "log.db"
    runs = ["shared-0", "shared-1"]
    with SQLiteLog(path) as log:
        for run_id in runs:
            log.append_sync(run_id, [Chain(run_id).append(RUN_STARTED, 1)])
    writers = [host.start(share_runs, path, seed=f"w{n}", runs=runs, appends=60) for n, host in enumerate(hosts)]
    assert [(writer.end(), writer.appends) for writer in writers] == [(0, 60), (0, 60)]
    with SQLiteLog(path) as log:
        log.check_storage_sync()
        for run_id in runs:
            stored = hashes(log.read_sync(run_id))
            acknowledged = [writer.acknowledged[run_id] for writer in writers]
            assert sorted(stored[1:]) == sorted(acknowledged[0] + acknowledged[1])
            for own in acknowledged:
                assert own == [one for one in stored if one in set(own)]
            finish_run(log, run_id)


def test_two_writers_of_one_file_do_not_disturb_each_other(hosts, tmp_path):
    path = tmp_path / "log.db"
    writers = [host.start(write_where_it_may, path, seed=f"w{n}", appends=120) for n, host in enumerate(hosts)]
    assert [(writer.end(), writer.appends, writer.refused) for writer in writers] == [(0, 120, [])] * 2
    with SQLiteLog(path) as log:
        for writer in writers:
            assert_kept(log, writer)
            for run_id in writer.wanted:
                finish_run(log, run_id)


def test_a_writer_goes_on_when_the_one_beside_it_is_killed(hosts, tmp_path):
    path = tmp_path / "log.db"
    for round_ in range(ROUNDS):
        survivor = hosts[0].start(write_where_it_may, path, seed=f"survivor{round_}", appends=60)
        killed = hosts[1].start(write_for_ever, path, seed=f"killed{round_}")
        killed.kill(after=round_ % 20)
        assert (survivor.end(), survivor.appends, survivor.refused) == (0, 60, [])
        with SQLiteLog(path) as log:
            assert_kept(log, survivor)
            assert_kept(log, killed)
    with SQLiteLog(path) as log:
        log.check_storage_sync()


# -- a locked database

LOCKS = {
    "a transaction": "BEGIN EXCLUSIVE",
    "the whole file": "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; "
    "CREATE TABLE IF NOT EXISTS other (x); COMMIT; BEGIN EXCLUSIVE",
}
"""By what is locked, the statements that do it. Only the second locks readers out."""

HOLDER = (
    "import sqlite3, sys\n"
    "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "connection.executescript(sys.argv[2])\n"
    "print('locked', flush=True)\n"
    "sys.stdin.readline()\n"
)


@contextmanager
def locked(path, what="a transaction"):
    """Another process holds the lock until the block ends, or until what the block is given is called: it kills it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), LOCKS[what]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "locked\n"
    try:
        yield lambda: holder.send_signal(signal.SIGKILL)
    finally:
        holder.stdin.close()
        assert holder.wait(timeout=60) in {0, KILLED}
        holder.stdout.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(_sqlite_open, "BUSY_TIMEOUT_MS", 50)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        log.append_sync("r", sample_run("r", 5)[:3])
    return path


@pytest.mark.usefixtures("impatient")
def test_an_append_to_a_locked_log_says_so_and_works_when_the_lock_is_gone(path):
    run = sample_run("r", 5)
    with SQLiteLog(path) as log:
        with locked(path):
            for _ in range(2):
                with pytest.raises(
                    LogWriteError, match="append of run r failed: the database stayed locked by another"
                ):
                    log.append_sync("r", run[3:])
            assert log.read_sync("r") == run[:3]
        log.append_sync("r", run[3:])
        assert log.read_sync("r") == run
        finish_run(log, "next")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("read_only", [False, True])
def test_a_log_that_is_locked_whole_is_refused_and_can_be_opened_later(path, read_only):
    with locked(path, "the whole file"), pytest.raises(LogError, match="open failed: the database stayed locked"):
        SQLiteLog(path, read_only=read_only)
    with SQLiteLog(path, read_only=read_only) as log:
        assert log.read_sync("r") == sample_run("r", 5)[:3]


@pytest.mark.usefixtures("impatient")
def test_a_log_that_is_locked_by_a_transaction_is_read(path):
    with locked(path), SQLiteLog(path, read_only=True) as log:
        assert log.read_sync("r") == sample_run("r", 5)[:3]


def test_an_append_waits_for_a_lock(path):
    """Its holder is killed while the append waits."""
    waiting = threading.Event()
    with SQLiteLog(path) as log, locked(path) as let_go:
        log._connection.set_trace_callback(lambda statement: statement.startswith("BEGIN") and waiting.set())
        releasing = threading.Thread(target=lambda: (waiting.wait(60), let_go()))
        releasing.start()
        log.append_sync("r", sample_run("r", 5)[3:])
        releasing.join()
        validate(log.read_sync("r"))


@pytest.mark.usefixtures("impatient")
async def test_a_run_on_a_locked_log_fails_and_the_next_one_works(path):
    """Nothing is dispatched without the log; the model is asked only once the run has begun there."""
    script = ScriptedProvider().text("done")
    async with SQLiteLog(path) as log:
        agent = Agent(script, Config(model="m"), log)
        with locked(path), pytest.raises(LogWriteError, match="stayed locked"):
            await agent.run_with_id("a", "go")
        assert log.read_sync("a") == []
        assert script.requests == ()
        assert (await agent.run_with_id("b", "go")).final_text == "done"
        validate(log.read_sync("b"))


def test_a_lock_is_no_lock_once_its_holder_is_killed(path):
    with locked(path) as kill:
        kill()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM eventlog_events").fetchone() == (3,)
    connection.close()
    with SQLiteLog(path) as log:
        finish_run(log, "r")
        assert_sound(log.read_sync("r"))
