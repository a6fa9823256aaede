"""A log that is observed: what the observer hears, and that nothing else changes."""

import asyncio

import pytest

from starling.errors import InvalidAppendError
from starling.eventlog import (
    EventLog,
    EventPager,
    MemoryLog,
    RunLister,
    RunPageLister,
    RunPruner,
    SchemaLog,
    SQLiteLog,
    StorageChecker,
    WriteChecker,
    with_metrics,
)
from starling.testing.eventlog_contract import sample_run
from tests.agent_kit import agent, calls

PROTOCOLS = (EventLog, EventPager, RunLister, RunPageLister, RunPruner, SchemaLog, StorageChecker, WriteChecker)


class Heard:
    def __init__(self):
        self.appends = []

    def append_done(self, run_id, events, seconds, error):
        assert seconds >= 0
        self.appends.append((run_id, events, error))


async def test_every_append_is_told_the_failed_ones_too():
    heard = Heard()
    run = sample_run("r", 3)
    async with with_metrics(MemoryLog(), heard) as log:
        await log.append("r", run[:2])
        log.append_sync("r", run[2:])
        with pytest.raises(InvalidAppendError) as caught:
            await log.append("r", run[:1])
        assert log.read_sync("r") == await log.read("r") == run
    assert heard.appends == [("r", 2, None), ("r", 3, None), ("r", 1, caught.value)]


async def test_a_cancelled_append_is_told():
    class Stuck(MemoryLog):
        async def append(self, run_id, events):
            await asyncio.Event().wait()

    heard = Heard()
    appending = asyncio.ensure_future(with_metrics(Stuck(), heard).append("r", sample_run("r")))
    await asyncio.sleep(0)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    ((run_id, events, error),) = heard.appends
    assert (run_id, events, type(error)) == ("r", 5, asyncio.CancelledError)


@pytest.mark.parametrize("backend", [MemoryLog, SQLiteLog])
def test_the_observed_log_can_do_what_the_log_can(tmp_path, backend):
    with backend(*([tmp_path / "log.db"] if backend is SQLiteLog else [])) as log:
        observed = with_metrics(log, Heard())
        for protocol in PROTOCOLS:
            assert isinstance(observed, protocol) == isinstance(log, protocol), protocol
        assert repr(observed) == f"with_metrics({log!r})"
        assert getattr(observed, "path", None) == getattr(log, "path", None)
        with pytest.raises(AttributeError):
            observed.nothing  # noqa: B018


def test_a_log_without_blocking_methods_stays_one():
    class Narrow:
        async def append(self, run_id, events): ...
        async def read(self, run_id): ...
        def stream(self, run_id, from_seq=1): ...
        async def close(self): ...

    observed = with_metrics(Narrow(), Heard())
    assert isinstance(observed, EventLog)
    assert not isinstance(observed, RunLister)
    assert not hasattr(observed, "append_sync")


async def test_an_agent_runs_on_an_observed_log():
    heard = Heard()
    log = with_metrics(MemoryLog(), heard)
    result = await agent(calls("missing"), log=log, tool_errors="report").run("goal")
    events = await log.read(result.run_id)
    assert sum(size for _, size, _ in heard.appends) == len(events)
    assert {run_id for run_id, _, _ in heard.appends} == {result.run_id}
