"""Clock, randomness and side effects: recorded once, served on replay, whatever came of them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from starling import step, tool
from starling.errors import RecordedEffectError, StepContextError, UnencodableValueError
from starling.event import Kind
from tests.agent_kit import agent, calls, diverges, record, replays


class Tool:
    """The raw protocol around one coroutine function without arguments."""

    description = ""
    schema = "{}"

    def __init__(self, body, name="t"):
        self.name = name
        self._body = body

    async def execute(self, _):
        return await self._body()


def one(body):
    """An agent whose model calls that body once."""
    return agent(calls("t"), Tool(body))


async def test_now_is_an_aware_moment_recorded_in_nanoseconds():
    seen = []

    async def body():
        seen.append(step.now())
        return seen[-1].isoformat()

    before = datetime.now(UTC)
    recorded = await record(one(body))
    await replays(recorded, one(body))

    live, replayed = seen
    assert before - timedelta(microseconds=1) <= live <= datetime.now(UTC)
    assert live.utcoffset() == timedelta(0)
    assert replayed == live
    effect = recorded.one("SideEffectRecorded")
    assert (effect.name, effect.call_id, type(effect.value)) == ("now", "call_1", int)
    assert effect.value // 1000 == round(live.timestamp() * 1_000_000)


async def test_random_covers_64_bits_and_is_served_again():
    seen = []

    async def body():
        seen.append([step.random() for _ in range(50)])

    recorded = await record(one(body))
    await replays(recorded, one(body))

    live, replayed = seen
    assert replayed == live
    assert len(set(live)) == 50
    assert 2**60 < max(live) < 2**64
    assert {effect.name for effect in recorded.all("SideEffectRecorded")} == {"rand"}


PLAIN = {
    "null": None,
    "integers": [0, -1, 2**64, -(2**70)],
    "float": 1.0,
    "text": "héllo <&> 😀",
    "bytes": b"\x00\xff",
    "nested": {"a": [{"b": {}}, []], "": True},
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("form", ["sync callable", "async callable", "from sync code"])
async def test_a_value_comes_back_as_the_log_holds_it(value, form):
    seen = []

    async def later():
        return value

    async def body():
        match form:
            case "sync callable":
                seen.append(await step.side_effect("x", lambda: value))
            case "async callable":
                seen.append(await step.side_effect("x", later))
            case _:
                seen.append(step.side_effect_sync("x", lambda: value))

    recorded = await record(one(body))
    await replays(recorded, one(body))

    assert seen == [value, value]
    assert [type(item) for item in seen] == [type(value)] * 2


async def test_the_callable_is_never_run_on_replay():
    ran = []

    async def body():
        return await step.side_effect("pay", lambda: ran.append(1) or "paid")

    recorded = await record(one(body))
    await replays(recorded, one(body), one(body))

    assert ran == [1]


async def test_a_live_value_is_changed_by_the_log_like_a_replayed_one():
    """A tuple is a list in the log; code must not see a difference between live and replay."""
    seen = []

    async def body():
        seen.append(await step.side_effect("x", lambda: (1, (2,))))

    recorded = await record(one(body))
    await replays(recorded, one(body))

    assert seen == [[1, [2]], [1, [2]]]


async def test_a_value_that_cannot_be_recorded_fails_the_effect_and_that_replays():
    async def body():
        await step.side_effect("x", lambda: {"when": object()})

    recorded = await record(one(body))

    assert "when" in recorded.end.error
    assert isinstance(recorded.error.__cause__, UnencodableValueError)
    await replays(recorded, one(body))


# --- failures


class PlainError(Exception):
    """Takes one text."""


class PairError(Exception):
    """Takes two arguments and words its own text."""

    def __init__(self, code, place):
        super().__init__(code, place)

    def __str__(self):
        return f"{self.args[0]} at {self.args[1]}"


class KeywordError(Exception):
    """Cannot be built from a text at all."""

    def __init__(self, *, code):
        super().__init__(f"code {code}")


FAILURES = {
    "custom": PlainError("no such city"),
    "key error": KeyError("city"),
    "os error": FileNotFoundError(2, "No such file", "x.txt"),
    "two arguments": PairError(7, "Oslo"),
    "keyword only": KeywordError(code=3),
    "empty": ValueError(),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "timeout": TimeoutError("too late"),
}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_failure_is_raised_again_with_its_type_and_text(error, blocking):
    caught = []

    def fail():
        raise error

    async def body():
        try:
            step.side_effect_sync("x", fail) if blocking else await step.side_effect("x", fail)
        except Exception as raised:
            caught.append(raised)
        return "survived"

    recorded = await record(one(body))
    effect = recorded.one("SideEffectRecorded")
    assert effect.value is None
    assert effect.error.type == f"{type(error).__module__}.{type(error).__qualname__}"
    assert effect.error.message == str(error)

    await replays(recorded, one(body))

    live, replayed = caught
    assert live is error
    assert isinstance(replayed, type(error))
    assert str(replayed) == str(error)


async def test_a_failure_whose_class_is_gone_is_named_after_it():
    caught = []

    class LocalError(Exception):  # in no module, but alive
        pass

    def fail():
        raise LocalError("gone")

    async def body():
        try:
            await step.side_effect("x", fail)
        except Exception as raised:
            caught.append(raised)

    recorded = await record(one(body))
    await replays(recorded, one(body))
    assert type(caught[1]) is LocalError

    LocalError.__qualname__ = "Renamed"
    await replays(recorded, one(body))

    replayed = caught[2]
    assert isinstance(replayed, RecordedEffectError)
    assert (type(replayed).__name__, str(replayed)) == ("LocalError", "gone")
    assert replayed.recorded_type.endswith("LocalError")


async def test_a_failure_that_passes_through_the_tool_is_its_error():
    def fail():
        raise PlainError("no such city")

    async def body():
        await step.side_effect("x", fail)

    recorded = await record(one(body))

    assert recorded.one("ToolCallFailed").error == "no such city"
    await replays(recorded, one(body))


# --- several of one name


async def test_effects_that_finish_in_another_order_than_they_were_asked_for():
    seen = []

    async def body():
        first_may_end = asyncio.Event()

        async def first():
            await first_may_end.wait()
            return "first"

        async def second():
            first_may_end.set()
            return "second"

        seen.append(await asyncio.gather(step.side_effect("x", first), step.side_effect("x", second)))

    recorded = await record(one(body))
    await replays(recorded, one(body))

    assert seen == [["first", "second"]] * 2
    assert [(effect.value, effect.ordinal) for effect in recorded.all("SideEffectRecorded")] == [
        ("second", 2),
        ("first", 1),
    ]


async def test_effects_in_order_carry_no_ordinal():
    async def body():
        return [await step.side_effect("x", lambda: 1), await step.side_effect("x", lambda: 2), step.random()]

    recorded = await record(one(body))

    assert [effect.ordinal for effect in recorded.all("SideEffectRecorded")] == [0, 0, 0]


async def test_the_order_of_different_names_in_one_call_is_not_compared():
    order = ["a", "b"]

    async def body():
        return sorted([await step.side_effect(name, lambda name=name: name) for name in order])

    recorded = await record(one(body))
    order.reverse()

    await replays(recorded, one(body))


# --- where steps may be called


def outside():
    return {
        "now": step.now,
        "random": step.random,
        "side_effect_sync": lambda: step.side_effect_sync("x", int),
        "side_effect": lambda: asyncio.run(step.side_effect("x", int)),
        "call_tool": lambda: asyncio.run(step.call_tool(step.ToolCall(name="x", args={}))),
        "call_tools": lambda: asyncio.run(step.call_tools([])),
    }


@pytest.mark.parametrize("what", outside())
def test_outside_of_a_run_every_step_says_why_it_cannot(what):
    with pytest.raises(StepContextError, match="outside of a run"):
        outside()[what]()


async def test_in_a_sync_tool_and_in_threads_that_take_the_context_along():
    @tool
    def t() -> list:
        values = [step.random()]
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: values.append(context.run(step.random)))
        thread.start()
        thread.join()
        return values

    recorded = await record(agent(calls("t"), t))

    assert len(recorded.all("SideEffectRecorded", call_id="call_1")) == 2
    await replays(recorded, agent(calls("t"), t))


async def test_a_thread_without_the_context_is_told_how_to_get_it():
    said = []

    @tool
    def t() -> None:
        def body():
            try:
                step.now()
            except StepContextError as error:
                said.append(str(error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()

    await record(agent(calls("t"), t))

    assert "copy_context" in said[0]


async def test_steps_inside_an_effect_are_part_of_its_value():
    """What an effect does is recorded as a whole: its own clock and effects leave no events."""

    async def inner():
        return [step.now().isoformat(), step.random(), await step.side_effect("y", lambda: 1)]

    async def body():
        return await step.side_effect("x", inner)

    recorded = await record(one(body))

    assert recorded.kinds.count("SideEffectRecorded") == 1
    await replays(recorded, one(body))


async def test_a_tool_call_inside_an_effect_is_refused():
    async def inner():
        await step.call_tool(step.ToolCall(name="t", args={}))

    async def body():
        await step.side_effect("x", inner)

    recorded = await record(one(body))

    assert "cannot be recorded" in recorded.end.error
    assert recorded.kinds.count("ToolCallScheduled") == 1


async def test_an_abandoned_thread_can_record_nothing_any_more():
    go_on, said = threading.Event(), []
    ended = threading.Event()

    @tool(timeout=0.02)
    def t() -> None:
        go_on.wait(10)
        for act in (step.now, step.random, lambda: step.side_effect_sync("x", int)):
            try:
                act()
            except StepContextError as error:
                said.append(str(error))
        ended.set()

    recorded = await record(agent(calls("t"), t))
    go_on.set()
    await asyncio.to_thread(ended.wait, 10)

    assert len(said) == 3
    assert "'call_1'" in said[0]
    assert await recorded.log.read("run") == recorded.events
    assert "SideEffectRecorded" not in recorded.kinds


async def test_a_task_left_behind_by_a_tool_can_record_nothing_any_more():
    left = []

    async def late(gate):
        await gate.wait()
        return step.random()

    async def body():
        gate = asyncio.Event()
        left.append((gate, asyncio.create_task(late(gate))))

    recorded = await record(one(body))
    ((gate, task),) = left
    gate.set()

    with pytest.raises(StepContextError, match="has ended"):
        await task
    assert "SideEffectRecorded" not in recorded.kinds


# --- a divergence cannot be swallowed


async def test_a_swallowed_divergence_is_raised_again_and_wins_over_the_tools_result():
    extra = []

    async def body():
        for _ in extra:
            for _ in range(3):
                try:
                    step.random()
                except Exception:
                    continue
        return "fine"

    recorded = await record(one(body))
    extra.append(1)

    divergence = await diverges(recorded, one(body))

    assert (divergence.seq, divergence.cls) == (recorded.seq("ToolCallCompleted"), "kind")
    assert divergence.call_id == "call_1"


async def test_a_divergence_in_one_call_is_found_even_if_another_one_swallows_everything():
    flaw = []

    async def good():
        try:
            return step.random()
        except BaseException:
            return "swallowed"

    async def bad():
        return "changed" if flaw else "same"

    def make():
        return agent(calls("good", "bad"), Tool(good, "good"), Tool(bad, "bad"))

    recorded = await record(make())
    flaw.append(1)

    divergence = await diverges(recorded, make())

    assert divergence.seq == recorded.seq("ToolCallCompleted", call_id="call_2")


# --- effects that are cut off


async def forever():
    await asyncio.Event().wait()


async def timed_out():
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(step.side_effect("slow", forever), 0.02)


async def failed_sibling():
    with contextlib.suppress(PlainError):
        await asyncio.gather(step.side_effect("bad", fail_plainly), step.side_effect("slow", forever))


async def failed_sibling_in_a_group():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.side_effect("bad", fail_plainly))
            group.create_task(step.side_effect("slow", forever))
    except* PlainError:
        pass


async def first_of_two():
    tasks = [
        asyncio.create_task(step.side_effect(name, function))
        for name, function in (("quick", quick), ("slow", forever))
    ]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)


async def quick():
    return 1


async def fail_plainly():
    raise PlainError("boom")


@pytest.mark.parametrize("body", [timed_out, failed_sibling, failed_sibling_in_a_group, first_of_two])
async def test_an_effect_that_is_cut_off_is_cut_off_again(body):
    async def and_more():
        await body()
        return await step.side_effect("slow", quick)

    recorded = await record(one(and_more))
    effects = [payload for payload in recorded.payloads if payload.KIND is Kind.SideEffectRecorded]

    assert [effect.name for effect in effects if effect.error and effect.error.type == "starling/abandoned"] == ["slow"]
    await replays(recorded, one(and_more))


async def test_an_exception_group_and_an_exit_come_back():
    def group():
        raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])

    def leave():
        raise SystemExit("bye")

    caught = []

    async def body():
        for function in (group, leave):
            try:
                await step.side_effect("x", function)
            except (Exception, SystemExit) as raised:
                caught.append((type(raised).__name__, str(raised)))

    recorded = await record(one(body))
    await replays(recorded, one(body))

    assert caught[:2] == caught[2:]


async def test_an_exception_that_cannot_be_shown_goes_by_its_name():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    def fail():
        raise MuteError

    async def body():
        with contextlib.suppress(MuteError):
            await step.side_effect("x", fail)

    recorded = await record(one(body))

    assert recorded.one("SideEffectRecorded").error.message == "MuteError"
    await replays(recorded, one(body))


async def test_an_effect_that_nobody_awaits_any_more_goes_quietly(monkeypatch):
    """Its task is left behind by the call, and collected later."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: complaints.append(problem.exc_value))

    async def body():
        coroutine = step.side_effect("slow", forever)
        with contextlib.suppress(StopIteration):
            contextvars.copy_context().run(coroutine.send, None)
        left.append(coroutine)

    left = []
    await record(one(body))
    left.clear()
    gc.collect()

    assert complaints == []
