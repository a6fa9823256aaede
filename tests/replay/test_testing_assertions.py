"""The assertions of `starling.testing`, in sync and async tests, and what they say when they fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

import starling.testing
from starling import MemoryLog, tool
from starling.errors import InvalidAppendError, RunNotFoundError
from starling.event import Chain, Kind, RunCompleted, validate
from starling.testing import append_run_started, assert_diverges, assert_replays
from tests.agent_kit import agent, calls, record


def weather(result="rain"):
    @tool
    async def lookup(city: str) -> dict:
        return {"city": city, "weather": result}

    return agent(calls(("lookup", {"city": "Oslo"})), lookup)


@pytest.fixture
async def recorded():
    return await record(weather())


def test_a_recording_that_holds(recorded):
    assert_replays(weather(), recorded.log, "run")
    assert_replays(weather(), recorded.log, "run", times=5)


async def test_inside_a_running_loop(recorded):
    assert_replays(weather(), recorded.log, "run")
    assert_diverges(weather("snow"), recorded.log, "run")


def test_a_recording_that_does_not_hold_says_where(recorded):
    with pytest.raises(AssertionError) as raised:
        assert_replays(weather("snow"), recorded.log, "run", times=2)

    first, _, change = str(raised.value).splitlines()
    assert first == "replay 1 of 2: golden run diverged at seq 5 of 8 (ToolCallCompleted): payload"
    assert change == "  result.weather: 'rain' -> 'snow'"


def test_options_are_those_of_replay(recorded):
    assert_replays(weather("snow"), recorded.log, "run", tools="run")
    assert_diverges(weather("snow"), recorded.log, "run", collect=True)


EXPECTED = {"seq": 5, "cls": "payload", "kind": Kind.ToolCallCompleted, "field": "result.weather"}


@pytest.mark.parametrize("expected", [{}, EXPECTED, {"kind": "ToolCallCompleted"}, {"field": "result"}])
def test_a_divergence_where_it_is_expected(recorded, expected):
    divergence = assert_diverges(weather("snow"), recorded.log, "run", **expected)

    assert divergence.changes[0].produced == "snow"


@pytest.mark.parametrize(
    "wrong", [{"seq": 6}, {"cls": "kind"}, {"kind": "TurnStarted"}, {"field": "result.city"}, {"field": "result.wea"}]
)
def test_a_divergence_elsewhere_is_a_failure_that_names_it(recorded, wrong):
    with pytest.raises(AssertionError, match="diverged at seq 5 of 8"):
        assert_diverges(weather("snow"), recorded.log, "run", **wrong)


def test_no_divergence_is_a_failure(recorded):
    with pytest.raises(AssertionError, match="was expected to diverge, but replays"):
        assert_diverges(weather(), recorded.log, "run")


@pytest.mark.parametrize("check", [assert_replays, assert_diverges])
def test_a_run_that_is_not_there_is_an_error_not_a_failure(check):
    with pytest.raises(RunNotFoundError, match="nope"):
        check(weather(), MemoryLog(), "nope")


async def test_a_run_begun_by_hand_can_be_gone_on_with():
    log = MemoryLog()
    started = append_run_started(log, "run", "a goal", model="m", system_prompt="Be kind.", ts=7)

    assert (started.ts, started.decode().goal, started.decode().model_id) == (7, "a goal", "m")
    chain = Chain.resume([started])
    end = RunCompleted(
        final_text="",
        turn_count=0,
        tool_call_count=0,
        total_cost_usd=0.0,
        total_input_tokens=0,
        total_output_tokens=0,
        duration_ms=0,
        merkle_root=chain.root(),
    )
    await log.append("run", [chain.append(end, 8)])
    validate(await log.read("run"))
    with pytest.raises(InvalidAppendError):
        append_run_started(log, "run")


def test_every_public_name_can_be_had_and_no_other():
    for name in starling.testing.__all__:
        assert getattr(starling.testing, name) is not None
    assert dir(starling.testing) == sorted(starling.testing.__all__)
    with pytest.raises(AttributeError, match="nope"):
        _ = starling.testing.nope


def test_it_imports_no_test_framework_and_nothing_heavy():
    script = (
        "import sys, starling.testing as testing\n"
        "for name in testing.__all__:\n"
        "    if name != 'strategies': getattr(testing, name)\n"  # which are hypothesis's
        "print(sorted({'pytest', 'hypothesis', 'openai', 'httpx'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
