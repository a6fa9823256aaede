"""A run as it happens: every event, or typed news of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from starling import Done, TextDelta, ToolCallEnded, ToolCallStarted, ambient, step, tool
from starling.errors import AgentConfigError, ToolCallError, TransientToolError
from starling.event import Kind
from starling.replay import FixtureRun, ReplayingSession
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls


@tool
def add(a: int, b: int) -> int:
    step.side_effect_sync("x", lambda: 1)
    return a + b


def adding():
    script = ScriptedProvider().text("adding").tool_call("add", {"a": 1, "b": 2}).turn().text("three")
    return agent(script, add)


async def collected(items):
    return [item async for item in items]


async def test_every_event_comes_once_in_order_and_is_in_the_log_by_then():
    today = adding()
    seqs = []

    async for event in today.stream("go"):
        stored = await today.log.read(event.run_id)
        assert stored[event.seq - 1] == event
        seqs.append(event.seq)

    assert seqs == list(range(1, len(stored) + 1))
    assert event.kind is Kind.RunCompleted


async def test_news_of_a_run():
    news = await collected(adding().run_stream("go"))

    assert [type(item) for item in news] == [TextDelta, ToolCallStarted, ToolCallEnded, TextDelta, Done]
    first, started, ended, last, done = news
    assert (first.text, last.text) == ("adding", "three")
    assert (started.tool, started.args, started.attempt) == ("add", {"a": 1, "b": 2}, 1)
    assert (ended.call_id, ended.result, ended.error) == (started.call_id, 3, "")
    assert (done.final_text, done.terminal_kind, done.error) == ("three", Kind.RunCompleted, None)
    assert done.result.run_id == done.run_id


async def test_a_failed_run_streams_to_its_end_and_then_raises():
    seen = []

    async def watch():
        async for event in agent(calls("nope")).stream("go"):
            seen.append(event.kind.name)

    with pytest.raises(ToolCallError):
        await watch()

    assert seen[-2:] == ["ToolCallFailed", "RunFailed"]


async def test_news_of_a_failed_run_end_with_its_error():
    *_, ended, done = await collected(agent(calls("nope")).run_stream("go"))

    assert ended.error == "step: tool not found: nope"
    assert isinstance(done.error, ToolCallError)
    assert (done.terminal_kind, done.final_text) == (Kind.RunFailed, "")
    assert done.result.tool_call_count == 1


async def test_each_attempt_is_news():
    failed = []

    @tool(idempotent=True, max_attempts=2, backoff=lambda _: 0.0)
    async def flaky() -> str:
        if not failed:
            failed.append(1)
            raise TransientToolError("busy")
        return "ok"

    news = await collected(agent(calls("flaky"), flaky).run_stream("go"))

    attempts = [
        (type(item).__name__, item.attempt) for item in news if isinstance(item, ToolCallStarted | ToolCallEnded)
    ]
    assert attempts == [
        ("ToolCallStarted", 1),
        ("ToolCallEnded", 1),
        ("ToolCallStarted", 2),
        ("ToolCallEnded", 2),
    ]


@pytest.mark.parametrize("kind", ["stream", "run_stream"])
async def test_closing_the_generator_cancels_the_run(kind):
    today = agent(ScriptedProvider().text("x").hang())

    async with aclosing(getattr(today, kind)("go")) as items:
        if kind == "stream":
            run_id = (await anext(items)).run_id
        else:
            waiting = asyncio.ensure_future(anext(items))
            for _ in range(5):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            (run_id,) = today.log._runs

    assert (await today.log.read(run_id))[-1].kind is Kind.RunCancelled


async def test_a_wrong_wiring_is_raised_by_the_stream_and_carried_by_the_news():
    with pytest.raises(AgentConfigError, match="model"):
        await collected(agent(model="").stream("go"))

    (done,) = await collected(agent(model="").run_stream("go"))
    assert "model" in str(done.error)
    assert (done.run_id, done.result) == ("", None)


async def test_a_replayed_run_streams_the_recorded_events():
    today = adding()
    recorded = await collected(today.stream("go"))
    run = FixtureRun(run_id=recorded[0].run_id, events=tuple(recorded), began=1, ended=2)

    with ambient.activate(ReplayingSession([run])):
        again = adding()
        assert await collected(again.stream("go")) == recorded
    assert again.provider.requests == ()
