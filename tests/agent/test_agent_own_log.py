"""What the agent's own log has to do with a replay, and what a run needs before it may begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from starling import MemoryLog, SQLiteLog, tool
from starling.errors import AgentConfigError, LogWriteError, NondeterminismError, RunInUseError
from starling.eventlog import with_metrics
from starling.replay import replay
from starling.step._writer import _append_in_line
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record


@tool
async def weather() -> str:
    return "rain"


@tool(name="weather")
async def other_weather() -> str:
    return "snow"


async def test_a_log_that_does_not_take_the_replayed_run_is_no_divergence(tmp_path):
    recorded = await record(agent(calls("weather"), weather))
    SQLiteLog(tmp_path / "own.db").close_sync()
    own = SQLiteLog(tmp_path / "own.db", read_only=True)

    with pytest.raises(LogWriteError, match="own log did not take") as raised:
        await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=own))

    assert raised.value.seq == 1
    own.close_sync()


class MuteError(Exception):
    """Cannot even say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class BrokenLog(MemoryLog):
    """Takes nothing, and its errors cannot be shown."""

    def append_sync(self, run_id, events):
        raise MuteError

    async def append(self, run_id, events):
        raise MuteError


async def test_a_logs_error_that_has_no_text_goes_by_its_name():
    recorded = await record(agent(calls("weather"), weather))

    with pytest.raises(LogWriteError, match="could not be written: MuteError"):
        await agent(calls("weather"), weather, log=BrokenLog()).run("go")
    with pytest.raises(LogWriteError, match=r"own log did not take .*: MuteError"):
        await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=BrokenLog()))


async def test_a_log_that_holds_part_of_the_run_gets_the_rest():
    recorded = await record(agent(calls("weather"), weather))
    own = MemoryLog()

    with pytest.raises(NondeterminismError):
        await replay(recorded.log, recorded.run_id, agent(calls("weather"), other_weather, log=own))
    held = len(await own.read(recorded.run_id))
    await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=own))

    assert 0 < held < len(recorded.payloads)
    assert await own.read(recorded.run_id) == await recorded.log.read(recorded.run_id)


async def test_another_run_of_the_same_id_is_left_alone():
    recorded = await record(agent(calls("weather"), weather))
    own = MemoryLog()
    await agent(ScriptedProvider().text("hi"), log=own).run_with_id(recorded.run_id, "other")
    before = await own.read(recorded.run_id)

    await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=own))

    assert await own.read(recorded.run_id) == before


class SharedLog(MemoryLog):
    """A log in which another process is quicker, once, with what it makes of the second batch."""

    def __init__(self, other) -> None:
        super().__init__()
        self._other = other

    async def append(self, run_id, events):
        if events[0].seq > 1 and self._other is not None:
            other, self._other = self._other, None
            super().append_sync(run_id, other(events))
        await super().append(run_id, events)


async def test_another_process_that_replays_the_same_into_the_same_log_is_no_harm():
    recorded = await record(agent(calls("weather"), weather))
    own = SharedLog(lambda events: events)

    await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=own))

    assert await own.read(recorded.run_id) == recorded.events


async def test_another_writer_of_the_run_in_the_agents_own_log_is_told_of():
    recorded = await record(agent(calls("weather"), weather))
    own = SharedLog(lambda events: [replace(events[0], ts=0)])

    with pytest.raises(RunInUseError, match="another writer is at work on it in the agent's own log") as raised:
        await replay(recorded.log, recorded.run_id, agent(calls("weather"), weather, log=own))

    assert (raised.value.run_id, raised.value.seq) == (recorded.run_id, 2)


@pytest.mark.parametrize(
    ("goal", "options", "says"),
    [(123, {}, "goal must be text, got int"), ("go", {"app_version": 3}, "app_version")],
)
async def test_what_has_no_place_in_the_log_is_refused_before_anything_is_written(goal, options, says):
    log = MemoryLog()

    with pytest.raises(AgentConfigError, match=says):
        await agent(ScriptedProvider().text("x"), log=log, **options).run_with_id("run", goal)

    assert await log.read("run") == []


async def test_a_log_with_an_append_of_its_own_is_asked_for_it():
    class Mirrored(MemoryLog):
        async def append(self, run_id, events):
            mirror.extend(events)
            await super().append(run_id, events)

    class Wrapper:
        def __init__(self, log):
            self._log = log

        async def append(self, run_id, events):
            mirror.extend(events)
            await self._log.append(run_id, events)

        def __getattr__(self, name):
            return getattr(self._log, name)

    for log in (Mirrored(), Wrapper(MemoryLog())):
        mirror: list = []
        await agent(calls("weather"), weather, log=log).run_with_id("r", "go")
        assert mirror == await log.read("r")


def test_an_observed_log_is_written_in_line_as_the_log_itself_is():
    class Observer:
        def append_done(self, run_id, events, seconds, error):
            told.append(events)

    told: list = []
    plain, observed = MemoryLog(), with_metrics(MemoryLog(), Observer())

    assert [_append_in_line(log) is not None for log in (plain, observed)] == [True, True]
    agent(calls("weather"), weather, log=observed).run_sync("go")
    assert sum(told) == observed.list_runs_sync()[0].last_seq
