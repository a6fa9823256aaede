"""Model calls that a tool makes itself."""

from __future__ import annotations

import asyncio

import pytest

from starling import Budget, step, tool
from starling.errors import BudgetExceededError, ProviderCallError, StepContextError
from starling.event import Kind
from starling.provider import Message, Request
from starling.testing import ScriptedProvider
from tests.agent_kit import MODEL, agent, calls, diverges, record, replays


def ask(text):
    return step.llm_call(Request(model=MODEL, messages=(Message(role="user", content=text),)))


def asking(*questions, answers=("a", "b"), swallow=False, **options):
    """A model that calls a tool which asks the model again."""

    @tool
    async def outer() -> list:
        said = []
        for question in questions:
            try:
                said.append((await ask(question)).message.text)
            except Exception as error:
                if not swallow:
                    raise
                said.append(type(error).__name__)
        return said

    script = ScriptedProvider().tool_call("outer").turn()
    for answer in answers:
        script.text(answer).turn()
    return agent(script.text("done"), outer, **options)


async def test_a_turn_inside_a_tool_is_recorded_counted_and_replayed():
    recorded = await record(asking("one", "two"))

    assert recorded.one("ToolCallCompleted").result == ["a", "b"]
    assert recorded.result.turn_count == 4
    await replays(recorded, asking("one", "two"))


async def test_a_turn_fewer_is_found_where_it_is_missing():
    recorded = await record(asking("one", "two"))

    divergence = await diverges(recorded, asking("one"))

    assert (divergence.seq, divergence.cls) == (recorded.seqs("TurnStarted")[2], "kind")
    assert divergence.kind is Kind.ToolCallCompleted
    assert divergence.call_id == "call_1"


async def test_an_extra_turn_is_found_where_the_tool_ended():
    recorded = await record(asking("one", "two"))

    divergence = await diverges(recorded, asking("one", "two", "three"))

    assert (divergence.seq, divergence.cls) == (recorded.seq("ToolCallCompleted"), "kind")
    assert divergence.kind is Kind.TurnStarted


async def test_another_question_is_found_at_its_turn_without_guessing_at_the_recorded_one():
    """A log does not hold what a tool asked the model, only its hash: there is nothing to compare it with."""
    recorded = await record(asking("one", "two"))

    divergence = await diverges(recorded, asking("one", "another"))

    assert (divergence.seq, divergence.cls) == (recorded.seqs("TurnStarted")[2], "payload")
    assert [str(change) for change in divergence.changes] == [
        "input_tokens: 1 -> 3",
        "messages[0] (user): (not recorded) -> 'another'",
    ]
    assert "made with step.llm_call" in divergence.reason


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_failed_model_call_inside_a_tool_ends_the_run(swallow):
    def make():
        @tool
        async def outer() -> str:
            try:
                return (await ask("one")).message.text
            except Exception:
                if swallow:
                    return "swallowed"
                raise

        script = ScriptedProvider().tool_call("outer").turn().error("down", 503).text("never")
        return agent(script, outer, tool_errors="report")

    recorded = await record(make())

    assert isinstance(recorded.error, ProviderCallError)
    assert (recorded.end.KIND, recorded.end.error_type) == (Kind.RunFailed, "provider")
    await replays(recorded, make())


async def test_a_budget_that_trips_inside_a_tool_ends_the_run():
    def make():
        return asking("one", answers=("long",), swallow=True, budget=Budget(max_output_tokens=7))

    recorded = await record(make())

    assert isinstance(recorded.error, BudgetExceededError)
    assert recorded.kinds[-2:] == ["BudgetExceeded", "RunFailed"]
    await replays(recorded, make())


async def test_turns_asked_for_at_the_same_time_follow_each_other():
    def make():
        @tool
        async def outer() -> list:
            turns = await asyncio.gather(ask("one"), ask("two"))
            return [turn.message.text for turn in turns]

        return agent(calls("outer", answer=None).turn().text("a").turn().text("b").turn().text("done"), outer)

    recorded = await record(make())

    assert recorded.one("ToolCallCompleted").result == ["a", "b"]
    await replays(recorded, make())


async def test_outside_of_a_run_there_is_no_turn():
    with pytest.raises(StepContextError, match="outside of a run"):
        await ask("x")


async def test_a_model_call_inside_an_effect_is_refused_by_name():
    """Its turn would be recorded, and a replay, which does not run the effect, would not reproduce it."""
    refused = []

    @tool
    async def outer() -> None:
        try:
            await step.side_effect("x", lambda: ask("why"))
        except StepContextError as error:
            refused.append(str(error))

    recorded = await record(agent(calls("outer"), outer))

    assert refused == ["a model call inside a side effect cannot be recorded; call the model outside of it"]
    assert [payload.KIND for payload in recorded.payloads].count(Kind.TurnStarted) == 2


def racing(*, order=(), budget=None):
    """Two parallel tools that each ask the model; ``order`` says how often each yields before it asks."""

    @tool
    async def left() -> str:
        for _ in range(order[0] if order else 0):
            await asyncio.sleep(0)
        return (await ask("left")).message.text

    @tool
    async def right() -> str:
        for _ in range(order[1] if order else 0):
            await asyncio.sleep(0)
        return (await ask("right")).message.text

    script = ScriptedProvider().tool_call("left").tool_call("right").turn()
    script.text("first").usage(60, 5).turn().text("second").usage(60, 5).turn()
    return agent(script.text("done"), left, right, budget=budget)


@pytest.mark.parametrize("then", [(0, 9), (9, 0), (3, 3)])
@pytest.mark.parametrize("now", [(0, 9), (9, 0), (3, 3)])
async def test_parallel_tools_may_ask_in_any_order_today(then, now):
    """A turn names the call whose code makes it, so whose answer is whose does not depend on who asks first."""
    recorded = await record(racing(order=then))

    assert {turn.call_id for turn in recorded.all("TurnStarted")} == {"", "call_1", "call_2"}
    await replays(recorded, racing(order=now))


@pytest.mark.parametrize("now", [(0, 9), (9, 0)])
async def test_who_of_parallel_tools_exhausts_a_budget_is_taken_from_the_recording(now):
    recorded = await record(racing(order=(0, 9), budget=Budget(max_input_tokens=60)))

    assert recorded.one("BudgetExceeded").call_id
    await replays(recorded, racing(order=now, budget=Budget(max_input_tokens=60)))


async def test_a_call_that_made_turns_may_be_stubbed():
    recorded = await record(asking("one", "two"))

    await replays(recorded, asking("something else"), tools="stub")
