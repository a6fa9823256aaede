"""What the agent's own log has to do with a replay, and what a run needs before it may begin."""

from __future__ import annotations

import pytest

from starling import MemoryLog, SQLiteLog, tool
from starling.errors import AgentConfigError, LogWriteError, NondeterminismError
from starling.replay import replay
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


@pytest.mark.parametrize(
    ("goal", "options", "says"),
    [(123, {}, "goal must be text, got int"), ("go", {"app_version": 3}, "app_version")],
)
async def test_what_has_no_place_in_the_log_is_refused_before_anything_is_written(goal, options, says):
    log = MemoryLog()

    with pytest.raises(AgentConfigError, match=says):
        await agent(ScriptedProvider().text("x"), log=log, **options).run_with_id("run", goal)

    assert await log.read("run") == []
