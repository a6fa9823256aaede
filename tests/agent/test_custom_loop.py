"""A loop of the user's own around `starling.step`: recorded, replayed and played back as an agent's runs are."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from starling import Agent, Budget, Config, CustomLoop, MemoryLog, ambient, replay, replay_all, step, tool
from starling.errors import (
    AgentConfigError,
    BudgetExceededError,
    InternalRunError,
    LogError,
    LogWriteError,
    NondeterminismError,
    ProviderCallError,
    RunInUseError,
    StepContextError,
    ToolCallError,
    TransientToolError,
    TurnFailedError,
)
from starling.event import RunResumed, RunStarted, validate
from starling.provider import Message, Request
from starling.replay import RecordingSession, ReplayingSession
from starling.testing import ScriptedProvider
from tests.agent_kit import MODEL, Recorded, record, replays


@tool
async def double(number: int) -> int:
    """Takes its time by chance."""
    for _ in range(await step.side_effect("turns", lambda: number % 3)):
        await asyncio.sleep(0)
    return 2 * number


@tool
def stamp(what: str) -> str:
    """Runs in a thread."""
    return f"{what} {step.random()} {step.now().isoformat()}"


def loop(body, *tools, **fields):
    return CustomLoop(**{"body": body, "log": MemoryLog(), "goal": "the report", "tools": tools, **fields})


async def recorded(today, run_id="run"):
    """Run a loop to whatever end."""
    result = error = None
    try:
        result = await today.run(run_id)
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    events = await today.log.read(run_id)
    validate(events)
    return Recorded(log=today.log, run_id=run_id, events=events, result=result, error=error)


def question(text):
    return Request(model=MODEL, messages=(Message(role="user", content=text),))


async def everything():
    """Effects in a row and gathered, calls alone and in parallel, model calls; the last word is the loop's own."""
    seed = step.random()
    prices = await asyncio.gather(*(step.side_effect("price", slow(number)) for number in (3, 1, 2)))
    day = step.now().date().isoformat()
    turn = await step.llm_call(question(f"what of {prices}?"))
    doubled = await step.call_tools([step.ToolCall(name="double", args={"number": price}) for price in prices])
    stamped = await step.call_tool(step.ToolCall(name="stamp", args={"what": turn.message.text}))
    again = await step.llm_call(question(f"and of {doubled}?"))
    return f"{day} {seed} {prices} {doubled} {stamped} {again.message.text}!"


def slow(number):
    async def fetch():
        for _ in range(number):
            await asyncio.sleep(0)
        return number

    return fetch


def answers():
    return ScriptedProvider().text("one").turn().text("two")


def full(body=everything, **fields):
    return loop(body, double, stamp, **{"provider": answers(), "config": Config(model=MODEL), **fields})


async def test_a_loop_is_recorded_from_its_goal_to_its_totals_and_replays():
    whole = await recorded(full())

    started, end = whole.payloads[0], whole.end
    assert (started.goal, started.model_id, {schema.name for schema in started.tool_schemas}) == (
        "the report",
        MODEL,
        {"double", "stamp"},
    )
    assert end.final_text == whole.result.final_text
    assert end.final_text.endswith("two!")
    assert (end.turn_count, end.tool_call_count) == (whole.result.turn_count, whole.result.tool_call_count) == (2, 4)
    assert (end.total_input_tokens, end.total_cost_usd) == (whole.result.input_tokens, whole.result.total_cost_usd)
    for _ in range(20):
        await replays(whole, full(provider=ScriptedProvider()))
    assert await replay_all(whole.log, full) == {}


async def test_gathered_effects_of_one_name_that_finish_out_of_order_keep_their_values():
    async def body():
        return str(await asyncio.gather(*(step.side_effect("price", slow(number)) for number in (9, 1, 5))))

    whole = await recorded(loop(body))

    assert whole.result.final_text == "[9, 1, 5]"
    assert [effect.value for effect in whole.all("SideEffectRecorded")] == [1, 5, 9]
    await replays(whole, loop(body))


def test_a_loop_runs_and_is_minted_an_id_without_an_event_loop():
    async def body():
        return "done"

    result = loop(body, namespace="reports").run_sync()

    assert (result.final_text, result.run_id.partition("/")[0]) == ("done", "reports")


# --- what changed is found


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"goal": "another report"}, "RunStarted", "goal"),
        ({"budget": Budget(max_usd=1.0)}, "RunStarted", "budget"),
        ({"tools": (double,)}, "RunStarted", "tool"),
    ],
)
async def test_a_changed_part_diverges(change, kind, field):
    whole = await recorded(full())

    with pytest.raises(NondeterminismError) as raised:
        await replay(whole.log, "run", full(**change))

    divergence = raised.value.divergence
    assert (divergence.seq, divergence.recorded.KIND.name) == (1, kind)
    assert any(found.path.startswith(field) for found in divergence.changes)


async def test_changed_code_diverges_where_it_goes_another_way():
    async def body():
        await step.side_effect("a", lambda: 1)
        return await step.side_effect("b", lambda: "b")

    async def skips():
        return await step.side_effect("b", lambda: "b")

    async def says_more():
        await step.side_effect("a", lambda: 1)
        return await step.side_effect("b", lambda: "b") + "!"

    async def swallows():
        try:
            await step.side_effect("c", lambda: 1)
        except NondeterminismError:
            return "b"

    whole = await recorded(loop(body))
    found = {}
    for today in (skips, says_more, swallows):
        with pytest.raises(NondeterminismError) as raised:
            await replay(whole.log, "run", loop(today))
        found[today.__name__] = (raised.value.divergence.seq, raised.value.divergence.recorded.KIND.name)

    assert found == {
        "skips": (2, "SideEffectRecorded"),
        "says_more": (4, "RunCompleted"),
        "swallows": (2, "SideEffectRecorded"),
    }


# --- every way a loop can end


async def test_a_loop_that_raises_fails_and_the_failure_replays():
    async def body():
        await step.side_effect("a", lambda: 1)
        raise ValueError("no data")

    whole = await recorded(loop(body))

    assert isinstance(whole.error, InternalRunError)
    assert isinstance(whole.error.__cause__, ValueError)
    assert (whole.end.error, whole.end.error_type) == ("no data", "internal")
    await replays(whole, loop(body))


async def test_a_failed_call_ends_the_loop_unless_it_is_caught():
    @tool
    async def broken() -> None:
        raise RuntimeError("broken")

    async def body():
        return await step.call_tool(step.ToolCall(name="broken", args={}))

    async def careful():
        try:
            return await body()
        except ToolCallError as error:
            return f"without {error.tool}"

    failed, done = await recorded(loop(body, broken)), await recorded(loop(careful, broken))

    assert isinstance(failed.error, ToolCallError)
    assert failed.end.error_type == "tool"
    assert done.result.final_text == "without broken"
    await replays(failed, loop(body, broken))
    await replays(done, loop(careful, broken))


async def test_a_failed_model_call_ends_the_run_caught_or_not():
    async def body():
        try:
            return (await step.llm_call(question("hm?"))).message.text
        except TurnFailedError:
            return "never mind"

    whole = await recorded(full(body, provider=ScriptedProvider().error("busy", status=503)))

    assert isinstance(whole.error, ProviderCallError)
    assert whole.kinds == ["RunStarted", "TurnStarted", "RunFailed"]
    await replays(whole, full(body))


async def test_a_model_call_without_a_provider_says_what_to_pass():
    async def body():
        return (await step.llm_call(question("hm?"))).message.text

    whole = await recorded(loop(body))

    assert "pass CustomLoop(provider=...)" in whole.end.error
    await replays(whole, loop(body))


async def test_a_budget_ends_the_run():
    async def body():
        await step.llm_call(question("one?"))
        return (await step.llm_call(question("two?"))).message.text

    fields = {"budget": Budget(max_output_tokens=1)}
    whole = await recorded(full(body, **fields))

    assert isinstance(whole.error, BudgetExceededError)
    await replays(whole, full(body, **fields))


@pytest.mark.parametrize("result", [None, 3, b"text"])
async def test_a_loop_without_a_final_text_fails(result):
    async def body():
        return result

    whole = await recorded(loop(body))

    assert whole.end.error == f"the loop must return the run's final text, got {type(result).__name__}"
    await replays(whole, loop(body))


async def test_a_loop_that_cancels_itself_has_failed():
    async def body():
        raise asyncio.CancelledError

    whole = await recorded(loop(body))

    assert isinstance(whole.error, InternalRunError)
    await replays(whole, loop(body))


WAITS = {
    "in a side effect": lambda forever: step.side_effect("forever", forever),
    "in plain code": lambda forever: forever(),
    "in a call": lambda forever: step.call_tool(step.ToolCall(name="wait", args={})),
    "in gathered effects": lambda forever: asyncio.gather(
        step.side_effect("forever", forever), step.side_effect("forever", forever), step.side_effect("other", forever)
    ),
}


def waiting(how, reached, *, swallows=False):
    async def forever():
        reached.set()
        await asyncio.Event().wait()

    @tool
    async def wait() -> None:
        await forever()

    async def body():
        await step.side_effect("before", lambda: 1)
        try:
            await WAITS[how](forever)
        except asyncio.CancelledError:
            if not swallows:
                raise
        return "never"

    return loop(body, wait)


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("how", WAITS)
async def test_a_cancelled_loop_replays_wherever_it_waited(how, swallows):
    reached = asyncio.Event()
    running = asyncio.create_task(recorded(waiting(how, reached, swallows=swallows)))
    await reached.wait()
    await asyncio.sleep(0)  # the other effects of a gather are asked for in the same pass
    running.cancel()

    whole = await running

    assert whole.kinds[-1] == "RunCancelled"
    assert isinstance(whole.error, asyncio.CancelledError)
    await replays(whole, *(waiting(how, asyncio.Event(), swallows=swallows) for _ in range(3)))


@pytest.mark.parametrize("swallows", [False, True])
async def test_the_wall_clock_stops_a_loop(swallows):
    budget = Budget(max_wall_clock=0.05)

    def today():
        made = waiting("in a side effect", asyncio.Event(), swallows=swallows)
        return loop(made.body, *made.tools, budget=budget)

    whole = await recorded(today())

    assert whole.kinds[-2:] == ["BudgetExceeded", "RunFailed"]
    assert whole.error.limit == "wall_clock"
    await replays(whole, today(), today())


async def test_a_failing_task_group_leaves_the_loop_its_steps():
    async def body():
        async def fails():
            await asyncio.sleep(0)
            raise ValueError("one of them")

        async def forever():
            await asyncio.Event().wait()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(step.side_effect("cut off", forever))
        except* ValueError:
            pass
        return str(await step.call_tool(step.ToolCall(name="double", args={"number": 1})))

    whole = await recorded(loop(body, double))

    assert whole.result.final_text == "2"
    await replays(whole, loop(body, double))


# --- what the loop leaves behind


async def test_what_the_loop_did_not_wait_for_is_no_part_of_the_run():
    left: list[asyncio.Task] = []

    async def body():
        go_on = asyncio.Event()

        async def late():
            await go_on.wait()

        left[:] = [asyncio.create_task(step.side_effect("late", late))]
        await asyncio.sleep(0)
        held = await step.call_tool(step.ToolCall(name="double", args={"number": 1}))
        asyncio.get_running_loop().call_soon(go_on.set)
        return str(held)

    whole = await recorded(loop(body, double))
    (ended,) = await asyncio.gather(*left, return_exceptions=True)

    assert isinstance(ended, StepContextError)
    assert whole.kinds[-2:] == ["SideEffectRecorded", "RunCompleted"]
    assert await whole.log.read("run") == whole.events
    await replays(whole, loop(body, double))
    (ended,) = await asyncio.gather(*left, return_exceptions=True)
    assert isinstance(ended, StepContextError)


async def test_a_call_that_was_left_behind_cannot_write_behind_the_end():
    left: list[asyncio.Task] = []
    go_on = asyncio.Event()

    @tool
    async def late() -> str:
        await go_on.wait()
        return "too late"

    async def body():
        left[:] = [asyncio.create_task(step.call_tool(step.ToolCall(name="late", args={})))]
        await asyncio.sleep(0)
        return "done"

    today = loop(body, late)
    await today.run("run")
    go_on.set()
    (ended,) = await asyncio.gather(*left, return_exceptions=True)

    assert isinstance(ended, StepContextError)
    assert (await today.log.read("run"))[-1].kind.name == "RunCompleted"


# --- what is refused


async def nothing():
    return "done"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"body": "not a function"}, "body"),
        ({"goal": 3}, "goal"),
        ({"log": None}, "log"),
        ({"namespace": "a/b"}, "namespace"),
        ({"tools": (double, double)}, "tools"),
        ({"config": Config()}, "config.model"),
    ],
)
async def test_a_loop_that_is_wired_wrongly_runs_nothing(fields, field):
    with pytest.raises(AgentConfigError) as raised:
        await loop(**{"body": nothing, **fields}).run()

    assert raised.value.field == field


async def test_an_id_that_is_taken_or_none_is_refused():
    whole = await recorded(loop(nothing))

    with pytest.raises(RunInUseError):
        await loop(nothing, log=whole.log).run("run")
    with pytest.raises(AgentConfigError):
        await loop(nothing).run("\0")


async def test_a_loop_is_not_entered_in_the_middle():
    """Whoever resumed the run did so with an agent; the loop's own replay says so at once."""
    whole = await recorded(loop(nothing))
    log = MemoryLog()
    await log.append("run", whole.events[:1])
    resumed = Agent(ScriptedProvider(provider_id="none", api_version="").text("done"), Config(model="none"), log)
    await resumed.resume("run")

    with pytest.raises(LogError, match="RunResumed at seq 2") as raised:
        await replay(log, "run", loop(nothing))

    assert (raised.value.run_id, raised.value.seq) == ("run", 2)
    assert RunResumed in {type(event.decode()) for event in await log.read("run")}


async def test_a_log_that_fails_ends_the_loop_even_if_it_swallows_that():
    class Failing(MemoryLog):
        def append_sync(self, run_id, events):
            if len(self.read_sync(run_id)) > 1:
                raise OSError("disk full")
            super().append_sync(run_id, events)

    async def body():
        for name in "abc":
            with contextlib.suppress(LogWriteError):
                await step.side_effect(name, lambda: 1)
        return "done"

    with pytest.raises(LogWriteError, match="disk full"):
        await loop(body, log=Failing()).run()


# --- what is recorded first


async def test_another_beginning_is_recorded_as_it_is_given_but_for_the_version():
    started = RunStarted(
        schema_version=1,
        goal="as given",
        provider_id="p",
        model_id="m",
        api_version="v",
        params_hash=None,
        params=None,
        system_prompt_hash=None,
        system_prompt="",
        tool_registry_hash=None,
        tool_schemas=(),
    )

    whole = await recorded(loop(nothing, double, goal="", started=started))

    assert whole.payloads[0].goal == "as given"
    assert whole.payloads[0].starling_version.startswith("pytest-starling/")
    await replays(whole, loop(nothing, double, goal="", started=started))


# --- in a session, and in tools


async def test_a_session_records_and_replays_loops_as_it_does_agents():
    session = RecordingSession()
    with ambient.override(session):
        first = await full().run()
        second = await loop(nothing).run()
    live = ScriptedProvider()

    replaying = ReplayingSession(session.runs)
    with ambient.override(replaying):
        again = await full(provider=live).run()
        await loop(nothing).run()
    replaying.finish()

    assert (again.final_text, again.run_id) == (first.final_text, first.run_id)
    assert replaying.failures == []
    assert [run.run_id for run in replaying.played] == [first.run_id, second.run_id]
    assert live.requests == ()


async def test_a_session_tells_how_a_loop_changed():
    session = RecordingSession()
    with ambient.override(session):
        await loop(nothing).run()

    async def changed():
        step.now()
        return "done"

    replaying = ReplayingSession(session.runs)
    with ambient.override(replaying), pytest.raises(NondeterminismError):
        await loop(changed).run()

    assert [failure.divergence.seq for failure in replaying.failures] == [2]


async def test_a_loop_in_a_tool_is_a_run_of_its_own():
    @tool
    async def report() -> str:
        return (await loop(nothing).run()).final_text

    def outer(script):
        return Agent(script, Config(model=MODEL), MemoryLog(), tools=[report])

    session = RecordingSession()
    with ambient.override(session):
        whole = await record(outer(ScriptedProvider().tool_call("report").turn().text("done")))
    replaying = ReplayingSession(session.runs)
    with ambient.override(replaying):
        await outer(ScriptedProvider()).run("go")
    replaying.finish()

    assert whole.error is None
    assert replaying.failures == []
    assert len(replaying.played) == 2


async def test_retries_are_the_calls_own():
    failures = []

    def today():
        failures.clear()

        @tool
        async def flaky() -> str:
            failures.append("again")
            if len(failures) < 3:
                raise TransientToolError("not yet")
            return "now"

        async def body():
            call = step.ToolCall(name="flaky", args={}, idempotent=True, max_attempts=3, backoff=lambda _: 0)
            return await step.call_tool(call)

        return loop(body, flaky)

    whole = await recorded(today())

    assert [call.attempt for call in whole.all("ToolCallScheduled")] == [1, 2, 3]
    await replays(whole, today())
