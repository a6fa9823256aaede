"""A run that its caller cancelled, played back for the same caller: what it gets is what it got."""

from __future__ import annotations

import asyncio

import pytest

from starling import ambient, tool
from starling.errors import NondeterminismError
from starling.event import Kind
from starling.replay import RecordingSession, ReplayingSession
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record, replays

TOO_LONG_S = 30


def hanging(reached=None):
    """An agent whose second turn never ends; ``reached`` is told when it has begun."""
    script = ScriptedProvider().tool_call("t").turn()
    if reached is not None:
        script.do(reached)
    return agent(script.text("Let me").hang(), t)


@tool
async def t() -> str:
    return "x"


async def recorded(program):
    session = RecordingSession()
    with ambient.activate(session):
        await program()
    return session.runs


async def played(runs, program):
    """Play a program back; whatever it does, it must come to an end."""
    session = ReplayingSession(runs)
    async with asyncio.timeout(TOO_LONG_S):
        with ambient.activate(session):
            await program()
    session.finish()
    return session.failures


async def with_timeout(work):
    async with asyncio.timeout(0.1):
        await work


async def with_wait_for(work):
    await asyncio.wait_for(work, 0.1)


async def with_wait(work):
    """Cancels the task by hand."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=0.1)
    task.cancel()
    await task


async def with_group(work):
    """A sibling fails."""

    async def fail():
        await asyncio.sleep(0.1)
        raise ValueError("sibling")

    async with asyncio.TaskGroup() as group:
        group.create_task(work)
        group.create_task(fail())


@pytest.mark.parametrize("caller", [with_timeout, with_wait_for, with_wait, with_group])
async def test_a_callers_own_deadline_ends_the_run_as_it_did(caller):
    outcomes = []

    async def program():
        try:
            await caller(hanging().run("go"))
        except (Exception, asyncio.CancelledError) as error:
            outcomes.append((type(error), str(error)))

    runs = await recorded(program)
    assert runs[0].events[-1].kind is Kind.RunCancelled

    assert await played(runs, program) == []
    assert len(outcomes) == 2
    assert outcomes[0] == outcomes[1]


async def test_a_deadline_inside_a_tool():
    outcomes = []

    @tool
    async def ask() -> str:
        try:
            async with asyncio.timeout(0.1):
                return (await hanging().run("inner")).final_text
        except TimeoutError:
            return "too late"

    async def program():
        outcomes.append((await agent(calls("ask"), ask).run("outer")).tool_call_count)

    runs = await recorded(program)
    assert [run.events[-1].kind for run in runs] == [Kind.RunCompleted, Kind.RunCancelled]

    assert await played(runs, program) == []
    assert outcomes == [1, 1]


async def cancelled_when_reached():
    """A recording that was cancelled in its second turn."""
    reached = asyncio.Event()

    async def program():
        run = asyncio.create_task(hanging(reached.set).run("go"))
        await reached.wait()
        run.cancel()
        await asyncio.wait([run])

    return await recorded(program)


async def test_a_caller_that_is_sooner_today_gets_the_recorded_run_all_the_same():
    """No model is waited for on replay, so nothing else keeps the caller from it; when it comes is not compared."""
    runs = await cancelled_when_reached()
    results = []

    async def program():
        @tool(name="t")
        async def early() -> str:
            run.cancel()
            await asyncio.sleep(0)
            return "x"

        run = asyncio.create_task(agent(ScriptedProvider(), early).run("go"))
        with pytest.raises(asyncio.CancelledError) as raised:
            await run
        results.append(raised.value.result)

    assert await played(runs, program) == []
    (result,) = results
    assert (result.terminal_kind, result.turn_count, result.tool_call_count) == (Kind.RunCancelled, 2, 1)


async def test_where_nobody_cancels_today_the_recorded_cancellation_is_raised(monkeypatch):
    monkeypatch.setattr("starling.agent._cancellation._LONGEST_WAIT_S", 0.05)
    runs = await cancelled_when_reached()

    async def program():
        with pytest.raises(asyncio.CancelledError):
            await hanging().run("go")

    assert await played(runs, program) == []


async def test_code_that_diverges_is_not_excused_by_a_cancellation():
    runs = await cancelled_when_reached()

    async def program():
        @tool(name="t")
        async def other() -> str:
            run.cancel()
            await asyncio.sleep(0)
            return "another result"

        run = asyncio.create_task(agent(ScriptedProvider(), other).run("go"))
        with pytest.raises(NondeterminismError):
            await run

    (failure,) = await played(runs, program)
    assert failure.divergence.kind is Kind.ToolCallCompleted


async def test_code_that_hangs_today_is_cancelled_and_found(monkeypatch):
    monkeypatch.setattr("starling.agent._cancellation._GRACE_S", 0.05)
    runs = await cancelled_when_reached()

    async def program():
        hangs = asyncio.Event()

        @tool(name="t")
        async def hanging_tool() -> str:
            hangs.set()
            await asyncio.Event().wait()
            return "x"

        run = asyncio.create_task(agent(ScriptedProvider(), hanging_tool).run("go"))
        await hangs.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    (failure,) = await played(runs, program)
    assert failure.divergence.expected_kind is Kind.ToolCallCompleted


async def test_a_replay_by_hand_waits_for_nobody(monkeypatch):
    """`starling.replay` has no caller of the run: nobody would cancel it."""
    for name in ("_GRACE_S", "_LONGEST_WAIT_S"):
        monkeypatch.setattr(f"starling.agent._cancellation.{name}", 10.0 * TOO_LONG_S)
    reached = asyncio.Event()
    live = hanging(reached.set)
    run = asyncio.create_task(record(live))
    await reached.wait()
    run.cancel()
    done = await run

    async with asyncio.timeout(TOO_LONG_S):
        await replays(done, hanging())
