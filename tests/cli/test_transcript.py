"""`starling.replay.transcript`: what is said and done, without what changes by itself."""

import asyncio
from contextlib import suppress
from itertools import permutations

import pytest

from starling import Agent, Budget, Config, MemoryLog, step, tool
from starling.errors import RunFailedError, TransientToolError
from starling.event import Kind
from starling.replay import transcript
from starling.testing import ScriptedProvider


def recorded(script, *, tools=(), goal="hi", budget=None, log=None, **config):
    log = log or MemoryLog()
    agent = Agent(script, Config(model="m", **config), log, tools=tools, budget=budget)
    with suppress(RunFailedError):
        agent.run_sync(goal)
    (run,) = log.list_runs_sync()
    return log.read_sync(run.run_id)


def told(*arguments, **named):
    return transcript(recorded(*arguments, **named)).split("\n")


def test_two_recordings_of_one_conversation_read_the_same():
    @tool
    def dice() -> int:
        "Throw."
        return 1 + step.random() % 1 + 0 * step.now().year

    def once():
        return transcript(recorded(ScriptedProvider().tool_call("dice", {}).turn().text("one"), tools=[dice]))

    assert once() == once()
    assert "draws a random number" in once()
    assert "reads the clock" in once()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_finishing_order_of_parallel_calls_does_not_show(order):
    doors = [asyncio.Event() for _ in range(3)]
    doors[order[0]].set()

    @tool
    async def wait(n: int) -> int:
        "Wait."
        await doors[n].wait()
        after = order.index(n) + 1
        if after < 3:
            doors[order[after]].set()
        return n

    script = ScriptedProvider()
    for n in range(3):
        script = script.tool_call("wait", {"n": n})
    events = recorded(script.turn().text("done"), tools=[wait])
    finished = [event.decode().result for event in events if event.kind is Kind.ToolCallCompleted]

    assert finished == list(order)
    lines = transcript(events).split("\n")
    assert [lines[at + 1].strip() for at, line in enumerate(lines) if line.strip() == "returns"] == ["0", "1", "2"]


def test_everything_that_a_reviewer_asks_about_is_there():
    tries = []

    @tool(idempotent=True, max_attempts=2)
    def flaky(city: str) -> dict:
        "Try twice."
        tries.append(city)
        if len(tries) == 1:
            raise TransientToolError("busy")
        return {"city": city, "rate": step.side_effect_sync("rate", lambda: 7)}

    script = ScriptedProvider().reasoning("hm").tool_call("flaky", {"city": "Bergen"}).turn().text("It is 7.\nBye")
    lines = told(script, tools=[flaky], system_prompt="Be brief.\nBe kind.", params={"temperature": 0})

    for expected in (
        ["goal", "  hi"],
        ["system prompt", "  Be brief.", "  Be kind."],
        ["  flaky", "    Try twice."],
        ["  thinks", "    hm"],
        ["  calls flaky", "    {", '      "city": "Bergen"', "    }"],
        ["    fails (tool)", "      busy", "    attempt 2", "    effect rate", "      7", "    returns"],
        ["completed", "  It is 7.", "  Bye"],
    ):
        assert "\n".join(expected) in "\n".join(lines)


def test_how_a_run_ends_badly_is_told():
    @tool
    def lost() -> None:
        "Fail."
        raise LookupError("no such order")

    failed = told(ScriptedProvider().tool_call("lost", {}), tools=[lost], tool_errors="fail")
    tripped = told(ScriptedProvider().text("a long answer"), budget=Budget(max_output_tokens=1))

    assert failed[-2] == "failed (tool)"
    assert "no such order" in failed[-1]
    assert any("exceeds the budget of output_tokens" in line for line in tripped)
    assert tripped[-2] == "failed (budget)"


def test_nested_calls_stand_inside_their_call():
    @tool
    def inner(n: int) -> int:
        "Inner."
        return n + 1

    @tool
    async def outer() -> int:
        "Outer."
        return (await step.call_tool(step.ToolCall(name="inner", args={"n": 1}))).value

    text = "\n".join(told(ScriptedProvider().tool_call("outer", {}).turn().text("2"), tools=[outer, inner]))

    assert "  runs outer\n    runs inner\n      with\n        {\n" in text


def test_what_would_steer_a_terminal_is_escaped():
    lines = told(ScriptedProvider().text("a\x1b[31mred\x07"))

    assert lines[-1] == "  a\\x1b[31mred\\x07"


def test_a_run_that_was_cut_off_says_so():
    events = recorded(ScriptedProvider().text("ok"))

    assert transcript(events[:-1]).split("\n")[-1] == "(goes no further)"
    assert "(goes no further)" not in transcript(events)
