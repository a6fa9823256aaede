"""The four budget axes on every provider: where they trip, what is kept of the answer, and that such runs replay."""

import asyncio

import pytest
from kits import KITS

from starling import Agent, Budget, Config, MemoryLog, ambient, replay, tool
from starling.budget import _pricing, register_pricing
from starling.errors import BudgetExceededError
from starling.event import Kind
from starling.testing import Script

RUN = "run"
MODEL = "priced"
LONGEST_S = 120.0
"""A limit that only a hang reaches."""

per_vendor = pytest.mark.parametrize("kit", KITS, ids=str)
noted = []


@pytest.fixture(autouse=True)
def price():
    """Two dollars a million tokens in, ten out."""
    noted.clear()
    register_pricing(MODEL, 2.0, 10.0)
    yield
    _pricing._registered.clear()


@pytest.fixture
def no_key(monkeypatch):
    """As in a replaying process on another machine; called once the live part is done."""

    def begin(kit):
        monkeypatch.setenv(ambient.REPLAY_VARIABLE, "ready")
        if kit.variable:
            monkeypatch.delenv(kit.variable, raising=False)

    return begin


@tool
def note(text: str) -> str:
    """Takes a note."""
    noted.append(text)
    return "noted"


def two_turns():
    """Text and a call for 100 tokens in and 40 out, then an answer for 200 and 10: 0.0006 and 0.0005 dollars."""
    script = Script().text("First, ").text("a note. ").tool_call("note", {"text": "n"}).usage(100, 40)
    return script.turn().text("All ").text("done.").usage(200, 10)


def agent_on(provider, budget, log):
    return Agent(provider, Config(model=MODEL, params={}), log, tools=[note], budget=budget)


async def tripped(kit, server, budget):
    """The log of a run that the budget ends, and its trip."""
    log = MemoryLog()
    async with kit.provider(server) as provider, asyncio.timeout(LONGEST_S):
        with pytest.raises(BudgetExceededError) as caught:
            await agent_on(provider, budget, log).run_with_id(RUN, "go")
    exceeded, failed = (event.decode() for event in (await log.read(RUN))[-2:])
    assert failed.error_type == "budget"
    assert (caught.value.limit, caught.value.partial_text) == (exceeded.limit, exceeded.partial_text)
    return log, exceeded


async def kinds(log):
    return [event.kind.name for event in await log.read(RUN)]


async def replays(kit, log, budget):
    return await replay(log, RUN, agent_on(kit.keyless(), budget, log)) == ()


FIRST_TURN = ["RunStarted", "TurnStarted", "BudgetExceeded", "RunFailed"]
SECOND_TURN = [
    *("RunStarted", "TurnStarted", "AssistantMessageCompleted", "ToolCallScheduled", "ToolCallCompleted"),
    *("TurnStarted", "BudgetExceeded", "RunFailed"),
]


@per_vendor
async def test_input_tokens_trip_before_anything_is_sent(kit, no_key):
    budget = Budget(max_input_tokens=1)
    with kit.server(two_turns()) as server:
        log, exceeded = await tripped(kit, server, budget)
        assert server.requests == ()
    assert (exceeded.limit, exceeded.where, exceeded.cap) == ("input_tokens", "pre_call", 1.0)
    assert exceeded.actual > 1
    assert "AssistantMessageCompleted" not in await kinds(log)
    no_key(kit)
    assert await replays(kit, log, budget)


@per_vendor
async def test_input_tokens_count_over_the_whole_run(kit, no_key):
    budget = Budget(max_input_tokens=100)
    with kit.server(two_turns()) as server:
        log, exceeded = await tripped(kit, server, budget)
        assert len(server.requests) == 1
    assert (exceeded.limit, exceeded.where) == ("input_tokens", "pre_call")
    assert exceeded.actual > 100
    assert noted == ["n"]
    no_key(kit)
    assert await replays(kit, log, budget)


@pytest.mark.parametrize(
    ("budget", "limit", "actual"),
    [(Budget(max_output_tokens=39), "output_tokens", 40.0), (Budget(max_usd=0.00059), "usd", 0.0006)],
    ids=["output tokens", "usd"],
)
@per_vendor
async def test_a_trip_within_an_answer_keeps_its_text_and_runs_none_of_its_calls(kit, budget, limit, actual, no_key):
    with kit.server(two_turns()) as server:
        log, exceeded = await tripped(kit, server, budget)
    assert (exceeded.limit, exceeded.where) == (limit, "mid_stream")
    assert exceeded.actual == pytest.approx(actual)
    assert (exceeded.partial_text, exceeded.partial_tokens) == ("First, a note. ", 40)
    assert exceeded.partial_input_tokens == (100 if limit == "usd" else 0)
    assert await kinds(log) == FIRST_TURN
    assert noted == []
    no_key(kit)
    assert await replays(kit, log, budget)


@pytest.mark.parametrize(
    ("budget", "limit", "actual"),
    [(Budget(max_output_tokens=49), "output_tokens", 50.0), (Budget(max_usd=0.00105), "usd", 0.0011)],
    ids=["output tokens", "usd"],
)
@per_vendor
async def test_tokens_and_money_count_over_the_whole_run(kit, budget, limit, actual, no_key):
    with kit.server(two_turns()) as server:
        log, exceeded = await tripped(kit, server, budget)
    assert exceeded.limit == limit
    assert exceeded.actual == pytest.approx(actual)
    assert (exceeded.partial_text, exceeded.partial_tokens) == ("All done.", 10)
    assert await kinds(log) == SECOND_TURN
    no_key(kit)
    assert await replays(kit, log, budget)


@per_vendor
async def test_a_budget_that_is_just_enough_does_not_trip(kit):
    with kit.server(two_turns()) as server:
        async with kit.provider(server) as provider:
            agent = agent_on(
                provider, Budget(max_output_tokens=50, max_usd=0.00111, max_wall_clock=LONGEST_S), MemoryLog()
            )
            result = await agent.run("go")
    assert result.terminal_kind is Kind.RunCompleted
    assert result.total_cost_usd == pytest.approx(0.0011)


@per_vendor
async def test_the_wall_clock_ends_an_answer_that_hangs_and_closes_its_connection(kit, no_key):
    budget = Budget(max_wall_clock=0.5)
    with kit.server(Script().text("half").hang()) as server:
        log, exceeded = await tripped(kit, server, budget)
        assert await asyncio.to_thread(server.disconnected.wait, LONGEST_S)
    assert (exceeded.limit, exceeded.where, exceeded.cap) == ("wall_clock", "mid_stream", 500.0)
    assert exceeded.actual >= exceeded.cap
    assert exceeded.partial_text == "half"
    assert (await kinds(log))[-2:] == ["BudgetExceeded", "RunFailed"]
    no_key(kit)
    assert await replays(kit, log, budget)
