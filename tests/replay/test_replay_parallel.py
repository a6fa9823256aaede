"""Parallel tools replay every time, whatever the order in which they finish today."""

from __future__ import annotations

import asyncio
import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from starling import replay, step, tool
from starling.event import Kind
from tests.agent_kit import agent, calls, diverges, record, replays

CLEAN_REPLAYS = 500


def three_tools(seed):
    """Two async tools and a sync one, each taking the same three effects at moments that the seed decides."""
    dice = random.Random(seed)
    pauses = {name: [dice.randrange(6) for _ in range(4)] for name in ("alpha", "beta", "gamma")}

    async def yielding(name, at):
        for _ in range(pauses[name][at]):
            await asyncio.sleep(0)

    async def effects(name):
        await yielding(name, 0)
        now = step.now()
        await yielding(name, 1)
        number = step.random()
        await yielding(name, 2)
        shared = await step.side_effect("shared", lambda: [name, dice.random()])
        await yielding(name, 3)
        return {"at": now.isoformat(), "number": number, "shared": shared}

    @tool
    async def alpha() -> dict:
        return await effects("alpha")

    @tool
    def beta() -> dict:
        time.sleep(pauses["beta"][0] / 20_000)
        now = step.now()
        number = step.random()
        time.sleep(pauses["beta"][1] / 20_000)
        return {"at": now.isoformat(), "number": number, "shared": step.side_effect_sync("shared", dice.random)}

    @tool
    async def gamma() -> dict:
        return await effects("gamma")

    return agent(calls("alpha", "beta", "gamma"), alpha, beta, gamma)


async def test_an_unchanged_agent_replays_clean_every_time():
    recorded = await record(three_tools(seed=0))
    assert recorded.kinds.count("SideEffectRecorded") == 9

    for seed in range(CLEAN_REPLAYS):
        assert await replay(recorded.log, recorded.run_id, three_tools(seed)) == ()


async def test_whatever_the_order_in_which_it_was_recorded():
    orders = set()
    for seed in range(40):
        recorded = await record(three_tools(seed))
        orders.add(tuple(payload.call_id for payload in recorded.all("ToolCallCompleted")))
        await replays(recorded, three_tools(seed + 1), three_tools(seed + 2))

    assert len(orders) > 1


# --- any program, any schedule

NAMES = st.sampled_from(["now", "rand", "x", "y"])
PROGRAMS = st.lists(st.lists(NAMES, max_size=4), min_size=1, max_size=4)


def program_agent(programs, schedule):
    """One tool per program, which takes its effects with as many yields between them as the schedule says."""
    pauses = iter(schedule)

    def make(index, program):
        async def execute(_):
            values = []
            for name in program:
                for _ in range(next(pauses, 0)):
                    await asyncio.sleep(0)
                values.append(await take(name))
            return values

        return Plain(f"t{index}", execute)

    tools = [make(index, program) for index, program in enumerate(programs)]
    return agent(calls(*(item.name for item in tools)), *tools)


async def take(name):
    match name:
        case "now":
            return step.now().isoformat()
        case "rand":
            return step.random()
        case _:
            return await step.side_effect(name, random.random)


class Plain:
    description = ""
    schema = "{}"

    def __init__(self, name, execute):
        self.name = name
        self.execute = execute


schedules = st.lists(st.integers(0, 3), max_size=16)


@settings(deadline=None, max_examples=60)
@given(programs=PROGRAMS, live=schedules, today=schedules)
def test_any_interleaving_replays_under_any_other(programs, live, today):
    async def check():
        recorded = await record(program_agent(programs, live))
        await replays(recorded, program_agent(programs, today))

    asyncio.run(check())


@settings(deadline=None, max_examples=60)
@given(programs=PROGRAMS.filter(any), live=schedules, today=schedules, data=st.data())
def test_one_effect_fewer_diverges_at_that_effect_or_its_calls_end(programs, live, today, data):
    tool_index = data.draw(st.sampled_from([i for i, program in enumerate(programs) if program]))
    dropped = data.draw(st.integers(0, len(programs[tool_index]) - 1))
    changed = [list(program) for program in programs]
    del changed[tool_index][dropped]

    async def check():
        recorded = await record(program_agent(programs, live))
        divergence = await diverges(recorded, program_agent(changed, today))
        where = recorded.payloads[divergence.seq - 1]
        assert getattr(where, "call_id", None) == f"call_{tool_index + 1}"

    asyncio.run(check())


async def test_a_failed_sibling_does_not_stop_the_others():
    @tool
    async def boom() -> str:
        raise ValueError("first")

    @tool
    async def slow() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "done"

    recorded = await record(agent(calls("slow", "boom", "slow"), boom, slow))

    assert len(recorded.all("ToolCallCompleted")) == 2
    assert recorded.end.error == 'starling: tool "boom" (call call_2): first'
    await replays(recorded, agent(calls("slow", "boom", "slow"), boom, slow))


async def test_the_runs_error_is_the_first_failure_in_plan_order():
    @tool
    async def late() -> str:
        for _ in range(9):
            await asyncio.sleep(0)
        raise ValueError("planned first, failed last")

    @tool
    async def early() -> str:
        raise ValueError("planned last, failed first")

    recorded = await record(agent(calls("late", "early"), late, early))

    assert [failed.call_id for failed in recorded.all("ToolCallFailed")] == ["call_2", "call_1"]
    assert recorded.error.error == "planned first, failed last"
    await replays(recorded, agent(calls("late", "early"), late, early))


async def test_no_more_calls_at_a_time_than_configured():
    running, most = 0, 0

    @tool
    async def busy() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await record(agent(calls(*["busy"] * 12), busy))
    default, most = most, 0
    await record(agent(calls(*["busy"] * 12), busy, max_parallel_tools=3))

    assert (default, most) == (8, 3)


async def test_all_calls_are_scheduled_before_the_first_runs_in_plan_order():
    seen = []

    @tool
    async def look() -> None:
        events = await today.log.read("run")
        seen.append([event.decode().call_id for event in events if event.kind is Kind.ToolCallScheduled])

    today = agent(calls("look", "look", "look"), look)
    await record(today)

    assert seen == [["call_1", "call_2", "call_3"]] * 3
