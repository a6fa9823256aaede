"""Tools and calls that are told to stop: what stands in the log is valid and replays, however they take it."""

from __future__ import annotations

import asyncio

import pytest

from starling import Budget, MemoryLog, step, tool
from starling.event import Kind
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays

TIMEOUT_S = 0.01


def waiting_room(**options):
    """A tool that may take a moment only, and dispatches more calls than may run at a time."""

    @tool(timeout=TIMEOUT_S)
    async def outer() -> list:
        return await step.call_tools([step.ToolCall(name="endless", args={}) for _ in range(3)])

    @tool
    async def endless() -> None:
        await asyncio.Event().wait()

    return agent(calls("outer"), outer, endless, tool_errors="report", max_parallel_tools=1, **options)


async def test_calls_that_were_still_waiting_when_their_tool_timed_out_have_an_outcome():
    recorded = await record(waiting_room())

    assert recorded.end.KIND is Kind.RunCompleted
    inner = [failed for failed in recorded.all("ToolCallFailed") if failed.call_id != "call_1"]
    assert [failed.error_type for failed in inner] == ["cancelled"] * 3
    await replays(recorded, waiting_room())


class SlowToTake(MemoryLog):
    """Awaits, as a server's log does, until the calls of the tool are dispatched and the tool has timed out."""

    append_sync = None

    async def append(self, run_id, events):
        if any(event.kind is Kind.ToolCallScheduled and event.decode().parent_call_id for event in events):
            await asyncio.sleep(3 * TIMEOUT_S)
        self._append(run_id, events)

    async def read(self, run_id):
        return self._read(run_id)


async def test_calls_that_were_being_written_down_when_their_tool_timed_out_have_an_outcome():
    recorded = await record(waiting_room(log=SlowToTake()))

    assert recorded.end.KIND is Kind.RunCompleted
    assert len(recorded.all("ToolCallFailed", error_type="cancelled")) == 3
    await replays(recorded, waiting_room())


def stubborn(cancel=lambda: None, *, sync=False, **options):
    """A tool that returns as if nothing were when it is told to stop."""

    @tool
    async def stay() -> str:
        cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all is well"

    return agent(calls("stay", "stay"), stay, **options)


@pytest.mark.parametrize("reason", ["cancelled", "out of time"])
async def test_what_a_tool_returns_when_it_is_told_to_stop_is_not_its_result(reason):
    """Run again on replay, nobody would tell it to stop."""
    budget = Budget(max_wall_clock=TIMEOUT_S) if reason == "out of time" else None
    made = stubborn(budget=budget) if budget else stubborn(lambda: task.cancel())  # noqa: PLW0108 - the task is made below
    task = asyncio.create_task(record(made))
    recorded = await task

    failed = recorded.all("ToolCallFailed")
    assert {(item.error_type, item.final) for item in failed} == {("cancelled", True)}
    assert not recorded.all("ToolCallCompleted")
    async with asyncio.timeout(5):
        await replays(recorded, stubborn(budget=budget))


async def test_a_cancellation_during_a_commit_cancels_the_run_and_no_tool_takes_it_for_its_own():
    class Cancelling(MemoryLog):
        def _append(self, run_id, events):
            super()._append(run_id, events)
            if events[-1].kind is Kind.ToolCallScheduled:
                asyncio.current_task().cancel()

    def made(log=None):
        @tool
        async def look() -> None:
            await asyncio.Event().wait()

        return agent(calls("look"), look, log=log)

    recorded = await asyncio.create_task(record(made(Cancelling())))

    assert recorded.end.KIND is Kind.RunCancelled
    assert [item.error_type for item in recorded.all("ToolCallFailed")] == ["cancelled"]
    await replays(recorded, made())


async def test_a_recorded_deadline_comes_before_what_another_budget_would_say():
    """Out of time between two turns, where today's code would trip on its tokens."""
    today = []

    def made(**options):
        @tool
        async def look() -> None:
            if not today:
                await asyncio.sleep(3 * TIMEOUT_S)

        budget = Budget(max_wall_clock=TIMEOUT_S, max_input_tokens=60)
        script = ScriptedProvider().tool_call("look").usage(60, 1).turn().text("done")
        return agent(script, look, budget=budget, **options)

    recorded = await record(made())
    assert recorded.one("BudgetExceeded").limit == "wall_clock"

    await replays(recorded, made())


async def test_a_call_that_goes_on_where_it_stopped_the_run_is_found_before_its_siblings():
    """How far the siblings have got when it is found is chance, and does not show."""

    class Stop(BaseException):
        pass

    def made(stops, pauses):
        @tool
        async def halt() -> None:
            if stops:
                raise Stop

        @tool
        async def other() -> None:
            for _ in range(pauses):
                await asyncio.sleep(0)

        return agent(calls("halt", "other"), halt, other)

    events = []

    async def stopped():
        recorder = made(True, 0)
        with pytest.raises(Stop):
            await recorder.run_with_id("run", "go")
        events.extend(await recorder.log.read("run"))
        return recorder.log

    log = await stopped()
    recorded = type("Recorded", (), {"log": log, "run_id": "run"})()

    for pauses in (0, 1, 9):
        divergence = await diverges(recorded, made(False, pauses))
        assert (divergence.seq, divergence.expected_kind) == (len(events), Kind.RunCancelled)
