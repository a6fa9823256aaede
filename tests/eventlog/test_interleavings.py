"""Laws: however writers and readers take turns, each run is one chain and each stream is that run."""

import asyncio
import itertools
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from starling.errors import InvalidAppendError
from starling.eventlog import MemoryLog, SQLiteLog
from starling.testing.eventlog_contract import sample_run

RUNS = {run_id: sample_run(run_id, 6) for run_id in ("a", "b")}
BATCHES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(0, 7), st.integers(0, 8)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_a_log_accepts_exactly_what_continues_a_run(batches):
    """Two SQLite logs on one file and one memory log agree with the plain rule on every batch, right or wrong."""
    lengths = dict.fromkeys(RUNS, 0)
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log.db"
        on_disk = [stack.enter_context(SQLiteLog(path)) for _ in range(2)]
        in_memory = MemoryLog()
        for writer, run_id, start, stop in batches:
            batch = RUNS[run_id][start:stop]
            fits = not batch or start == lengths[run_id]
            for log in (on_disk[writer], in_memory):
                try:
                    log.append_sync(run_id, batch)
                except InvalidAppendError:
                    assert not fits
                else:
                    assert fits
            if fits and batch:
                lengths[run_id] = min(stop, len(RUNS[run_id]))
            for log in (*on_disk, in_memory):
                assert log.read_sync(run_id) == RUNS[run_id][: lengths[run_id]]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 7), max_size=7),
    pauses=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    from_seq=st.integers(1, 8),
)
def test_a_stream_is_the_run_wherever_it_starts(cuts, pauses, from_seq):
    """A follower that is let run at arbitrary moments of a writer's work gets each event once, in order."""
    run = RUNS["a"]
    edges = sorted({0, *cuts, len(run)})

    async def write(log):
        for pause, (start, stop) in zip(pauses, itertools.pairwise(edges), strict=False):
            for _ in range(pause):
                await asyncio.sleep(0)
            await log.append("a", run[start:stop])

    async def follow_while_writing():
        async with MemoryLog() as log, asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(write(log))
            assert [event async for event in log.stream("a", from_seq)] == run[from_seq - 1 :]

    asyncio.run(follow_while_writing())
