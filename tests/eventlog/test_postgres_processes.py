"""Several processes on one Postgres database: racing for a run, following it, being killed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from starling.event import validate
from starling.eventlog import PostgresLog
from starling.testing.eventlog_contract import sample_run

WRITER = Path(__file__).with_name("_postgres_writer.py")


@pytest.fixture
def writers(postgres):
    """Starts writers; each has opened its log when it is handed out."""
    PostgresLog(postgres.url).migrate_sync()
    started = []

    def start(run_id, effects, number=1):
        some = [
            subprocess.Popen(
                [sys.executable, str(WRITER), postgres.url, run_id, str(effects)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            )
            for _ in range(number)
        ]
        started.extend(some)
        for writer in some:
            assert writer.stdout.readline() == "open\n"
        return some

    yield start
    for writer in started:
        writer.kill()
        writer.stdin.close()
        writer.stdout.close()
        writer.wait(60)


def go(writer):
    writer.stdin.write("go\n")
    writer.stdin.flush()


async def test_several_processes_race_for_every_event_of_one_run(postgres, writers):
    """Each event is written once, by one of them; what the others got is a refusal."""
    racers = writers("r", 150, number=3)
    for racer in racers:
        go(racer)
    written = [[int(line) for line in racer.stdout] for racer in racers]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    assert sorted(seq for seqs in written for seq in seqs) == list(range(1, 153))
    async with PostgresLog(postgres.url) as log:
        run = await log.read("r")
    assert run == sample_run("r", 150)
    validate(run)


@pytest.mark.parametrize("from_seq", [1, 2, 150, 300])
async def test_a_stream_from_any_seq_while_another_process_appends(postgres, writers, from_seq):
    """No gap and no double, whether the seq has been written when the stream begins or not."""
    run = sample_run("r", 400)
    (writer,) = writers("r", 400)
    go(writer)
    assert "120\n" in iter(writer.stdout.readline, "")
    async with PostgresLog(postgres.url, read_only=True) as log, asyncio.timeout(60):
        assert [event async for event in log.stream("r", from_seq)] == run[from_seq - 1 :]
    writer.stdout.read()
    assert writer.wait(60) == 0


@pytest.mark.parametrize("kill_after", [1, 2, 7, 40])
def test_killing_a_writer_loses_nothing_that_was_acknowledged(postgres, writers, kill_after):
    (writer,) = writers("r", 5000)
    go(writer)
    acknowledged = 0
    while acknowledged < kill_after:
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait(60)
    postgres.wait_until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starling'", 0)
    with PostgresLog(postgres.url) as log:
        survivors = log.read_sync("r")
        rest = sample_run("r", len(survivors) + 5)
        assert len(survivors) >= acknowledged
        assert survivors == rest[: len(survivors)]
        log.append_sync("r", rest[len(survivors) :])
        validate(log.read_sync("r"))
