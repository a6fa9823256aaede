"""A tool's timeout on replay: generous enough for a slow machine, and still an end to a tool that has none."""

import asyncio
import contextlib
import threading
from contextvars import Context

import pytest

from starling import replay, step, tool
from starling.step import _invoke
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays

TIMEOUT_S = 30.0
BRIEF_S = 0.02
NO_HANG_S = 20.0


@pytest.fixture
def impatient(monkeypatch):
    """Replays do not take ten seconds."""
    monkeypatch.setattr(_invoke, "REPLAY_TIMEOUT_FACTOR", 0)
    monkeypatch.setattr(_invoke, "REPLAY_TIMEOUT_AT_LEAST_S", BRIEF_S)


def look_up(*, hangs, sync=False, released=None, **options):
    """An agent whose tool returns at once, or never."""

    @tool(name="look", timeout=TIMEOUT_S)
    def in_thread() -> str:
        step.now()
        if hangs:
            released.wait()
        return "found"

    @tool(name="look", timeout=TIMEOUT_S)
    async def in_loop() -> str:
        step.now()
        if hangs:
            await asyncio.Event().wait()
        return "found"

    return agent(calls("look"), in_thread if sync else in_loop, **options)


@pytest.mark.parametrize("tool_errors", ["fail", "report"])
@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.usefixtures("impatient")
async def test_a_tool_that_no_longer_returns_diverges_where_it_returned(sync, tool_errors):
    recorded = await record(look_up(hangs=False, sync=sync, tool_errors=tool_errors))
    released = threading.Event()
    try:
        async with asyncio.timeout(NO_HANG_S):
            today = look_up(hangs=True, sync=sync, released=released, tool_errors=tool_errors)
            divergence = await diverges(recorded, today)
    finally:
        released.set()
    assert divergence.seq == recorded.seq("ToolCallCompleted")
    assert divergence.raised is None
    produced = divergence.produced
    assert (produced.error_type, produced.error) == ("timeout", f"timed out after {TIMEOUT_S:g} s")


@pytest.mark.usefixtures("impatient")
async def test_with_collect_the_replay_goes_on_behind_it():
    recorded = await record(look_up(hangs=False))
    today = look_up(hangs=True, system_prompt="Be brief.")
    async with asyncio.timeout(NO_HANG_S):
        found = await replay(recorded.log, recorded.run_id, today, collect=True)
    turns = recorded.seqs("TurnStarted")
    assert [one.seq for one in found] == [1, turns[0], recorded.seq("ToolCallCompleted"), turns[1]]


async def test_a_tool_that_takes_longer_than_its_timeout_today_does_not_diverge():
    """A slow machine is no change of the code."""
    slow = []

    def made():
        @tool(timeout=BRIEF_S)
        async def look() -> str:
            if slow:
                await asyncio.sleep(3 * BRIEF_S)
            return "found"

        return agent(calls("look"), look)

    recorded = await record(made())
    assert recorded.one("ToolCallCompleted").result == "found"
    slow.append(True)
    await replays(recorded, made())


async def test_the_limit_is_no_timer_of_the_calls_that_waits_for_one():
    """A replay lets the next timer of such a call expire at once; the limit of the tool is not what cut it off."""

    def made():
        @tool(timeout=TIMEOUT_S)
        async def look() -> str:
            task = asyncio.create_task(step.side_effect("ask", asyncio.Event().wait))
            Context().run(asyncio.get_running_loop().call_later, BRIEF_S, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return "gave up"

        return agent(calls("look"), look)

    recorded = await record(made())
    assert recorded.one("SideEffectRecorded").error.type == "starling/abandoned"
    await replays(recorded, made())


@pytest.mark.usefixtures("impatient")
async def test_a_tool_without_a_timeout_has_none_on_replay():
    slow = []

    @tool
    async def look() -> str:
        if slow:
            await asyncio.sleep(3 * BRIEF_S)
        return "found"

    recorded = await record(agent(calls("look"), look))
    slow.append(True)
    await replays(recorded, agent(ScriptedProvider(), look))


def test_the_limits_are_those_of_the_documentation():
    assert (_invoke.REPLAY_TIMEOUT_FACTOR, _invoke.REPLAY_TIMEOUT_AT_LEAST_S) == (10, 10.0)
