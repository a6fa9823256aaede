"""Whatever way a run ended, its replay ends that way: the same result, or the same error with the same text."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from starling import Budget, MemoryLog, step, tool
from starling.budget import register_pricing
from starling.errors import (
    BudgetExceededError,
    InternalRunError,
    MaxTurnsExceededError,
    ProviderCallError,
    ToolCallError,
    TransientToolError,
)
from starling.event import Kind, validate
from starling.provider import TextChunk
from starling.testing import ScriptedProvider
from tests.agent_kit import Recorded, again, agent, calls, replays

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling import Agent

COMPLETED, FAILED, CANCELLED = Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A way to end.

    Attributes:
        make: the agent, wired anew for each run.
        kind: of the terminal event. error: what the caller gets; None if it is a result.
        before: kinds that stand right before the terminal event.
        says: part of the error's text.
    """

    make: Callable[[], Agent]
    kind: Kind
    error: type[BaseException] | None = None
    before: tuple[str, ...] = ()
    says: str = ""


# --- tools


@tool
async def echo(value: object = None) -> object:
    return [value, step.random()]


@tool
async def fails() -> str:
    await step.side_effect("rate", lambda: 7)
    raise ValueError("no such order")


@tool
def fails_in_a_thread() -> str:
    raise OSError(2, "gone")


@tool
async def crashes() -> str:
    raise SystemExit("out")


@tool
def recurses() -> str:
    return _deeper()


def _deeper():
    return _deeper()


@tool(idempotent=True, max_attempts=3, backoff=lambda _: 0.0)
async def fails_three_times() -> str:
    raise TransientToolError("busy")


@tool(timeout=0.05)
async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


@tool(idempotent=True, max_attempts=2, timeout=0.05, backoff=lambda _: 0.0)
async def hangs_twice() -> str:
    step.random()
    await asyncio.Event().wait()
    return "never"


@tool(timeout=0.05)
def hangs_in_a_thread() -> str:
    threading.Event().wait(0.5)
    return "too late"


# --- wirings


def says(*texts, **options):
    script = ScriptedProvider()
    for text in texts:
        script.text(text).turn()
    return lambda: agent(script_of(script), **options)


def script_of(script):
    """The same script from its start."""
    return ScriptedProvider(script.turns)


def calling(*planned, **options):
    tools = (
        echo,
        fails,
        fails_in_a_thread,
        crashes,
        recurses,
        fails_three_times,
        hangs,
        hangs_twice,
        hangs_in_a_thread,
    )
    return lambda: agent(calls(*planned), *tools, **options)


def streaming(script, **options):
    return lambda: agent(script_of(script), echo, **options)


def priced(make):
    def priced_make():
        register_pricing("test-priced", 1000.0, 1000.0)
        return make()

    return priced_make


USED = (
    ScriptedProvider().tool_call("echo").usage(90, 5).turn().text("Half an ").usage(90, 40).text("answer").usage(90, 80)
)


# --- cancelling: by the environment, once, while recording


class Cancelling(MemoryLog):
    """Cancels the run that writes to it when an event of a kind arrives."""

    def __init__(self, kind):
        super().__init__()
        self._kind = kind

    def append_sync(self, run_id, events):
        super().append_sync(run_id, events)
        if any(event.kind is self._kind for event in events):
            asyncio.current_task().cancel()


def cancelled_by_log(kind, script):
    return lambda: agent(script_of(script), echo, log=Cancelling(kind))


def cancelled_in_stream():
    script = ScriptedProvider().tool_call("echo").turn().text("Half an")
    return agent(script.do(lambda: asyncio.current_task().cancel()).hang(), echo)


def cancelled_in_tool(*, blocking):
    runs = []

    def cancel():
        runs[0].get_loop().call_soon_threadsafe(runs[0].cancel)

    @tool(name="waits")
    async def waits() -> str:
        await step.side_effect("rate", lambda: 7)
        cancel()
        await asyncio.Event().wait()
        return "never"

    @tool(name="waits")
    def waits_in_a_thread() -> str:
        cancel()
        threading.Event().wait(0.5)
        return "too late"

    script = ScriptedProvider().do(lambda: runs.append(asyncio.current_task()))
    return agent(script.tool_call("waits").tool_call("echo"), waits_in_a_thread if blocking else waits, echo)


CALLS = ("ToolCallScheduled", "ToolCallCompleted")
TABLE = {
    "completed": Ending(make=says("Hello"), kind=COMPLETED),
    "completed after tools": Ending(make=calling("echo", ("echo", {"value": {"b": 1, "a": [None]}})), kind=COMPLETED),
    "completed though a tool failed": Ending(make=calling("fails", "echo", tool_errors="report"), kind=COMPLETED),
    "completed though a tool timed out": Ending(make=calling("hangs", tool_errors="report"), kind=COMPLETED),
    "completed though a tool crashed": Ending(make=calling("crashes", tool_errors="report"), kind=COMPLETED),
    "a tool": Ending(make=calling("fails"), kind=FAILED, error=ToolCallError, says="no such order"),
    "a tool in a thread": Ending(make=calling("fails_in_a_thread"), kind=FAILED, error=ToolCallError, says="gone"),
    "one of several tools": Ending(make=calling("echo", "fails", "crashes"), kind=FAILED, error=ToolCallError),
    "a tool in all its attempts": Ending(
        make=calling("fails_three_times"),
        kind=FAILED,
        error=ToolCallError,
        before=("ToolCallFailed", "ToolCallScheduled", "ToolCallFailed"),
        says="busy",
    ),
    "an unknown tool": Ending(make=calling("nope"), kind=FAILED, error=ToolCallError, says="tool not found: nope"),
    "arguments that do not fit": Ending(make=calling(("echo", "[1]")), kind=FAILED, error=ToolCallError),
    "arguments that are not JSON": Ending(make=calling(("echo", "{'a': 1}")), kind=FAILED, error=ToolCallError),
    "a crashed tool": Ending(make=calling("crashes"), kind=FAILED, error=ToolCallError, says="out"),
    "a tool without bottom": Ending(make=calling("recurses"), kind=FAILED, error=ToolCallError, says="recursion"),
    "a tool that timed out": Ending(make=calling("hangs"), kind=FAILED, error=ToolCallError, says="timed out"),
    "a tool that timed out twice": Ending(
        make=calling("hangs_twice"), kind=FAILED, error=ToolCallError, before=("ToolCallFailed",), says="timed out"
    ),
    "a thread that timed out": Ending(
        make=calling("hangs_in_a_thread"), kind=FAILED, error=ToolCallError, says="timed out"
    ),
    "the provider, at once": Ending(
        make=streaming(ScriptedProvider().error("slow down", 429)),
        kind=FAILED,
        error=ProviderCallError,
        before=("TurnStarted",),
        says="slow down",
    ),
    "the provider, in mid-stream": Ending(
        make=streaming(
            ScriptedProvider().tool_call("echo").turn().reasoning("Hm", b"s").text("Let").error("gone", 500)
        ),
        kind=FAILED,
        error=ProviderCallError,
        before=("TurnStarted", "ReasoningEmitted"),
        says="gone",
    ),
    "the network": Ending(
        make=streaming(ScriptedProvider().text("Let me").error(ConnectionResetError("reset by peer"))),
        kind=FAILED,
        error=ProviderCallError,
        says="reset by peer",
    ),
    "a broken stream": Ending(
        make=lambda: agent(ScriptedProvider([[TextChunk(text="no end")]])), kind=FAILED, error=InternalRunError
    ),
    "no digest": Ending(
        make=says("x", require_raw_response_hash=True), kind=FAILED, error=InternalRunError, says="raw response hash"
    ),
    "too many turns": Ending(
        make=calling("echo", max_turns=1), kind=FAILED, error=MaxTurnsExceededError, before=CALLS[1:]
    ),
    "input tokens": Ending(
        make=streaming(USED, budget=Budget(max_input_tokens=91)),
        kind=FAILED,
        error=BudgetExceededError,
        before=("ToolCallCompleted", "BudgetExceeded"),
        says="input_tokens",
    ),
    "output tokens": Ending(
        make=streaming(USED, budget=Budget(max_output_tokens=60)),
        kind=FAILED,
        error=BudgetExceededError,
        before=("TurnStarted", "BudgetExceeded"),
        says="output_tokens",
    ),
    "money": Ending(
        make=priced(streaming(USED, model="test-priced", budget=Budget(max_usd=0.25))),
        kind=FAILED,
        error=BudgetExceededError,
        before=("TurnStarted", "BudgetExceeded"),
        says="usd",
    ),
    "time, in a stream": Ending(
        make=streaming(
            ScriptedProvider().tool_call("echo").turn().text("Half an").hang(), budget=Budget(max_wall_clock=0.2)
        ),
        kind=FAILED,
        error=BudgetExceededError,
        before=("TurnStarted", "BudgetExceeded"),
        says="wall_clock",
    ),
    "time, in a tool": Ending(
        make=lambda: agent(calls("waits", "echo"), forever(), echo, budget=Budget(max_wall_clock=0.2)),
        kind=FAILED,
        error=BudgetExceededError,
        before=("ToolCallFailed", "BudgetExceeded"),
        says="wall_clock",
    ),
    "cancelled before the first turn": Ending(
        make=cancelled_by_log(Kind.RunStarted, ScriptedProvider().text("x")),
        kind=CANCELLED,
        error=asyncio.CancelledError,
        before=("RunStarted",),
    ),
    "cancelled between turns": Ending(
        make=cancelled_by_log(Kind.ToolCallCompleted, calls("echo")),
        kind=CANCELLED,
        error=asyncio.CancelledError,
        before=("ToolCallCompleted",),
    ),
    "cancelled in a stream": Ending(
        make=cancelled_in_stream, kind=CANCELLED, error=asyncio.CancelledError, before=("TurnStarted",)
    ),
    "cancelled in a tool": Ending(
        make=lambda: cancelled_in_tool(blocking=False),
        kind=CANCELLED,
        error=asyncio.CancelledError,
        before=("ToolCallFailed",),
    ),
    "cancelled in a thread": Ending(
        make=lambda: cancelled_in_tool(blocking=True),
        kind=CANCELLED,
        error=asyncio.CancelledError,
        before=("ToolCallFailed",),
    ),
}


def forever():
    @tool
    async def waits() -> str:
        await asyncio.Event().wait()
        return "never"

    return waits


# --- what is compared


async def recorded_by(today, *, blocking):
    """A run of `Agent.run_with_id`, or of its blocking twin."""
    result = error = None
    try:
        if blocking:
            result = await asyncio.to_thread(today.run_with_id_sync, "run", "go")
        else:
            result = await today.run_with_id("run", "go")
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    events = await today.log.read("run")
    validate(events)
    return Recorded(log=today.log, run_id="run", events=events, result=result, error=error)


FIELDS = ("error_type", "run_id", "limit", "cap", "actual", "where", "partial_text", "tool", "call_id", "error")


def outcome(run):
    """Everything that a caller can look at."""
    if run.error is None:
        return run.result
    known = {name: getattr(run.error, name) for name in FIELDS if hasattr(run.error, name)}
    return type(run.error), str(run.error), run.error.result, known


@pytest.fixture(autouse=True)
def _nobody_cancels_again(monkeypatch):
    monkeypatch.setattr("starling.agent._cancellation._LONGEST_WAIT_S", 0.0)


@pytest.fixture(params=TABLE)
def ending(request):
    return TABLE[request.param]


@pytest.mark.parametrize("blocking", [False, True], ids=["run", "run_sync"])
async def test_a_replay_ends_as_the_run_did(ending, blocking):
    recorded = await recorded_by(ending.make(), blocking=blocking)
    assert recorded.end.KIND is ending.kind
    assert type(recorded.error) is (ending.error or type(None))
    assert ending.says in str(recorded.error)
    assert tuple(recorded.kinds[-1 - len(ending.before) : -1]) == ending.before

    for twin in (False, True):
        replayed = await again(recorded, on_a_plain_log(ending.make()), blocking=twin)
        assert outcome(replayed) == outcome(recorded)
        assert replayed.events == recorded.events


async def test_a_replay_by_hand_reproduces_it(ending):
    recorded = await recorded_by(ending.make(), blocking=False)

    await replays(recorded, *(on_a_plain_log(ending.make()) for _ in range(3)))


def on_a_plain_log(today):
    """The agent with a log that cancels nobody."""
    today.log = MemoryLog()
    return today


@pytest.mark.parametrize("axis", ["output tokens", "money"])
async def test_the_partial_text_of_an_exceeded_budget_is_there_on_replay(axis):
    recorded = await recorded_by(TABLE[axis].make(), blocking=False)

    replayed = await again(recorded, TABLE[axis].make())

    assert recorded.error.partial_text == replayed.error.partial_text == "Half an answer"
    assert recorded.one("BudgetExceeded").partial_tokens == 80


async def test_the_exception_of_a_tool_is_behind_the_error_on_replay_too():
    recorded = await recorded_by(TABLE["a tool in a thread"].make(), blocking=False)

    replayed = await again(recorded, TABLE["a tool in a thread"].make())

    assert [error.__cause__.errno for error in (recorded.error, replayed.error)] == [2, 2]
