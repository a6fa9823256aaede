"""Names and ids that code chooses: recorded in the form in which a replay looks them up, or refused."""

from __future__ import annotations

import contextlib
import contextvars

import pytest

from starling import step, tool
from starling.errors import AgentConfigError, StepContextError
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record, replays

LONE = "odd \ud800 name"
KEPT = "odd \ufffd name"


# --- ids


@tool
async def echo(text: str) -> str:
    return text


async def test_an_id_that_was_minted_in_a_run_is_the_same_on_replay():
    """Two mints come before the dispatches that use them, in the other order."""
    seen = []

    @tool
    async def t() -> list:
        first, second = step.new_call_id(), step.new_call_id()
        seen.append((first, second))
        return await step.call_tools(
            [step.ToolCall(name="echo", args={"text": call_id}, call_id=call_id) for call_id in (second, first)]
        )

    recorded = await record(agent(calls("t"), t, echo))
    await replays(recorded, agent(calls("t"), t, echo), agent(calls("t"), t, echo))

    first, second = seen[0]
    assert seen == [(first, second)] * 3
    assert first != second
    effects = recorded.all("SideEffectRecorded", name="starling/call_id", call_id="call_1")
    assert [effect.value for effect in effects] == [first, second]
    assert [call.call_id for call in recorded.all("ToolCallScheduled")] == ["call_1", second, first]


async def test_an_id_of_a_sync_tool_and_one_that_is_minted_for_the_dispatch():
    seen = []

    @tool
    def minting() -> str:
        seen.append(step.new_call_id())
        return seen[-1]

    @tool
    async def t() -> str:
        await step.call_tool(step.ToolCall(name="echo", args={"text": "x"}))
        call_id = step.new_call_id()
        return await step.call_tool(step.ToolCall(name="minting", args={}, call_id=call_id))

    recorded = await record(agent(calls("t"), t, echo, minting))
    await replays(recorded, agent(calls("t"), t, echo, minting))

    assert seen[0] == seen[1]


def test_outside_of_a_run_an_id_is_just_fresh():
    assert len({step.new_call_id() for _ in range(100)}) == 100


async def test_inside_an_effect_an_id_is_part_of_its_value():
    @tool
    async def t() -> str:
        return await step.side_effect("x", step.new_call_id)

    recorded = await record(agent(calls("t"), t))

    assert [effect.name for effect in recorded.all("SideEffectRecorded")] == ["x"]
    await replays(recorded, agent(calls("t"), t))


async def test_a_call_that_has_ended_gets_no_id_any_more():
    left = []

    @tool
    async def t() -> None:
        left.append(contextvars.copy_context())

    await record(agent(calls("t"), t))

    with pytest.raises(StepContextError, match="has ended"):
        left[0].run(step.new_call_id)


# --- names of effects


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_effect_whose_name_has_no_utf8_form_is_found_again(blocking):
    ran = []

    @tool
    async def t() -> list:
        values = []
        for n in range(2):
            effect = lambda n=n: ran.append(n) or n  # noqa: E731 - the effect itself
            values.append(step.side_effect_sync(LONE, effect) if blocking else await step.side_effect(LONE, effect))
        return values

    recorded = await record(agent(calls("t"), t))
    await replays(recorded, agent(calls("t"), t))

    assert [effect.name for effect in recorded.all("SideEffectRecorded")] == [KEPT, KEPT]
    assert ran == [0, 1]


@pytest.mark.parametrize("name", [None, 7, b"x", ("a",)])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_name_that_is_not_text_is_refused_before_anything_happens(name, blocking):
    ran = []

    @tool
    async def t() -> str:
        with contextlib.suppress(TypeError):
            step.side_effect_sync(name, lambda: ran.append(1))
        if not blocking:
            await step.side_effect(name, lambda: ran.append(1))
        return str(step.side_effect_sync(name, lambda: ran.append(1)))

    recorded = await record(agent(calls("t"), t))

    assert ran == []
    assert f"must be text, got {type(name).__name__}" in recorded.one("ToolCallFailed").error
    assert "SideEffectRecorded" not in recorded.kinds
    await replays(recorded, agent(calls("t"), t))


# --- names and ids of calls


async def test_a_call_whose_name_and_id_have_no_utf8_form():
    said = []

    @tool
    async def t() -> str:
        try:
            await step.call_tool(step.ToolCall(name=LONE, args={"a": LONE}, call_id="id \ud800"))
        except Exception as error:
            said.append((str(error), error.tool, error.call_id))
        return await step.call_tool(step.ToolCall(name="echo", args={"text": LONE}, call_id="id \ud800"))

    recorded = await record(agent(calls("t"), t, echo))
    await replays(recorded, agent(calls("t"), t, echo))

    assert said == [(f"step: tool not found: {KEPT}", KEPT, "id \ufffd")] * 2


async def test_two_ids_that_become_the_same_are_refused_before_anything_is_recorded():
    @tool
    async def t() -> None:
        calls_ = [step.ToolCall(name="echo", args={"text": "x"}, call_id=call_id) for call_id in ("\ud800", "\udfff")]
        await step.call_tools(calls_)

    recorded = await record(agent(calls("t"), t, echo))

    assert "has not ended" in recorded.one("ToolCallFailed").error
    assert recorded.kinds.count("ToolCallScheduled") == 1


@pytest.mark.parametrize("field", ["name", "call_id", "turn_id", "idemp_key"])
async def test_a_part_of_a_call_that_is_not_text_is_refused_before_anything_is_recorded(field):
    @tool
    async def t() -> None:
        await step.call_tool(step.ToolCall(**{"name": "echo", "args": {"text": "x"}, field: 7}))

    recorded = await record(agent(calls("t"), t, echo))

    assert recorded.one("ToolCallFailed").error == f"ToolCall.{field} must be text, got int: 7"
    assert recorded.kinds.count("ToolCallScheduled") == 1


# --- the run's own texts


async def test_texts_without_a_utf8_form_are_live_what_they_are_on_replay():
    """The goal, what the model says and what a tool says when it fails."""
    scripts = []

    @tool
    async def t(text: str) -> str:
        raise ValueError(f"no {text}")

    def make():
        script = ScriptedProvider().tool_call("t", {"text": LONE}).turn().text(LONE)
        scripts.append(script)
        return agent(script, t, tool_errors="report")

    recorded = await record(make(), LONE)
    await replays(recorded, make())

    assert recorded.result.final_text == recorded.end.final_text == KEPT
    assert recorded.one("RunStarted").goal == KEPT
    asked, _, failed = scripts[0].requests[1].messages
    assert (asked.content, failed.tool_result.content) == (KEPT, f"no {KEPT}")


@pytest.mark.parametrize(
    ("namespace", "problem"),
    [
        ("a\0b", "contains a NUL character"),
        ("a\ud800", "holds a lone surrogate"),
        (None, "must be text, got NoneType"),
        (b"x", "must be text, got bytes"),
        ("a/b", "must not contain '/'"),
    ],
)
async def test_a_namespace_that_no_log_can_keep_is_refused(namespace, problem):
    provider = ScriptedProvider().text("x")
    with pytest.raises(AgentConfigError, match=problem) as raised:
        await agent(provider, namespace=namespace).run("go")

    assert raised.value.field == "namespace"
    assert provider.requests == ()


@pytest.mark.parametrize(("name", "problem"), [(LONE, "holds a lone surrogate"), (7, "must be text, got int")])
async def test_a_tool_name_that_no_log_can_keep_is_refused(name, problem):
    class Odd:
        description, schema = "", "{}"

        async def execute(self, _):
            return None

    odd = Odd()
    odd.name = name
    with pytest.raises(AgentConfigError, match=problem):
        await agent(ScriptedProvider().text("x"), odd).run("go")
