"""The strategies that ship: what they draw is what they promise, it shrinks, and nothing is missing from it."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from starling import Agent, Config, MemoryLog, tool
from starling.errors import LogCorruptError, ProviderCallError
from starling.event import (
    Kind,
    ToolCallCompleted,
    decode_event,
    decode_payload,
    encode_event,
    encode_payload,
    misstated,
    validate,
    validate_prefix,
    validate_recording,
)
from starling.provider import EndChunk, ReasoningChunk, Request, TextChunk, ToolUseStart, UsageChunk, assemble
from starling.provider.openai import OpenAI
from starling.replay import replay, transcript
from starling.testing import Fail, OpenAIServer, ScriptedProvider
from starling.testing.strategies import events, free_form, payloads, runs, scripts

TOOLS = {"lookup": st.fixed_dictionaries({"order": st.integers()}), "now": st.just({})}
DRAWN = settings(phases=[Phase.generate], max_examples=2000)
"""It is enough that something is drawn; how small it can be made does not matter."""
SHRUNK = settings(phases=[Phase.generate, Phase.shrink])
IN_RUNS = [kind for kind in Kind if kind not in {Kind.ContextTruncated, Kind.TurnFailed}]  # those are reserved


@pytest.mark.parametrize("kind", Kind, ids=str)
def test_payloads_of_a_kind_are_of_that_kind_and_go_through_the_codec(kind):
    @given(payloads(kind))
    def law(payload):
        assert payload.KIND is kind
        assert encode_payload(decode_payload(kind, encode_payload(payload))) == encode_payload(payload)

    law()


def drawn_from(strategy, count):
    """The same in every profile: what is among few examples may once be missing among others."""
    drawn = []

    @settings(phases=[Phase.generate], max_examples=count, derandomize=True, database=None)
    @given(strategy)
    def draw(one):
        drawn.append(one)

    draw()
    return drawn


def test_payloads_of_any_kind_are_drawn():
    assert {payload.KIND for payload in drawn_from(payloads(), 500)} == set(Kind)


@given(events(), events(Kind.TurnStarted))
def test_single_events_go_through_the_codec(event, turn):
    assert decode_event(encode_event(event)) == event
    assert event.decode().KIND is event.kind
    assert turn.kind is Kind.TurnStarted


@given(free_form())
def test_free_values_can_be_results_of_tools(value):
    result = ToolCallCompleted(call_id="c", result=value, duration_ms=1, attempt=1)
    assert decode_payload(result.KIND, encode_payload(result)) == result


@given(runs())
def test_runs_are_valid_and_state_their_totals(run):
    validate(run)
    validate_recording(run)
    assert misstated(run) == ()
    assert transcript(run)


@given(runs(ended=False))
def test_beginnings_are_valid_so_far_and_have_not_ended(run):
    validate_prefix(run)
    with pytest.raises(LogCorruptError):
        validate(run)


def kinds(run):
    return [event.kind for event in run]


@pytest.fixture(scope="module")
def some_runs():
    return drawn_from(runs(), 200)


@pytest.mark.parametrize("kind", IN_RUNS, ids=str)
def test_every_kind_that_is_written_is_among_them(some_runs, kind):
    assert any(kind in kinds(run) for run in some_runs)


def test_runs_shrink_to_what_is_looked_for():
    run = find(runs(), lambda run: Kind.RunResumed in kinds(run), settings=SHRUNK)
    assert kinds(run)[:3] == [Kind.RunStarted, Kind.TurnStarted, Kind.RunResumed]
    assert len(run) <= 6
    assert run[0].decode().goal == ""


def overlaps(run):
    """A call is scheduled, and ends, while another one is open."""
    order = [event.decode().call_id for event in run if event.kind in {Kind.ToolCallScheduled, Kind.ToolCallCompleted}]
    return any(order[at] == order[at + 2] != order[at + 1] for at in range(len(order) - 2))


@pytest.mark.parametrize(
    "happens",
    [
        overlaps,
        lambda run: kinds(run).count(Kind.RunResumed) >= 2,
        lambda run: any(getattr(event.decode(), "attempt", 0) == 3 for event in run),
        lambda run: any(getattr(event.decode(), "pending_calls", 0) for event in run),
        lambda run: kinds(run).count(Kind.TurnStarted) >= 4,
    ],
    ids=["calls that overlap", "two crashes", "third attempts", "orphans", "many turns"],
)
def test_what_is_hard_about_runs_is_among_them(some_runs, happens):
    assert any(map(happens, some_runs))


# --- scripts


@tool
def lookup(order: int) -> int:
    """Look an order up."""
    return order


@tool
def now() -> str:
    """The time."""
    return "noon"


def agent(turns, log):
    config = Config(model="m", tool_errors="report")
    return Agent(ScriptedProvider(turns), config, log, tools=[lookup, now])


@given(scripts(TOOLS))
def test_an_agent_that_is_told_a_script_completes_and_replays(turns):
    log = MemoryLog()
    result = agent(turns, log).run_sync("go")
    assert result.turn_count == len(turns)
    assert result.final_text == assemble(turns[-1].steps).text != ""
    assert asyncio.run(replay(log, result.run_id, agent((), MemoryLog()))) == ()


@given(scripts(TOOLS, failing=True, max_turns=2))
def test_a_script_may_end_in_a_failure(turns):
    log = MemoryLog()
    if turns[-1].failure is None:
        assert agent(turns, log).run_sync("go").final_text
    else:
        with pytest.raises(ProviderCallError):
            agent(turns, log).run_sync("go")


def test_scripts_have_what_they_are_told_to_have():
    def steps(turns):
        return [type(step) for turn in turns for step in turn.steps]

    assert find(scripts(TOOLS), lambda turns: steps(turns).count(ToolUseStart) >= 3, settings=DRAWN)
    assert find(scripts(TOOLS), lambda turns: ReasoningChunk in steps(turns), settings=DRAWN)
    assert find(scripts(TOOLS, failing=True), lambda turns: Fail in steps(turns), settings=DRAWN)
    (shortest,) = find(scripts(TOOLS, failing=True), lambda turns: Fail not in steps(turns))
    assert steps([shortest]) == [TextChunk, UsageChunk, EndChunk]


@given(scripts(), scripts(TOOLS, max_turns=1), scripts(TOOLS, reasoning=False))
def test_what_is_not_wanted_is_not_there(without_tools, one_turn, plain):
    assert len(without_tools) == len(one_turn) == 1
    assert not any(isinstance(step, ReasoningChunk | Fail) for turn in plain for step in turn.steps)
    assert len(plain) <= 4


def test_arguments_may_be_any_text_that_a_model_could_write():
    turns = find(scripts({"lookup": st.just("{broken")}), lambda turns: len(turns) == 2)
    assert assemble(turns[0].steps).tool_uses[0].raw_args == "{broken"


@settings(max_examples=20)
@given(scripts(TOOLS))
def test_a_script_can_be_spoken_by_a_wire_server(turns):
    async def spoken(server):
        async with OpenAI(base_url=server.base_url, api_key="") as provider:
            return [[chunk async for chunk in provider.stream(Request(model="m"))] for _ in turns]

    with OpenAIServer(turns) as server:
        said = asyncio.run(spoken(server))
    assert [assemble(chunks).text for chunks in said] == [assemble(turn.steps).text for turn in turns]


# --- the extra


def test_without_hypothesis_the_message_is_the_line_that_installs_it():
    code = "import sys; sys.modules['hypothesis'] = None\nimport starling.testing\nstarling.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: pip install 'pytest-starling[hypothesis]'" in done.stderr


def test_the_package_is_reached_from_its_facade():
    code = "import sys, starling.testing as t; t.strategies.runs; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
