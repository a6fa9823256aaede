"""Mode ``tail``: recorded anew, and whatever comes before the first difference is answered by the last recording."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from starling import Budget, MemoryLog, ambient, step, tool
from starling.agent import CustomLoop, TextDelta
from starling.errors import LogWriteError, RunFailedError, ToolError, TransientToolError
from starling.event import Kind, encode_payload
from starling.provider import Message, Request
from starling.provider.openai import OpenAI
from starling.testing import ScriptedProvider
from tests.agent_kit import agent
from tests.tail_kit import Model, payloads, plans, recorded, replay_failures, says, tail


class World:
    """What a program does, and what can be changed of it between two runs of it."""

    def __init__(self):
        self.paid = []
        self.results = []
        self.edit = {}
        self.model = Model(*[plans(("look", {"n": n})) for n in (1, 2, 3, 4)], says("done"))
        self.ran = []

    def tools(self):
        @tool
        async def look(n: int) -> str:
            self.ran.append(n)
            value = await step.side_effect("pay", lambda: self.pay(n))
            return f"{value} {self.edit.get(n, '')}".strip()

        return [look]

    def pay(self, n):
        self.paid.append(n)
        return f"paid {n}"

    async def __call__(self):
        self.model.asked.clear()
        self.paid.clear()
        self.ran.clear()
        with contextlib.suppress(RunFailedError):
            self.results.append(await agent(self.model, *self.tools()).run("go"))


async def test_an_edit_in_the_third_turns_tool_costs_what_comes_behind_it():
    world = World()
    runs = await recorded(world)
    assert world.model.asked == [1, 2, 3, 4, 5]
    world.edit[3] = "twice"

    session = await tail(runs, world)

    assert world.model.asked == [4, 5]
    assert world.ran == [1, 2, 3, 4]
    assert world.paid == [4]
    assert (session.turns_kept, session.turns) == (3, 5)
    assert [one.result for one in payloads(session.runs[0], "ToolCallCompleted")] == [
        "paid 1",
        "paid 2",
        "paid 3 twice",
        "paid 4",
    ]
    assert await replay_failures(session.runs, world) == []
    assert world.results[-1].input_tokens == world.results[0].input_tokens


async def test_what_is_kept_is_what_was_recorded_in_a_chain_of_its_own():
    world = World()
    (before,) = await recorded(world)
    world.edit[2] = "x"
    (after,) = (await tail([before], world)).runs

    kept = 8  # RunStarted, two turns with a call each, and the first call's effect and outcome
    assert [event.kind for event in after.events[:kept]] == [event.kind for event in before.events[:kept]]
    for was, now in zip(before.events[:kept], after.events[:kept], strict=True):
        if was.kind.name != "ToolCallCompleted":  # how long a tool took is today's
            assert now.payload == was.payload
        assert now.ts > was.ts
    turns = [[one.turn_id for one in payloads(run, "TurnStarted")] for run in (before, after)]
    assert turns[0][:2] == turns[1][:2]
    assert not set(turns[0][2:]) & set(turns[1][2:])


async def test_where_nothing_differs_nobody_is_asked():
    world = World()
    runs = await recorded(world)

    session = await tail(runs, world)

    assert world.model.asked == world.paid == []
    assert session.turns_kept == session.turns == 5
    assert await replay_failures(session.runs, world) == []


async def test_a_run_that_goes_on_longer_is_live_behind_the_recordings_end():
    world = World()
    world.model = Model(plans(("look", {"n": 1})), says("done"))
    runs = await recorded(world)
    more = world.model = Model(plans(("look", {"n": 1})), says("done"))

    async def longer():
        await world()
        await agent(more, *world.tools()).run("and now this")

    session = await tail(runs, longer)

    assert more.asked == [1, 2]
    assert (session.turns_kept, session.turns) == (2, 4)
    assert await replay_failures(session.runs, longer) == []


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"system_prompt": "Be brief."}, [1, 2, 3, 4, 5]),
        ({"app_version": "2"}, [1, 2, 3, 4, 5]),
        ({"params": {"temperature": 1.0}}, [1, 2, 3, 4, 5]),
    ],
)
async def test_what_stands_in_the_first_event_makes_the_whole_run_live(change, asked):
    world, options = World(), {}

    async def program():
        await agent(world.model, *world.tools(), **options).run("go")

    runs = await recorded(program)
    options, world.model.asked = change, []

    session = await tail(runs, program)

    assert world.model.asked == asked
    assert session.turns_kept == 0
    assert await replay_failures(session.runs, program) == []


async def test_what_is_ignored_is_no_difference():
    world, options = World(), {}

    async def program():
        await agent(world.model, *world.tools(), **options).run("go")

    runs = await recorded(program)
    options, world.model.asked = {"app_version": "2"}, []

    session = await tail(runs, program, ignore=frozenset({"RunStarted.app_version"}))

    assert world.model.asked == []
    assert payloads(session.runs[0], "RunStarted")[0].app_version == "2"


# --- what a tool does


def effectful(name, effects, ending=None):
    """A tool that asks for these effects, as they stand in the list at that time."""

    @tool(name=name)
    async def body() -> str:
        values = [await step.side_effect(effect, lambda effect=effect: f"{effect} done") for effect in effects]
        if ending:
            raise ending
        return f"{name} is fine" if values else f"{name} is idle"

    return body


EDITS = {
    "one effect more": (["a", "b"], ["a", "b", "c"]),
    "one effect fewer": (["a", "b"], ["a"]),
    "another effect": (["a", "b"], ["a", "other"]),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_a_difference_in_what_a_tool_asks_for_counts_even_if_its_result_is_the_same(edit):
    before, after = EDITS[edit]
    effects = list(before)
    model = Model(plans("work"), plans("work"), says("done"))

    async def program():
        await agent(model, effectful("work", effects)).run("go")

    runs = await recorded(program)
    effects[:], model.asked = after, []

    session = await tail(runs, program)

    assert model.asked == [2, 3]
    assert await replay_failures(session.runs, program) == []


async def test_a_call_beside_the_one_that_differs_keeps_what_was_recorded_for_it():
    carried_out, changed = [], []
    started = asyncio.Event()

    @tool
    async def first() -> str:
        value = await step.side_effect("first", lambda: carried_out.append("first"))
        started.set()
        return f"first {value} {changed}"

    @tool
    async def second() -> str:
        await started.wait()
        await step.side_effect("second", lambda: carried_out.append("second"))
        return f"{step.now()} {step.random()}"

    model = Model(plans("first", "second"), says("done"))

    async def program():
        started.clear()
        await agent(model, first, second).run("go")

    runs = await recorded(program)
    before = payloads(runs[0], "SideEffectRecorded")
    carried_out.clear()
    changed.append("now")
    model.asked.clear()

    session = await tail(runs, program)

    assert carried_out == []
    assert model.asked == [2]
    assert sorted(map(repr, payloads(session.runs[0], "SideEffectRecorded"))) == sorted(map(repr, before))
    assert await replay_failures(session.runs, program) == []


async def test_sync_tools_in_threads_are_answered_too():
    carried_out, changed = [], []

    @tool
    def work(n: int) -> str:
        value = step.side_effect_sync("work", lambda: carried_out.append(n) or n)
        return f"{value} {step.random()} {changed if n == 2 else ''}"

    calls = plans(*[("work", {"n": n}) for n in (1, 2, 3)])
    model = Model(calls, says("done"))

    async def program():
        await agent(model, work).run("go")

    runs = await recorded(program)
    carried_out.clear()
    model.asked.clear()
    changed.append(1)

    session = await tail(runs, program)

    assert (carried_out, model.asked) == ([], [2])
    assert await replay_failures(session.runs, program) == []


async def test_calls_inside_calls_are_known_one_by_one():
    changed, carried_out = [], []

    @tool
    async def inner(n: int) -> str:
        await step.side_effect("inner", lambda: carried_out.append(n))
        return f"{n} {changed if n == 2 else ''}"

    @tool
    async def outer() -> str:
        first = await step.call_tool(step.ToolCall(name="inner", args={"n": 1}))
        both = await step.call_tools([step.ToolCall(name="inner", args={"n": n}) for n in (2, 3)])
        await step.side_effect("outer", lambda: carried_out.append("outer"))
        return f"{first} {both}"

    model = Model(plans("outer"), says("done"))

    async def program():
        await agent(model, inner, outer).run("go")

    runs = await recorded(program)
    carried_out.clear()
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert carried_out == ["outer"]
    assert model.asked == [2]
    assert await replay_failures(session.runs, program) == []


async def test_what_todays_tool_returns_is_what_is_recorded_and_shown_to_the_model():
    """Also where a replay would not compare it."""
    value = ["old"]

    @tool
    async def work() -> str:
        return value[0]

    model = Model(plans("work"), says("done"))
    seen = []

    async def program():
        log = MemoryLog()
        result = await agent(model, work, log=log).run("go")
        seen.append((await log.read(result.run_id))[-1].run_id)

    runs = await recorded(program)
    value[0], model.asked = "new", []

    session = await tail(runs, program, tools={"work": "run"})

    assert model.asked == [2]
    assert payloads(session.runs[0], "ToolCallCompleted")[0].result == "new"
    assert seen[-1] == session.runs[0].run_id


async def test_a_stub_is_not_run_as_long_as_nothing_differs():
    world = World()
    runs = await recorded(world)

    async def program():
        await world()

    session = await tail(runs, program, tools="stub")

    assert (world.ran, world.paid, world.model.asked) == ([], [], [])
    assert session.turns_kept == 5
    assert await replay_failures(session.runs, program) == []


async def test_a_patch_goes_the_recorded_way_as_long_as_nothing_differs():
    patched, changed = [False], []

    @tool
    async def greet(n: int) -> str:
        polite = patched[0] and step.patched("polite")
        words = await step.side_effect("polite" if polite else "plain", lambda: "hello")
        return f"{words} {n} {changed if n == 2 else ''}"

    model = Model(*[plans(("greet", {"n": n})) for n in (1, 2, 3)], says("done"))

    async def program():
        await agent(model, greet).run("go")

    runs = await recorded(program)
    patched[0], model.asked = True, []
    changed.append("!")

    session = await tail(runs, program)

    assert model.asked == [3, 4]
    effects = [one.name for one in payloads(session.runs[0], "SideEffectRecorded")]
    assert effects == ["plain", "plain", "starling/patch:polite", "polite"]
    assert await replay_failures(session.runs, program) == []


async def test_retries_are_kept_without_their_pauses():
    changed, slept = [], []

    @tool(idempotent=True, max_attempts=3, backoff=lambda attempt: slept.append(attempt) or 0.0)
    async def flaky(n: int) -> str:
        if not await step.side_effect("ready", lambda: len(slept) >= 2):
            raise TransientToolError("not yet")
        return f"{n} {changed}"

    model = Model(plans(("flaky", {"n": 1})), says("done"))

    async def program():
        await agent(model, flaky).run("go")

    runs = await recorded(program)
    assert slept == [1, 2]
    slept.clear()
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (slept, model.asked) == ([], [2])
    assert [one.attempt for one in payloads(session.runs[0], "ToolCallScheduled")] == [1, 2, 3]
    assert await replay_failures(session.runs, program) == []


async def test_ids_that_the_model_left_out_are_those_of_the_recording():
    changed = []

    @tool
    async def work(n: int) -> str:
        return f"{n} {changed if n == 2 else ''}"

    model = Model(*[ScriptedProvider().tool_call("work", {"n": n}, "") for n in (1, 2, 3)], says("done"))

    async def program():
        await agent(model, work).run("go")

    runs = await recorded(program)
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert model.asked == [3, 4]
    assert await replay_failures(session.runs, program) == []


# --- what the environment did


async def test_a_call_that_timed_out_is_not_run_again():
    changed, ran = [], []

    @tool(timeout=0.01)
    async def slow() -> str:
        ran.append("slow")
        await step.side_effect("begin", lambda: "begun")
        await asyncio.Event().wait()

    @tool
    async def quick() -> str:
        ran.append("quick")
        return f"quick {changed}"

    model = Model(plans("slow"), plans("quick"), says("done"))

    async def program():
        await agent(model, slow, quick, tool_errors="report").run("go")

    runs = await recorded(program)
    ran.clear()
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (ran, model.asked) == (["quick"], [3])
    assert payloads(session.runs[0], "ToolCallFailed")[0].error_type == "timeout"
    assert await replay_failures(session.runs, program) == []


async def test_a_run_that_its_caller_cancelled_is_cancelled_again():
    changed = []

    @tool
    async def slow(n: int) -> str:
        if n == 2:
            await asyncio.Event().wait()
        return f"slow {changed}"

    first = Model(plans(("slow", {"n": 1})), plans(("slow", {"n": 2})), name="first")
    second = Model(plans(("slow", {"n": 3})), says("done"))
    ends = []

    async def program():
        try:
            async with asyncio.timeout(0.05):
                await agent(first, slow).run("wait")
        except TimeoutError:
            ends.append("timed out")
        await agent(second, slow).run("go")

    runs = await recorded(program)
    first.asked.clear()
    second.asked.clear()

    session = await tail(runs, program)

    assert first.asked == second.asked == []
    assert ends == ["timed out"] * 2
    assert session.runs[0].events[-1].kind.name == "RunCancelled"

    changed.append("!")
    session = await tail(runs, program)

    assert (first.asked, second.asked) == ([2], [2])
    assert ends == ["timed out"] * 3
    assert await replay_failures(session.runs, program) == []


async def test_a_changed_run_that_was_cancelled_when_recorded_may_go_on():
    hangs = [True]

    @tool
    async def slow() -> str:
        if hangs[0]:
            await asyncio.Event().wait()
        return "quick"

    answers = []
    model = Model(plans("slow", "slow"), says("done"))

    async def program():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05 if hangs[0] else 60):
                prompt = "Wait." if hangs[0] else "Do not wait."
                answers.append((await agent(model, slow, system_prompt=prompt).run("go")).final_text)

    runs = await recorded(program)
    hangs[0], model.asked = False, []
    began = asyncio.get_running_loop().time()

    session = await tail(runs, program)

    assert answers == ["done"]
    assert asyncio.get_running_loop().time() - began < 30
    assert await replay_failures(session.runs, program) == []


async def test_a_providers_failure_is_kept():
    changed = []
    broken = Model(ScriptedProvider().error("overloaded", status=529), name="broken")
    model = Model(plans("work"), says("done"))
    causes = []

    @tool
    async def work() -> str:
        return f"work {changed}"

    async def program():
        try:
            await agent(broken).run("first")
        except RunFailedError as error:
            causes.append(type(error.__cause__).__name__)
        await agent(model, work).run("go")

    runs = await recorded(program)
    broken.asked.clear()
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (broken.asked, model.asked) == ([], [2])
    assert causes[0] == causes[1]
    assert await replay_failures(session.runs, program) == []


@pytest.mark.parametrize(
    "budget",
    [Budget(max_output_tokens=100), Budget(max_input_tokens=10_000), Budget(max_usd=100.0)],
)
async def test_kept_turns_count_towards_the_budget(budget):
    changed = []

    @tool
    async def work(n: int) -> str:
        return f"{n} {changed if n == 2 else ''}"

    scripts = [ScriptedProvider().usage(1000, 40).tool_call("work", {"n": n}) for n in (1, 2)]
    model = Model(*scripts, ScriptedProvider().usage(9000, 40).text("done"))

    async def program():
        with contextlib.suppress(RunFailedError):
            await agent(model, work, budget=budget).run("go")

    runs = await recorded(program)
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert model.asked == [3]
    assert session.runs[0].events[-1].kind is runs[0].events[-1].kind
    assert [one.actual for one in payloads(session.runs[0], "BudgetExceeded")] == [
        one.actual for one in payloads(runs[0], "BudgetExceeded")
    ]
    assert await replay_failures(session.runs, program) == []


@pytest.mark.parametrize(
    ("script", "before", "today"),
    [
        (ScriptedProvider().text("x").usage(10, 50), Budget(max_output_tokens=5), Budget(max_output_tokens=500)),
        (ScriptedProvider().text("x").usage(10, 50), Budget(max_output_tokens=5), None),
        (ScriptedProvider().text("x").hang(), Budget(max_wall_clock=0.02), Budget(max_wall_clock=60)),
    ],
    ids=["raised", "gone", "time"],
)
async def test_a_trip_is_kept_as_it_was_and_never_put_down_to_a_limit_that_did_not_trip(script, before, today):
    """A changed budget is a difference in the first event; ignored there, it shows where the recording is verified."""
    model, budget = Model(script), [before]

    async def program():
        with contextlib.suppress(RunFailedError):
            await agent(model, budget=budget[0]).run("go")

    ignored = {"ignore": frozenset({"RunStarted.budget"})}
    runs = await recorded(program)
    budget[0] = today

    session = await tail(runs, program, **ignored)

    (was,), (now,) = (payloads(run, "BudgetExceeded") for run in (runs[0], session.runs[0]))
    assert (now.limit, now.cap) == (was.limit, was.cap)
    (found,) = await replay_failures(session.runs, program, **ignored)
    assert found.divergence.kind is Kind.BudgetExceeded


async def keeps_the_first_turn(kind, model, work, changed):
    """The tool's result changes: the turn before it is kept, with its events of this kind, and only the second is live."""

    async def program():
        await agent(model, work).run("go")

    runs = await recorded(program)
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert model.asked == [2]
    kept, before = ([encode_payload(one) for one in payloads(run, kind)] for run in (session.runs[0], runs[0]))
    assert kept == before != []
    assert await replay_failures(session.runs, program) == []


async def test_reasoning_is_kept():
    changed = []

    @tool
    async def work() -> str:
        return f"work {changed}"

    thinks = ScriptedProvider().reasoning("let me think", b"signed").tool_call("work")
    model = Model(thinks, says("done"))

    await keeps_the_first_turn("ReasoningEmitted", model, work, changed)


async def test_a_stream_of_news_shows_kept_turns_like_live_ones():
    changed, news = [], []

    @tool
    async def work() -> str:
        return f"work {changed}"

    model = Model(ScriptedProvider().text("Let me look.").tool_call("work"), says("done"))

    async def program():
        news.clear()
        news.extend([item async for item in agent(model, work).run_stream("go")])

    runs = await recorded(program)
    kinds = [type(item) for item in news]
    model.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert model.asked == [2]
    assert [type(item) for item in news] == kinds
    assert [item.text for item in news if isinstance(item, TextDelta)] == ["Let me look.", "done"]
    assert await replay_failures(session.runs, program) == []


async def test_an_effect_that_a_timeout_of_the_tools_cut_off_is_cut_off_again():
    changed = []

    @tool
    async def work() -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await step.side_effect("endless", asyncio.Event().wait)
        return f"gave up {changed}"

    model = Model(plans("work"), says("done"))

    await keeps_the_first_turn("SideEffectRecorded", model, work, changed)


# --- several runs


async def test_runs_of_one_test_do_not_depend_on_each_other():
    world, other = World(), Model(plans(("look", {"n": 9})), says("done"), name="other")

    async def program():
        await world()
        await agent(other, *world.tools()).run("another")

    runs = await recorded(program)
    world.edit[4], other.asked = "x", []

    session = await tail(runs, program)

    assert (world.model.asked, other.asked) == ([5], [])
    assert (session.turns_kept, session.turns) == (6, 7)
    assert await replay_failures(session.runs, program) == []


async def test_runs_at_the_same_time_are_found_by_what_they_begin_with():
    changed = []
    models = [Model(plans(("work", {"n": n})), says(f"done {n}"), name=f"m{n}") for n in range(3)]

    @tool
    async def work(n: int) -> str:
        await asyncio.sleep(0)
        return f"{n} {changed if n == 1 else ''}"

    order = [0, 1, 2]

    async def program():
        await asyncio.gather(*(agent(models[n], work).run(f"goal {n}") for n in order))

    runs = await recorded(program)
    for model in models:
        model.asked.clear()
    order.reverse()
    changed.append("!")

    session = await tail(runs, program)

    assert [model.asked for model in models] == [[], [2], []]
    assert await replay_failures(session.runs, program) == []


def family(changed, places):
    """An agent whose tool asks a sub-agent; ``changed`` changes the sub-agent's tool."""
    inner_model = Model(plans("small"), says("inner done"), name="inner")
    outer_model = Model(plans("ask"), plans("ask"), says("outer done"), name="outer")

    @tool
    async def small() -> str:
        return f"small {changed}"

    @tool
    async def ask() -> str:
        places.append("ask")
        result = await agent(inner_model, small).run("a question")
        return result.final_text

    async def program():
        await agent(outer_model, ask).run("go")

    return program, inner_model, outer_model


async def test_sub_agents_are_kept_with_the_call_that_starts_them():
    changed, places = [], []
    program, inner, outer = family(changed, places)
    runs = await recorded(program)
    inner.asked.clear()
    outer.asked.clear()

    session = await tail(runs, program)

    assert inner.asked == outer.asked == []
    assert session.turns_kept == 7
    assert [run.parent_call_id for run in session.runs] == [run.parent_call_id for run in runs]
    assert {run.parent_run_id for run in session.runs} == {"", session.runs[0].run_id}
    assert await replay_failures(session.runs, program) == []


async def test_a_sub_agent_that_differs_makes_what_is_behind_it_live():
    changed, places = [], []
    program, inner, outer = family(changed, places)
    runs = await recorded(program)
    inner.asked.clear()
    outer.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (inner.asked, outer.asked) == ([2, 1, 2], [2, 3])
    assert session.turns_kept == 2
    assert await replay_failures(session.runs, program) == []


async def test_a_sub_agent_that_is_new_makes_what_is_behind_it_live():
    more = []
    inner = Model(says("inner done"), name="inner")
    outer = Model(plans("ask"), says("outer done"), name="outer")

    @tool
    async def ask() -> str:
        for _ in range(1 + len(more)):
            await agent(inner).run("a question")
        return "asked"

    async def program():
        await agent(outer, ask).run("go")

    runs = await recorded(program)
    inner.asked.clear()
    outer.asked.clear()
    more.append(1)

    session = await tail(runs, program)

    assert (inner.asked, outer.asked) == ([1], [2])
    assert await replay_failures(session.runs, program) == []


async def test_a_run_inside_an_effect_is_made_only_if_the_effect_is_carried_out():
    changed = []
    inner = Model(says("inner done"), name="inner")
    outer = Model(plans(("ask", {"n": 1})), plans(("ask", {"n": 2})), says("outer done"), name="outer")

    @tool
    async def ask(n: int) -> str:
        async def question():
            return (await agent(inner).run("a question")).final_text

        return f"{await step.side_effect('ask', question)} {changed if n == 1 else ''}"

    async def program():
        await agent(outer, ask).run("go")

    runs = await recorded(program)
    inner.asked.clear()
    outer.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (inner.asked, outer.asked) == ([1], [2, 3])
    assert [run.parent_effect for run in session.runs] == ["", "ask"]
    assert await replay_failures(session.runs, program) == []


# --- loops of the user's own, and models called by tools


def request(text):
    return Request(model="m", system_prompt="", messages=(Message(role="user", content=text),))


async def test_a_tool_that_calls_the_model_is_answered_until_it_differs():
    words = ["one", "two"]
    asked = []

    class Oracle(Model):
        def stream(self, made):
            text = made.messages[-1].content if made.messages[-1].role == "user" else ""
            if text.startswith("word"):
                asked.append(text)
                return says(f"said {text}").stream(made)
            return super().stream(made)

    @tool
    async def think() -> str:
        turns = [await step.llm_call(request(f"word {word}")) for word in words]
        return " ".join(turn.message.text for turn in turns)

    model = Oracle(plans("think"), says("done"))

    async def program():
        await agent(model, think).run("go")

    runs = await recorded(program)
    asked.clear()
    model.asked.clear()
    words[1] = "three"

    session = await tail(runs, program)

    assert asked == ["word three"]
    assert model.asked == [2]
    assert session.turns_kept == 2
    assert await replay_failures(session.runs, program) == []


async def test_a_loop_of_the_users_own_is_kept_too():
    words = ["one", "two", "three"]
    model = ScriptedProvider().text("live")
    seen = []

    async def body():
        for word in words:
            seen.append((await step.llm_call(request(word))).message.text)
            await step.side_effect(f"note {word}", lambda: None)
        return " ".join(seen)

    async def program():
        seen.clear()
        model.reset()
        await CustomLoop(body=body, log=MemoryLog(), provider=ScriptedProvider(model.turns * 3)).run()

    runs = await recorded(program)
    words[2] = "four"

    session = await tail(runs, program)

    assert session.turns_kept == 2
    assert await replay_failures(session.runs, program) == []


# --- crashes


class FullLog(MemoryLog):
    """A log that takes so many batches, then none, until it is mended."""

    def __init__(self, takes):
        super().__init__()
        self.takes = takes

    def append_sync(self, run_id, events):
        if self.takes == 0:
            raise OSError("disk full")
        self.takes -= 1
        super().append_sync(run_id, events)


@pytest.mark.parametrize("takes", range(1, 9))
async def test_resumed_runs_are_kept_on_both_sides_of_the_seam(takes):
    world = World()
    world.model = Model(*[plans(("look", {"n": n})) for n in (1, 2, 3)], says("done"))

    async def program():
        log = FullLog(takes)
        world.ran.clear()
        world.paid.clear()
        world.model.asked.clear()
        try:
            await agent(world.model, *world.tools(), log=log).run("go")
        except LogWriteError as error:
            log.takes = 999
            world.results.append(await agent(world.model, *world.tools(), log=log).resume(error.run_id))

    runs = await recorded(program)
    unchanged = await tail(runs, program)

    assert world.model.asked == world.paid == []
    assert await replay_failures(unchanged.runs, program) == []
    assert [event.kind for event in unchanged.runs[0].events] == [event.kind for event in runs[0].events]

    world.edit[2] = "!"
    changed = await tail(runs, program)

    assert world.model.asked == [3, 4]
    assert await replay_failures(changed.runs, program) == []


async def test_a_run_that_is_resumed_differently_is_live_behind_the_seam():
    world, extra = World(), [""]
    world.model = Model(*[plans(("look", {"n": n})) for n in (1, 2)], says("done"))

    async def program():
        log = FullLog(4)
        try:
            await agent(world.model, *world.tools(), log=log).run("go")
        except LogWriteError as error:
            log.takes = 999
            await agent(world.model, *world.tools(), log=log).resume(error.run_id, extra[0])

    runs = await recorded(program)
    extra[0], world.model.asked = "hurry up", []

    session = await tail(runs, program)

    assert world.model.asked == [2, 3]
    assert (session.turns_kept, session.turns) == (1, 3)
    assert await replay_failures(session.runs, program) == []


# --- around it


async def test_a_script_goes_on_where_the_recording_stops():
    """It counts what it is asked, and turns that are kept count as well."""
    changed, scripts, answers = [], [], []

    @tool
    async def work(n: int) -> str:
        return f"{n} {changed if n == 2 else ''}"

    async def program():
        script = ScriptedProvider()
        for n in (1, 2, 3):
            script.tool_call("work", {"n": n}).turn()
        scripts.append(script.text("done"))
        answers.append((await agent(script, work).run("go")).final_text)

    runs = await recorded(program)
    changed.append("!")

    session = await tail(runs, program)

    assert [len(script.requests) for script in scripts] == [4, 2]
    assert answers == ["done", "done"]
    assert await replay_failures(session.runs, program) == []


async def test_a_wall_clock_that_expired_when_recorded_expires_again():
    changed = []

    @tool
    async def work(n: int) -> str:
        if n == 2:
            await asyncio.Event().wait()
        return f"{n} {changed}"

    first = Model(plans(("work", {"n": 2})), name="first")
    second = Model(plans(("work", {"n": 1})), says("done"))
    ends = []

    async def program():
        try:
            await agent(first, work, budget=Budget(max_wall_clock=0.05)).run("wait")
        except RunFailedError as error:
            ends.append(str(error))
        await agent(second, work).run("go")

    runs = await recorded(program)
    first.asked.clear()
    second.asked.clear()
    changed.append("!")

    session = await tail(runs, program)

    assert (first.asked, second.asked) == ([], [2])
    assert len(ends) == 2
    assert payloads(session.runs[0], "BudgetExceeded") == payloads(runs[0], "BudgetExceeded")
    assert await replay_failures(session.runs, program) == []


async def test_a_key_is_needed_only_once_something_is_live(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    session = (await _tail_of_nothing()).keyless
    assert session
    with ambient.activate(await _tail_of_nothing()):
        OpenAI()


async def _tail_of_nothing():
    async def nothing():
        """No run."""

    return await tail((), nothing)


async def test_code_that_swallows_everything_goes_on_as_it_does_live():
    """On replay the divergence is latched in the call; here it is none."""
    effects = ["a"]

    @tool
    async def careless() -> str:
        values = []
        for name in effects:
            try:
                values.append(await step.side_effect(name, lambda name=name: name))
            except Exception as error:
                values.append(repr(error))
        return " ".join(values)

    model = Model(plans("careless"), says("done"))

    async def program():
        await agent(model, careless).run("go")

    runs = await recorded(program)
    effects.append("b")
    model.asked.clear()
    assert len(await replay_failures(runs, program)) == 1

    session = await tail(runs, program)

    assert model.asked == [2]
    assert payloads(session.runs[0], "ToolCallCompleted")[0].result == "a b"
    assert await replay_failures(session.runs, program) == []


async def test_a_tool_that_fails_now_ends_the_run_as_it_does_live():
    failing = []
    model = Model(plans("work"), says("done"))

    @tool
    async def work() -> str:
        if failing:
            raise ToolError("no more")
        return "fine"

    async def program():
        with contextlib.suppress(RunFailedError):
            await agent(model, work).run("go")

    runs = await recorded(program)
    failing.append(1)
    model.asked.clear()

    session = await tail(runs, program)

    assert model.asked == []
    assert session.runs[0].events[-1].kind.name == "RunFailed"
    assert await replay_failures(session.runs, program) == []
