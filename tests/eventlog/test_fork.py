"""Branching a SQLite log: what is copied, what is cut, and what a fork refuses."""

import sqlite3
import stat

import pytest

from starling.errors import ForkNotFoundError, LogCorruptError, LogError
from starling.event import validate, validate_prefix
from starling.eventlog import SQLiteLog, fork_sqlite, fork_sqlite_sync
from starling.testing.eventlog_contract import sample_run
from tests.cli.test_cli import fixture
from tests.eventlog.test_processes import finish, start_writer


def log_with(path, *run_ids):
    with SQLiteLog(path) as log:
        for run_id in run_ids:
            log.append_sync(run_id, sample_run(run_id, 6))
    return path


@pytest.mark.parametrize(("before_seq", "kept"), [(0, 8), (1, 0), (5, 4), (8, 7), (9, 8)])
async def test_one_run_is_cut_and_the_others_are_copied(tmp_path, before_seq, kept):
    source, target = log_with(tmp_path / "a.db", "cut", "whole"), tmp_path / "b.db"

    await fork_sqlite(source, target, "cut", before_seq)

    with SQLiteLog(target) as fork:
        assert fork.read_sync("cut") == sample_run("cut", 6)[:kept]
        assert fork.read_sync("whole") == sample_run("whole", 6)
        fork.append_sync("cut", sample_run("cut", 6)[kept:])
        validate(fork.read_sync("cut"))
    with SQLiteLog(source, read_only=True) as log:
        assert log.read_sync("cut") == sample_run("cut", 6)


def test_a_cut_run_may_end_in_another_way(tmp_path):
    """The seal of the end that was cut off goes with it."""
    source, target = log_with(tmp_path / "a.db", "r"), tmp_path / "b.db"
    fork_sqlite_sync(source, target, "r", 8)
    with sqlite3.connect(target) as connection:
        assert connection.execute("SELECT count(*) FROM starling_seals").fetchone() == (0,)
    connection.close()


def test_a_fork_is_one_private_file(tmp_path):
    fork_sqlite_sync(log_with(tmp_path / "a.db", "r"), tmp_path / "b.db", "r")

    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("a.db")] == ["b.db"]
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600


async def test_a_fork_of_a_log_that_is_being_written_is_a_prefix(tmp_path):
    """The writer is another process, and it is not held up."""
    source = tmp_path / "a.db"
    writer = start_writer(source, "r", 400)
    while writer.stdout.readline() != "3\n":
        pass
    run = sample_run("r", 400)
    sizes = []
    for number in range(8):
        target = tmp_path / f"fork{number}.db"
        await fork_sqlite(source, target, "r")
        with SQLiteLog(target, read_only=True) as fork:
            copied = fork.read_sync("r")
        assert copied == run[: len(copied)]
        validate_prefix(copied[:402])
        sizes.append(len(copied))
    assert sizes == sorted(sizes)
    assert sizes[0] >= 3
    writer.stdout.read()
    assert finish(writer) == 0
    with SQLiteLog(source, read_only=True) as log:
        assert log.read_sync("r") == run


def test_a_fixture_can_be_forked_and_the_fork_be_written(tmp_path):
    path = fixture(tmp_path / "f.db")
    with SQLiteLog(path, read_only=True) as log:
        (run,) = log.list_runs_sync()
        events = log.read_sync(run.run_id)
    before = path.read_bytes()

    fork_sqlite_sync(path, tmp_path / "fork.db", run.run_id, 3)

    with SQLiteLog(tmp_path / "fork.db") as fork:
        fork.append_sync(run.run_id, events[2:])
        assert fork.read_sync(run.run_id) == events
    assert path.read_bytes() == before


def test_what_cannot_be_forked(tmp_path):
    source = log_with(tmp_path / "a.db", "r")
    (tmp_path / "there.db").write_text("mine")
    (tmp_path / "text.db").write_text("no database " * 100)
    cases = [
        ((source, tmp_path / "b.db", "nobody"), ForkNotFoundError, "holds no run 'nobody': nothing was forked"),
        ((source, tmp_path / "there.db", "r"), LogError, "exists, and a fork never replaces a file"),
        ((source, source, "r"), LogError, "exists, and a fork never replaces a file"),
        ((source, tmp_path / "no" / "b.db", "r"), LogError, "does not exist: create it first"),
        ((tmp_path / "missing.db", tmp_path / "b.db", "r"), LogError, "missing.db does not exist"),
        ((tmp_path / "text.db", tmp_path / "b.db", "r"), LogCorruptError, "not a SQLite database"),
        ((source, tmp_path / "b.db", "r", -1), LogError, "before_seq=-1: give the first seq to leave out"),
        ((source, tmp_path / "b.db", "r", 2**63), LogError, "give the first seq to leave out"),
    ]
    for arguments, kind, text in cases:
        with pytest.raises(kind, match=text):
            fork_sqlite_sync(*arguments)
    left = {path.name.partition("-")[0] for path in tmp_path.iterdir()}  # readers of a.db may leave its sidecars
    assert left == {"a.db", "text.db", "there.db"}
    assert (tmp_path / "there.db").read_text() == "mine"
