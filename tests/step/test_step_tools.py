"""Tool calls: arguments, outcomes of every kind, retries, timeouts, and calls that tools make themselves."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from starling import ambient, step, tool
from starling.errors import ToolCallError, ToolError, TransientToolError, UnencodableValueError
from starling.event import Kind
from starling.replay import FixtureRun, ReplayingSession
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays


@tool
async def echo(value: object = None) -> object:
    """Gives back what it is given."""
    return value


def echoing(raw):
    """An agent whose model calls `echo` with arguments exactly so written."""
    return agent(calls(("echo", raw)), echo)


# --- arguments


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('{"value": 1}', '{"value":1}'),
        ('{ "value" : {"b": 1, "a": [ ] } }', '{"value":{"a":[],"b":1}}'),
        ('{"value":1e3}', '{"value":1000.0}'),
        ('{"value":1.0}', '{"value":1.0}'),
        ('{"value":"\\u00e9\\/<&>\\u2028"}', '{"value":"é/<&>\u2028"}'),
        ('{"value":123456789012345678901234567890}', '{"value":123456789012345678901234567890}'),
        ('{"value":1,"value":2}', '{"value":2}'),
        ("", "{}"),
        ("  ", "{}"),
    ],
)
async def test_arguments_are_shown_and_compared_as_canonical_json(raw, shown):
    today = echoing(raw)
    recorded = await record(today)

    _, again = today.provider.requests
    (use,) = again.messages[1].tool_uses
    assert use.args == shown
    await replays(recorded, echoing(raw))


NOT_JSON = ['{"value":', "hello", '{"value":1}]', '{"value":1e400}', "{'value': 1}", "[" * 40 + "]" * 40]


@pytest.mark.parametrize("raw", NOT_JSON)
async def test_arguments_that_are_not_json_fail_the_call_and_are_kept_as_bytes(raw):
    recorded = await record(echoing(raw))

    assert recorded.one("AssistantMessageCompleted").tool_uses[0].args == raw.encode()
    assert recorded.one("ToolCallScheduled").args == raw.encode()
    failed = recorded.one("ToolCallFailed")
    assert (failed.error_type, failed.final) == ("tool", True)
    assert failed.error.startswith('arguments of tool "echo" are not valid JSON')
    await replays(recorded, echoing(raw))


async def test_half_a_character_in_them_is_u_fffd_as_in_all_text():
    recorded = await record(echoing('{"value": "\ud83d'))
    assert recorded.one("ToolCallScheduled").args == '{"value": "\ufffd'.encode()


async def test_a_model_that_is_told_of_its_malformed_arguments_can_mend_them():
    def make():
        script = ScriptedProvider().tool_call("echo", '{"value":').turn()
        script.tool_call("echo", '{"value": 1}').turn().text("mended")
        return agent(script, echo, tool_errors="report")

    today = make()
    recorded = await record(today)

    second = today.provider.requests[1]
    assert second.messages[1].tool_uses[0].args == '{"value":'
    assert second.messages[2].tool_result.is_error
    assert "not valid JSON" in second.messages[2].tool_result.content
    assert recorded.result.final_text == "mended"
    await replays(recorded, make())


async def test_arguments_that_do_not_fit_are_a_failure_the_model_could_act_on():
    @tool
    async def add(a: int, b: int) -> int:
        return a + b

    recorded = await record(agent(calls(("add", {"a": "x", "c": 1})), add))

    failed = recorded.one("ToolCallFailed")
    assert failed.error_type == "tool"
    assert {"a", "b", "c"} <= {word.strip("\"'`:;,.") for word in failed.error.split()}
    assert "pydantic" not in failed.error.lower()
    await replays(recorded, agent(calls(("add", {"a": "x", "c": 1})), add))


async def test_a_tool_that_changes_its_arguments_changes_nothing_in_the_log():
    class Greedy:
        name, description, schema = "greedy", "", "{}"

        async def execute(self, args):
            return args.pop("items")

    def make():
        return agent(calls(("greedy", {"items": [1]})), Greedy())

    today = make()
    recorded = await record(today)

    assert recorded.one("ToolCallScheduled").args == {"items": [1]}
    assert today.provider.requests[1].messages[1].tool_uses[0].args == '{"items":[1]}'
    await replays(recorded, make())


async def test_calls_without_an_id_of_the_models_get_one_that_replays():
    def make():
        script = ScriptedProvider().tool_call("echo", {"value": 1}, call_id="").text("").turn().text("done")
        return agent(script, echo)

    recorded = await record(make())

    assert len(recorded.one("ToolCallScheduled").call_id) == 26
    await replays(recorded, make())


# --- results


@pytest.mark.parametrize("text", ["", "plain", '{"not": "parsed"}', "héllo\n"])
async def test_a_result_that_is_text_goes_to_the_model_as_it_is(text):
    def make():
        return agent(calls(("echo", {"value": text})), echo)

    today = make()
    recorded = await record(today)

    assert recorded.one("ToolCallCompleted").result == text
    assert today.provider.requests[1].messages[2].tool_result.content == text
    await replays(recorded, make())


async def test_any_other_result_goes_to_the_model_as_canonical_json():
    today = agent(calls(("echo", {"value": {"b": 1.0, "a": None}})), echo)
    await record(today)

    assert today.provider.requests[1].messages[2].tool_result.content == '{"a":null,"b":1.0}'


class Returns:
    name, description, schema = "t", "", "{}"

    def __init__(self, value):
        self._value = value

    async def execute(self, _):
        return self._value


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [(object(), "object"), ({"when": b"x"}, "when"), (float("nan"), "nan"), ([{1.5: 2}], "key"), (deep(40), "deep")],
)
async def test_a_result_that_cannot_be_recorded_is_a_failed_call(value, says):
    recorded = await record(agent(calls("t"), Returns(value)))

    failed = recorded.one("ToolCallFailed")
    assert failed.error_type == "tool"
    assert failed.error.startswith("result cannot be recorded: ")
    assert says in failed.error
    await replays(recorded, agent(calls("t"), Returns(value)))


async def test_the_deepest_result_that_is_written_can_be_read_back():
    recorded = await record(agent(calls("t"), Returns(deep(30))))

    assert recorded.one("ToolCallCompleted").result == deep(30)
    await replays(recorded, agent(calls("t"), Returns(deep(30))))


# --- failures


class Raises:
    description, schema = "", "{}"

    def __init__(self, *errors, name="t", **policy):
        self.name = name
        self.ran = 0
        self._errors = errors
        self.__dict__.update(policy)

    async def execute(self, _):
        self.ran += 1
        if self.ran <= len(self._errors):
            raise self._errors[self.ran - 1]
        return self.ran


@pytest.mark.parametrize(
    ("error", "error_type", "text"),
    [
        (ValueError("bad"), "tool", "bad"),
        (ToolError("for the model"), "tool", "for the model"),
        (TransientToolError("busy"), "tool", "busy"),
        (KeyError("k"), "tool", "'k'"),
        (RuntimeError(), "tool", ""),
        (SystemExit("bye"), "panic", "bye"),
        (SystemExit(3), "panic", "3"),
        (RecursionError("too deep"), "panic", "too deep"),
        (MemoryError(), "panic", ""),
        (TimeoutError("its own"), "tool", "its own"),
        (asyncio.CancelledError("its own"), "tool", "its own"),
        (asyncio.CancelledError(), "tool", "context canceled"),
        (StopAsyncIteration("over"), "tool", None),
    ],
)
async def test_what_a_tool_raises_becomes_its_failure(error, error_type, text):
    recorded = await record(agent(calls("t"), Raises(error)))

    failed = recorded.one("ToolCallFailed")
    assert failed.error_type == error_type
    if text is not None:
        assert failed.error == text
        assert recorded.end.error == f'starling: tool "t" (call call_1): {text}'
    assert recorded.end.error_type == "tool"
    assert isinstance(recorded.error, ToolCallError)
    assert recorded.error.result.terminal_kind is Kind.RunFailed
    await replays(recorded, agent(calls("t"), Raises(error)))


async def test_a_sync_tool_that_exits_does_not_take_the_process_along():
    @tool
    def t() -> None:
        raise SystemExit(1)

    recorded = await record(agent(calls("t"), t))

    assert recorded.one("ToolCallFailed").error_type == "panic"
    await replays(recorded, agent(calls("t"), t))


async def test_the_error_of_the_run_carries_the_tools_own_as_its_cause():
    error = ValueError("bad")
    recorded = await record(agent(calls("t"), Raises(error)))

    assert recorded.error.__cause__ is error
    assert (recorded.error.tool, recorded.error.call_id, recorded.error.error) == ("t", "call_1", "bad")


async def test_a_tool_that_the_agent_does_not_have():
    recorded = await record(agent(calls("nope")))

    assert recorded.one("ToolCallFailed").error == "step: tool not found: nope"
    await replays(recorded, agent(calls("nope")))


class OutcomeError(BaseException):
    """Like a test framework's own outcome: not an error of the tool's."""


@pytest.mark.parametrize("parallel", [False, True])
async def test_what_is_no_error_propagates_and_ends_the_run(parallel):
    names = ["t", "echo"] if parallel else ["t"]

    def make():
        return agent(calls(*names), Raises(OutcomeError("skipped")), echo)

    today = make()
    with pytest.raises(OutcomeError, match="skipped"):
        await today.run_with_id("run", "go")
    events = await today.log.read("run")
    assert events[-1].decode().reason == "interrupted by OutcomeError"

    session = ReplayingSession([FixtureRun(run_id="run", events=tuple(events), began=1, ended=2)])
    with ambient.activate(session), pytest.raises(OutcomeError, match="skipped"):
        await make().run("go")
    assert session.failures == []


# --- retries


RETRYING = {"idempotent": True, "max_attempts": 3}


def no_pause(_):
    return 0.0


async def test_a_transient_failure_of_an_idempotent_tool_is_tried_again():
    errors = [TransientToolError("one"), TransientToolError("two")]
    recorded = await record(agent(calls("t"), Raises(*errors, **RETRYING, backoff=no_pause)))

    assert recorded.kinds[3:9] == [
        "ToolCallScheduled",
        "ToolCallFailed",
        "ToolCallScheduled",
        "ToolCallFailed",
        "ToolCallScheduled",
        "ToolCallCompleted",
    ]
    assert [scheduled.attempt for scheduled in recorded.all("ToolCallScheduled")] == [1, 2, 3]
    assert [failed.final for failed in recorded.all("ToolCallFailed")] == [False, False]
    assert recorded.result.tool_call_count == 3
    await replays(recorded, agent(calls("t"), Raises(*errors, **RETRYING)))


@pytest.mark.parametrize(
    ("errors", "policy", "attempts"),
    [
        ([TransientToolError("x")] * 3, RETRYING, 3),
        ([TransientToolError("x")], {"idempotent": True}, 1),
        ([ToolError("x")], RETRYING, 1),
        ([TransientToolError("x"), ValueError("y")], RETRYING, 2),
    ],
)
async def test_what_is_not_tried_again(errors, policy, attempts):
    recorded = await record(agent(calls("t"), Raises(*errors, **policy, backoff=no_pause)))

    failures = recorded.all("ToolCallFailed")
    assert len(failures) == attempts
    assert [failed.final for failed in failures] == [False] * (attempts - 1) + [True]
    await replays(recorded, agent(calls("t"), Raises(*errors, **policy)))


async def test_a_retry_is_not_waited_for_on_replay():
    asked = []

    def backoff(attempt):
        asked.append(attempt)
        return 0.0

    errors = [TransientToolError("x")] * 2
    recorded = await record(agent(calls("t"), Raises(*errors, **RETRYING, backoff=backoff)))
    await replays(recorded, agent(calls("t"), Raises(*errors, **RETRYING, backoff=backoff)))

    assert asked == [1, 2]


async def test_effects_of_several_attempts_are_counted_on():
    def make():
        class Flaky(Raises):
            async def execute(self, args):
                value = await step.side_effect("x", lambda: self.ran)
                return [value, await super().execute(args)]

        return agent(calls("t"), Flaky(TransientToolError("x"), **RETRYING, backoff=no_pause))

    recorded = await record(make())

    assert [effect.value for effect in recorded.all("SideEffectRecorded")] == [0, 1]
    assert recorded.one("ToolCallCompleted").result == [1, 2]
    await replays(recorded, make())


async def test_fewer_attempts_than_recorded_diverge():
    recorded = await record(agent(calls("t"), Raises(TransientToolError("x"), **RETRYING, backoff=no_pause)))

    divergence = await diverges(recorded, agent(calls("t"), Raises()))

    assert (divergence.seq, divergence.cls) == (recorded.seq("ToolCallFailed"), "kind")


# --- timeouts


@pytest.mark.parametrize("how", ["async", "sync", "swallows", "wraps"])
async def test_a_tool_that_takes_too_long_is_stopped_and_not_run_on_replay(how):
    let_go = threading.Event()
    ran = []

    async def hang():
        ran.append(how)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if how == "wraps":
                raise ValueError("told to stop") from None
            if how == "async":
                raise
        return "too late"

    def block():
        ran.append(how)
        let_go.wait(10)

    def make():
        return agent(calls("t"), tool(block if how == "sync" else hang, name="t", timeout=0.01))

    recorded = await record(make())
    let_go.set()

    failed = recorded.one("ToolCallFailed")
    assert (failed.error_type, failed.error, failed.final) == ("timeout", "timed out after 0.01 s", True)
    await replays(recorded, make())
    assert ran == [how]


async def test_a_timeout_is_tried_again_like_any_transient_failure():
    ran = []

    def make():
        @tool(idempotent=True, max_attempts=2, backoff=no_pause, timeout=0.2)
        async def t() -> str:
            ran.append(1)
            await (asyncio.Event().wait() if len(ran) == 1 else asyncio.sleep(0))
            return "at last"

        return agent(calls("t"), t)

    recorded = await record(make())

    assert [failed.error_type for failed in recorded.all("ToolCallFailed")] == ["timeout"]
    assert recorded.one("ToolCallCompleted").attempt == 2
    await replays(recorded, make())
    assert len(ran) == 3, "the attempt that timed out is not run again, the other one is"


async def test_a_replay_is_never_too_late():
    """Whether a tool is in time is the environment's decision: a slow machine must not make a recording diverge."""
    slow = asyncio.Event()

    def make():
        @tool(timeout=0.001 if slow.is_set() else 30)
        async def t() -> str:
            for _ in range(50 if slow.is_set() else 0):
                await asyncio.sleep(0.001)
            return "in time"

        return agent(calls("t"), t)

    recorded = await record(make())
    slow.set()

    await replays(recorded, make())


# --- calls that tools make themselves


def nested(body):
    @tool
    async def outer() -> object:
        return await body()

    return agent(calls("outer"), outer, echo)


async def test_a_nested_call_names_the_call_it_was_made_in():
    async def body():
        return await step.call_tool(step.ToolCall(name="echo", args={"value": [1, (2,)]}))

    recorded = await record(nested(body))

    inner = recorded.all("ToolCallScheduled")[1]
    assert (inner.tool, inner.parent_call_id, inner.turn_id) == ("echo", "call_1", "")
    assert recorded.all("ToolCallCompleted")[1].result == [1, [2]]
    await replays(recorded, nested(body))


async def test_nested_batches_return_results_in_the_order_asked():
    async def body():
        planned = [step.ToolCall(name="echo", args={"value": n}, call_id=f"mine-{n}") for n in range(5)]
        return await step.call_tools(planned)

    recorded = await record(nested(body))

    assert recorded.one("ToolCallCompleted", call_id="call_1").result == [0, 1, 2, 3, 4]
    await replays(recorded, nested(body))


async def test_effects_belong_to_the_innermost_call():
    @tool
    async def inner() -> int:
        return step.random()

    def make():
        @tool
        async def outer() -> list:
            return [step.random(), await step.call_tool(step.ToolCall(name="inner", args={})), step.random()]

        return agent(calls("outer", "outer"), outer, inner)

    recorded = await record(make())

    owners = [effect.call_id for effect in recorded.all("SideEffectRecorded")]
    assert sorted(owners.count(owner) for owner in set(owners)) == [1, 1, 2, 2]
    await replays(recorded, make())


@pytest.mark.parametrize("ids", [["x", "x"], ["call_1"]])
async def test_an_id_that_is_in_use_is_refused_before_anything_is_recorded(ids):
    async def body():
        await step.call_tools([step.ToolCall(name="echo", args={}, call_id=call_id) for call_id in ids])

    recorded = await record(nested(body))

    assert "has not ended" in recorded.one("ToolCallFailed").error
    await replays(recorded, nested(body))


async def test_an_id_may_be_used_again_once_its_call_has_ended():
    async def body():
        return [await step.call_tool(step.ToolCall(name="echo", args={"value": n}, call_id="x")) for n in range(2)]

    recorded = await record(nested(body))

    assert recorded.one("ToolCallCompleted", call_id="call_1").result == [0, 1]
    await replays(recorded, nested(body))


async def test_arguments_of_a_batch_that_cannot_be_recorded_are_refused_before_anything_is():
    async def body():
        good, bad = step.ToolCall(name="echo", args={}), step.ToolCall(name="echo", args={"value": object()})
        try:
            await step.call_tools([good, bad])
        except UnencodableValueError as error:
            return error.field

    recorded = await record(nested(body))

    assert recorded.one("ToolCallCompleted").result == "value"
    assert recorded.kinds.count("ToolCallScheduled") == 1
    await replays(recorded, nested(body))


async def test_a_nested_failure_has_the_same_type_and_text_live_and_on_replay():
    caught = []

    def make():
        @tool
        async def outer() -> str:
            try:
                await step.call_tool(step.ToolCall(name="t", args={}))
            except ToolCallError as error:
                caught.append((str(error), error.error, error.tool))
            return "survived"

        return agent(calls("outer"), outer, Raises(ValueError("bad")))

    recorded = await record(make())
    await replays(recorded, make())
    await replays(recorded, make(), tools={"t": "stub"})

    assert caught == [("bad", "bad", "t")] * 3


async def test_a_nested_failure_that_passes_through_fails_the_outer_call_with_its_text():
    def make():
        async def body():
            return await step.call_tool(step.ToolCall(name="nope", args={}))

        return nested(body)

    recorded = await record(make())

    assert [failed.error for failed in recorded.all("ToolCallFailed")] == ["step: tool not found: nope"] * 2
    await replays(recorded, make())


async def test_a_call_states_its_own_retries_and_key():
    def make():
        flaky = Raises(TransientToolError("x"))

        @tool
        async def outer() -> int:
            call = step.ToolCall(name="t", args={}, idempotent=True, max_attempts=2, backoff=no_pause, idemp_key="k-1")
            return await step.call_tool(call)

        return agent(calls("outer"), outer, flaky)

    recorded = await record(make())

    attempts = recorded.all("ToolCallScheduled", tool="t")
    assert [(call.attempt, call.idemp_key) for call in attempts] == [(1, "k-1"), (2, "k-1")]
    await replays(recorded, make())


async def test_a_nested_call_that_is_new_today_diverges_where_its_caller_ended():
    more = []

    async def body():
        for _ in more:
            await step.call_tool(step.ToolCall(name="echo", args={}))
        return "x"

    recorded = await record(nested(body))
    more.append(1)

    divergence = await diverges(recorded, nested(body))

    assert (divergence.seq, divergence.cls, divergence.kind) == (
        recorded.seq("ToolCallCompleted"),
        "kind",
        Kind.ToolCallScheduled,
    )


def test_call_ids_are_fresh():
    assert len({step.new_call_id() for _ in range(100)}) == 100


async def test_strands_of_one_tool_may_overtake_each_other():
    """Effects and calls of concurrent strands are compared each in their own order, whatever the interleaving was."""

    @tool
    async def inner() -> str:
        return "in"

    @tool
    async def outer() -> list[str]:
        async def first() -> str:
            await step.side_effect("a", slowly)
            return await step.call_tool(step.ToolCall(name="inner", args={}))

        async def second() -> str:
            return await step.side_effect("b", quickly)

        return list(await asyncio.gather(first(), second()))

    async def slowly() -> str:
        await done.wait()
        return "a"

    async def quickly() -> str:
        done.set()
        return "b"

    done = asyncio.Event()
    recorded = await record(agent(calls("outer"), outer, inner))
    names = [payload.name for payload in recorded.payloads if payload.KIND is Kind.SideEffectRecorded]

    assert names == ["b", "a"]
    await replays(recorded, agent(calls("outer"), outer, inner))


async def test_strands_that_dispatch_go_in_the_recorded_order():
    """The strand that waited for its effect dispatched last; on replay, where no effect takes time, it still does."""

    @tool
    async def inner(name: str) -> str:
        return name

    @tool
    async def outer() -> list[str]:
        async def strand(name: str, effect: Any) -> str:
            await step.side_effect(name, effect)
            return await step.call_tool(step.ToolCall(name="inner", args={"name": name}))

        return list(await asyncio.gather(strand("slow", slowly), strand("quick", quickly)))

    async def slowly() -> None:
        await done.wait()
        await asyncio.sleep(0.02)

    async def quickly() -> None:
        done.set()

    done = asyncio.Event()
    recorded = await record(agent(calls("outer"), outer, inner))
    dispatched = [payload.args["name"] for payload in recorded.payloads if getattr(payload, "tool", "") == "inner"]

    assert dispatched == ["quick", "slow"]
    await replays(recorded, agent(calls("outer"), outer, inner))


async def test_an_attempt_that_timed_out_leaves_its_effects_behind():
    """The cut-off attempt is not run again on replay; the next one is served its own effects all the same."""

    @tool(idempotent=True, max_attempts=3, timeout=0.05, backoff=lambda _: 0)
    async def slow() -> list[Any]:
        attempts.append(1)
        step.now()
        if len(attempts) == 1:
            await step.side_effect("load", asyncio.Event().wait)
        return [await step.side_effect("load", loaded), step.now().isoformat()]

    async def loaded() -> str:
        return "here"

    attempts: list[int] = []
    recorded = await record(agent(calls("slow"), slow))

    assert [payload.KIND for payload in recorded.payloads].count(Kind.ToolCallFailed) == 1
    await replays(recorded, agent(calls("slow"), slow))


@pytest.mark.parametrize("place", ["tool", "effect"])
async def test_a_task_group_that_fails_inside_a_tool_is_the_tools_own_business(place):
    @tool
    async def grouped() -> str:
        return await (step.side_effect("group", group) if place == "effect" else group())

    async def group() -> str:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(boom())
                tasks.create_task(asyncio.Event().wait())
        except* ZeroDivisionError:
            pass
        return "survived"

    async def boom() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    recorded = await record(agent(calls("grouped"), grouped))

    assert recorded.payloads[-1].KIND is Kind.RunCompleted
    await replays(recorded, agent(calls("grouped"), grouped))
