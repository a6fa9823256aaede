"""What a tool does to the task that it runs in is its own business: it neither ends the run nor reaches other calls."""

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

from starling import step, tool
from starling.event import Kind
from starling.tool import TransientToolError
from tests.agent_kit import agent, calls, record, replays

VARIABLE = contextvars.ContextVar("VARIABLE", default="as it was")


@tool
async def other() -> str:
    """A sibling, at work meanwhile."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "other"


def cancel_own_task():
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def _returns():
    cancel_own_task()
    return "returned"


async def _raises():
    cancel_own_task()
    raise ValueError("raised")


async def _waits():
    cancel_own_task()
    await asyncio.sleep(0)


@pytest.mark.parametrize("planned", [("odd",), ("odd", "other"), ("other", "odd")], ids=len)
@pytest.mark.parametrize("body", [_returns, _raises, _waits])
@pytest.mark.parametrize("options", [{}, {"timeout": 30}, {"idempotent": True, "max_attempts": 2}], ids=str)
async def test_a_tool_that_cancels_its_own_task_fails(planned, body, options):
    odd = tool(body, name="odd", **options)

    def made():
        return agent(calls(*planned), odd, other, tool_errors="report")

    recorded = await record(made())

    assert recorded.end.KIND is Kind.RunCompleted
    assert recorded.one("ToolCallFailed").error_type == "tool"
    assert len(recorded.all("ToolCallCompleted")) == len(planned) - 1
    await replays(recorded, made())


@pytest.mark.parametrize("planned", [("odd",), ("odd", "other")], ids=len)
async def test_a_cancellation_that_a_tool_takes_back_is_none(planned):
    @tool
    async def odd() -> str:
        cancel_own_task()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return "went on"
        return "was not cancelled"

    recorded = await record(agent(calls(*planned), odd, other))

    assert recorded.end.KIND is Kind.RunCompleted
    assert "went on" in [completed.result for completed in recorded.all("ToolCallCompleted")]
    await replays(recorded, agent(calls(*planned), odd, other))


async def test_a_tool_that_cancels_anothers_task_makes_that_one_fail():
    tasks = {}

    @tool
    async def victim() -> str:
        tasks["victim"] = asyncio.current_task()
        await asyncio.sleep(30)
        return "never"

    @tool
    async def killer() -> str:
        await asyncio.sleep(0)
        tasks["victim"].cancel()
        return "killed"

    def made():
        return agent(calls("victim", "killer"), victim, killer, tool_errors="report")

    recorded = await record(made())

    assert recorded.end.KIND is Kind.RunCompleted
    assert [failed.error_type for failed in recorded.all("ToolCallFailed")] == ["tool"]
    await replays(recorded, made())


@pytest.mark.parametrize("planned", [("leaves",), ("leaves", "other"), ("leaves", "leaves")], ids=str)
async def test_context_variables_that_a_tool_sets_stay_in_its_attempt(planned):
    seen = []

    @tool(idempotent=True, max_attempts=3, backoff=lambda _: 0.0)
    async def leaves() -> str:
        seen.append(VARIABLE.get())
        VARIABLE.set("changed")
        if len(seen) % 2:
            raise TransientToolError("again")
        return "done"

    recorded = await record(agent(calls(*planned), leaves, other))

    assert recorded.end.KIND is Kind.RunCompleted
    assert set(seen) == {"as it was"}
    assert VARIABLE.get() == "as it was"


async def test_a_variable_set_in_one_call_is_unknown_in_the_next():
    seen = []

    @tool
    async def leaves() -> str:
        seen.append(VARIABLE.get())
        VARIABLE.set("changed")
        return str(await step.side_effect("value", VARIABLE.get))

    script = calls("leaves", answer=None).turn().tool_call("leaves").turn().text("done")
    recorded = await record(agent(script, leaves))

    assert recorded.end.KIND is Kind.RunCompleted
    assert seen == ["as it was"] * 2
    assert VARIABLE.get() == "as it was"


def test_a_loop_that_is_forgotten_in_the_middle_of_a_tool_leaves_nothing_behind():
    gone = []

    @tool
    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            gone.append("waits")
        return "never"

    def forget():
        loop = asyncio.new_event_loop()
        task = loop.create_task(agent(calls("waits", "waits"), waits).run("go"))
        for _ in range(20):
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        task._log_destroy_pending = False
        return weakref.ref(task)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = forget()
        gc.collect()

    assert gone == ["waits", "waits"]
    assert task() is None
    assert [str(warning.message) for warning in caught if "ignored GeneratorExit" in str(warning.message)] == []
