"""Logs, forged and linked anew, whose seams and last events say what neither their events nor today's code bear out."""

import pytest

from starling import Budget, replay, step, tool
from starling.errors import InvalidStreamError, LogCorruptError, ServerError
from starling.event import validate
from starling.provider import Message, Request
from starling.testing import ScriptedProvider
from tests.agent_kit import Recorded, agent, calls, diverges, record, replays
from tests.damaged_runs import with_fields


@tool
async def t() -> str:
    return "x"


async def forged(recorded, seq, **fields):
    """The same run with other fields in one of its events, and everything else made to fit."""
    events = with_fields(recorded.events, seq, **fields)
    validate(events)
    log = type(recorded.log)()
    await log.append(recorded.run_id, events)
    return Recorded(log=log, run_id=recorded.run_id, events=events)


def refused():
    return ScriptedProvider().error("boom", 500)


def broken():
    """A stream that ends before its time."""
    return ScriptedProvider().text("a").error("boom", 500)


@pytest.mark.parametrize("error_type", ["budget", "tool", "max_turns", "internal", "panic", "zzz"])
@pytest.mark.parametrize("script", [refused, broken])
async def test_a_failure_of_the_provider_is_of_that_type(script, error_type):
    recorded = await record(agent(script()))
    await replays(recorded, agent(script()))
    found = await diverges(await forged(recorded, 3, error_type=error_type), agent(script()))
    assert (found.seq, [str(change) for change in found.changes]) == (3, [f"error_type: {error_type!r} -> 'provider'"])


@pytest.mark.parametrize("error_type", ["provider", "budget", "tool"])
async def test_a_stream_that_broke_the_rules_is_an_internal_failure(error_type):
    options = {"require_raw_response_hash": True}
    recorded = await record(agent(ScriptedProvider().text("a"), **options))
    assert recorded.end.error_type == "internal"
    await replays(recorded, agent(**options))
    found = await diverges(await forged(recorded, 3, error_type=error_type), agent(**options))
    assert (found.seq, [str(change) for change in found.changes]) == (3, [f"error_type: {error_type!r} -> 'internal'"])


@pytest.mark.parametrize(("base", "error_type"), [(InvalidStreamError, "internal"), (ServerError, "provider")])
async def test_the_type_is_taken_from_the_recording_where_the_class_of_what_was_raised_is_gone(base, error_type):
    class OfAnAdapter(base):
        pass

    class Failing(ScriptedProvider):
        async def stream(self, request):
            raise OfAnAdapter("broken")
            yield

    OfAnAdapter.__qualname__ = "OfAnAdapter"
    OfAnAdapter.__module__ = "an_adapter_that_is_gone"
    recorded = await record(agent(Failing()))
    assert recorded.end.error_type == error_type
    assert recorded.end.cause.type == "an_adapter_that_is_gone.OfAnAdapter"
    await replays(recorded, agent())


async def test_a_provider_that_failed_beside_a_budget_that_tripped_replays():
    """The run's error is that of the first call in plan order, whichever came first."""

    def made():
        async def ask(text):
            await step.llm_call(Request(model="gpt-4o-mini", messages=(Message(role="user", content=text),)))

        @tool
        async def long() -> str:
            await step.side_effect("wait", lambda: None)
            await ask("word " * 1000)
            return "x"

        @tool
        async def short() -> str:
            await ask("a")
            return "x"

        script = ScriptedProvider().tool_call("long").tool_call("short").turn().error("boom", 500)
        return agent(script, long, short, budget=Budget(max_input_tokens=500))

    recorded = await record(made())
    assert recorded.end.error_type == "budget"
    assert recorded.kinds.count("TurnStarted") == 2
    await replays(recorded, made())


TRIPS = {
    "output_tokens": (lambda: ScriptedProvider().text("x").usage(1, 50), Budget(max_output_tokens=10)),
    "usd": (lambda: ScriptedProvider().text("x").usage(100000, 50000), Budget(max_usd=0.0001)),
    "wall_clock": (lambda: ScriptedProvider().text("x").hang(), Budget(max_wall_clock=0.02)),
}
LIES = {
    "cap": {"cap": 99.0},
    "input tokens": {"limit": "input_tokens"},
    "another axis": {"limit": "zzz"},
    "no cap": {"limit": "zzz", "cap": 0.0},
    "before the call": {"where": "pre_call"},
    "after the call": {"where": "post_call"},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("limit", TRIPS)
async def test_a_trip_is_one_of_todays_budget(limit, lie):
    script, budget = TRIPS[limit]
    recorded = await record(agent(script(), budget=budget))
    assert recorded.payloads[2].limit == limit
    await replays(recorded, agent(budget=budget))
    found = await diverges(await forged(recorded, 3, **LIES[lie]), agent(budget=budget))
    assert found.seq in (3, 4)
    assert found.run_id == recorded.run_id


@pytest.mark.parametrize("limit", TRIPS)
async def test_what_had_been_used_when_it_tripped_is_the_environments(limit):
    script, budget = TRIPS[limit]
    recorded = await record(agent(script(), budget=budget))
    used = await forged(recorded, 3, actual=recorded.payloads[2].actual + 1, partial_text="y")
    await replays(used, agent(budget=budget))


@pytest.fixture
async def resumed():
    script = calls("t")
    cut = await record(agent(script, t))
    log = type(cut.log)()
    await log.append("run", cut.events[:4])
    await agent(ScriptedProvider().text("done"), t, log=log).resume("run")
    recorded = Recorded(log=log, run_id="run", events=await log.read("run"))
    assert recorded.kinds[4:6] == ["RunResumed", "ToolCallScheduled"]
    return recorded


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"at_seq": 999}, "at_seq is 999, not 4"),
        ({"at_seq": 0}, "at_seq is 0, not 4"),
        ({"pending_calls": 77}, "pending_calls is 77, not 1"),
        ({"pending_calls": 0, "reissue_tools": False}, "pending_calls is 0, not 1"),
        ({"reissue_tools": False}, "reissue_tools is False, with 1 call"),
    ],
)
async def test_a_seam_that_belies_the_part_before_it_is_refused(resumed, lie, said):
    await replays(resumed, agent(calls("t"), t))
    lying = await forged(resumed, 5, **lie)
    with pytest.raises(LogCorruptError, match=said) as refusal:
        await replay(lying.log, "run", agent(calls("t"), t))
    assert (refusal.value.run_id, refusal.value.seq) == ("run", 5)
    assert "Nothing was run" in str(refusal.value)
