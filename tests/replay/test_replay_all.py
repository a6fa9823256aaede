"""Replaying a whole log: every failure by run id, sub-agents as part of the run that started them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

import starling
from starling import MemoryLog, SQLiteLog, replay, replay_all, replay_all_sync, step, tool
from starling.errors import (
    AgentConfigError,
    LogCorruptError,
    LogError,
    NondeterminismError,
    ProviderModelMismatchError,
    RunNotFoundError,
)
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays


def weather(result="rain", *, log=None, **options):
    @tool
    async def lookup(city: str) -> str:
        return result

    return agent(calls(("lookup", {"city": "Oslo"})), lookup, log=log, **options)


async def recorded_log(log, *results):
    for number, result in enumerate(results, start=1):
        await record(weather(result, log=log), f"goal {number}", run_id=f"run-{number}")
    return log


@pytest.fixture(params=["memory", "sqlite"])
async def log(request, tmp_path):
    made = MemoryLog() if request.param == "memory" else SQLiteLog(tmp_path / "log.db")
    yield made
    await made.close()


async def test_a_log_that_replays_has_no_failures(log):
    await recorded_log(log, "rain", "rain", "rain")

    assert await replay_all(log, weather) == {}


async def test_every_failure_is_returned_by_run_id_in_the_order_of_the_log(log):
    await recorded_log(log, "rain", "snow", "rain", "hail")

    failures = await replay_all(log, weather)

    assert list(failures) == ["run-2", "run-4"]
    assert [error.divergence.changes[0].recorded for error in failures.values()] == ["snow", "hail"]
    assert all(isinstance(error, NondeterminismError) for error in failures.values())


def test_the_blocking_twin():
    log = asyncio.run(recorded_log(MemoryLog(), "rain", "snow"))

    assert list(replay_all_sync(log, weather)) == ["run-2"]


async def test_each_run_gets_a_fresh_agent_and_the_factory_may_be_async(log):
    await recorded_log(log, "rain", "rain")
    made = []

    async def factory():
        made.append(weather())
        return made[-1]

    assert await replay_all(log, factory) == {}
    assert len(set(map(id, made))) == 2


async def test_only_the_runs_that_are_named(log):
    await recorded_log(log, "snow", "rain", "snow")

    failures = await replay_all(log, weather, run_ids=["run-3", "run-2", "nope"])

    assert list(failures) == ["run-3", "nope"]
    assert isinstance(failures["nope"], RunNotFoundError)


async def test_damaged_and_unfinished_runs_are_failures_too():
    log = await recorded_log(MemoryLog(), "rain", "rain", "rain")
    log._runs["run-1"][3] = replace(log._runs["run-1"][3], payload=log._runs["run-1"][4].payload)
    del log._runs["run-2"][-1]

    failures = await replay_all(log, weather)

    assert list(failures) == ["run-1", "run-2"]
    assert all(isinstance(error, LogCorruptError) for error in failures.values())
    assert [error.run_id for error in failures.values()] == ["run-1", "run-2"]


async def test_options_are_those_of_replay():
    log = await recorded_log(MemoryLog(), "snow")

    assert await replay_all(log, weather, tools="run") == {}
    assert await replay_all(log, weather, ignore=["ToolCallCompleted.result"]) == {}
    other = {"app_version": "2"}
    (error,) = (await replay_all(log, lambda: weather(**other), collect=True)).values()
    assert [one.seq for one in error.divergences] == [1, 5]


async def test_each_verdict_is_told_as_it_is_found():
    log = await recorded_log(MemoryLog(), "rain", "snow")
    told = []

    failures = await replay_all(log, weather, on_run=lambda *verdict: told.append(verdict))

    assert told == [("run-1", None), ("run-2", failures["run-2"])]


async def test_another_provider_is_a_failure_of_each_run():
    log = await recorded_log(MemoryLog(), "rain")
    factory = lambda: agent(ScriptedProvider(provider_id="other"))  # noqa: E731

    (error,) = (await replay_all(log, factory)).values()

    assert isinstance(error, ProviderModelMismatchError)


@pytest.mark.parametrize("wrong", [ZeroDivisionError("no agent"), AgentConfigError("no model")])
async def test_what_the_factory_raises_is_raised(wrong):
    log = await recorded_log(MemoryLog(), "rain")

    def factory():
        raise wrong

    with pytest.raises(type(wrong), match="no "):
        await replay_all(log, factory)


async def test_an_agent_that_cannot_run_is_no_verdict_on_the_runs():
    log = await recorded_log(MemoryLog(), "rain")

    with pytest.raises(AgentConfigError):
        await replay_all(log, lambda: weather(model=""))


class PlainLog:
    """A user's own log, with what `EventLog` asks for and no more."""

    def __init__(self, inner):
        self.append, self.read, self.stream, self.close = inner.append, inner.read, inner.stream, inner.close


async def test_a_log_that_cannot_list_serves_for_runs_that_are_named():
    log = PlainLog(await recorded_log(MemoryLog(), "rain", "snow"))

    assert list(await replay_all(log, weather, run_ids=["run-1", "run-2"])) == ["run-2"]
    with pytest.raises(LogError, match=r"has no list_runs.*pass run_ids"):
        await replay_all(log, weather)


def test_the_names_are_public():
    assert {"replay_all", "replay_all_sync"} <= set(starling.__all__)


# --- sub-agents


def outer(log=None, *, asks=("one",), prompt="You help.", sub_result="x", in_effect=False, together=False, **options):
    """An agent whose tool starts runs of another agent in the same log."""
    log = MemoryLog() if log is None else log

    def helper(number):
        @tool
        async def look() -> str:
            return sub_result

        script = calls("look", answer=f"answer {number}")
        return agent(script, look, log=log, system_prompt=prompt)

    @tool
    async def ask() -> list[str]:
        async def one(number, question):
            runner = helper(number)
            if in_effect:
                return await step.side_effect(f"ask {number}", lambda: text_of(runner, question))
            return (await runner.run(question)).final_text

        coroutines = [one(number, question) for number, question in enumerate(asks)]
        if together:
            return await asyncio.gather(*coroutines)
        return [await coroutine for coroutine in coroutines]

    return agent(calls("ask"), ask, log=log, **options)


async def text_of(runner, question):
    return (await runner.run(question)).final_text


@pytest.mark.parametrize("together", [False, True])
async def test_runs_that_a_tool_starts_are_found_in_the_same_log(log, together):
    options = {"asks": ("one", "two", "one"), "together": together}
    recorded = await record(outer(log, **options))

    await replays(recorded, outer(**options), outer(**options))
    assert await replay_all(log, lambda: outer(**options)) == {}


async def test_runs_that_a_sync_tool_starts_in_its_thread(log):
    def delegating(answer="x"):
        @tool
        def delegate(question: str) -> str:
            return outer(log, sub_result=answer).run_sync(question).final_text

        script = calls(("delegate", {"question": "one"}), ("delegate", {"question": "two"}))
        return agent(script, delegate, log=log, system_prompt="I delegate.")

    recorded = await record(delegating())

    assert await replay(log, "run", delegating()) == ()
    assert (await diverges(recorded, delegating("y"))).changes[0].path == "result"
    assert await replay_all(log, delegating) == {}


async def test_equal_runs_of_one_call_are_told_apart_by_their_order(log):
    asks = ("same", "same", "same")
    recorded = await record(outer(log, asks=asks))

    assert recorded.one("ToolCallCompleted").result == ["answer 0", "answer 1", "answer 2"]
    await replays(recorded, outer(asks=asks))
    divergence = await diverges(recorded, outer(asks=(*asks, "same")))
    assert "the code inside call 'call_1' started a run that the recording does not have" in divergence.reason


def two_calls(log=None, *, first=1, second=1, ends="done"):
    """Two calls one after the other, each of which starts so many sub-agents."""

    @tool
    async def delegate(times: int) -> str:
        for _ in range({1: first, 2: second}[times]):
            await agent(ScriptedProvider().text("x"), log=log, system_prompt="I help.").run("help")
        return ends if times == 2 else "done"

    script = ScriptedProvider().tool_call("delegate", {"times": 1}).turn().tool_call("delegate", {"times": 2})
    return agent(script.turn().text("all done"), delegate, log=log, system_prompt="I delegate.")


async def test_a_sub_agent_more_is_told_where_the_run_around_it_starts_it(log):
    recorded = await record(two_calls(log))

    divergence = await diverges(recorded, two_calls(second=2))

    assert (divergence.run_id, divergence.length) == ("run", len(recorded.events))
    assert divergence.seq == recorded.seqs("ToolCallCompleted")[1]
    assert (divergence.cls, str(divergence.kind)) == ("kind", "RunStarted")
    assert divergence.call_id == "call_2"
    assert divergence.produced.goal == "help"
    failures = await replay_all(log, lambda: two_calls(second=2))
    assert [(run_id, error.divergence) for run_id, error in failures.items()] == [("run", divergence)]


async def test_what_comes_behind_a_sub_agent_more_is_compared_too(log):
    recorded = await record(two_calls(log))

    found = await replay(log, "run", two_calls(first=2, ends="over"), collect=True)

    outcomes = recorded.seqs("ToolCallCompleted")
    assert [(one.run_id, one.seq, one.cls) for one in found] == [
        ("run", outcomes[0], "kind"),
        ("run", outcomes[1], "payload"),
    ]
    assert [str(change) for change in found[1].changes] == ["result: 'done' -> 'over'"]


async def test_a_tool_that_swallows_the_divergence_of_a_sub_agent_more_changes_nothing(log):
    def swallowing(times):
        @tool
        async def delegate() -> str:
            for _ in range(times):
                with suppress(Exception):
                    await agent(ScriptedProvider().text("x"), log=log, system_prompt="I help.").run("help")
            return "done"

        return agent(calls("delegate"), delegate, log=log, system_prompt="I delegate.")

    recorded = await record(swallowing(1))

    assert (await diverges(recorded, swallowing(2))).seq == recorded.seq("ToolCallCompleted")


async def test_runs_of_the_same_goal_elsewhere_in_the_log_are_left_alone(log):
    before = outer(log)
    await record(before, run_id="before")
    recorded = await record(outer(log))
    await record(outer(log), run_id="after")
    alone = {run.run_id for run in await log.list_runs() if run.run_id not in ("before", "run", "after")}
    assert len(alone) == 3

    today = outer()
    await replays(recorded, today)

    ((nested,),) = [{run.run_id for run in await today.log.list_runs()} - {"run"}]
    events = await log.read(nested)
    scheduled, completed = recorded.seq("ToolCallScheduled"), recorded.seq("ToolCallCompleted")
    assert recorded.events[scheduled - 1].ts <= events[0].ts <= recorded.events[completed - 1].ts


async def test_a_change_of_the_sub_agent_is_named_in_its_run(log):
    recorded = await record(outer(log))

    in_prompt = await diverges(recorded, outer(prompt="You hinder."))
    in_tool = await diverges(recorded, outer(sub_result="y"))

    assert in_prompt.run_id == in_tool.run_id != "run"
    assert [str(change) for change in in_prompt.changes] == ["system_prompt: 'You help.' -> 'You hinder.'"]
    assert [str(change) for change in in_tool.changes] == ["result: 'x' -> 'y'"]


async def test_a_divergence_of_a_sub_agent_that_the_tool_swallows_is_raised_all_the_same(log):
    def swallowing(prompt):
        @tool
        async def ask() -> str:
            try:
                await agent(ScriptedProvider().text("hello"), log=log, system_prompt=prompt).run("hi")
            except Exception:
                return "never mind"
            return "never mind"

        return agent(calls("ask"), ask, log=log)

    recorded = await record(swallowing("one"))

    divergence = await diverges(recorded, swallowing("two"))

    assert divergence.run_id != "run"


async def test_sub_agents_of_sub_agents(log):
    def grandparent(deepest="x"):
        @tool
        async def delegate() -> str:
            return (await outer(log, sub_result=deepest).run("middle")).final_text

        return agent(calls("delegate"), delegate, log=log, system_prompt="I delegate.")

    recorded = await record(grandparent())

    await replay(log, recorded.run_id, grandparent())
    divergence = await diverges(recorded, grandparent("y"))
    assert [str(change) for change in divergence.changes] == ["result: 'x' -> 'y'"]
    assert await replay_all(log, grandparent) == {}


@pytest.mark.parametrize(
    ("was", "today", "options"),
    [
        ({"in_effect": True}, {"in_effect": True}, {}),
        ({}, {}, {"tools": "stub"}),
        ({"in_effect": True}, {"in_effect": True}, {"tools": "stub"}),
    ],
)
async def test_sub_agents_that_are_not_run_again_are_no_failures_of_their_own(log, was, today, options):
    await record(outer(log, asks=("one", "two"), **was))

    assert await replay_all(log, lambda: outer(asks=("one", "two"), **today), **options) == {}


async def test_a_broken_outer_run_is_the_one_failure(log):
    await record(outer(log))

    failures = await replay_all(log, lambda: outer(system_prompt="changed"))

    assert list(failures) == ["run"]


async def test_a_damaged_sub_agents_run_is_reported_with_its_own_error():
    log = MemoryLog()
    await record(outer(log))
    (nested,) = [run.run_id for run in await log.list_runs() if run.run_id != "run"]
    log._runs[nested][2] = replace(log._runs[nested][2], payload=log._runs[nested][1].payload)

    with pytest.raises(LogCorruptError) as raised:
        await replay(log, "run", outer())
    failures = await replay_all(log, outer)

    assert raised.value.run_id == nested
    assert {nested, "run"} == set(failures)
    assert isinstance(failures[nested], LogCorruptError)


async def crashed_inside_a_sub_agent():
    """A log whose process was killed while a sub-agent was at work, and the id of what that left."""
    whole, log = MemoryLog(), MemoryLog()
    recorded = await record(outer(whole))
    (nested,) = [run.run_id for run in await whole.list_runs() if run.run_id != "run"]
    left = (await whole.read(nested))[:3]
    before = [event for event in recorded.events if event.ts <= left[-1].ts]
    await log.append("run", before)
    await log.append(nested, left)
    return log, nested


async def test_a_sub_agents_run_that_a_crash_left_behind_is_no_failure():
    """The resumed run had another one in its place, and nobody can finish the old one."""
    log, nested = await crashed_inside_a_sub_agent()
    await outer(log).resume("run")

    assert await replay_all(log, outer) == {}
    named = await replay_all(log, outer, run_ids=[nested])
    assert "never ended" in str(named[nested])


async def test_a_run_that_a_crash_left_behind_is_a_failure_if_it_may_be_the_agents_own():
    """Or if nobody went on with the run around it."""
    log, nested = await crashed_inside_a_sub_agent()
    assert set(await replay_all(log, outer)) == {"run", nested}

    await outer(log).resume("run")
    first, began = (await log.read("run"))[0], (await log.read(nested))[0].ts
    await log.append("twin", [replace(first, run_id="twin", ts=began)])

    failures = await replay_all(log, outer)

    assert set(failures) == {"twin"}
    assert "never ended" in str(failures["twin"])


async def test_concurrent_runs_of_one_agent_are_each_judged():
    """They begin while a tool of another one is at work, and are no part of it."""
    log, go_on, at_work = MemoryLog(), asyncio.Event(), asyncio.Event()

    def waiting(result, *, live=False):
        @tool
        async def lookup(city: str) -> str:
            if live:
                at_work.set()
                await go_on.wait()
            return result

        return agent(calls(("lookup", {"city": "Oslo"})), lookup, log=log)

    first = asyncio.create_task(record(waiting("rain", live=True), run_id="run-1"))
    await at_work.wait()
    await record(weather("snow", log=log), run_id="run-2")
    go_on.set()
    await first

    assert list(await replay_all(log, lambda: waiting("rain"))) == ["run-2"]


async def test_a_log_that_cannot_list_says_why_a_sub_agents_run_is_not_found():
    inner = MemoryLog()
    recorded = await record(outer(inner))
    plain = PlainLog(inner)

    with pytest.raises(NondeterminismError, match="this log has no list_runs"):
        await replay(plain, recorded.run_id, outer())
