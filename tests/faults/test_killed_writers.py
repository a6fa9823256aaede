"""Writers that are killed with SIGKILL, or by the kernel at a byte of their choosing: what was acknowledged is there.

Every test goes on with the same file: the log that one killed writer left is the one that the next begins with.
"""

import os
import random
import signal

import pytest
from fault_kit import DEEP, KILLED, assert_kept, finish_run, hashes, hosting
from mortal_writers import die_at_byte, die_at_step, write_for_ever

from starling import SQLiteLog
from starling.eventlog import run_ids_sync

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

FILES, KILLS = (40, 25) if DEEP else (4, 12)
"""Logs, and how many writers each of them sees killed: 1,000 in the deep profile."""
STEPS = range(1, 1500) if DEEP else sorted(random.Random(1).sample(range(1, 1500), 24))
WAL_BYTES = random.Random(2).sample(range(60_000, 400_000), 400 if DEEP else 16)
CHECKPOINT_BYTES = random.Random(3).sample(range(4_400_000, 4_700_000), 60 if DEEP else 4)


@pytest.fixture(scope="module")
def host():
    with hosting() as (host,):
        yield host


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.db"
    SQLiteLog(path).close_sync()
    return path


@pytest.mark.parametrize("number", range(FILES))
def test_nothing_that_was_acknowledged_is_lost_when_writers_are_killed(host, tmp_path, number):
    """At any moment: while the log is opened for the first time, while the last one's is recovered, in an append."""
    path = tmp_path / "log.db"
    chance = random.Random(number)
    lives = []
    for life in range(KILLS):
        writer = host.start(write_for_ever, path, seed=f"life{life}")
        writer.kill(after=chance.choice((None, None, *range(60))))
        lives.append(writer)
        with SQLiteLog(path) as log:
            assert_kept(log, writer)
            for run_id in list(writer.wanted)[::2]:
                finish_run(log, run_id)
    assert sum(writer.appends for writer in lives) > KILLS
    with SQLiteLog(path) as log:
        log.check_storage_sync()
        assert set(run_ids_sync(log)) <= {run_id for writer in lives for run_id in writer.wanted}
        for writer in lives:
            for run_id, acknowledged in writer.acknowledged.items():
                assert hashes(log.read_sync(run_id))[: len(acknowledged)] == acknowledged


def test_a_writer_that_is_killed_at_a_step_of_an_append(host, path):
    """In the midst of a statement, between two, before the commit and after it."""
    for step in STEPS:
        writer = host.start(die_at_step, path, seed=f"step{step}", step=step)
        assert writer.end() == KILLED
        with SQLiteLog(path) as log:
            assert_kept(log, writer)
            for run_id in writer.wanted:
                finish_run(log, run_id)
    with SQLiteLog(path) as log:
        log.check_storage_sync()


@pytest.mark.parametrize("byte", WAL_BYTES)
def test_a_writer_that_is_killed_at_a_byte_of_the_wal(host, path, byte):
    """The kernel writes up to there: half a page, half a header."""
    writer = host.start(die_at_byte, path, seed="a", byte=byte)
    assert writer.end() == -signal.SIGXFSZ
    assert path.with_name("log.db-wal").stat().st_size == byte
    assert_goes_on(path, writer)


@pytest.mark.parametrize("byte", CHECKPOINT_BYTES)
def test_a_writer_that_is_killed_at_a_byte_of_a_checkpoint(host, path, byte):
    """The page that was half written to the database is still whole in the WAL."""
    writer = host.start(die_at_byte, path, seed="a", byte=byte)
    assert writer.end() == -signal.SIGXFSZ
    assert path.stat().st_size == byte
    assert_goes_on(path, writer)


def assert_goes_on(path, writer):
    with SQLiteLog(path) as log:
        log.check_storage_sync()
        assert_kept(log, writer)
        for run_id in writer.wanted:
            finish_run(log, run_id)
        log.check_storage_sync()
