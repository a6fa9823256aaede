"""A whole process is recorded and replayed: runs are found again, nested ones and concurrent ones too."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from starling import MemoryLog, ambient, step, tool
from starling.errors import LiveCallError, NondeterminismError, RunFailedError, StarlingError
from starling.event import Kind, validate
from starling.provider import Request
from starling.replay import RecordingSession, ReplayingSession, ReplayOptions
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls


def says(text, **options):
    return agent(ScriptedProvider().text(text), **options)


async def recorded(program):
    """The runs that a program makes, each valid."""
    session = RecordingSession()
    with ambient.activate(session):
        await program()
    for run in session.runs:
        validate(run.events)
    return session.runs


async def replayed(runs, program, **options):
    """The session after a program was replayed; errors of the program are the session's to report."""
    session = ReplayingSession(runs, ReplayOptions(**options))
    with ambient.activate(session), contextlib.suppress(NondeterminismError, LiveCallError):
        await program()
    session.finish()
    return session


def described(session):
    return [(item.divergence.seq, item.divergence.cls, item.divergence.run_id) for item in session.failures]


# --- one after the other


async def test_runs_that_follow_each_other_match_by_order():
    results = []

    async def program():
        for goal in ("one", "two", "one"):
            results.append((await says(goal).run(goal)).final_text)

    runs = await recorded(program)
    session = await replayed(runs, program)

    assert session.failures == []
    assert session.played == list(runs)
    assert results == ["one", "two", "one"] * 2


async def test_the_replayed_run_has_the_recorded_id_and_reaches_the_agents_own_log():
    logs = []

    async def program():
        log = MemoryLog()
        result = await says("x", log=log).run("go")
        logs.append((result.run_id, await log.read(result.run_id)))

    runs = await recorded(program)
    await replayed(runs, program)

    assert logs[0] == logs[1] == (runs[0].run_id, list(runs[0].events))


async def test_a_log_that_holds_the_run_already_is_left_as_it_is():
    log = MemoryLog()

    async def program():
        await says("x", log=log).run("go")

    runs = await recorded(program)
    session = await replayed(runs, program)

    assert session.failures == []
    assert await log.read(runs[0].run_id) == list(runs[0].events)


async def test_a_run_more_than_recorded_and_one_fewer():
    count = 1

    async def program():
        for _ in range(count):
            await says("x").run("go")

    runs = await recorded(program)
    count = 2
    more = await replayed(runs, program)
    count = 0
    fewer = await replayed(runs, program)

    assert [(cls, seq) for seq, cls, _ in described(more)] == [("exhausted", 1)]
    assert described(fewer) == [(1, "kind", runs[0].run_id)]
    assert "was not asked for" in fewer.failures[0].divergence.reason


async def test_a_failed_run_fails_again():
    caught = []

    async def program():
        try:
            await agent(calls("nope")).run("go")
        except RunFailedError as error:
            caught.append((type(error), str(error), error.result.turn_count, error.error_type))

    runs = await recorded(program)
    assert (await replayed(runs, program)).failures == []
    assert caught[0] == caught[1]


async def test_a_swallowed_divergence_is_kept():
    text = "x"

    async def program():
        for _ in range(3):
            try:
                await agent(ScriptedProvider().text("x"), system_prompt=text).run("go")
            except StarlingError:
                continue
            return

    runs = await recorded(program)
    text = "y"
    session = await replayed(runs, program)

    assert described(session)[0] == (1, "payload", runs[0].run_id)
    assert len(session.failures) == 3


# --- at the same time


async def test_concurrent_runs_match_by_what_they_are_whatever_the_order_today():
    order = ["a", "b", "c", "d"]
    answers = []

    async def program():
        meet = asyncio.Barrier(len(order))

        async def one(goal):
            @tool
            async def wait() -> str:
                await meet.wait()
                return goal

            answers.append((goal, (await agent(calls("wait", answer=f"for {goal}"), wait).run(goal)).final_text))

        await asyncio.gather(*(one(goal) for goal in order))

    runs = await recorded(program)
    order.reverse()
    session = await replayed(runs, program)

    assert session.failures == []
    assert set(answers) == {(goal, f"for {goal}") for goal in "abcd"}


async def test_runs_in_threads():
    goals = ["a", "b", "c"]

    async def program():
        def one(goal):
            says(goal).run_sync(goal)

        threads = [threading.Thread(target=one, args=(goal,)) for goal in goals]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    runs = await recorded(program)

    assert len(runs) == 3
    # Whether they overlapped is up to the machine; whatever it was, one by one in the recorded order always fits.
    goals = [run.events[0].decode().goal for run in runs]

    async def one_by_one():
        for goal in goals:
            await asyncio.to_thread(says(goal).run_sync, goal)

    assert (await replayed(runs, one_by_one)).failures == []


# --- runs inside of runs


def with_inner(inner_goal=lambda: "inner", *, in_effect=False, ran=None, times=1):
    """An agent whose tool runs another agent, in an effect or plainly."""

    @tool
    async def ask() -> list:
        async def inner():
            if ran is not None:
                ran.append(1)
            answer = await agent(calls("dice", answer="inner done"), dice).run(inner_goal())
            return answer.final_text

        return [await (step.side_effect("ask", inner) if in_effect else inner()) for _ in range(times)]

    @tool
    async def dice() -> int:
        return step.random()

    return agent(calls("ask"), ask)


@pytest.mark.parametrize("in_effect", [False, True])
async def test_a_run_inside_a_tool_belongs_to_its_call(in_effect):
    ran = []

    async def program():
        result = await with_inner(in_effect=in_effect, ran=ran).run("outer")
        assert result.final_text == "done"

    runs = await recorded(program)
    outer, inner = sorted(runs, key=lambda run: run.began)
    assert (inner.parent_run_id, inner.parent_call_id) == (outer.run_id, "call_1")
    assert inner.parent_effect == ("ask" if in_effect else "")

    session = await replayed(runs, program)

    assert session.failures == []
    assert len(session.played) == (1 if in_effect else 2)
    assert len(ran) == (1 if in_effect else 2)


@pytest.mark.parametrize("sync", [False, True])
async def test_effects_of_the_inner_run_are_its_own(sync):
    """The inner run's clock and chance must not be recorded with the outer run's call."""

    async def program():
        @tool
        async def ask() -> str:
            return (await inner().run("inner")).final_text

        @tool(name="ask")
        def ask_sync() -> str:
            return inner().run_sync("inner").final_text

        def inner():
            @tool
            async def dice() -> int:
                return step.random()

            return agent(calls("dice", answer="inner done"), dice)

        await agent(calls("ask"), ask_sync if sync else ask).run("outer")

    runs = await recorded(program)
    effects = {
        run.events[0].decode().goal: [event.kind for event in run.events].count(Kind.SideEffectRecorded) for run in runs
    }

    assert effects == {"outer": 0, "inner": 1}
    assert (await replayed(runs, program)).failures == []


async def test_a_changed_goal_of_an_inner_run_is_its_first_divergence():
    goal = "inner"

    async def program():
        await with_inner(lambda: goal).run("outer")

    runs = await recorded(program)
    goal = "changed"
    session = await replayed(runs, program)

    inner = next(run for run in runs if run.parent_run_id)
    assert described(session)[0] == (1, "payload", inner.run_id)
    assert str(session.failures[0].divergence.changes[0]) == "goal: 'inner' -> 'changed'"


async def test_a_stubbed_call_takes_its_inner_runs_along():
    async def program():
        await with_inner(times=2).run("outer")

    runs = await recorded(program)
    session = await replayed(runs, program, tools="stub")

    assert session.failures == []
    assert [run.parent_run_id for run in session.played] == [""]


async def test_an_inner_run_fewer_or_more():
    times = 2

    async def program():
        await with_inner(times=times).run("outer")

    runs = await recorded(program)
    times = 1
    fewer = await replayed(runs, program)
    times = 3
    more = await replayed(runs, program)

    assert fewer.failures
    assert more.failures[0].divergence.cls == "exhausted"
    assert "'call_1'" in more.failures[0].divergence.reason


# --- nothing goes out


async def test_a_provider_reached_while_replaying_is_refused_and_remembered():
    async def program():
        await says("x").run("go")

    runs = await recorded(program)
    session = ReplayingSession(runs)
    with ambient.activate(session), pytest.raises(LiveCallError, match="scripted"):
        ScriptedProvider().text("x").stream(Request(model="gpt-4o-mini"))

    assert len(session.failures) == 1


async def test_a_replay_cancelled_by_its_caller_is_cancelled_and_kept_as_stopped_short():
    hold = asyncio.Event()
    hold.set()

    async def program():
        @tool
        async def waits() -> str:
            await hold.wait()
            return "x"

        async with asyncio.timeout(0.02 if not hold.is_set() else None):
            await agent(calls("waits"), waits).run("go")

    runs = await recorded(program)
    hold.clear()
    session = ReplayingSession(runs)
    with ambient.activate(session), pytest.raises(TimeoutError):
        await program()

    assert described(session) == [(5, "kind", runs[0].run_id)]
    assert session.failures[0].divergence.kind is None


# --- the slot


@contextlib.contextmanager
def active():
    with ambient.activate(RecordingSession()) as session:
        yield session


def test_one_session_a_process_at_a_time():
    with active(), pytest.raises(StarlingError, match="one at a time"), active():
        pass
    with active():
        assert ambient.active() is not None
    assert ambient.active() is None


async def test_an_override_is_seen_in_its_own_context_only():
    outer, inner = RecordingSession(), RecordingSession()
    with ambient.activate(outer):
        with ambient.override(inner):
            await says("x").run("inner")
        await says("x").run("outer")

    assert [run.events[0].decode().goal for run in outer.runs] == ["outer"]
    assert [run.events[0].decode().goal for run in inner.runs] == ["inner"]


async def test_a_run_inside_an_effect_is_not_offered_to_one_in_the_code():
    answers = iter(["in effect", "in code"])

    @tool
    async def both() -> list[str]:
        async def inner() -> str:
            return (await says(next(answers)).run("sub")).final_text

        return [await step.side_effect("s", inner), (await says(next(answers, "live")).run("sub")).final_text]

    async def program():
        await agent(calls("both"), both).run("go")

    runs = await recorded(program)
    session = await replayed(runs, program)

    assert session.failures == []
    assert [run.parent_effect for run in runs] == ["", "s", ""]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
async def test_runs_of_a_pool_overlap_through_each_other(order):
    """0 overlaps 1, 1 overlaps 2, 2 overlaps 3: whichever starts first today finds its own."""

    async def chain():
        ends = [asyncio.Event() for _ in range(4)]

        async def one(number):
            script = ScriptedProvider().do(ends[number].wait).text(str(number))
            return (await agent(script).run(f"goal {number}")).final_text

        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if number:
                ends[number - 1].set()
                await tasks[number - 1]
        ends[3].set()
        await tasks[3]

    answers = {}

    async def again():
        for number in order:
            answers[number] = (await says("live").run(f"goal {number}")).final_text

    runs = await recorded(chain)
    session = await replayed(runs, again)

    assert session.failures == []
    assert answers == {number: str(number) for number in range(4)}
