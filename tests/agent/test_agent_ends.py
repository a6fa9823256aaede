"""However a run ends: what stands in the log, what the caller gets, and that it replays."""

from __future__ import annotations

import asyncio
import threading

import pytest

from starling import Budget, step, tool
from starling.budget import register_pricing
from starling.errors import (
    AgentConfigError,
    AuthError,
    BudgetExceededError,
    InternalRunError,
    InvalidStreamError,
    MaxTurnsExceededError,
    MissingRawResponseHashError,
    NetworkError,
    ProviderCallError,
    ProviderError,
    RateLimitError,
    RunInUseError,
    TransientToolError,
)
from starling.event import Kind
from starling.provider import EndChunk, Reasoning, TextChunk, ToolUseDelta, ToolUseEnd, ToolUseStart
from starling.testing import ScriptedProvider, Turn
from tests.agent_kit import agent, calls, diverges, record, replays

DIGEST = bytes(range(32))


@tool
async def echo(value: object = None) -> object:
    """Gives back what it is given."""
    return value


def text_turns(*texts):
    script = ScriptedProvider()
    for text in texts:
        script.text(text).turn()
    return script


# --- completed


async def test_a_completed_run_sums_up_what_its_log_holds():
    script = ScriptedProvider().tool_call("echo").usage(100, 20, cache_create_tokens=70).turn()
    script.text("Hello").usage(300, 5, cache_read_tokens=70).turn()
    recorded = await record(agent(script, echo), "greet")

    result = recorded.result
    assert recorded.kinds == [
        "RunStarted",
        "TurnStarted",
        "AssistantMessageCompleted",
        "ToolCallScheduled",
        "ToolCallCompleted",
        "TurnStarted",
        "AssistantMessageCompleted",
        "RunCompleted",
    ]
    assert (result.run_id, result.final_text, result.terminal_kind) == ("run", "Hello", Kind.RunCompleted)
    assert (result.turn_count, result.tool_call_count) == (2, 1)
    assert (result.input_tokens, result.output_tokens) == (400, 25)
    assert result.total_cost_usd == recorded.end.total_cost_usd > 0
    assert result.merkle_root == recorded.end.merkle_root
    assert result.duration.total_seconds() * 1000 == recorded.end.duration_ms
    stats = result.cache_stats
    assert (stats.hits, stats.misses, stats.read_tokens, stats.create_tokens) == (1, 1, 70, 70)


async def test_the_first_event_holds_everything_that_the_code_decided():
    today = agent(
        text_turns("x"),
        echo,
        system_prompt="Be kind.",
        params={"temperature": 0.5},
        app_version="7",
        budget=Budget(max_usd=1.5, max_wall_clock=90),
    )
    recorded = await record(today, "go on")

    started = recorded.one("RunStarted")
    assert (started.goal, started.system_prompt, started.params) == ("go on", "Be kind.", {"temperature": 0.5})
    assert (started.provider_id, started.api_version, started.app_version) == ("scripted", "v0", "7")
    assert started.starling_version.startswith("pytest-starling/")
    assert (started.budget.max_usd, started.budget.max_wall_clock_ms) == (1.5, 90_000)
    assert [(item.name, item.description) for item in started.tools] == [("echo", "Gives back what it is given.")]


async def test_reasoning_with_its_signature_is_given_back_on_later_turns():
    def make():
        script = ScriptedProvider().reasoning("hm", b"sig").redacted("opaque", b"x").tool_call("echo").turn()
        return agent(script.text("done"), echo)

    today = make()
    recorded = await record(today)

    assistant = today.provider.requests[1].messages[1]
    assert assistant.reasoning == (
        Reasoning(content="hm", signature=b"sig"),
        Reasoning(content="opaque", signature=b"x", redacted=True),
    )
    assert recorded.kinds.count("ReasoningEmitted") == 2
    await replays(recorded, make())


async def test_a_namespace_is_put_before_the_minted_run_id():
    today = agent(text_turns("x"), namespace="tenant")

    result = await today.run("go")

    namespace, _, ulid = result.run_id.partition("/")
    assert (namespace, len(ulid)) == ("tenant", 26)


async def test_an_id_of_the_callers_is_used_once():
    today = agent(text_turns("x", "y"))
    await today.run_with_id("mine", "go")

    with pytest.raises(RunInUseError, match="mine"):
        await today.run_with_id("mine", "go")

    assert len(await today.log.read("mine")) == 4


# --- max turns


async def test_too_many_turns():
    def make():
        script = ScriptedProvider().tool_call("echo").turn().tool_call("echo").turn().text("never")
        return agent(script, echo, max_turns=2)

    recorded = await record(make())

    assert isinstance(recorded.error, MaxTurnsExceededError)
    assert (recorded.end.error, recorded.end.error_type) == ("starling: max turns exceeded", "max_turns")
    assert recorded.error.result.turn_count == 2
    await replays(recorded, make())


# --- tool errors


async def test_a_tool_error_is_reported_to_the_model_if_so_configured():
    def make():
        @tool
        async def boom() -> str:
            raise ValueError("no such city")

        return agent(calls("boom", "echo"), boom, echo, tool_errors="report")

    today = make()
    recorded = await record(today)

    failed, completed = (message.tool_result for message in today.provider.requests[1].messages[2:])
    assert (failed.content, failed.is_error) == ("no such city", True)
    assert (completed.content, completed.is_error) == ("null", False)
    assert recorded.result.final_text == "done"
    await replays(recorded, make())


# --- provider errors


class Closed(ScriptedProvider):
    """Fails when it is asked for the stream, not while it is read."""

    def stream(self, request):
        raise ConnectionRefusedError("closed")


@pytest.mark.parametrize(
    ("script", "cause", "error_type"),
    [
        (lambda: ScriptedProvider().error("slow down", 429, retry_after_s=2.0), RateLimitError, "provider"),
        (lambda: ScriptedProvider().error("no", 401), AuthError, "provider"),
        (lambda: ScriptedProvider().text("par").error(ConnectionResetError("cut")), NetworkError, "provider"),
        (lambda: ScriptedProvider().text("par").error(KeyError("choices")), ProviderError, "provider"),
        (Closed, NetworkError, "provider"),
        (lambda: ScriptedProvider().reasoning("hm", b"s").error("gone", 503), None, "provider"),
        (lambda: ScriptedProvider().error(NetworkError("down")), NetworkError, "provider"),
        (ScriptedProvider, None, "provider"),
    ],
    ids=[
        "429",
        "401",
        "foreign mid-stream",
        "a fault in the adapter",
        "foreign at the opening",
        "after reasoning",
        "network",
        "exhausted",
    ],
)
async def test_a_provider_that_fails(script, cause, error_type):
    recorded = await record(agent(script()))

    assert recorded.end.error_type == error_type
    assert isinstance(recorded.error, ProviderCallError if error_type == "provider" else InternalRunError)
    assert cause is None or isinstance(recorded.error.__cause__, cause)
    await replays(recorded, agent())


BROKEN = {
    "no end": [TextChunk(text="x")],
    "nothing at all": [],
    "text after the end": [EndChunk(stop_reason="stop"), TextChunk(text="x")],
    "two ends": [EndChunk(stop_reason="stop"), EndChunk(stop_reason="stop")],
    "a call twice": [ToolUseStart(call_id="a", name="t"), ToolUseStart(call_id="a", name="t")],
    "arguments of no call": [ToolUseDelta(call_id="a", args="{}")],
    "the end of no call": [ToolUseEnd(call_id="a")],
    "no chunk": ["text"],
}


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN)
async def test_a_provider_that_breaks_the_chunk_contract(chunks):
    recorded = await record(agent(ScriptedProvider([Turn(steps=tuple(chunks))])))

    assert recorded.kinds == ["RunStarted", "TurnStarted", "RunFailed"]
    assert recorded.end.error.startswith("step: invalid provider stream: ")
    assert recorded.end.error_type == "internal"
    assert isinstance(recorded.error.__cause__, InvalidStreamError)
    await replays(recorded, agent())


@pytest.mark.parametrize(("digest", "completes"), [(DIGEST, True), (None, False), (b"short", False)])
async def test_a_raw_response_hash_may_be_required(digest, completes):
    def make():
        script = ScriptedProvider().text("x").end(raw_response_hash=digest)
        return agent(script, require_raw_response_hash=True)

    recorded = await record(make())

    assert (recorded.result is not None) == completes
    if completes:
        assert recorded.one("AssistantMessageCompleted").raw_response_hash == DIGEST
    else:
        assert isinstance(recorded.error.__cause__, MissingRawResponseHashError)
        assert recorded.end.error_type == "internal"
    await replays(recorded, make())


# --- budgets


async def test_the_input_axis_trips_before_the_call_and_over_the_whole_run():
    def make():
        script = ScriptedProvider().tool_call("echo", {"value": "x" * 300}).usage(90, 5).turn().text("never")
        return agent(script, echo, budget=Budget(max_input_tokens=120))

    recorded = await record(make())

    trip = recorded.one("BudgetExceeded")
    assert (trip.limit, trip.cap, trip.where, trip.turn_id) == ("input_tokens", 120.0, "pre_call", "")
    assert trip.actual > 120
    assert recorded.kinds[-2:] == ["BudgetExceeded", "RunFailed"]
    error = recorded.error
    assert isinstance(error, BudgetExceededError)
    assert (error.limit, error.cap, error.where) == ("input_tokens", 120.0, "pre_call")
    await replays(recorded, make())


async def test_the_output_axis_trips_in_the_stream_and_keeps_what_was_said():
    def make():
        script = ScriptedProvider().tool_call("echo").usage(1, 6).turn()
        script.text("partial").usage(1, 5).text("never").usage(1, 50)
        return agent(script, echo, budget=Budget(max_output_tokens=10))

    recorded = await record(make())

    trip = recorded.one("BudgetExceeded")
    assert (trip.limit, trip.actual, trip.where) == ("output_tokens", 11.0, "mid_stream")
    assert (trip.partial_text, trip.partial_tokens) == ("partial", 5)
    assert recorded.error.partial_text == "partial"
    await replays(recorded, make())


async def test_the_usd_axis():
    register_pricing("test-priced", 1_000_000, 2_000_000)  # one and two dollars a token

    def make():
        script = ScriptedProvider().tool_call("echo").usage(2, 1).turn().text("x").usage(1, 1)
        return agent(script, echo, model="test-priced", budget=Budget(max_usd=6.5))

    recorded = await record(make())

    trip = recorded.one("BudgetExceeded")
    assert (trip.limit, trip.cap, trip.actual, trip.where) == ("usd", 6.5, 7.0, "mid_stream")
    assert (trip.partial_input_tokens, trip.partial_tokens) == (1, 1)
    await replays(recorded, make())


async def test_a_cap_that_is_just_reached_does_not_trip():
    recorded = await record(agent(ScriptedProvider().text("x").usage(1, 10), budget=Budget(max_output_tokens=10)))

    assert recorded.result.output_tokens == 10


async def test_another_budget_is_a_change_of_the_code():
    recorded = await record(agent(text_turns("x"), budget=Budget(max_usd=1)))

    divergence = await diverges(recorded, agent(text_turns("x"), budget=Budget(max_usd=2)))

    assert (divergence.seq, [str(change) for change in divergence.changes]) == (1, ["budget.max_usd: 1.0 -> 2.0"])


@pytest.mark.parametrize("where", ["model", "async tool", "sync tool", "parallel", "backoff"])
async def test_the_wall_clock_ends_whatever_is_under_way(where):
    let_go = threading.Event()

    def make():
        @tool(idempotent=True, max_attempts=2, backoff=lambda _: 30.0)
        async def waits() -> str:
            if where == "backoff":
                raise TransientToolError("busy")
            await asyncio.Event().wait()
            return ""

        @tool
        def blocks() -> None:
            let_go.wait(10)

        scripts = {
            "model": ScriptedProvider().text("partial").hang(),
            "sync tool": calls("blocks"),
            "parallel": calls("echo", "waits", "blocks"),
        }
        script = scripts.get(where) or calls("waits")
        return agent(script, waits, blocks, echo, budget=Budget(max_wall_clock=0.03))

    recorded = await record(make())
    let_go.set()

    trip = recorded.one("BudgetExceeded")
    assert (trip.limit, trip.cap, trip.where) == ("wall_clock", 30.0, "mid_stream")
    assert trip.actual >= 30
    assert (recorded.end.error, recorded.end.error_type) == ("context deadline exceeded", "budget")
    assert isinstance(recorded.error, BudgetExceededError)
    if where in ("async tool", "sync tool", "parallel"):
        assert {failed.error for failed in recorded.all("ToolCallFailed")} == {"context deadline exceeded"}
    await replays(recorded, make(), make())


# --- cancelled


async def cancelled(today):
    """Record a run whose task is cancelled as soon as one of its parts says so."""
    task = asyncio.create_task(record(today))
    today.cancel_now.append(task.cancel)
    recorded = await task
    assert isinstance(recorded.error, asyncio.CancelledError)
    return recorded


@pytest.mark.parametrize(
    "where", ["opening", "stream", "tool", "sync tool", "wrapping tool", "parallel", "waiting", "backoff"]
)
async def test_a_cancelled_run_says_so_in_its_log_and_to_its_caller(where):
    let_go = threading.Event()

    def make():
        cancel_now, loop = [], asyncio.get_running_loop()

        def cancel():
            for function in cancel_now:
                loop.call_soon_threadsafe(function)

        @tool(idempotent=True, max_attempts=2, backoff=lambda _: 30.0)
        async def waits() -> str:
            cancel()
            if where == "backoff":
                raise TransientToolError("busy")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if where == "wrapping tool":
                    raise ValueError("stopped: context canceled") from None
                raise
            return ""

        @tool
        def blocks() -> None:
            cancel()
            let_go.wait(10)

        script = {
            "opening": ScriptedProvider().do(cancel).hang(),
            "stream": ScriptedProvider().text("par").do(cancel).hang(),
            "sync tool": calls("blocks"),
            "parallel": calls("echo", "waits", "echo"),
            "waiting": calls("waits", "echo", "echo"),
        }.get(where) or calls("waits")
        made = agent(script, waits, blocks, echo, max_parallel_tools=1 if where == "waiting" else 8)
        made.cancel_now = cancel_now
        return made

    recorded = await cancelled(make())
    let_go.set()

    assert recorded.end.KIND is Kind.RunCancelled
    assert recorded.end.reason == "context_canceled"
    failed = recorded.all("ToolCallFailed")
    if where in ("tool", "sync tool", "wrapping tool", "parallel", "waiting"):
        # Calls that were still waiting for their turn have an outcome, too.
        assert [item.error_type for item in failed] == ["cancelled"] * (3 if where == "waiting" else 1)
        assert failed[0].error == ("stopped: " if where == "wrapping tool" else "") + "context canceled"
    for _ in range(3):
        again = make()
        await replays(recorded, again)
        assert again.provider.requests == ()


async def test_a_cancellation_of_before_does_not_cancel_what_runs_afterwards():
    """Clean-up code may run an agent in a task that was cancelled."""

    async def clean_up():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await record(agent(calls("echo"), echo))

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()

    assert (await task).result.final_text == "done"


async def test_a_replay_that_is_cancelled_itself_is_just_cancelled():
    hold = asyncio.Event()

    def make():
        @tool
        async def waits() -> str:
            await hold.wait()
            return "x"

        return agent(calls("waits"), waits)

    hold.set()
    recorded = await record(make())
    hold.clear()
    task = asyncio.create_task(replays(recorded, make()))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


# --- wiring


@pytest.mark.parametrize(
    ("wiring", "field"),
    [
        ({"model": ""}, "config.model"),
        ({"max_turns": -1}, "config.max_turns"),
        ({"emit_timeout": -0.1}, "config.emit_timeout"),
        ({"max_parallel_tools": 0}, "config.max_parallel_tools"),
        ({"tool_errors": "ignore"}, "config.tool_errors"),
        ({"namespace": "a/b"}, "namespace"),
    ],
)
async def test_a_wrong_wiring_is_refused_before_anything_runs(wiring, field):
    today = agent(text_turns("x"), **wiring)

    with pytest.raises(AgentConfigError) as raised:
        await today.run_with_id("run", "go")

    assert raised.value.field == field
    assert await today.log.read("run") == []
    assert today.provider.requests == ()


@pytest.mark.parametrize(("tools", "says"), [([echo, echo], 'duplicate tool name "echo"'), ([len], "is not a tool")])
async def test_wrong_tools_are_refused(tools, says):
    with pytest.raises(AgentConfigError, match=says):
        await agent(text_turns("x"), *tools).run("go")


async def test_an_empty_run_id_is_refused():
    with pytest.raises(AgentConfigError, match="run_id is empty"):
        await agent(text_turns("x")).run_with_id("", "go")


# --- what an agent is not


async def test_an_agent_holds_no_state_of_a_run():
    """Two runs of one agent at a time do not know of each other."""
    meet = asyncio.Barrier(2)

    @tool
    async def t() -> int:
        await meet.wait()
        return step.random()

    script = ScriptedProvider().tool_call("t").turn().tool_call("t").turn().text("a").turn().text("b")
    today = agent(script, t)
    results = await asyncio.gather(today.run_with_id("one", "go"), today.run_with_id("two", "go"))

    for result in results:
        events = await today.log.read(result.run_id)
        assert [event.kind for event in events].count(Kind.SideEffectRecorded) == 1
        assert result.tool_call_count == 1


async def test_a_stream_that_reports_no_usage_costs_nothing():
    chunks = (TextChunk(text="x"), EndChunk(stop_reason="stop"))
    recorded = await record(agent(ScriptedProvider([Turn(steps=chunks)])))

    assert (recorded.result.input_tokens, recorded.result.total_cost_usd) == (0, 0.0)
