"""Strands of one call get their answers in the recorded order, and what was cut off is cut off again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import os
import threading
import time
from dataclasses import replace

import pytest

from starling import MemoryLog, replay, step, tool
from starling.agent import CustomLoop
from starling.event import Kind
from starling.provider import Message, Request
from starling.step._turns import _business
from starling.testing import ScriptedProvider
from tests.agent_kit import MODEL, agent, calls, diverges, record, replays
from tests.damaged_runs import relinked

# While something is recorded, gates decide who is first. No gate is open on replay: nothing may wait for one.


class Gates:
    """Effects that end in an order of our choosing."""

    def __init__(self, *order):
        self.left = list(order)
        self.changed = asyncio.Event()

    async def __call__(self, name):
        """The function of an effect: ends when all that are to be sooner have, and their strands have gone on."""
        while self.left[0] != name:
            self.changed.clear()
            await self.changed.wait()
        for _ in range(50):  # rounds in which whoever was answered before acts on that
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # apart from the one before, as answers of a network are
        self.left.pop(0)
        self.changed.set()
        return name

    def effect(self, name):
        return step.side_effect(name, lambda: self(name))


@tool
async def leaf(name: str, gates: bool = False) -> str:
    return name


def one(body, *tools, **options):
    """An agent with one tool, whose body takes nothing."""

    @tool(name="outer")
    async def outer() -> object:
        return await body()

    return agent(calls("outer"), outer, leaf, *tools, **options)


async def stays(make, *order, times=3):
    """Record with effects that end in this order, then replay where nothing ever does. Returns what the tool did."""
    recorded = await record(one(make(Gates(*order))))
    result = recorded.one("ToolCallCompleted", call_id="call_1").result
    for _ in range(times):
        await replays(recorded, one(make(Gates())))
    return result


async def in_short_hours(work):
    """Do something while an hour is over at once. A replay's hours have their full length."""
    loop = asyncio.get_running_loop()
    full = loop.call_at

    def call_at(when, callback, *args, context=None):
        soon = loop.time() + 0.05
        return full(soon if when - soon > 1000 else when, callback, *args, context=context)

    loop.call_at = call_at
    try:
        return await work()
    finally:
        del loop.call_at


# --- the order of answers


async def test_as_completed():
    def make(gates):
        async def body():
            return [await answer for answer in asyncio.as_completed([gates.effect(name) for name in "abc"])]

        return body

    assert await stays(make, *"bca") == ["b", "c", "a"]
    assert await stays(make, *"cab") == ["c", "a", "b"]


async def test_strands_that_append():
    def make(gates):
        async def body():
            seen = []

            async def strand(name):
                seen.append(await gates.effect(name))

            await asyncio.gather(*map(strand, "abcd"))
            return seen

        return body

    assert await stays(make, *"dbca") == ["d", "b", "c", "a"]


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_who_is_first_in_a_race_that_goes_on(order):
    def make(gates):
        async def body():
            tasks = [asyncio.create_task(gates.effect(name), name=name) for name in "ab"]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            first = sorted(task.get_name() for task in done)
            await asyncio.wait(tasks)
            return first

        return body

    assert await stays(make, *order) == [order[0]]


async def test_who_loses_a_race_is_cancelled_again():
    def make(gates):
        async def body():
            tasks = [asyncio.create_task(gates.effect(name), name=name) for name in "ab"]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)
            return [task.get_name() for task in done]

        return body

    assert await stays(make, "b", "a") == ["b"]


async def test_workers_on_a_queue_get_the_same_items():
    def make(gates):
        async def body():
            items, done = list("abcdef"), []

            async def worker(number):
                while items:
                    item = items.pop(0)
                    done.append([number, await gates.effect(item)])

            await asyncio.gather(*map(worker, range(3)))
            return done

        return body

    assert await stays(make, *"bacfde") == [[1, "b"], [0, "a"], [2, "c"], [2, "f"], [1, "d"], [0, "e"]]


async def test_workers_whose_effects_never_wait():
    """The first worker does everything, as it did: nothing lets the others begin."""

    def make(_):
        async def body():
            items, done = list("abc"), []

            async def at_once():
                return 1

            async def worker(number):
                while items:
                    await step.side_effect(items.pop(0), at_once)
                    done.append(number)

            await asyncio.gather(*map(worker, range(3)))
            return done

        return body

    assert await stays(make) == [0, 0, 0]


async def test_answers_of_one_moment_are_seen_together():
    """Both had ended before the code could act on either. Only the time between them shows that."""

    async def body():
        tasks = [asyncio.create_task(step.side_effect(name, until_ready)) for name in "ab"]
        await step.side_effect("begin", begin)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(tasks)
        return len(done)

    async def until_ready():
        await ready.wait()

    async def begin():
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, ready.set)

    ready = asyncio.Event()
    recorded = await record(one(body))
    assert recorded.one("ToolCallCompleted").result == 2
    in_one_moment = [replace(event, ts=recorded.events[0].ts + 1000 * event.seq) for event in recorded.events]

    log = MemoryLog()
    log.append_sync("run", relinked(in_one_moment))
    for _ in range(3):
        assert await replay(log, "run", one(body)) == ()


@pytest.mark.parametrize("order", [("a", "inner", "b"), ("b", "a", "inner"), ("inner", "b", "a")])
async def test_effects_and_calls_of_a_tool(order):
    def make(gates):
        @tool
        async def inner() -> str:
            return await gates.effect("inner")

        async def body():
            seen = []

            async def strand(answer):
                seen.append(await answer)

            nested = step.call_tool(step.ToolCall(name="inner", args={}))
            await asyncio.gather(strand(nested), strand(gates.effect("a")), strand(gates.effect("b")))
            return seen

        return one(body, inner)

    recorded = await record(make(Gates(*order)))

    assert recorded.one("ToolCallCompleted", call_id="call_1").result == list(order)
    await replays(recorded, make(Gates()), make(Gates()))


async def test_calls_that_a_tool_dispatched():
    def make(gates):
        @tool(name="inner")
        async def inner(name: str) -> str:
            return await gates.effect(name)

        async def body():
            seen = []

            async def strand(name):
                seen.append(await step.call_tool(step.ToolCall(name="inner", args={"name": name})))

            await asyncio.gather(*map(strand, "abc"))
            return seen

        return one(body, inner)

    recorded = await record(make(Gates(*"cab")))

    assert recorded.one("ToolCallCompleted", call_id="call_1").result == ["c", "a", "b"]
    await replays(recorded, make(Gates()), make(Gates()))


async def test_the_models_answer_among_effects():
    def make(gates):
        async def body():
            seen = []

            async def ask():
                request = Request(model=MODEL, system_prompt="sub", messages=(Message(role="user", content="?"),))
                seen.append((await step.llm_call(request)).message.text)

            async def strand(name):
                seen.append(await gates.effect(name))

            await asyncio.gather(strand("a"), ask(), strand("b"))
            return seen

        @tool(name="outer")
        async def outer() -> list[str]:
            return await body()

        script = ScriptedProvider().tool_call("outer").turn().text("model").turn().text("done")
        return agent(script, outer)

    recorded = await record(make(Gates("b", "a")))

    assert sorted(recorded.one("ToolCallCompleted").result) == ["a", "b", "model"]
    await replays(recorded, make(Gates()), make(Gates()))


async def test_a_loop_of_ones_own():
    def loop(gates):
        async def body():
            return "".join([await answer for answer in asyncio.as_completed([gates.effect(name) for name in "abc"])])

        return CustomLoop(body=body, log=MemoryLog())

    recorded = loop(Gates(*"bca"))
    result = await recorded.run("run")

    assert result.final_text == "bca"
    for _ in range(3):
        assert await replay(recorded.log, "run", loop(Gates())) == ()


# --- threads


def sooner(name, order, done):
    """The function of an effect in a thread: it ends when those before it have, and their threads have gone on."""

    def wait():
        before = order[: order.index(name)]
        while not all(item in done for item in before):
            time.sleep(0.001)
        return name

    return wait


def strands(seen, order):
    def strand(name):
        seen.append(step.side_effect_sync(name, sooner(name, order, seen)))

    return strand


async def test_threads_of_an_async_tool():
    async def body():
        seen: list[str] = []
        await asyncio.gather(*(asyncio.to_thread(strands(seen, "bca"), name) for name in "abc"))
        return seen

    recorded = await record(one(body))

    assert recorded.one("ToolCallCompleted").result == ["b", "c", "a"]
    await replays(recorded, one(body), one(body))


async def test_threads_of_a_sync_tool():
    @tool(name="outer")
    def outer() -> list[str]:
        seen: list[str] = []
        strand = strands(seen, "cab")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for name in "abc":
                pool.submit(contextvars.copy_context().run, strand, name)
        return seen

    recorded = await record(agent(calls("outer"), outer))

    assert recorded.one("ToolCallCompleted").result == ["c", "a", "b"]
    await replays(recorded, agent(calls("outer"), outer), agent(calls("outer"), outer))


async def test_threads_for_which_the_event_loop_waits():
    """The loop does not come round meanwhile, so it can let nobody go first; but nobody waits for good."""

    async def body():
        seen: list[str] = []
        strand = strands(seen, "ba")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for name in "ab":
                pool.submit(contextvars.copy_context().run, strand, name)
        return sorted(seen)

    recorded = await record(one(body))

    await replays(recorded, one(body))


async def test_a_thread_that_its_call_has_left_behind():
    """Nothing cuts a thread off, so nothing tells of the timeout: that takes its time again."""

    async def body():
        try:
            return await asyncio.wait_for(asyncio.to_thread(step.side_effect_sync, "x", lambda: end.wait(60)), 0.3)
        except TimeoutError:
            return "gave up"

    end = threading.Event()
    recorded = await record(one(body))
    end.set()

    assert recorded.one("SideEffectRecorded").error.type == "starling/abandoned"
    assert recorded.one("ToolCallCompleted").result == "gave up"
    await replays(recorded, one(body))


# --- programs that were changed


async def test_an_effect_that_nobody_asks_for_any_more_holds_up_nobody():
    asks = ["a", "b", "c"]

    async def body():
        return [await answer for answer in [step.side_effect(name, forever_or(name)) for name in asks]]

    recorded = await record(one(body))
    asks.remove("a")

    divergence = await diverges(recorded, one(body))

    assert (divergence.seq, divergence.expected_kind) == (5, Kind.SideEffectRecorded)


async def test_not_in_a_group_either():
    asks = ["a", "b", "c"]

    async def body():
        await asyncio.gather(*(step.side_effect(name, forever_or(name)) for name in asks))

    recorded = await record(one(body))
    asks.remove("a")

    divergence = await diverges(recorded, one(body))
    assert divergence.seq == recorded.seq("SideEffectRecorded", name="a")

    assert await replay(recorded.log, recorded.run_id, one(body), tools="run") == ()


def forever_or(name):
    return lambda: name


# --- effects that were cut off


async def forever():
    await asyncio.Event().wait()


async def by_wait_for():
    try:
        await asyncio.wait_for(step.side_effect("slow", forever), 3600)
    except TimeoutError:
        return "gave up"


async def by_timeout():
    try:
        async with asyncio.timeout(3600):
            await step.side_effect("slow", forever)
    except TimeoutError:
        return "gave up"


async def by_wait():
    task = asyncio.create_task(step.side_effect("slow", forever))
    _, pending = await asyncio.wait([task], timeout=3600)
    task.cancel()
    await asyncio.wait([task])
    return f"gave up {len(pending)}"


async def by_a_timer():
    task = asyncio.create_task(step.side_effect("slow", forever))
    asyncio.get_running_loop().call_later(3600, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return "gave up"


async def by_a_sleeping_strand():
    task = asyncio.create_task(step.side_effect("slow", forever))
    await asyncio.sleep(3600)
    task.cancel()
    await asyncio.wait([task])
    return "gave up"


async def round_a_call():
    try:
        return await asyncio.wait_for(step.call_tool(step.ToolCall(name="slow", args={})), 3600)
    except TimeoutError:
        return "gave up" + await step.side_effect("more", lambda: "!")


@tool
async def slow() -> None:
    await step.side_effect("slow", forever)


@pytest.mark.parametrize("body", [by_wait_for, by_timeout, by_wait, by_a_timer, by_a_sleeping_strand, round_a_call])
async def test_an_hour_is_not_waited_for(body, request):
    recorded = await in_short_hours(lambda: record(one(body, slow)))

    assert recorded.one("ToolCallCompleted", call_id="call_1").result.startswith("gave up")
    await asyncio.wait_for(replays(recorded, one(body, slow)), 60)


async def test_a_loop_of_ones_own_does_not_wait_for_an_hour_either():
    async def body():
        assert await by_wait_for() == "gave up"
        return await round_a_call()

    def loop():
        return CustomLoop(body=body, log=MemoryLog(), tools=[slow])

    recorded = loop()

    result = await in_short_hours(lambda: recorded.run("run"))

    assert result.final_text == "gave up!"
    assert await asyncio.wait_for(replay(recorded.log, "run", loop()), 60) == ()


async def test_beats_come_before_the_end_of_a_timeout():
    """A call's time jumps from timer to timer, in their order; one that is set after a jump counts from there."""
    beat = asyncio.Semaphore(0)

    async def three_beats():
        for _ in range(3):
            beat.release()
        await forever()

    async def body():
        async def beats():
            while True:
                await beats_by[0]()
                seen.append(1)

        seen = []
        beating = asyncio.create_task(beats())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(step.side_effect("slow", three_beats), 3600)
        beating.cancel()
        return len(seen)

    beats_by = [beat.acquire]
    recorded = await in_short_hours(lambda: record(one(body)))
    assert recorded.one("ToolCallCompleted").result == 3

    beats_by[:] = [lambda: asyncio.sleep(1000)]
    await asyncio.wait_for(replays(recorded, one(body)), 60)


async def test_what_is_left_behind_waits_for_the_end_of_its_call_only():
    """Its call has timers for other things; those must not expire."""

    async def body():
        left.append(asyncio.create_task(step.side_effect("slow", forever)))
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(asyncio.to_thread(compute), 3600)
        except TimeoutError:
            return "expired"

    def compute():
        time.sleep(0.05)  # work that is no effect: a replay does it again
        return "computed"

    left: list = []
    recorded = await record(one(body))
    assert recorded.one("SideEffectRecorded").error.message == "left behind"
    assert recorded.one("ToolCallCompleted").result == "computed"

    await replays(recorded, one(body))
    for task in left:
        task.cancel()
    await asyncio.wait(left)


async def test_an_effect_that_nothing_cuts_off_any_more_is_a_divergence():
    """The code waits without a limit today; it is told so, and soon."""
    limits = [0.01, None]

    async def body():
        try:
            await asyncio.wait_for(step.side_effect("slow", forever), limits.pop(0))
        except TimeoutError:
            return "gave up"

    recorded = await record(one(body))
    divergence = await asyncio.wait_for(diverges(recorded, one(body)), 60)

    assert divergence.seq == recorded.seq("ToolCallCompleted")


@pytest.mark.parametrize("collected", ["as completed", "first"])
async def test_a_pool_whose_first_job_is_the_fastest(collected):
    """On replay every job is over at once, and one idle thread could do them all, before anybody looks."""
    latency = {"a": 0.01, "b": 0.03, "c": 0.05}

    @tool
    def pool() -> list:
        "Three jobs."

        def job(name):
            return step.side_effect_sync(name, lambda: time.sleep(latency[name]) or name)

        with concurrent.futures.ThreadPoolExecutor(3) as executor:
            jobs = [executor.submit(contextvars.copy_context().run, job, name) for name in latency]
            if collected == "as completed":
                return [future.result() for future in concurrent.futures.as_completed(jobs)]
            done, _ = concurrent.futures.wait(jobs, return_when=concurrent.futures.FIRST_COMPLETED)
            return sorted(future.result() for future in done)

    recorded = await record(agent(calls("pool"), pool))
    for _ in range(20):
        await replays(recorded, agent(calls("pool"), pool))


@pytest.mark.parametrize(("load", "times"), [(0.0, 1.0), (0.5, 1.0), (3.0, 3.0), (500.0, 8.0), (None, 1.0)])
def test_a_busy_machine_is_given_time_to_run_its_threads(monkeypatch, load, times):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    if load is None:
        monkeypatch.delattr(os, "getloadavg")
    else:
        monkeypatch.setattr(os, "getloadavg", lambda: (2 * load, 0.0, 0.0))

    assert _business() == times
