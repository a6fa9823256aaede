"""Effects that are cut off: what a resume does with them, and what becomes of their callables."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time

import pytest

from starling import MemoryLog, replay, step, tool
from starling.errors import NondeterminismError
from starling.event import Kind
from starling.provider import Message, Request
from starling.step import _asking, _effects, _live
from starling.step._abandoned import is_abandoned
from starling.testing import ScriptedProvider
from tests.agent_kit import MODEL, agent, calls, record, replays


async def forever():
    await asyncio.Event().wait()


def worker(body, *tools, script=None, **options):
    @tool(name="work")
    async def work() -> object:
        return await body()

    return agent(script or calls("work"), work, *tools, **options)


async def resumed(log, body, *tools):
    """Resume the run; the model has only its last word left. Nothing may hang."""
    resumer = worker(body, *tools, script=ScriptedProvider().text("done"), log=log)
    result = await asyncio.wait_for(resumer.resume("run"), 60)
    assert result.final_text == "done"


async def cancelled(recorder, reached):
    """Run an agent, and cancel it as soon as an effect is under way. Returns what is in the log."""
    run = asyncio.create_task(recorder.run_with_id("run", "go"))
    await reached.wait()
    run.cancel()
    await asyncio.wait([run])
    return await recorder.log.read("run")


def cut(events, length):
    log = MemoryLog()
    log.append_sync("run", events[:length])
    return log


def abandoned(events):
    """The seqs of effects that were cut off."""
    return [event.seq for event in events if event.kind is Kind.SideEffectRecorded and is_abandoned(event.decode())]


def put_off(monkeypatch, seconds):
    for module in (_live, _effects):
        monkeypatch.setattr(module, "PUT_OFF_S", seconds)


@pytest.fixture
def never_put_off(monkeypatch):
    """What is put off would be so for good: nothing may have to wait for that."""
    put_off(monkeypatch, 1e9)


# --- resuming behind an effect that was cut off


@pytest.mark.usefixtures("never_put_off")
async def test_the_last_effect_of_a_call_is_carried_out_if_the_run_was_cancelled_in_it():
    done = []

    async def body():
        first = await step.side_effect("first", lambda: done.append("first") or 1)
        return first + await step.side_effect("second", second)

    async def second():
        if not reached.is_set():
            reached.set()
            await forever()
        done.append("second")
        return 2

    reached = asyncio.Event()
    events = await cancelled(worker(body), reached)

    log = cut(events, abandoned(events)[0])
    await resumed(log, body)

    assert done == ["first", "second"]
    assert await replay(log, "run", worker(body)) == ()


@pytest.mark.usefixtures("never_put_off")
async def test_several_that_were_cut_off_together_are_all_carried_out():
    async def body():
        return await asyncio.gather(*(step.side_effect(name, lambda name=name: effect(name)) for name in "abc"))

    async def effect(name):
        if name != "b" and not is_resumed:
            begun.append(name)
            if len(begun) == 2:
                reached.set()
            await forever()
        return name

    is_resumed, begun, reached = [], [], asyncio.Event()
    events = await cancelled(worker(body), reached)
    is_resumed.append(1)

    for length in abandoned(events):
        log = cut(events, length)
        await resumed(log, body)
        assert await replay(log, "run", worker(body)) == ()


@pytest.mark.usefixtures("never_put_off")
async def test_a_call_inside_of_it_goes_on_where_the_cancellation_stopped_it():
    done = []

    @tool
    async def pay() -> str:
        paid = await step.side_effect("pay", lambda: done.append("pay") or "paid")
        return paid + await step.side_effect("confirm", confirm)

    async def body():
        return await step.call_tool(step.ToolCall(name="pay", args={}))

    async def confirm():
        done.append("confirm")
        if len(done) == 2:
            reached.set()
            await forever()
        return "!"

    reached = asyncio.Event()
    events = await cancelled(worker(body, pay), reached)
    inner = next(event.seq for event in events if event.kind.name == "ToolCallFailed")

    log = cut(events, inner)
    await resumed(log, body, pay)

    assert done == ["pay", "confirm", "confirm"]
    assert await replay(log, "run", worker(body, pay)) == ()


@pytest.mark.parametrize("cancels_again", [True, False])
async def test_one_that_the_code_got_over_is_put_off(cancels_again, monkeypatch):
    """It lost a race; as long as it loses again it is not carried out again. A changed program gets it, if late."""
    done = []

    async def body():
        quick = asyncio.create_task(step.side_effect("quick", lambda: 1))
        slow = asyncio.create_task(step.side_effect("slow", slowly))
        await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)
        if cancels:
            slow.cancel()
        await asyncio.wait([slow])
        await step.side_effect("next", lambda: 1)
        return await step.side_effect("last", last)

    async def slowly():
        done.append("slow")
        if cancels:
            await forever()

    async def last():
        if not reached.is_set():
            reached.set()
            await forever()
        return 1

    reached, cancels = asyncio.Event(), True
    events = await cancelled(worker(body), reached)
    _, last_seq = abandoned(events)
    done.clear()
    cancels = cancels_again
    put_off(monkeypatch, 1e9 if cancels_again else 0.01)

    log = cut(events, last_seq)
    await resumed(log, body)

    assert done == ([] if cancels_again else ["slow"])
    assert await replay(log, "run", worker(body)) == ()


async def test_a_call_that_a_timeout_of_its_caller_cancelled_is_not_run_again():
    """The timeout that the caller has set cancels it again, in its own time."""
    done = []

    @tool
    async def pay() -> None:
        done.append("pay")
        await step.side_effect("pay", forever)

    async def body():
        try:
            await asyncio.wait_for(step.call_tool(step.ToolCall(name="pay", args={})), 0.05)
        except TimeoutError:
            await step.side_effect("next", lambda: 1)
            return await step.side_effect("instead", instead)

    async def instead():
        if not reached.is_set():
            reached.set()
            await forever()
        return "otherwise"

    reached = asyncio.Event()
    events = await cancelled(worker(body, pay), reached)
    log = cut(events, abandoned(events)[-1])
    done.clear()

    await resumed(log, body, pay)

    assert done == []
    assert await replay(log, "run", worker(body, pay)) == ()


# --- callables


async def test_a_coroutine_that_nobody_awaits_any_more_is_closed(recwarn):
    """A lambda made it in a thread, while the effect was cut off."""

    async def body():
        task = asyncio.create_task(step.side_effect("slow", made))
        await asyncio.to_thread(began.wait)
        task.cancel()
        await asyncio.wait([task])
        goes_on.set()

    def made():
        began.set()
        goes_on.wait()
        coroutine = forever()
        left.append(coroutine)
        return coroutine

    left, began, goes_on = [], threading.Event(), threading.Event()
    recorded = await record(worker(body))
    await asyncio.to_thread(closed, left)
    left.clear()
    gc.collect()

    assert not recwarn.list
    await replays(recorded, worker(body_without_threads))


def closed(coroutines):
    """Wait for the thread that makes one, and for its end."""
    while not any(inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED for coroutine in coroutines):
        time.sleep(0.001)


async def body_without_threads():
    task = asyncio.create_task(step.side_effect("slow", forever))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("raised", [GeneratorExit, SystemExit])
async def test_an_effect_may_raise_what_ends_generators(raised):
    async def fail():
        raise raised("out")

    def fail_plainly():
        raise raised("out")

    def both():
        try:
            step.side_effect_sync("sync", fail_plainly)
        except raised as error:
            return str(error)

    async def body():
        texts = [both()]
        for function in (fail, fail_plainly):
            try:
                await step.side_effect("x", function)
            except raised as error:
                texts.append(str(error))
        return texts

    recorded = await record(worker(body))

    assert recorded.one("ToolCallCompleted").result == ["out"] * 3
    await asyncio.wait_for(replays(recorded, worker(body)), 60)


# --- who asks the model first


@pytest.mark.parametrize("at_a_time", [1, 2, 8])
async def test_nobody_waits_for_a_turn_that_cannot_come(at_a_time, monkeypatch):
    """The calls asked in the reverse order. With fewer at a time today, some have not begun when others ask."""
    monkeypatch.setattr(_asking, "_LONGEST_S", 1e9)
    asked = ["q3", "q2", "q1", "q0"]
    changed = asyncio.Event()

    @tool
    async def ask(question: str) -> str:
        await step.side_effect("think", lambda: turn_of(question))
        return await ask_model(question)

    async def turn_of(question):
        while asked[0] != question:
            changed.clear()
            await changed.wait()

    async def ask_model(question):
        request = Request(model=MODEL, system_prompt="sub", messages=(Message(role="user", content=question),))
        text = (await step.llm_call(request)).message.text
        asked.pop(0)
        changed.set()
        return text

    def make(limit):
        script = ScriptedProvider()
        for question in ("q0", "q1", "q2", "q3"):
            script.tool_call("ask", {"question": question})
        for answer in ("a3", "a2", "a1", "a0", "done"):
            script.turn().text(answer)
        return agent(script, ask, max_parallel_tools=limit)

    recorded = await record(make(8))
    assert [call.result for call in recorded.all("ToolCallCompleted")] == ["a3", "a2", "a1", "a0"]

    asked[:] = ["q"] * 8
    await asyncio.wait_for(replays(recorded, make(at_a_time)), 60)


async def test_nor_for_one_of_a_call_that_failed(monkeypatch):
    monkeypatch.setattr(_asking, "_LONGEST_S", 1e9)

    @tool
    async def first() -> str:
        if is_changed:
            raise ValueError("changed")
        return await ask("first")

    @tool
    async def second() -> str:
        return await ask("second")

    async def ask(question):
        request = Request(model=MODEL, system_prompt="sub", messages=(Message(role="user", content=question),))
        return (await step.llm_call(request)).message.text

    def make():
        script = ScriptedProvider().tool_call("first").tool_call("second")
        for answer in ("a1", "a2", "done"):
            script.turn().text(answer)
        return agent(script, first, second)

    is_changed = []
    recorded = await record(make())
    is_changed.append(1)

    with pytest.raises(NondeterminismError) as raised:
        await asyncio.wait_for(replay(recorded.log, recorded.run_id, make()), 60)

    assert raised.value.divergence.call_id == "call_1"
