"""What a tool does to the task that it runs in is its own business: it neither ends the run nor reaches other calls."""

import asyncio
import contextvars
import gc
import sys
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


def cancelling():
    """A tool that tells when it waits, and a caller that then cancels the run so many times."""
    waits = asyncio.Event()

    async def caller(run, times):
        for _ in range(times):
            await waits.wait()
            waits.clear()
            run.cancel()

    return waits, caller


async def cancelled(made, caller, *, times=1):
    """A recording of a run that is cancelled; what a tool made of that is not its own outcome."""
    run = asyncio.create_task(record(made()))
    await asyncio.gather(run, caller(run, times))
    return run.result()


async def _takes_it_back(waits):
    try:
        waits.set()
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()
    return "went on"


async def _takes_it_back_and_fails(waits):
    await _takes_it_back(waits)
    raise ValueError("went on")


async def _clings_until_the_second(waits):
    for _ in range(2):
        try:
            waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    return "at last"


@pytest.mark.parametrize(
    ("body", "planned", "times"),
    [
        (_takes_it_back, ("odd",), 1),
        (_takes_it_back, ("odd", "other"), 1),
        (_takes_it_back_and_fails, ("odd",), 1),
        (_takes_it_back_and_fails, ("odd", "other"), 1),
        (_clings_until_the_second, ("odd",), 2),
    ],
)
async def test_a_tool_cannot_keep_the_run_from_being_cancelled(body, planned, times):
    waits, caller = cancelling()

    @tool
    async def odd() -> str:
        return await body(waits)

    def made():
        return agent(calls(*planned), odd, other, tool_errors="report")

    recorded = await cancelled(made, caller, times=times)

    assert recorded.end.KIND is Kind.RunCancelled
    assert "cancelled" in [failed.error_type for failed in recorded.all("ToolCallFailed")]
    assert {completed.result for completed in recorded.all("ToolCallCompleted")} <= {"other"}
    await replays(recorded, made())


@pytest.mark.parametrize("planned", [("odd",), ("odd", "other"), ("other", "odd")], ids=str)
@pytest.mark.parametrize("fails", [False, True])
async def test_a_tool_that_cancels_the_run_is_cancelled_with_it(planned, fails):
    runs = []

    @tool
    async def odd() -> str:
        runs[-1].cancel()
        if fails:
            raise ValueError("at once")
        return "at once"

    def made():
        return agent(calls(*planned), odd, other, tool_errors="report")

    runs.append(asyncio.create_task(record(made())))
    recorded = await runs[-1]

    assert recorded.end.KIND is Kind.RunCancelled
    assert ("context canceled", "cancelled") in [
        (failed.error, failed.error_type) for failed in recorded.all("ToolCallFailed")
    ]
    await replays(recorded, made())


@pytest.mark.parametrize("inner", [("other",), ("other", "other")], ids=len)
@pytest.mark.parametrize("planned", [("odd",), ("odd", "other")], ids=len)
async def test_calls_of_a_tool_that_has_cancelled_its_own_task_never_begin(inner, planned):
    @tool
    async def odd() -> str:
        cancel_own_task()
        return str(await step.call_tools([step.ToolCall(name=name, args={}) for name in inner]))

    def made():
        return agent(calls(*planned), odd, other, tool_errors="report")

    recorded = await record(made())

    assert recorded.end.KIND is Kind.RunCompleted
    assert len(recorded.all("ToolCallCompleted")) == len(planned) - 1
    await replays(recorded, made())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
@pytest.mark.parametrize("planned", [("odd",), ("odd", "other"), ("other", "odd")], ids=str)
def test_a_task_group_that_fails_at_once_ends_its_tool_and_not_the_run(planned):
    async def fails():
        raise KeyError("at once")

    @tool
    async def odd() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        except* KeyError:
            pass
        return "caught"

    def made():
        return agent(calls(*planned), odd, other, tool_errors="report")

    async def recorded_and_replayed():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        recorded = await record(made())
        await replays(recorded, made())
        return recorded

    recorded = asyncio.run(recorded_and_replayed())

    assert recorded.end.KIND is Kind.RunCompleted
    assert "other" not in planned or "other" in [completed.result for completed in recorded.all("ToolCallCompleted")]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
def test_siblings_that_begin_after_the_run_was_cancelled_never_run():
    begun, runs = [], []

    @tool
    async def cancels() -> str:
        runs[-1].cancel()
        return "at once"

    @tool
    async def late() -> str:
        begun.append("late")
        await asyncio.Event().wait()
        return "never"

    def made():
        return agent(calls("cancels", "late"), cancels, late, tool_errors="report")

    async def recorded_and_replayed():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        runs.append(asyncio.create_task(record(made())))
        recorded = await runs[-1]
        await replays(recorded, made())
        return recorded

    recorded = asyncio.run(recorded_and_replayed())

    assert recorded.end.KIND is Kind.RunCancelled
    assert [failed.error_type for failed in recorded.all("ToolCallFailed")] == ["cancelled", "cancelled"]
    assert begun == []


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
