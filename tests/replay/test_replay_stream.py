"""A replay as steps: recorded beside produced, in order, as it goes on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from starling import step, tool
from starling.errors import LogCorruptError, RunNotFoundError
from starling.event import Kind
from starling.replay import ReplayStep, replay_stream
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record


async def at_once():
    """What a tool waits for, if nothing."""


def support(result="rain", *, names=("db",), second="calm", wait=at_once, **options):
    @tool
    async def lookup(city: str) -> dict:
        await wait()
        for name in names:
            await step.side_effect(name, lambda: 3)
        return {"city": city, "weather": result}

    @tool
    async def wind(city: str) -> str:
        return second

    script = calls(("lookup", {"city": "Oslo"}), ("wind", {"city": "Oslo"}))
    return agent(script, lookup, wind, **options)


async def steps_of(recorded, today, **options):
    async with aclosing(replay_stream(recorded.log, recorded.run_id, today, **options)) as stream:
        return [one async for one in stream]


async def test_a_run_that_replays_has_a_step_for_each_event():
    recorded = await record(support())

    steps = await steps_of(recorded, support())

    assert [one.seq for one in steps] == list(range(1, len(recorded.events) + 1))
    assert [one.recorded for one in steps] == recorded.events
    assert [one.produced for one in steps] == recorded.payloads
    assert not any(one.diverged or one.changes or one.divergence for one in steps)
    assert isinstance(steps[0], ReplayStep)


async def test_the_last_step_is_the_one_that_diverged():
    recorded = await record(support())
    seq = recorded.seq("ToolCallCompleted", call_id="call_1")

    steps = await steps_of(recorded, support("snow"))

    assert [one.seq for one in steps] == list(range(1, seq + 1))
    assert [one.diverged for one in steps] == [*[False] * (seq - 1), True]
    last = steps[-1]
    assert last.produced.result == {"city": "Oslo", "weather": "snow"}
    assert last.recorded == recorded.events[seq - 1]
    assert [str(change) for change in last.changes] == ["result.weather: 'rain' -> 'snow'"]
    assert last.divergence.cls == "payload"
    assert last.produced.duration_ms == recorded.payloads[seq - 1].duration_ms


async def test_what_was_not_reached_before_the_divergence_has_nothing_produced():
    """The effect that is missing today stands in the recording before the outcome."""
    recorded = await record(support(names=("db", "audit")))

    steps = await steps_of(recorded, support(names=("audit",)))

    db = recorded.seq("SideEffectRecorded", name="db")
    assert (steps[-1].seq, steps[-1].diverged) == (db, True)
    assert steps[-1].divergence.kind is Kind.ToolCallCompleted


async def test_a_run_that_stops_short_or_goes_on_ends_with_a_divergence():
    recorded = await record(support(max_turns=2))
    short = await record(support(max_turns=1))

    stopped = (await steps_of(recorded, support(max_turns=1)))[-1]
    went_on = (await steps_of(short, support(max_turns=2)))[-1]

    assert (stopped.diverged, stopped.recorded.kind, stopped.produced.KIND) == (True, Kind.TurnStarted, Kind.RunFailed)
    assert (went_on.diverged, went_on.recorded.kind, went_on.produced.KIND) == (True, Kind.RunFailed, Kind.TurnStarted)


@pytest.mark.parametrize("wrong", [{"provider_id": "other"}, {"api_version": "v9"}])
async def test_another_provider_is_a_diverged_first_step(wrong):
    recorded = await record(support())
    today = support()
    today.provider = ScriptedProvider(**wrong)

    (only,) = await steps_of(recorded, today)

    assert (only.seq, only.diverged, only.recorded) == (1, True, recorded.events[0])
    assert [change.path for change in only.changes] == list(wrong)
    assert only.produced.goal == "go"


async def test_steps_come_while_the_replay_goes_on():
    recorded = await record(support())
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait():
        at_work.set()
        await go_on.wait()

    async with aclosing(replay_stream(recorded.log, "run", support(wait=wait))) as stream:
        early = [await anext(stream) for _ in range(5)]
        await at_work.wait()
        assert [one.recorded.kind for one in early][-2:] == [Kind.ToolCallScheduled] * 2
        go_on.set()
        assert (await anext(stream)).seq == 6


async def test_parallel_calls_are_given_in_the_recorded_order():
    def pair(first, second):
        waits = {"first": asyncio.Event(), "second": asyncio.Event()}

        def made(name, before):
            @tool(name=name)
            async def body() -> str:
                if before:
                    await waits[before].wait()
                waits[name].set()
                return name

            return body

        return agent(calls("first", "second"), made("first", first), made("second", second))

    recorded = await record(pair("second", None))
    assert [p.call_id for p in recorded.all("ToolCallCompleted")] == ["call_2", "call_1"]

    steps = await steps_of(recorded, pair(None, "first"))

    assert [one.recorded for one in steps] == recorded.events
    assert not any(one.diverged for one in steps)


async def test_closing_early_stops_the_replay_and_leaves_no_task():
    recorded = await record(support())
    at_work, ended = asyncio.Event(), asyncio.Event()

    async def wait():
        at_work.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    before = asyncio.all_tasks()
    stream = replay_stream(recorded.log, "run", support(wait=wait))
    await anext(stream)
    await at_work.wait()
    await stream.aclose()

    assert ended.is_set()
    assert asyncio.all_tasks() == before


async def test_what_is_no_recording_raises():
    recorded = await record(support())

    with pytest.raises(RunNotFoundError):
        await anext(replay_stream(recorded.log, "nope", support()))
    recorded.log._runs["run"][4] = replace(recorded.events[4], payload=recorded.events[5].payload)
    with pytest.raises(LogCorruptError):
        await anext(replay_stream(recorded.log, "run", support()))


async def test_collecting_goes_on_and_marks_each_divergence():
    recorded = await record(support())
    seqs = [recorded.seq("ToolCallCompleted", call_id=call) for call in ("call_1", "call_2")]
    today = support("snow", second="storm", app_version="2")

    steps = await steps_of(recorded, today, collect=True)

    assert [one.recorded for one in steps] == recorded.events
    assert [one.seq for one in steps if one.diverged] == sorted([1, *seqs])
    assert [one.divergence.cause_seq for one in steps if one.diverged] == [0, 0, 0]


async def test_collecting_marks_a_call_that_took_another_way_and_what_follows_from_a_cause():
    recorded = await record(support())
    today = support(names=("db", "audit"), system_prompt="new")

    steps = await steps_of(recorded, today, collect=True)

    diverged = {one.seq: one.divergence for one in steps if one.diverged}
    first, second = recorded.seqs("TurnStarted")
    assert set(diverged) == {1, first, recorded.seq("ToolCallCompleted", call_id="call_1"), second}
    assert [one.seq for one in steps] == list(range(1, len(recorded.events) + 1))
    assert {seq: one.cause_seq for seq, one in diverged.items() if one.cause_seq} == {first: 1, second: 1}


async def test_a_divergence_of_a_nested_run_stands_at_the_call_that_was_under_way():
    def outer(log=None, prompt=""):
        @tool
        async def ask() -> str:
            sub = agent(ScriptedProvider().text("hi"), log=main.log, system_prompt=prompt)
            return (await sub.run("hello")).final_text

        main = agent(calls("ask"), ask, log=log)
        return main

    recorded = await record(outer())

    steps = await steps_of(recorded, outer(recorded.log, "changed"))

    assert steps[-1].diverged
    assert steps[-1].seq == recorded.seq("ToolCallCompleted")
    assert steps[-1].produced is None
    assert steps[-1].divergence.run_id != "run"
    assert [change.path for change in steps[-1].changes] == ["system_prompt"]
