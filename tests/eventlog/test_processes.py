"""Several processes on one file: following a writer, killing it, racing it."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from starling.errors import InvalidAppendError
from starling.event import Chain, SideEffectRecorded, validate
from starling.eventlog import SQLiteLog
from starling.testing.eventlog_contract import sample_run

WRITER = Path(__file__).with_name("_writer.py")


def start_writer(path, run_id, effects, held="no"):
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), run_id, str(effects), held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )


def finish(writer):
    writer.stdin.close()
    writer.stdout.close()
    return writer.wait(timeout=60)


async def test_a_stream_sees_what_another_process_appends(tmp_path):
    path = tmp_path / "log.db"
    run = sample_run("r", 5)
    async with SQLiteLog(path) as log:
        writer = start_writer(path, "r", 5, "held")
        stream = log.stream("r")
        streamed = []
        async with asyncio.timeout(60):
            for _ in run:
                writer.stdin.write("go\n")
                writer.stdin.flush()
                streamed.append(await anext(stream))
            rest = [event async for event in stream]
        assert streamed == run
        assert rest == []
    assert finish(writer) == 0


async def test_a_read_only_log_follows_a_living_writer(tmp_path):
    path = tmp_path / "log.db"
    SQLiteLog(path).close_sync()
    async with SQLiteLog(path, read_only=True) as log:
        writer = start_writer(path, "r", 300)
        async with asyncio.timeout(60):
            assert [event async for event in log.stream("r")] == sample_run("r", 300)
    assert finish(writer) == 0


@pytest.mark.parametrize("kill_after", [1, 2, 7, 40, 150, 400])
def test_killing_a_writer_loses_nothing_that_was_acknowledged(tmp_path, kill_after):
    """The survivors are a prefix of the run, at least as long as what was acknowledged, and can be continued."""
    path = tmp_path / "log.db"
    writer = start_writer(path, "r", 100_000 if kill_after > 100 else 5_000)
    assert writer.stdout.readline() == "open\n"
    acknowledged = 0
    while acknowledged < kill_after:
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    for line in writer.stdout:
        if line.endswith("\n"):
            acknowledged = int(line)
    assert finish(writer) == -signal.SIGKILL

    with SQLiteLog(path) as log:
        survivors = log.read_sync("r")
        assert len(survivors) >= acknowledged
        rest = sample_run("r", len(survivors) + 5)
        assert survivors == rest[: len(survivors)]
        log.append_sync("r", rest[len(survivors) :])
        validate(log.read_sync("r"))


def test_a_killed_batch_is_there_whole_or_not_at_all(tmp_path):
    """A batch of many events, killed while it is being written."""
    path = tmp_path / "log.db"
    program = (
        "import sys\n"
        "from starling.eventlog import SQLiteLog\n"
        "from starling.testing.eventlog_contract import sample_run\n"
        "log = SQLiteLog(sys.argv[1])\n"
        "runs = [sample_run(f'r{n}', 500) for n in range(20)]\n"
        "print('ready', flush=True)\n"
        "for n, run in enumerate(runs):\n"
        "    log.append_sync(f'r{n}', run)\n"
    )
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(path.with_stem(f"log{round_}"))],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        writer.stdout.readline()
        with SQLiteLog(path.with_stem(f"log{round_}"), read_only=True) as follower:
            while len(follower.read_sync(f"r{round_}")) == 0 and writer.poll() is None:
                pass
        writer.kill()
        writer.stdout.close()
        writer.wait(timeout=60)
        with SQLiteLog(path.with_stem(f"log{round_}")) as log:
            lengths = {len(log.read_sync(f"r{n}")) for n in range(20)}
        assert lengths <= {0, 502}


async def test_two_processes_may_write_different_runs_of_one_file(tmp_path):
    path = tmp_path / "log.db"
    writers = [start_writer(path, f"r{n}", 40) for n in range(3)]
    for writer in writers:
        assert writer.stdout.read().split()[-1] == "42"
        assert finish(writer) == 0
    with SQLiteLog(path) as log:
        for n in range(3):
            assert log.read_sync(f"r{n}") == sample_run(f"r{n}", 40)


def test_a_run_that_another_process_advanced_is_refused_then_continued(tmp_path):
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        first = sample_run("r", 3)
        log.append_sync("r", first[:1])
        program = (
            "import sys\n"
            "from starling.eventlog import SQLiteLog\n"
            "from starling.testing.eventlog_contract import sample_run\n"
            "with SQLiteLog(sys.argv[1]) as log:\n"
            "    log.append_sync('r', sample_run('r', 3)[1:3])\n"
        )
        subprocess.run(
            [sys.executable, "-c", program, str(path)], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=60
        )
        chain = Chain.resume(first[:1])
        mine = chain.append(SideEffectRecorded(name="mine", value=1), 5)
        with pytest.raises(InvalidAppendError, match="was changed by another process before seq 2 could be"):
            log.append_sync("r", [mine])
        with pytest.raises(InvalidAppendError, match="expected seq 4, got 2"):
            log.append_sync("r", [mine])
        log.append_sync("r", first[3:])
        assert log.read_sync("r") == first


@pytest.mark.parametrize("from_seq", [2, 3, 150, 300])
async def test_a_stream_from_any_seq_while_another_process_appends(tmp_path, from_seq):
    """No gap and no double, whether the seq has been written when the stream begins or not."""
    path = tmp_path / "log.db"
    run = sample_run("r", 400)
    async with SQLiteLog(path) as log:
        writer = start_writer(path, "r", 400)
        while writer.stdout.readline() != "120\n":
            pass
        async with asyncio.timeout(60):
            assert [event async for event in log.stream("r", from_seq)] == run[from_seq - 1 :]
    writer.stdout.read()
    assert finish(writer) == 0
