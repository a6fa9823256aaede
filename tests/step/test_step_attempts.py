"""How often a call is tried is the recording's on replay, and what a skipped attempt left is not mistaken for the next
one's.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from starling import ambient, step, tool
from starling.errors import LiveCallError, NondeterminismError, RunFailedError, TransientToolError
from starling.replay import RecordingSession, ReplayingSession, ReplayOptions
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays


def failing(times, *, attempts=5):
    """An agent whose tool fails that often before it succeeds."""
    tries = []

    @tool(idempotent=True, max_attempts=attempts, backoff=lambda _: 0.0)
    async def t() -> str:
        tries.append(1)
        if len(tries) <= times:
            raise TransientToolError("not yet")
        return "done"

    made = agent(calls("t"), t, tool_errors="report")
    return made, tries


@pytest.mark.parametrize(
    ("then", "today", "attempts"),
    [(2, 0, 5), (2, 1, 5), (0, 2, 5), (2, 4, 5), (1, 9, 1), (9, 0, 1), (9, 1, 3)],
)
async def test_a_tool_that_is_only_run_is_tried_as_often_as_recorded(then, today, attempts):
    """Policy ``run``: nothing about the tool is compared, and so today's number of failures decides nothing."""
    made, tries = failing(then)
    recorded = await record(made)
    made, again = failing(today, attempts=attempts)

    await replays(recorded, made, tools="run")

    assert len(again) == len(tries) == min(then, 4) + 1


@pytest.mark.parametrize("policy", ["compare", "stub"])
async def test_the_other_policies_are_as_they_were(policy):
    recorded = await record(failing(2)[0])
    made, tries = failing(0)

    if policy == "stub":
        await replays(recorded, made, tools=policy)
        assert tries == []
    else:
        divergence = await diverges(recorded, made, tools=policy)
        assert (divergence.seq, divergence.cls) == (recorded.seqs("ToolCallFailed")[0], "kind")


# --- runs inside of attempts that are not run again


async def asked(goal, *, hangs=False):
    """An inner run, which is cut off if it hangs."""
    script = ScriptedProvider().hang() if hangs else ScriptedProvider().text(f"answer to {goal}")
    return (await agent(script).run(goal)).final_text


def program(goals, *, hanging=1, nested=False):
    """A program whose agent's tool asks another agent, and hangs in its first attempts; returns what it answered."""
    attempts = []

    @tool
    async def ask() -> str:
        first = not attempts
        attempts.append(1)
        return await asked(goals[0] if first else goals[-1], hangs=len(attempts) <= hanging)

    @tool(idempotent=True, max_attempts=3, timeout=0.2, backoff=lambda _: 0.0)
    async def outer() -> str:
        if nested:
            return await step.call_tool(step.ToolCall(name="ask", args={}))
        return await ask.execute({})

    async def run():
        return (await agent(calls("outer"), outer, ask).run("outer")).tool_call_count

    return run


async def recorded_runs(run):
    session = RecordingSession()
    with ambient.activate(session):
        await run()
    return session.runs


async def replayed(runs, run, **options):
    session = ReplayingSession(runs, ReplayOptions(**options))
    with ambient.activate(session), contextlib.suppress(NondeterminismError, LiveCallError, RunFailedError):
        async with asyncio.timeout(30):
            await run()
    session.finish()
    return session


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("hanging", [1, 2])
async def test_the_runs_of_an_attempt_that_timed_out_are_not_the_next_attempts(nested, hanging):
    runs = await recorded_runs(program(["inner"], hanging=hanging, nested=nested))
    assert len(runs) == hanging + 2

    session = await replayed(runs, program(["inner"], hanging=0, nested=nested))

    assert session.failures == []
    assert session.played == [runs[0], runs[-1]]


async def test_a_run_that_the_last_attempt_no_longer_asks_for_is_missed():
    """A skipped attempt excuses its own runs, not those of an attempt that is run again."""
    runs = await recorded_runs(program(["inner"]))

    @tool(idempotent=True, max_attempts=3, timeout=0.2, backoff=lambda _: 0.0)
    async def outer() -> str:
        return "answer to inner"

    @tool
    async def ask() -> str:
        return "answer to inner"

    async def run():
        await agent(calls("outer"), outer, ask).run("outer")

    session = await replayed(runs, run)

    (missed,) = session.failures
    assert missed.divergence.run_id == runs[-1].run_id
    assert "was not asked for" in missed.divergence.reason


@pytest.mark.parametrize("policy", ["stub", {"outer": "stub"}])
async def test_a_stubbed_call_takes_the_runs_of_its_nested_calls_along(policy):
    runs = await recorded_runs(program(["inner"], hanging=0, nested=True))
    assert runs[1].parent_call_id != "call_1"

    session = await replayed(runs, program(["inner"], hanging=0, nested=True), tools=policy)

    assert session.failures == []
    assert session.played == [runs[0]]
